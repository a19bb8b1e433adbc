"""Series in Arrow's arrays to predictions in Arrow's arrays; runs on the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from seqkit.models import SequenceModel
from seqkit.streaming.engine import Array
from seqkit.streaming.spark.carried import Carried, model_of

__all__ = ["Predictor"]

NOT_FINITE = "the model gives NaN or infinite values, as the series has extreme values"


class Series(NamedTuple):
    """One series: samples (L, C), NaN where missing, and times of samples in seconds, (L,), or None."""

    values: Array
    times: Array | None


@dataclass(frozen=True)
class Predictor:
    """Appends predictions to a batch of rows.

    Args:
        carried: The model.
        kept: Columns in front that come through as they are.
        channels: Columns with series behind them.
        by_channel: Whether arrays of arrays hold channels instead of samples.
        timed: Whether a column with times stands at the end.
        sample_rate: Samples per second; None for that of the training data.
        batch_size: Series that go through the model at once.
    """

    carried: Carried
    kept: int
    channels: int
    by_channel: bool
    timed: bool
    sample_rate: float | None
    batch_size: int

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with predictions in place of series."""
        model = model_of(self.carried)
        found = [self._read(rows, place, model) for place in range(rows.num_rows)]
        answers: list[Array | str] = [one if isinstance(one, str) else "" for one in found]
        good = [place for place, one in enumerate(found) if isinstance(one, Series)]
        for start in range(0, len(good), self.batch_size):
            places = good[start : start + self.batch_size]
            chosen = [one for one in (found[place] for place in places) if isinstance(one, Series)]
            for place, outputs in zip(places, self._predicted(model, chosen), strict=True):
                answers[place] = outputs
        made = _columns(model, answers)
        names = [*rows.schema.names[: self.kept], *made]
        return pa.RecordBatch.from_arrays([*rows.columns[: self.kept], *made.values()], names=names)

    def _read(self, rows: pa.RecordBatch, place: int, model: SequenceModel) -> Series | str:
        """The series of one row, or why there is none."""
        columns = rows.columns[self.kept :]
        try:
            parts = [_samples(column[place], by_channel=self.by_channel) for column in columns[: self.channels]]
            if len({len(part) for part in parts}) > 1:
                raise ValueError(f"channels must be of one length, got {[len(part) for part in parts]} samples")
            values = np.concatenate(parts, axis=1)
            if len(values) == 0:
                raise ValueError("the series is empty")
            width = model.info.n_channels
            if values.shape[1] != width:
                raise ValueError(f"a sample must have {width} numbers, one for each channel, got {values.shape[1]}")
            with np.errstate(over="ignore"):  # what overflows is infinite and refused below
                values = values.astype(_dtype(model))
            if np.isinf(values).any():
                raise ValueError("the series has an infinite value; leave it out as missing (null)")
            times = self._times(columns[-1][place], len(values)) if self.timed else None
        except ValueError as error:
            return str(error)
        return Series(values, times)

    def _times(self, scalar: Any, n: int) -> Array:
        if not scalar.is_valid:
            raise ValueError("the times of the series are missing (null)")
        times: Array = scalar.values.to_numpy(zero_copy_only=False).astype(np.float64)
        if len(times) != n:
            raise ValueError(f"there must be a time for each of {n} samples, got {len(times)}")
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise ValueError("times must be there and rise from sample to sample")
        return times

    def _predicted(self, model: SequenceModel, series: list[Series]) -> list[Array | str]:
        """Outputs of each series, without an axis for series; or what is wrong with it."""
        try:
            outputs = _run(model, series, self.sample_rate)
        except ValueError as error:
            if len(series) > 1:  # the others have done nothing wrong
                return [self._predicted(model, [one])[0] for one in series]
            return [str(error)]
        lengths = [len(one.values) if model.pool is None else None for one in series]
        whole = [output[:length] for output, length in zip(outputs, lengths, strict=True)]
        return [output if np.isfinite(output).all() else NOT_FINITE for output in whole]


def _samples(scalar: Any, *, by_channel: bool) -> Array:
    """One column's series, (L, 1), or (L, C) where it holds arrays of arrays; NaN where a value is missing."""
    if not scalar.is_valid:
        raise ValueError("the series is missing (null)")
    held = scalar.values
    if not pa.types.is_list(held.type):
        return np.asarray(held.to_numpy(zero_copy_only=False), dtype=np.float64)[:, None]
    widths = held.value_lengths()
    if widths.null_count:
        raise ValueError("the series has a null in place of an array")
    sizes = sorted(set(widths.to_pylist()))
    if len(sizes) > 1:
        raise ValueError(f"inner arrays must be of one length, got {sizes[0]} to {sizes[-1]} numbers")
    flat = np.asarray(held.flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    table = flat.reshape(len(held), sizes[0] if sizes else 0)
    return table.T if by_channel else table


def _dtype(model: SequenceModel) -> np.dtype[Any]:
    return np.dtype(str(next(model.parameters()).dtype).removeprefix("torch."))


def _run(model: SequenceModel, series: list[Series], sample_rate: float | None) -> Array:
    """Predictions of a padded batch."""
    lengths = torch.tensor([len(one.values) for one in series])
    missing = any(np.isnan(one.values).any() for one in series)
    observed = [torch.from_numpy(~np.isnan(one.values)) for one in series]
    values = [torch.from_numpy(np.nan_to_num(one.values, nan=0.0)) for one in series]
    with torch.no_grad():
        outputs = model.predict(
            torch.nn.utils.rnn.pad_sequence(values, batch_first=True),
            lengths,
            sample_rate=sample_rate,
            timestamps=_padded_times(series),
            observed=torch.nn.utils.rnn.pad_sequence(observed, batch_first=True) if missing else None,
        )
    return np.asarray(outputs.numpy())


def _padded_times(series: list[Series]) -> Tensor | None:
    times = [one.times for one in series if one.times is not None]
    if not times:
        return None
    longest = max(len(one) for one in times)
    padded = [np.pad(one, (0, longest - len(one)), mode="edge") for one in times]
    return torch.from_numpy(np.stack(padded).astype(np.float32))


def _columns(model: SequenceModel, answers: list[Array | str]) -> dict[str, pa.Array]:
    """Predictions as columns."""
    info = model.info
    deep = 1 if model.pool is None else 0
    errors = [one if isinstance(one, str) else None for one in answers]
    outputs = [None if isinstance(one, str) else one for one in answers]
    columns: dict[str, pa.Array] = {}
    if info.classes:
        labels = np.array(info.classes)
        named = [None if one is None else labels[one.argmax(axis=-1)].tolist() for one in outputs]
        columns["prediction"] = pa.array(named, _nested(pa.string(), deep))
        shares = [None if one is None else one.tolist() for one in outputs]
        columns["probabilities"] = pa.array(shares, _nested(pa.float64(), deep + 1))
    else:
        single = info.n_targets == 1
        numbers = [None if one is None else (one[..., 0] if single else one).tolist() for one in outputs]
        columns["prediction"] = pa.array(numbers, _nested(pa.float64(), deep + (not single)))
    columns["error"] = pa.array(errors, pa.string())
    return columns


def _nested(kind: pa.DataType, depth: int) -> pa.DataType:
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind
