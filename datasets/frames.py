"""Frames: several samples that follow one another as one step of a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.datasets.rows import Array, LazyRows
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.windows import Windows

__all__ = ["frame_series", "in_frames"]


def in_frames(row: Array, size: int) -> Array:
    """Samples (L, C) as frames (ceil(L / size), size C): sample after sample, each with all its channels.

    The last frame is filled up with the last sample.

    Args:
        row: Samples, (L, C), at least one.
        size: Samples in a frame.

    Example:
        >>> in_frames(np.array([[1.0], [2.0], [3.0]]), 2).tolist()
        [[1.0, 2.0], [3.0, 3.0]]
    """
    short = -len(row) % size
    if short:
        row = np.concatenate([row, np.repeat(row[-1:], short, axis=0)])
    return row.reshape(len(row) // size, size * row.shape[1])


def frame_series(series: SeriesSet, size: int) -> SeriesSet:
    """The same series with `size` samples at a step, side by side as channels: fewer steps, and nothing is left out.

    Args:
        series: Evenly sampled series with one target for each, or none.
        size: Samples in a frame; 1 leaves everything as it is.

    Returns:
        Series of ceil(L_i / size) steps of size * C channels, named `NAME.0`, `NAME.1`, ... where channels have names,
        at `sample_rate / size` steps per second. The last frame is filled up with the last sample.

    Raises:
        ValueError: `size` is not a whole number of at least 1; or it is above 1 and samples have times or targets of
            their own, or series are windows to forecast from.

    Cost:
        Nothing is read now; a row is copied when it is read.

    Example:
        >>> series = frame_series(SeriesSet([np.arange(5.0)[:, None]], ["a"], sample_rate=8000.0), 2)
        >>> series.values[0].tolist(), series.sample_rate
        ([[0.0, 1.0], [2.0, 3.0], [4.0, 4.0]], 4000.0)
    """
    if check_positive_int("frame", size) == 1:
        return series
    for found, what in (
        (series.timestamps is not None, "has uneven times"),
        (series.kind == "sequence", "has a target for each sample"),
        (isinstance(series.values, Windows), "is cut into windows to forecast from"),
    ):
        if found:
            raise ValueError(f"`frame` must be 1 where samples do not make frames, got {size}: {series.origin} {what}")
    lengths = -(-series.lengths // size)
    rows = LazyRows(
        lengths,
        size * series.n_channels,
        _Framed(series.values, size),
        origin=series.origin,
        missing=series.has_missing,
    )
    return replace(
        series,
        values=rows,
        sample_rate=None if series.sample_rate is None else series.sample_rate / size,
        channels=tuple(f"{name}.{k}" for k in range(size) for name in series.channels),
    )


class _Framed:
    """A class, so that workers that start anew can pickle it."""

    def __init__(self, rows: Sequence[Array], size: int) -> None:
        self.rows, self.size = rows, size

    def __call__(self, i: int) -> Array:
        return in_frames(np.asarray(self.rows[i]), self.size)
