"""How far forecasts are off: quantiles from the errors on values that were held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["Spread", "spread_of"]


class Spread(NamedTuple):
    """Errors of forecasts in units of each window.

    Args:
        step: Root mean square error at each step ahead, (H, T).
        errors: Errors over that, sorted, one array a channel.

    Example:
        >>> spread_of(np.array([[[-1.0]], [[0.0]], [[1.0]]])).quantile(0.5)[0, 0] == 0.0
        np.True_
    """

    step: Array
    errors: tuple[Array, ...]

    def quantile(self, alpha: float) -> Array:
        """Distance of a quantile from the forecast at each step ahead, (H, T).

        Among n errors the quantile is that of rank alpha (n + 1), so that a new error lies below it with probability
        alpha where errors are exchangeable; beyond the extreme errors it is the outermost one.
        """
        levels = []
        for errors in self.errors:
            rank = alpha * (len(errors) + 1) - 1
            levels.append(np.interp(rank, np.arange(len(errors)), errors))
        return self.step * np.array(levels)


def spread_of(errors: Array) -> Spread:
    """The spread of errors, (m, H, T), NaN where nothing was observed.

    Errors of all steps count together, each over the size that errors have at its step: a step has few of its own.

    Source:
        Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018), with errors scaled by step. Differs:
        errors of a series in time are not exchangeable, so coverage is measured rather than guaranteed.

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
    return Spread(step, tuple(np.sort(one[np.isfinite(one)]) if np.isfinite(one).any() else np.zeros(1)
                              for one in np.moveaxis(scaled, -1, 0)))  # fmt: skip
