"""A fitted forecaster for series as they come in: one sample in, the forecasts from there out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqkit.datasets.rows import Array
from seqkit.estimators.engines import digest_of
from seqkit.estimators.forecast_learning import DirectForecast
from seqkit.estimators.forecast_windows import Origins, Scaling, WindowSet
from seqkit.estimators.past import Past
from seqkit.streaming import Stream
from seqkit.streaming.torch_engine import TorchEngine

__all__ = ["ForecastEngine", "ForecastStream", "WindowState"]


class WindowState(NamedTuple):
    """The last W samples of streams, NaN where nothing was observed: y (B, W, T), and X beside them, (B, W, K)."""

    y: Tensor
    X: Tensor


class ForecastEngine(TorchEngine):
    """Streams of a forecaster; a sample is the T values to forecast and the K known beside, the output (H, T).

    Args:
        made: The fitted model.
        scaling: Statistics of the series.

    Cost:
        One window through the model, whatever has been seen.

    Example:
        >>> ForecastEngine.per_sample, ForecastEngine.takes_missing, ForecastEngine.uses_rate
        (False, True, False)
    """

    per_sample = False
    takes_missing = True
    uses_rate = False

    def __init__(self, made: DirectForecast, scaling: Scaling) -> None:
        self._made, self._scaling = made, scaling
        self.n_targets, self.n_known = len(scaling.y_mean), len(scaling.x_mean)
        self.kind = "LSSLForecaster"
        self.n_channels = self.n_targets + self.n_known
        self.output_shape = (made.sizes.horizon, self.n_targets)
        super().__init__(nn.Module(), dtype=torch.float64, device=torch.device("cpu"))

    def after(self, past: Past) -> dict[str, Tensor]:
        """The state of a stream that has seen a series."""
        state = self.read(self.start(1), 0)
        for name, values in (("y", past.y), ("X", past.X)):
            last = torch.from_numpy(values[-self._made.sizes.window :].copy())
            state[name][len(state[name]) - len(last) :] = last
        return state

    def forecasts(self, states: Any, ahead: Sequence[Array] | None = None) -> Array:
        """Forecasts of the steps ahead of each stream, (n, H, T).

        Args:
            states: States.
            ahead: What is known beside at the steps ahead of each stream, (F, K); None for nothing.
        """
        windows = self._windows(self._picked(states, None), ahead)
        return np.asarray(windows.centre[:, None] + windows.scale[:, None] * self._made(windows))

    def away(self, states: Any, alpha: float) -> Array:
        """Distance of a quantile from the forecasts, (n, H, T)."""
        return self._made.away(self._windows(self._picked(states, None), None), alpha)

    def _windows(self, state: WindowState, ahead: Sequence[Array] | None) -> WindowSet:
        pasts = [Past((), None, y, X) for y, X in zip(state.y.numpy(), state.X.numpy(), strict=True)]
        n = len(pasts)
        origins = Origins(np.arange(n), np.full(n, state.y.shape[1]))
        return self._made.windows(pasts, [self._scaling] * n, origins, ahead)

    def _description(self) -> str:
        made, manner = self._made, self._made.manner
        manners = manner.difference, manner.by_window, manner.linear
        parts = made.linear, made.network, made.spread, made.sizes.window, made.sizes.horizon, made.blend
        return digest_of(*parts, manners, self._scaling)

    def _initial_state(self, n: int) -> WindowState:
        size = self._made.sizes.window
        y, X = (torch.full((n, size, width), torch.nan, dtype=self.dtype) for width in (self.n_targets, self.n_known))
        return WindowState(y, X)

    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        return self._scan(x[:, None], state, 1.0, None, None if observed is None else observed[:, None])

    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        if observed is not None:
            x = torch.where(observed, x, torch.nan)
        parts = x[..., : self.n_targets], x[..., self.n_targets :]
        y, X = (torch.cat([old, new], dim=1)[:, -old.shape[1] :] for old, new in zip(state, parts, strict=True))
        new = WindowState(y.contiguous(), X.contiguous())
        windows = self._windows(new, None)
        return torch.from_numpy(windows.centre[:, None] + windows.scale[:, None] * self._made(windows)), new


class ForecastStream(Stream):
    """`Stream` of a forecaster, which also takes what is known beside, now and ahead.

    The same values that `predict` gives after `update(..., update_params=False)` with the series so far.

    Example:
        >>> import pandas as pd
        >>> from seqkit.estimators import LSSLForecaster
        >>> y = pd.Series(np.sin(np.arange(80) / 3))
        >>> fitted = LSSLForecaster("s4d", horizon=3, epochs=1, random_state=0).fit(y[:60])
        >>> stream = fitted.stream()
        >>> for value in y[60:]:
        ...     ahead = stream.push(value)
        >>> fitted = fitted.update(y[60:], update_params=False)
        >>> bool(np.allclose(ahead[:, 0], fitted.predict([1, 2, 3]), atol=1e-5)), len(stream)
        (True, 20)
    """

    engine: ForecastEngine

    def push(self, x: Any, time: Any = None, *, X: Any = None, ahead: Any = None) -> Array:
        """Takes a sample or a block of samples.

        Args:
            x: Values of the forecast channels, (T,), or a number where there is one; or a block, (L, T). NaN where one
                is missing.
            time: None: samples are a step apart.
            X: What is known beside them, (K,) or (L, K); None for nothing.
            ahead: What is known beside at the steps ahead of the last sample, (F, K); what it lacks is held.

        Returns:
            Forecasts of the steps ahead, (H, T).

        Raises:
            ValueError: another number of channels, infinite values, or a time. The stream is as before.
        """
        n_targets, n_known = self.engine.n_targets, self.engine.n_known
        values = _numbers("x", x, n_targets)
        known = np.full((*values.shape[:-1], n_known), np.nan) if X is None else _numbers("X", X, n_known)
        if known.shape[:-1] != values.shape[:-1]:
            raise ValueError(f"`X` must have a row for each sample of `x`, got {known.shape} for {values.shape}")
        later = None if ahead is None else np.atleast_2d(_numbers("ahead", ahead, n_known))
        if later is not None and np.isinf(later).any():
            raise ValueError("`ahead` must be finite, got an infinite value; leave it out as missing (NaN)")
        out = super().push(np.concatenate([values, known], axis=-1), time)
        if later is None:
            return out
        self._progress.output = self.engine.forecasts(self._states, [later])[0]
        return self.output

    def quantile(self, alpha: float) -> Array:
        """A quantile of the forecasts from the last sample, (H, T).

        Raises:
            ValueError: no sample has come yet.
        """
        return np.asarray(self.output + self.engine.away(self._states, alpha)[0])


def _numbers(name: str, given: Any, width: int) -> Array:
    """A row (width,) or rows (L, width) as numbers."""
    values = np.asarray(given)
    values = values[None] if values.ndim == 0 else values
    if values.dtype.kind not in "fiub" or values.ndim > 2 or values.shape[-1] != width:
        raise ValueError(
            f"`{name}` must be {width} numbers, or rows of as many, got shape {np.shape(given)} of {values.dtype}"
        )
    return values.astype(np.float64)
