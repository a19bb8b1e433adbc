"""Trying a forecaster before it is fitted: models of growing pasts forecast what comes after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_choice import Fold, choose_penalty
from seqkit.estimators.forecast_manner import ForecastManner
from seqkit.estimators.forecast_network import Trained
from seqkit.estimators.forecast_sizes import ForecastSizes
from seqkit.estimators.forecast_windows import Origins, Scaling, WindowSet
from seqkit.estimators.linear import PENALTIES, Linear, fit_linear, no_linear
from seqkit.estimators.past import Past
from seqkit.estimators.spread import UNITS, Spread, choose_unit, spread_of, units

__all__ = ["independent", "spread_of_folds", "try_forecasts"]

Cut = tuple[list[int], Origins, Origins]

MOST_HELD_OUT = 100_000
"""Values that a trial forecasts at most: they are kept for each epoch."""


def try_forecasts(
    pasts: Sequence[Past], cuts: Sequence[Cut], sizes: ForecastSizes, manner: ForecastManner
) -> tuple[list[Fold], float, Trained]:
    """Learns what lies before each cut and forecasts what comes after it.

    Args:
        pasts: The series.
        cuts: As `rolling_cuts` gives them, each with something to learn and something to forecast.
        sizes: Sizes.
        manner: Everything else.

    Returns:
        Forecasts after each cut in order of time, the penalty of the linear part under which they are best, and the
        training before the last cut.
    """
    whole = np.stack([Scaling.of(past, past.length).y_std for past in pasts])
    most = max(20, MOST_HELD_OUT // (sizes.horizon * whole.shape[1]))
    parts = []
    for before, train, after in cuts:
        scalings = [Scaling.of(past, stop) for past, stop in zip(pasts, before, strict=True)]
        few = _thinned(after, most)
        windows = manner.windows(pasts, scalings, few, sizes)
        parts.append((manner.windows(pasts, scalings, train, sizes), windows, windows.scale / whole[few.owner]))
    penalty, lines = _choose_linear(parts, manner)
    # The longest past first: it says how many epochs are worth it, and the others follow it.
    folds, told, course = [], None, sizes
    quiet = replace(manner, callbacks=(), verbose=False)
    for k, (earlier, later, size) in reversed(list(enumerate(parts))):
        base, epochs = lines[k](later), sizes.epochs if told is None else len(told.history)
        share = 0.3 if told is None else 0.3 + 0.3 * (len(parts) - 1 - k) / (len(parts) - 1)
        way = manner if told is None else quiet
        _, trained = way.train(earlier, lines[k], course, epochs, share, (later, base))
        told, course = told or trained, replace(sizes, patience=None)
        folds.append(Fold(later, size, [base + added for added in trained.added]))
    assert told is not None
    return folds[::-1], penalty, told


def _choose_linear(
    parts: Sequence[tuple[WindowSet, WindowSet, Array]], manner: ForecastManner
) -> tuple[float, list[Linear]]:
    """The penalty under which linear parts forecast what comes after each cut best, and those linear parts."""
    if not manner.linear:
        return PENALTIES[-1], [no_linear(earlier) for earlier, *_ in parts]
    found = [[fit_linear(earlier, penalty) for penalty in PENALTIES] for earlier, *_ in parts]
    ahead = [[one(later) for one in lines] for lines, (_, later, _) in zip(found, parts, strict=True)]
    best = choose_penalty([(later, size) for _, later, size in parts], ahead)
    return PENALTIES[best], [lines[best] for lines in found]


def spread_of_folds(folds: Sequence[Fold], errors: Sequence[Array], season: int, n: float) -> Spread:
    """How far the forecasts of all folds are off, in the unit that suits them.

    Args:
        folds: What was forecast after each cut.
        errors: Errors of these forecasts, in units of their windows.
        season: Samples of a season; 1 for none.
        n: About how many windows are independent of each other.
    """
    plain = np.concatenate([error * fold.windows.scale[:, None] for error, fold in zip(errors, folds, strict=True)])
    found = {unit: np.concatenate([units(fold.windows, unit, season) for fold in folds]) for unit in UNITS}
    whole = np.concatenate([fold.windows.scale / fold.size for fold in folds])
    unit = choose_unit(plain / whole[:, None], {name: one / whole for name, one in found.items()})
    return spread_of(plain / found[unit][:, None], unit, season, n)


def independent(cuts: Sequence[Cut], horizon: int) -> float:
    """How many horizons of H steps lie side by side after the cuts: windows that overlap go wrong together.

    Example:
        >>> independent([([4], Origins(np.array([0]), np.array([3])), Origins(np.zeros(9, int), np.arange(4, 13)))], 4)
        3.0
    """
    owner = np.concatenate([later.owner for *_, later in cuts])
    known = np.concatenate([later.known for *_, later in cuts])
    return sum(float(np.ptp(known[owner == i])) / horizon + 1 for i in np.unique(owner))


def _thinned(origins: Origins, most: int) -> Origins:
    """Every second, third, ... start, so that they are few enough."""
    stride = -(-len(origins) // most)
    return Origins(origins.owner[::stride], origins.known[::stride])
