"""Windows of the past in units of their own, and what came after them, for a forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.past import Past

__all__ = ["Origins", "Scaling", "WindowSet", "cut_in_time", "rolling_cuts", "windows_at"]

STILL = 0.05
"""Deviation of a still window, in deviations of its series: what divides by it must not blow up noise."""


class Scaling(NamedTuple):
    """Mean and deviation of each channel of one series, (T,) and (K,)."""

    y_mean: Array
    y_std: Array
    x_mean: Array
    x_std: Array

    @classmethod
    def of(cls, past: Past, stop: int) -> Scaling:
        """Statistics of the first `stop` samples.

        Example:
            >>> Scaling.of(Past((), None, np.array([[1.0], [3.0], [9.0]]), np.zeros((3, 0))), 2).y_mean
            array([2.])
        """
        return cls(*_moments(past.y[:stop]), *_moments(past.X[:stop]))


@dataclass(frozen=True, eq=False)
class Origins:
    """Where forecasts start from: series, and number of samples that are known then, (m,) each."""

    owner: Array
    known: Array

    def __len__(self) -> int:
        return len(self.known)


@dataclass(frozen=True, eq=False)
class WindowSet:
    """Windows and what came after them, in units of each window: (value - centre) / scale.

    Args:
        y: The window, (m, W, T); NaN where nothing was observed.
        held: The same with the last observed value in each gap, the first one before it.
        X: What is known beside, over window and horizon, (m, W + H, K), without gaps.
        target: What came after, (m, H, T); NaN where nothing was observed, or lies ahead.
        centre: Centre of each window, (m, T), in units of `y` as it was given.
        scale: Unit of each window, (m, T), likewise.
        deviation: Deviation of each window's series, (m, T), likewise.

    Example:
        >>> past = Past((), None, np.arange(8.0)[:, None], np.zeros((8, 0)))
        >>> made = windows_at([past], [Scaling.of(past, 8)], Origins(np.array([0]), np.array([5])), 3, 2)
        >>> made.centre.tolist(), made.y.shape, made.target.shape
        ([[4.0]], (1, 3, 1), (1, 2, 1))
    """

    y: Array
    held: Array
    X: Array
    target: Array
    centre: Array
    scale: Array
    deviation: Array


def cut_in_time(pasts: Sequence[Past], horizon: int, first: int, share: float, most: int) -> tuple[Origins, Origins]:
    """Starts of forecasts for training and for validation: as in `seqkit.datasets.forecast`, cut in time.

    A forecast for validation may look back beyond the cut; none for training reaches over it.

    Args:
        pasts: The series.
        horizon: Steps H.
        first: Samples known at the earliest start.
        share: Share of each series, its last samples, for validation; 0 for none.
        most: Number of starts at most; every second, third, ... is left out until they are few enough.

    Example:
        >>> past = Past((), None, np.zeros((10, 1)), np.zeros((10, 0)))
        >>> train, val = cut_in_time([past], horizon=2, first=4, share=0.3, most=99)
        >>> train.known.tolist(), val.known.tolist()
        ([4, 5], [7, 8])
    """
    train, val = [], []
    for i, (past, every) in enumerate(zip(pasts, _starts(pasts, horizon, first, most), strict=True)):
        cut = past.length - round(share * past.length)
        train += [(i, k) for k in every[every + horizon <= cut].tolist()]
        val += [(i, k) for k in every[every >= cut].tolist()] if share else []
    return _origins(train), _origins(val)


def rolling_cuts(
    pasts: Sequence[Past], horizon: int, first: int, share: float, n_cuts: int, most: int
) -> list[tuple[list[int], Origins, Origins]]:
    """Cuts that move on through the last share of each series, with what is learned before and forecast after each.

    A cut's forecasts start between it and the next one, and may reach beyond that; nothing is learned from what
    comes after the cut.

    Args:
        pasts: The series.
        horizon: Steps H.
        first: Samples known at the earliest start.
        share: Share of each series, its last samples, that cuts move through.
        n_cuts: Number of cuts.
        most: Number of starts at most, as in `cut_in_time`.

    Returns:
        For each cut: samples of each series before it, starts to learn from, and starts to forecast from.

    Example:
        >>> past = Past((), None, np.zeros((20, 1)), np.zeros((20, 0)))
        >>> for before, train, later in rolling_cuts([past], 2, first=4, share=0.4, n_cuts=2, most=99):
        ...     before, train.known.max().item(), later.known.tolist()
        ([12], 10, [12, 13, 14, 15])
        ([16], 14, [16, 17, 18])
    """
    starts = _starts(pasts, horizon, first, most)
    out = []
    for k in range(n_cuts):
        before = [past.length - round(share * past.length * (n_cuts - k) / n_cuts) for past in pasts]
        after = [past.length - round(share * past.length * (n_cuts - k - 1) / n_cuts) for past in pasts]
        train, later = [], []
        for i, every in enumerate(starts):
            train += [(i, known) for known in every[every + horizon <= before[i]].tolist()]
            later += [(i, known) for known in every[(every >= before[i]) & (every < after[i])].tolist()]
        out.append((before, _origins(train), _origins(later)))
    return out


def _starts(pasts: Sequence[Past], horizon: int, first: int, most: int) -> list[Array]:
    """Samples known at each start of each series."""
    total = sum(max(0, past.length - horizon - first + 1) for past in pasts)
    stride = max(1, -(-total // most))
    found = [np.arange(past.length - horizon, first - 1, -stride)[::-1] for past in pasts]
    return [every[_has_target(past, every, horizon)] for past, every in zip(pasts, found, strict=True)]


def windows_at(
    pasts: Sequence[Past],
    scalings: Sequence[Scaling],
    origins: Origins,
    size: int,
    horizon: int,
    *,
    difference: bool = True,
    by_window: bool = True,
    ahead: Sequence[Array] | None = None,
) -> WindowSet:
    """Windows that end where forecasts start.

    Args:
        pasts: The series.
        scalings: Their statistics.
        origins: Where the forecasts start.
        size: Samples W of a window; what lies before a series' start counts as missing.
        horizon: Steps H.
        difference: Whether the centre is the last observed value; the mean of the series otherwise.
        by_window: Whether the unit is the window's own deviation; the series' otherwise.
        ahead: What is known beside at the next steps of each series, (F, K) each; NaN where it is not.
    """
    parts = [_of_series(pasts[i], size, horizon, None if ahead is None else ahead[i]) for i in range(len(pasts))]
    y = np.stack([parts[i][0][k : k + size] for i, k in zip(origins.owner, origins.known, strict=True)])
    target = np.stack(
        [parts[i][0][k + size : k + size + horizon] for i, k in zip(origins.owner, origins.known, strict=True)]
    )
    known = np.stack([parts[i][1][k : k + size + horizon] for i, k in zip(origins.owner, origins.known, strict=True)])
    mean, std, x_mean, x_std = (np.stack([s[j] for s in scalings])[origins.owner][:, None] for j in range(4))
    y, target = (y - mean) / std, (target - mean) / std
    # What is not known ahead is held; what a series starts without is its mean.
    X = np.nan_to_num(_hold((known - x_mean) / x_std))
    held = _fill(y)
    centre = held[:, -1:] if difference else np.zeros_like(held[:, -1:])
    scale = np.sqrt(held.var(axis=1, keepdims=True) + STILL**2) if by_window else np.ones_like(centre)
    return WindowSet(
        y=(y - centre) / scale,
        held=(held - centre) / scale,
        X=X,
        target=(target - centre) / scale,
        centre=(centre * std + mean)[:, 0],
        scale=(scale * std)[:, 0],
        deviation=std[:, 0],
    )


def _of_series(past: Past, size: int, horizon: int, ahead: Array | None) -> tuple[Array, Array]:
    """Values and what is known beside, with NaN for a window before the start and a horizon after the end."""

    def padded(values: Array, after: Array) -> Array:
        return np.concatenate([np.full((size, values.shape[1]), np.nan), values, after])

    after = np.full((horizon, past.X.shape[1]), np.nan)
    if ahead is not None:
        after[: len(ahead)] = ahead[:horizon]
    return padded(past.y, np.full((horizon, past.y.shape[1]), np.nan)), padded(past.X, after)


def _hold(values: Array) -> Array:
    """The last observed value in each gap, (m, L, C); NaN before the first."""
    places = np.where(np.isfinite(values), np.arange(values.shape[1])[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(places, axis=1), axis=1)


def _fill(values: Array) -> Array:
    """The last observed value in each gap, the first one before it, and 0, the series' mean, where there is none."""
    held = _hold(values)
    filled: Array = np.nan_to_num(np.where(np.isnan(held), _hold(held[:, ::-1])[:, ::-1], held))
    return filled


def _has_target(past: Past, known: Array, horizon: int) -> Array:
    """Whether a value to forecast was observed, and one before it to go by, (m,)."""
    seen = np.concatenate([[0], np.cumsum(np.isfinite(past.y).any(axis=1))])
    out: Array = (seen[known + horizon] > seen[known]) & (seen[known] > 0)
    return out


def _moments(values: Array) -> tuple[Array, Array]:
    seen = np.isfinite(values)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, values, 0).sum(axis=0) / count
    std = np.sqrt(np.where(seen, (values - mean) ** 2, 0).sum(axis=0) / count)
    return mean, np.where(std > 1e-12 * (1 + np.abs(mean)), std, 1.0)


def _origins(pairs: list[tuple[int, int]]) -> Origins:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Origins(table[:, 0], table[:, 1])
