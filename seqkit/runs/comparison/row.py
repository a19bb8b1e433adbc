"""What a comparison measures of one training, and what it says of several."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Row", "Summary", "ranks", "summaries"]


@dataclass(frozen=True)
class Row:
    """One training.

    Args:
        data: Data set.
        model: Model.
        seed: Seed.
        metric: "accuracy" (higher is better) or "rmse" (lower is better), on the held-out part.
        value: The metric; NaN where the training failed.
        loss: Cross-entropy or mean squared error there.
        epochs: Epochs that were run.
        n_parameters: Trained parameters.
        train_seconds: Time of the training, validation included.
        predict_ms: Milliseconds for a held-out series, in batches.
        step_us: Microseconds for a sample of a stream, median; NaN for what cannot stream.
        memory_mib: Peak memory of the training, MiB: of the whole process, or of the tensors on a GPU.
        note: Why a number is missing, or "".

    Example:
        >>> Row("digits", "gru", 0, note="diverged").failed
        True
    """

    data: str
    model: str
    seed: int
    metric: str = ""
    value: float = math.nan
    loss: float = math.nan
    epochs: int = 0
    n_parameters: int = 0
    train_seconds: float = math.nan
    predict_ms: float = math.nan
    step_us: float = math.nan
    memory_mib: float = math.nan
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return math.isnan(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by column; None where there is no number."""
        return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(self).items()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Row:
        """Reads what `to_dict` wrote.

        Raises:
            ValueError: a column is missing, or unknown.
        """
        names = {field.name for field in fields(Row)}
        if set(values) != names:
            raise ValueError(f"a row of a comparison must hold {', '.join(sorted(names))}, got {', '.join(values)}")
        numbers: dict[str, Any] = {key: math.nan if value is None else value for key, value in values.items()}
        return Row(**numbers)


@dataclass(frozen=True)
class Summary:
    """One model on one data set, over its seeds.

    Args:
        data: Data set.
        model: Model.
        metric: "accuracy" or "rmse".
        mean: Mean of the metric over the seeds that have one.
        spread: Standard deviation between seeds; NaN for one seed.
        n_seeds: Seeds that have a result.
        n_parameters: Trained parameters.
        epochs: Epochs, mean.
        train_seconds: Time of a training, mean.
        predict_ms: Milliseconds for a held-out series, median.
        step_us: Microseconds for a streamed sample, median.
        memory_mib: Peak memory, the largest.
        notes: What is missing and why, each once.
    """

    data: str
    model: str
    metric: str
    mean: float
    spread: float
    n_seeds: int
    n_parameters: int
    epochs: float
    train_seconds: float
    predict_ms: float
    step_us: float
    memory_mib: float
    notes: tuple[str, ...]

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher metric is better."""
        return self.metric == "accuracy"

    def words(self) -> str:
        """The metric as a table shows it: in percent for accuracies.

        Example:
            >>> rows = [Row("digits", "gru", seed, "accuracy", value) for seed, value in enumerate((0.9, 0.94))]
            >>> summaries(rows)[0].words()
            '92.0 ± 2.8'
        """
        if math.isnan(self.mean):
            return "failed"
        scale, form = (100.0, ".1f") if self.metric == "accuracy" else (1.0, ".4g")
        spread = "" if math.isnan(self.spread) else f" ± {self.spread * scale:{form}}"
        return f"{self.mean * scale:{form}}{spread}"


def summaries(rows: Iterable[Row]) -> list[Summary]:
    """One summary for each data set and model, the best first within a data set.

    Example:
        >>> rows = [Row("digits", "gru", 0, "accuracy", 0.9), Row("digits", "s4d", 0, "accuracy", 0.95)]
        >>> [one.model for one in summaries(rows)]
        ['s4d', 'gru']
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.data, row.model), []).append(row)
    found = [_summary(group) for group in groups.values()]
    order = list(dict.fromkeys(one.data for one in found))

    def place(one: Summary) -> tuple[int, float]:
        if math.isnan(one.mean):
            return order.index(one.data), math.inf
        return order.index(one.data), -one.mean if one.higher_is_better else one.mean

    return sorted(found, key=place)


def _summary(rows: list[Row]) -> Summary:
    done = [row for row in rows if not row.failed]
    values = [row.value for row in done]

    def middle(name: str) -> float:
        numbers = [getattr(row, name) for row in done if not math.isnan(getattr(row, name))]
        return statistics.median(numbers) if numbers else math.nan

    return Summary(
        data=rows[0].data,
        model=rows[0].model,
        metric=next((row.metric for row in done), ""),
        mean=statistics.fmean(values) if values else math.nan,
        spread=statistics.stdev(values) if len(values) > 1 else math.nan,
        n_seeds=len(done),
        n_parameters=max((row.n_parameters for row in done), default=0),
        epochs=statistics.fmean([row.epochs for row in done]) if done else math.nan,
        train_seconds=statistics.fmean([row.train_seconds for row in done]) if done else math.nan,
        predict_ms=middle("predict_ms"),
        step_us=middle("step_us"),
        memory_mib=max((row.memory_mib for row in done if not math.isnan(row.memory_mib)), default=math.nan),
        notes=tuple(dict.fromkeys(row.note for row in rows if row.note)),
    )


def ranks(found: Iterable[Summary]) -> dict[str, float]:
    """Mean rank of each model over the data sets on which all models have a result; equal values share a rank.

    Returns:
        By model, the best first; empty where no data set has a result of every model, or there is one data set alone.

    Example:
        >>> rows = [Row(data, model, 0, "accuracy", value) for data, model, value in
        ...         (("a", "gru", 0.9), ("a", "s4d", 0.8), ("b", "gru", 0.7), ("b", "s4d", 0.7))]
        >>> ranks(summaries(rows))
        {'gru': 1.25, 's4d': 1.75}
    """
    found = list(found)
    models = list(dict.fromkeys(one.model for one in found))
    places: dict[str, list[float]] = {model: [] for model in models}
    counted = 0
    for data in dict.fromkeys(one.data for one in found):
        here = [one for one in found if one.data == data and not math.isnan(one.mean)]
        if len(here) < len(models):
            continue
        counted += 1
        for one in here:
            signed = one.mean if one.higher_is_better else -one.mean
            others = [other.mean if other.higher_is_better else -other.mean for other in here]
            better, equal = sum(other > signed for other in others), sum(other == signed for other in others)
            places[one.model].append(better + (equal + 1) / 2)
    if counted < 2:
        return {}
    means = {model: statistics.fmean(values) for model, values in places.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))
