"""Forecasts of one series at given steps, and the frames in which sktime takes and gives those of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_learning import DirectForecast
from seqkit.estimators.forecast_windows import Origins, Scaling
from seqkit.estimators.past import Past

__all__ = ["joined", "stacked", "values_at"]


def values_at(
    model: DirectForecast, past: Past, scaling: Scaling, X: Any, steps: Array, alphas: Sequence[float | None]
) -> Array:
    """Forecasts or quantiles of one series.

    Args:
        model: The fitted parts.
        past: What came so far of the series.
        scaling: Its centre and unit.
        X: What is known beside over the horizon, or None.
        steps: Steps from the end, whole numbers; 0 and below lie within the series.
        alphas: Levels of the quantiles; None for the forecast itself.

    Returns:
        (steps, channels times levels).

    Raises:
        ValueError: a step beyond the horizon.
    """
    horizon = model.sizes.horizon
    if len(steps) and int(steps.max()) > horizon:
        raise ValueError(
            f"step {steps.max()} lies beyond the horizon of {horizon} that the model was fitted for; fit with an "
            "`fh` or a `horizon` that reaches it"
        )
    # A step ahead is forecast from the end; one within the series from the sample before it.
    known = np.where(steps > 0, past.length, np.maximum(past.length - 1 + steps, 0))
    places = np.where(steps > 0, steps - 1, 0)
    starts, which = np.unique(known, return_inverse=True)
    origins = Origins(np.zeros(len(starts), dtype=np.int64), starts)
    windows = model.windows([past], [scaling], origins, [past.ahead(X, horizon)])
    forecasts = model(windows)
    columns = []
    for k in range(past.y.shape[1]):
        centre, unit = windows.centre[which, k], windows.scale[which, k]
        middle = forecasts[which, places, k]
        for alpha in alphas:
            away = 0.0 if alpha is None else model.away(windows, alpha)[which, places, k]
            columns.append(centre + unit * middle + away)
    return np.stack(columns, axis=1)


def stacked(parts: Sequence[Any], keys: Sequence[tuple[Any, ...]], names: Any) -> Any:
    """The frames of several series as one, with their keys in front of the times; that of a series without a key."""
    import pandas as pd  # noqa: PLC0415

    if keys == [()]:
        return parts[0]
    rows = [(*key, t) for key, part in zip(keys, parts, strict=True) for t in part.index]
    return pd.concat(parts).set_axis(pd.MultiIndex.from_tuples(rows, names=names))


def joined(old: Any, new: Any) -> Any:
    """Both frames in order of time; of what is in both the new one."""
    if old is None or new is None:
        return new if old is None else old
    both = new.combine_first(old)
    return both[old.columns]
