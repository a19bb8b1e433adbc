"""How far to trust a forecaster: its weight against naive forecasts, from forecasts of what it had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_windows import WindowSet

__all__ = ["Blend", "Fold", "choose_blend", "choose_penalty", "naive"]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights to choose from; a finer grid would follow the noise of a few held-out windows."""

FRESH = 2.0
"""How much more the errors after a cut count than those after the one before it: series change their ways."""


class Blend(NamedTuple):
    """forecast = naive + weight (model - naive).

    Args:
        season: Samples after which the naive forecast repeats; 1 for the last value.
        weight: Trust in the model, 0 to 1.
        epoch: Epoch of the network; 0 where it adds nothing.

    Example:
        >>> Blend(1, 0.0, 0)(np.array([[[5.0]]]), np.array([[[3.0]]])).item()
        3.0
    """

    season: int = 1
    weight: float = 1.0
    epoch: int = 0

    def __call__(self, model: Array, base: Array) -> Array:
        """Forecasts from those of the model and of the naive one, alike in shape."""
        return np.asarray(base + self.weight * (model - base))


class Fold(NamedTuple):
    """Forecasts of windows that come after all that they were learned from.

    Args:
        windows: The windows, with what came after.
        size: One over the unit of each window in deviations of its series, (m, T): what errors are multiplied by to
            count alike.
        epochs: The model's forecasts after each epoch, the first without the network, (m, H, T) each.
    """

    windows: WindowSet
    size: Array
    epochs: Sequence[Array]


def naive(windows: WindowSet, season: int) -> Array:
    """What was one season before each step, the last season again and again, (m, H, T); with 1 the last value.

    Example:
        >>> from seqkit.estimators.forecast_windows import Origins, Scaling, windows_at
        >>> from seqkit.estimators.past import Past
        >>> past = Past((), None, np.arange(6.0)[:, None], np.zeros((6, 0)))
        >>> made = windows_at([past], [Scaling(*np.array([[0.0], [1.0], [0.0], [1.0]]))], Origins(
        ...     np.array([0]), np.array([6])), 4, 3, difference=False, by_window=False)
        >>> naive(made, 2)[0, :, 0].tolist()
        [4.0, 5.0, 4.0]
    """
    horizon, size = windows.target.shape[1], windows.held.shape[1]
    return np.asarray(windows.held[:, size - season + np.arange(horizon) % season])


def choose_blend(
    folds: Sequence[Fold], seasons: Sequence[int], independent: float = np.inf
) -> tuple[Blend, list[Array]]:
    """The blend with the least mean absolute error over all folds, and the errors of each fold without a choice by it.

    Of two folds the later one counts more. A network has to be better than none by more than the standard error of
    what it gains: of many epochs some is the best by chance. The errors of a fold are those of the blend that is best
    on the other folds: a choice that follows the noise of what it is made by would make its own errors too small.

    Args:
        folds: Forecasts of what was held out.
        seasons: Seasons of the naive forecasts, in order of preference where errors are equal.
        independent: About how many windows of all folds are independent of each other.

    Returns:
        The blend, and the errors (m, H, T) of each fold, in units of its windows, NaN where nothing was observed.
    """
    n_epochs = min(len(fold.epochs) for fold in folds)
    choices = [Blend(s, w, e) for w in WEIGHTS for s in seasons for e in (range(n_epochs) if w else (0,))]
    plain = np.array([one.epoch == 0 for one in choices])
    losses = [np.array([_losses(fold.windows, fold.size, _blended(fold, one)) for one in choices]) for fold in folds]
    total = sum(loss.shape[1] for loss in losses)

    def best(which: Sequence[int]) -> Blend:
        table = np.concatenate([losses[k] for k in which], axis=1)
        fresh = np.concatenate([np.full(losses[k].shape[1], FRESH**k) for k in which])
        means = table @ fresh / fresh.sum()
        # Equal but for rounding is equal: then the simpler one, which comes first.
        first = int(np.flatnonzero(means <= means.min() * (1 + 1e-6) + 1e-9)[0])
        without = int(np.where(plain, means, np.inf).argmin())
        gain = table[without] - table[first]
        doubt = np.sqrt(np.average((gain - gain.mean()) ** 2, weights=fresh) / (independent * len(gain) / total))
        return choices[first if plain[first] or means[without] - means[first] > doubt else without]

    every = range(len(folds))
    chosen = best(every)
    errors = []
    for k, fold in enumerate(folds):
        others = best([i for i in every if i != k]) if len(folds) > 1 else chosen
        errors.append(fold.windows.target - _blended(fold, others))
    return chosen, errors


def choose_penalty(folds: Sequence[tuple[WindowSet, Array]], forecasts: Sequence[Sequence[Array]]) -> int:
    """Place of the penalty with the least mean absolute error over all folds, of which later ones count more.

    Args:
        folds: Windows of each fold in order of time, and what their errors are multiplied by to count alike, (m, T).
        forecasts: For each fold those of each penalty, (m, H, T).
    """
    total = np.zeros(len(forecasts[0]))
    for k, ((windows, size), found) in enumerate(zip(folds, forecasts, strict=True)):
        total += [FRESH**k * float(_losses(windows, size, one).sum()) for one in found]
    return int(np.argmin(total))


def _blended(fold: Fold, blend: Blend) -> Array:
    return blend(fold.epochs[blend.epoch], naive(fold.windows, blend.season))


def _losses(windows: WindowSet, size: Array, forecast: Array) -> Array:
    """Mean absolute error of each window, (m,)."""
    error = np.abs(windows.target - forecast) * size[:, None]
    seen = np.isfinite(error)
    return np.asarray(np.where(seen, error, 0.0).sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1))
