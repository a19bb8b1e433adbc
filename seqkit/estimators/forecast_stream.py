"""The online form of a fitted forecaster: one sample in, the forecasts from there out."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_learning import DirectForecast
from seqkit.estimators.forecast_windows import Origins, Scaling, WindowSet
from seqkit.estimators.past import Past

__all__ = ["ForecastStream"]


class ForecastStream:
    """One series as it comes in; memory and time a sample do not grow, as forecasts look back on one window.

    The same values that `predict` gives after `update(..., update_params=False)` with the series so far.

    Args:
        made: The fitted model.
        scaling: Statistics of the series.
        past: Series to go on from; None for an empty one.

    Example:
        >>> import pandas as pd
        >>> from seqkit.estimators import LSSLForecaster
        >>> y = pd.Series(np.sin(np.arange(80) / 3))
        >>> fitted = LSSLForecaster("s4d", horizon=3, epochs=1, random_state=0).fit(y[:60])
        >>> stream = fitted.stream()
        >>> for value in y[60:]:
        ...     ahead = stream.update(value)
        >>> fitted = fitted.update(y[60:], update_params=False)
        >>> bool(np.allclose(ahead[:, 0], fitted.predict([1, 2, 3]), atol=1e-5)), len(stream)
        (True, 20)
    """

    def __init__(self, made: DirectForecast, scaling: Scaling, past: Past | None = None) -> None:
        self._made, self._scaling, self._start = made, scaling, past
        self.reset(resume=True)

    def reset(self, resume: bool = False) -> None:
        """Begins a new series, or anew where the stream began."""
        past = self._start if resume else None
        self._y = np.zeros((0, len(self._scaling.y_mean))) if past is None else past.y[-self._made.sizes.window :]
        self._X = np.zeros((0, len(self._scaling.x_mean))) if past is None else past.X[-self._made.sizes.window :]
        self._count = 0
        self._last: tuple[Array, WindowSet] | None = None

    def __len__(self) -> int:
        return self._count

    def update(self, sample: Any, X: Any = None, ahead: Any = None) -> Array:
        """Takes one sample.

        Args:
            sample: Values of the forecast channels, (T,), or a number where there is one; NaN where one is missing.
            X: What is known beside them, (K,); None for nothing.
            ahead: What is known beside at the steps ahead, (F, K); what it lacks is held.

        Returns:
            Forecasts of the steps ahead, (H, T).

        Raises:
            ValueError: another number of channels, or infinite values.

        Cost:
            One window through the model: O(1) in the length of the series.
        """
        window, n_known = self._made.sizes.window, len(self._scaling.x_mean)
        y = _checked("sample", sample, (len(self._scaling.y_mean),))
        known = np.full(n_known, np.nan) if X is None else _checked("X", X, (n_known,))
        later = None
        if ahead is not None:
            table = np.asarray(ahead, dtype=np.float64)
            later = [_checked("ahead", table, (len(table), n_known))]
        self._y, self._X = (np.vstack([old, new])[-window:] for old, new in ((self._y, y), (self._X, known)))
        self._count += 1
        past = Past((), None, self._y, self._X)
        origins = Origins(np.zeros(1, dtype=np.int64), np.array([len(self._y)]))
        windows = self._made.windows([past], [self._scaling], origins, later)
        middle = windows.centre[0] + windows.scale[0] * self._made(windows)[0]
        self._last = middle, windows
        return np.asarray(middle.copy())

    def quantile(self, alpha: float) -> Array:
        """A quantile of the forecasts from the last sample, (H, T).

        Raises:
            ValueError: no sample has come yet.
        """
        if self._last is None:
            raise ValueError("a stream forecasts from its first sample on; call update(sample) first")
        middle, windows = self._last
        return np.asarray(middle + self._made.away(windows, alpha)[0])


def _checked(name: str, given: Any, shape: tuple[int, ...]) -> Array:
    values = np.asarray(given, dtype=np.float64)
    values = values[None] if values.ndim == 0 else values
    if values.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {values.shape}")
    if np.isinf(values).any():
        raise ValueError(f"`{name}` must be finite, got an infinite value; leave it out as missing (NaN)")
    return values
