"""A forecasting horizon as steps from the end of a series and as times, also where sktime knows no step."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["steps_from", "times_from"]


def steps_from(fh: Any, end: Any) -> Array:
    """Steps of a horizon from the end of a series: 1 is the one after its last sample.

    Args:
        fh: A `ForecastingHorizon` of sktime.
        end: Index of the last sample alone, which knows its step.

    Example:
        >>> import pandas as pd
        >>> from sktime.forecasting.base import ForecastingHorizon
        >>> end = pd.date_range("2024-01-31", periods=1, freq="D")
        >>> steps_from(ForecastingHorizon(pd.DatetimeIndex(["2024-02-03"]), is_relative=False), end).tolist()
        [3]
    """
    return np.asarray(_with_step(fh, end).to_relative(end).to_numpy(), dtype=np.int64)


def times_from(fh: Any, end: Any) -> Any:
    """Times of a horizon, as an index; arguments as `steps_from`.

    Example:
        >>> import pandas as pd
        >>> from sktime.forecasting.base import ForecastingHorizon
        >>> times_from(ForecastingHorizon([2]), pd.date_range("2024-01-31", periods=1, freq="D"))[0].day
        2
    """
    return _with_step(fh, end).to_absolute_index(end)


def _with_step(fh: Any, end: Any) -> Any:
    """The horizon with the step of the series, where it has none: of an index with gaps sktime finds no step."""
    import pandas as pd  # noqa: PLC0415 - the index is one of its own, so it is there

    values, relative = fh.to_pandas(), fh.is_relative
    freq = getattr(end, "freq", None)
    if relative and isinstance(values, pd.TimedeltaIndex):
        if not isinstance(end, pd.DatetimeIndex):
            raise ValueError(f"`fh` must count steps where the series has no dates, got durations such as {values[0]}")
        values, relative = end[0] + values, False
    elif freq is None or fh.freq is not None:
        return fh
    return type(fh)(values, is_relative=relative, freq=freq)
