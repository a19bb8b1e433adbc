"""Mean and deviation of training samples, and how many of them are missing, in one pass and little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet

__all__ = ["Statistics", "share_missing", "statistics_of"]

BLOCK = 2**20
"""Numbers summed at once: large enough for numpy to be fast, small beside any training."""


class Statistics(NamedTuple):
    """Mean and standard deviation, (C,) or (T,), float32; 1 stands for a deviation of 0."""

    mean: Tensor
    std: Tensor


def statistics_of(rows: Sequence[Array], *, gaps: bool = False) -> Statistics:
    """Mean and deviation of each column over all rows, in float64.

    Args:
        rows: Samples, (L_i, C) each.
        gaps: Whether some are missing (NaN); they do not count.

    Source:
        Blocks are joined by the update of Chan, Golub and LeVeque 1979, which keeps the digits of the deviation where
        the mean is large.

    Example:
        >>> statistics_of([np.array([[1.0], [3.0]]), np.array([[5.0]])]).mean.tolist()
        [3.0]
    """
    width = rows[0].shape[1]
    count, mean, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    for block in _blocks(rows):
        there = (~np.isnan(block)).sum(axis=0) if gaps else np.full(width, len(block))
        own = np.where(there > 0, (np.nansum if gaps else np.sum)(block, axis=0) / np.maximum(there, 1), mean)
        block -= own
        block *= block
        together = count + there
        shift = (own - mean) * there / np.maximum(together, 1)
        squares += (np.nansum if gaps else np.sum)(block, axis=0) + (own - mean) * shift * count
        mean, count = mean + shift, together
    std = np.sqrt(squares / count)
    std[std <= 1e-8 * np.abs(mean)] = 1.0  # a constant channel, up to rounding
    return Statistics(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


def share_missing(train: SeriesSet) -> float:
    """Share of missing values.

    Raises:
        ValueError: a channel was never observed, or a series not at all.

    Example:
        >>> share_missing(SeriesSet([np.array([[1.0], [np.nan]])]))
        0.5
    """
    observed = np.zeros(train.n_channels, dtype=np.int64)
    for name, row in zip(train.names, train.values, strict=True):
        count = np.count_nonzero(~np.isnan(row), axis=0)
        if not count.any():
            raise ValueError(f"series {name!r} of {train.origin} has no value at all; remove it")
        observed += count
    if not observed.all():
        k = int(np.flatnonzero(observed == 0)[0])
        name = repr(train.channels[k]) if train.channels else str(k)
        raise ValueError(
            f"channel {name} of {train.origin} is missing in every training series, so nothing can be learned from it; "
            "leave the channel out"
        )
    return float(1 - observed.sum() / (train.lengths.sum() * train.n_channels))


def _blocks(rows: Sequence[Array]) -> Iterator[Array]:
    """All samples in float64, several short series or a piece of a long one at once."""
    waiting: list[Array] = []
    size = 0
    for row in rows:
        piece = max(1, BLOCK // row.shape[1])
        for i in range(0, len(row), piece):
            waiting.append(row[i : i + piece])
            size += waiting[-1].size
            if size >= BLOCK:
                yield np.concatenate(waiting, dtype=np.float64)
                waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting, dtype=np.float64)
