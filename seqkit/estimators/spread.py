"""How far forecasts are off: quantiles from the errors of forecasts of what was held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_windows import WindowSet

__all__ = ["UNITS", "Spread", "choose_unit", "spread_of", "units"]

UNITS = ("series", "window", "changes")
"""What errors are measured in: the deviation of the series, that of the window, or the window's mean change over a
season, which is what a naive forecast would have been off."""

STILL = 0.1
"""Least unit of a window in deviations of its series: a window that happened to stand still promises nothing."""

MANY = 200
"""Errors from which on both tails are read by themselves; fewer are taken as alike in both directions."""


class Spread(NamedTuple):
    """Errors of forecasts, in a unit of each window.

    Args:
        step: Root mean square error at each step ahead, (H, T).
        errors: Errors over that, sorted, one array a channel.
        unit: What errors are measured in, one of `UNITS`.
        season: Samples of a season, for "changes".
        independent: About how many of the errors are independent; infinite where that is not to be minded.

    Example:
        >>> spread_of(np.array([[[-1.0]], [[0.0]], [[1.0]]])).quantile(0.5)[0, 0] == 0.0
        np.True_
    """

    step: Array
    errors: tuple[Array, ...]
    unit: str = "series"
    season: int = 1
    independent: float = np.inf

    def quantile(self, alpha: float) -> Array:
        """Distance of a quantile from the forecast at each step ahead, (H, T), in units of the window.

        Among n errors the quantile is that of rank alpha (n + 1), so that a new error lies below it with probability
        alpha where errors are exchangeable; beyond the extreme errors it is the outermost one. Errors of windows that
        overlap go wrong together: by how much few independent ones leave their size in doubt, all quantiles are
        farther out, as Student's are beyond the normal ones.
        """
        levels = []
        for errors in self.errors:
            rank = alpha * (len(errors) + 1) - 1
            levels.append(np.interp(rank, np.arange(len(errors)), errors))
        return self.step * np.array(levels) * _doubt(alpha, self.independent)


def spread_of(errors: Array, unit: str = "series", season: int = 1, independent: float = np.inf) -> Spread:
    """The spread of errors, (m, H, T), NaN where nothing was observed.

    Errors of all steps count together, each over the size that errors have at its step: a step has few of its own.

    Source:
        Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018), with errors scaled by step and window.
        Differs: errors of a series in time are not exchangeable, so coverage is measured rather than guaranteed, and
        few independent errors widen it as in Student's distribution.

    Example:
        >>> errors = np.random.default_rng(0).normal(size=(999, 2, 1)) * np.array([1.0, 3.0])[:, None]
        >>> spread_of(errors).quantile(0.95).round(1).ravel().tolist()
        [1.7, 4.8]
    """
    seen = np.isfinite(errors)
    count = seen.sum(axis=0)
    square = np.where(seen, errors, 0.0) ** 2
    overall = np.sqrt(square.sum(axis=(0, 1)) / np.maximum(seen.sum(axis=(0, 1)), 1))
    step = np.where(count > 0, np.sqrt(square.sum(axis=0) / np.maximum(count, 1)), overall)
    step = np.maximum(step, 1e-12)
    scaled = errors / step
    return Spread(step, tuple(_sorted(one) for one in np.moveaxis(scaled, -1, 0)), unit, season, independent)


def units(windows: WindowSet, unit: str, season: int = 1) -> Array:
    """The unit of each window's errors, (m, T), in units of `y` as it was given.

    Args:
        windows: The windows.
        unit: One of `UNITS`.
        season: Samples of a season, for "changes".
    """
    series = windows.deviation
    if unit == "series":
        return series
    if unit == "window":
        own = windows.held.std(axis=1)
    else:
        lag = season if season < windows.held.shape[1] else 1
        changes = np.abs(windows.held[:, lag:] - windows.held[:, :-lag])
        own = changes.mean(axis=1) if changes.shape[1] else np.zeros_like(series)
    return np.asarray(np.maximum(own * windows.scale, STILL * series))


def choose_unit(errors: Array, found: dict[str, Array]) -> str:
    """The unit by which errors come out most alike: under which they are most likely, were they Laplace's.

    Args:
        errors: Errors, (m, H, T), all in one unit, NaN where nothing was observed.
        found: The units of the windows by name, (m, T).

    Example:
        >>> choose_unit(np.array([[[1.0]], [[10.0]]]), {"series": np.ones((2, 1)), "window": np.array([[1.0], [10.0]])})
        'window'
    """
    seen = np.isfinite(errors)

    def loss(unit: Array) -> float:
        wide = np.broadcast_to(unit[:, None], errors.shape)
        scaled = np.where(seen, np.abs(errors) / wide, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        size = np.broadcast_to(np.maximum(scaled, 1e-9), errors.shape)
        return float((np.log(wide) + np.log(size))[seen].mean()) if seen.any() else 0.0

    return min(found, key=lambda name: loss(found[name]))


def _sorted(errors: Array) -> Array:
    """Errors in order; few of them in both directions, whichever they had."""
    known = errors[np.isfinite(errors)]
    if len(known) == 0:
        return np.zeros(1)
    return np.sort(known if len(known) >= MANY else np.concatenate([known, -known]))


def _doubt(alpha: float, independent: float) -> float:
    """Student's quantile over the normal one, of as many degrees of freedom as there are independent errors."""
    far = max(alpha, 1 - alpha)
    if not np.isfinite(independent) or far <= 0.5 or far >= 1:
        return 1.0
    return float(stdtrit(max(independent, 2.0), far) / ndtri(far))
