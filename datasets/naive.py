"""Forecasts that anybody can make, to hold a model's against."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.windows import Windows

__all__ = ["naive_forecasts", "season_of"]

_HOUR = 3600.0
_MONTH = 365.2425 / 12 * 86400
_SEASONS = {60.0: 1440, 300.0: 288, 600.0: 144, 900.0: 96, 1800.0: 48, _HOUR: 24, 24 * _HOUR: 7, 7 * 24 * _HOUR: 52,
            _MONTH: 12, 3 * _MONTH: 4}  # fmt: skip


def season_of(sample_rate: float | None) -> int | None:
    """Samples of the season that a step suggests: a day of minutes or hours, a week of days, a year of weeks or months.

    Example:
        >>> season_of(1 / 3600), season_of(1 / 86400), season_of(100.0)
        (24, 7, None)
    """
    if sample_rate is None:
        return None
    return next((samples for step, samples in _SEASONS.items() if abs(sample_rate * step - 1) < 0.01), None)


def naive_forecasts(series: SeriesSet) -> dict[str, Array]:
    """Forecasts for windows by the last value, and by the last season where there is one.

    The season looks back beyond a window where it is longer; where the series is too short or has a gap there, the last
    value stands in.

    Args:
        series: Windows that a `Forecast` made; other series have no such forecasts.

    Returns:
        Values like the target, (n, T), by the name of the method; empty for other series.

    Cost:
        O(n T), and a pass over the whole series.

    Example:
        >>> from seqkit.datasets.forecast import Forecast
        >>> windows = Forecast(2, window=3).windows(SeriesSet([np.arange(6.0)[:, None]]))
        >>> naive_forecasts(windows)["last value"].tolist()
        [[2.0, 2.0], [3.0, 3.0]]
    """
    rows = series.values
    if not isinstance(rows, Windows):
        return {}
    season = rows.season or season_of(series.sample_rate)
    names = ["last value", *([f"last season ({season} samples)"] if season else [])]
    places, horizon = list(rows.places), rows.horizon
    out = {name: np.zeros((len(series), horizon * len(places)), dtype=np.float32) for name in names}
    for owner in np.unique(rows.owner).tolist():
        mine = np.flatnonzero(rows.owner == owner)
        held = _held(np.asarray(rows.base[owner])[:, places])
        end = rows.start[mine] + rows.size
        last = np.repeat(held[end - 1][:, None], horizon, axis=1)
        out["last value"][mine] = last.reshape(len(mine), -1)
        if season:
            back = end[:, None] - season + np.arange(horizon) % season
            found = np.where((back >= 0)[..., None], held[np.maximum(back, 0)], np.nan)
            out[names[1]][mine] = np.where(np.isnan(found), last, found).reshape(len(mine), -1)
    return out


def _held(y: Array) -> Array:
    """Each channel with gaps filled by its last value before them."""
    places = np.where(np.isfinite(y), np.arange(len(y))[:, None], 0)
    return np.take_along_axis(y, np.maximum.accumulate(places, axis=0), axis=0)
