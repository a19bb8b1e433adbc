"""The linear part of a forecast: ridge regression in closed form from a window to all steps ahead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_windows import WindowSet

__all__ = ["PENALTIES", "Linear", "fit_linear", "no_linear"]

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-6, 7))
"""Penalties to choose from, per window and unit of a feature's mean square."""


class Linear(NamedTuple):
    """One map for each channel: ŷ = f W + b, f the window and what is known of the horizon.

    Args:
        weight: (T, F, H).
        bias: (T, H).

    Example:
        >>> Linear(np.zeros((1, 3, 2)), np.zeros((1, 2))).weight.shape
        (1, 3, 2)
    """

    weight: Array
    bias: Array

    def __call__(self, windows: WindowSet) -> Array:
        """Forecasts, (m, H, T), in units of each window."""
        out = [features(windows, k) @ self.weight[k] + self.bias[k] for k in range(len(self.weight))]
        return np.stack(out, axis=-1)


def no_linear(windows: WindowSet) -> Linear:
    """The map to 0, which is each window's centre."""
    n_channels, horizon = windows.y.shape[-1], windows.target.shape[1]
    return Linear(np.zeros((n_channels, features(windows, 0).shape[1], horizon)), np.zeros((n_channels, horizon)))


def features(windows: WindowSet, channel: int) -> Array:
    """What the map of one channel reads, (m, F): its own window, and what is known, now and at each step ahead."""
    m, size, _ = windows.held.shape
    now, later = windows.X[:, size - 1], windows.X[:, size:]
    return np.concatenate([windows.held[..., channel], now, (later - now[:, None]).reshape(m, -1)], axis=1)


def fit_linear(windows: WindowSet, penalty: float) -> Linear:
    """The map of least squares with a penalty on the weights; steps that were not observed do not count.

    Args:
        windows: Windows with what came after them.
        penalty: Penalty, per window and unit of the features' mean square.

    Cost:
        F³ and m F², for each channel; H times that where values are missing.

    Example:
        >>> from seqkit.estimators.forecast_windows import Origins, Scaling, windows_at
        >>> from seqkit.estimators.past import Past
        >>> past = Past((), None, np.sin(np.arange(40.0))[:, None], np.zeros((40, 0)))
        >>> made = windows_at([past], [Scaling.of(past, 40)], Origins(np.zeros(30, int), np.arange(8, 38)), 8, 2)
        >>> bool(np.abs(fit_linear(made, 1e-6)(made) - made.target).max() < 0.01)
        True
    """
    maps = []
    for k in range(windows.y.shape[-1]):
        f, target = features(windows, k), windows.target[..., k]
        if np.isfinite(target).all():
            maps.append(_ridge(f, target, penalty))
            continue
        columns = []
        for h in range(target.shape[1]):
            seen = np.isfinite(target[:, h])
            columns.append(_ridge(f[seen], target[seen, h : h + 1], penalty))
        maps.append((np.concatenate([w for w, _ in columns], axis=1), np.concatenate([b for _, b in columns])))
    return Linear(np.stack([w for w, _ in maps]), np.stack([b for _, b in maps]))


def _ridge(f: Array, target: Array, penalty: float) -> tuple[Array, Array]:
    m, width = f.shape
    if m == 0:
        return np.zeros((width, target.shape[1])), np.zeros(target.shape[1])
    f_mean, y_mean = f.mean(axis=0), target.mean(axis=0)
    x = f - f_mean
    size = penalty * max(m * float(np.square(x).mean()), 1e-12)
    weight = np.linalg.solve(x.T @ x + size * np.eye(width), x.T @ (target - y_mean))
    return weight, y_mean - f_mean @ weight
