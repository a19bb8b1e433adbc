"""What a training or an evaluation gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqkit.models import SequenceModel, load_model
from seqkit.tasks.run_folder import RunFolder

__all__ = ["Evaluation", "TrainResult", "read_result"]

_SUMMARY = (
    "data", "model", "split", "metrics", "results", "n_parameters", "epochs", "best_epoch", "seconds", "pictures",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a run on one part of its data or on a file.

    Args:
        run: Folder of the run.
        data: Data set or file.
        split: "train", "val", "test" or "all".
        metrics: By name: accuracy and loss, or rmse, mae and loss.
        n_series: Number of series.
        sample_rate: Samples per second that the model was told, or None for the training one.
        notes: What a reader should know, one sentence each.
        naive: For forecasts, metrics of the naive ones by method.

    Example:
        >>> Evaluation("runs/vowels", "japanese_vowels", "test", {"accuracy": 0.99}, 370).metrics["accuracy"]
        0.99
    """

    run: str
    data: str
    split: str
    metrics: dict[str, float]
    n_series: int
    sample_rate: float | None = None
    notes: tuple[str, ...] = ()
    naive: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Args:
        path: Its folder.
        metrics: Test metrics, or validation ones where the data have no test part.
        split: The part they were measured on.
        summary: Everything in summary.json.

    Example:
        >>> TrainResult(Path("runs/vowels"), {"accuracy": 0.99}, "test", {}).split
        'test'
    """

    path: Path
    metrics: dict[str, float]
    split: str
    summary: dict[str, Any] = field(repr=False)

    @property
    def model(self) -> SequenceModel:
        """The trained model, read from the folder."""
        return load_model(self.path)


def read_result(folder: RunFolder) -> TrainResult:
    """Result of a finished run, as its summary has it.

    Raises:
        FileNotFoundError: the run is not finished.
        ValueError: the summary is damaged.
    """
    summary = folder.read_summary()
    missing = [key for key in _SUMMARY if key not in summary]
    if missing:
        raise ValueError(f"{folder.summary} is damaged (it lacks {missing[0]}); remove it and resume the run")
    return TrainResult(folder.path, summary["metrics"], summary["split"], summary)
