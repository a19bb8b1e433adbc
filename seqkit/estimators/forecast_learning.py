"""From series to a direct forecaster: try it on what comes later, choose, measure, and fit it to everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_choice import Blend, choose_blend, naive
from seqkit.estimators.forecast_manner import ForecastManner
from seqkit.estimators.forecast_network import build_network, run_network, train_network
from seqkit.estimators.forecast_sizes import MOST_WINDOWS, ForecastSizes, choose_forecast_sizes
from seqkit.estimators.forecast_trial import independent, spread_of_folds, try_forecasts
from seqkit.estimators.forecast_windows import Origins, Scaling, WindowSet, cut_in_time, rolling_cuts
from seqkit.estimators.linear import PENALTIES, Linear, fit_linear, no_linear
from seqkit.estimators.packing import pack_model, unpack_model
from seqkit.estimators.past import Past
from seqkit.estimators.spread import Spread, spread_of, units
from seqkit.models import SequenceModel

__all__ = ["DirectForecast", "continue_forecast", "learn_forecast"]

N_CUTS = 3
"""Models that are tried on what comes after their past: each is a training more, and one past is no rule."""

UPDATE_RATE = 0.1
"""Learning rate of an update over that of the training: it is to shift weights, not to start anew."""


@dataclass(frozen=True)
class DirectForecast:
    """A fitted forecaster: naive forecast + weight (centre + scale (linear part + network) - naive forecast).

    Args:
        linear: The linear part.
        penalty: Its penalty.
        network: The network; None where there was nothing to train on.
        spread: How far forecasts are off.
        sizes: Sizes.
        manner: How windows are scaled.
        blend: Weight against the naive forecast, and the epoch that the network is of.
        history: Metrics of each epoch.
        stopped_by: Why the training ended.

    Example:
        >>> DirectForecast.__name__
        'DirectForecast'
    """

    linear: Linear
    penalty: float
    network: SequenceModel | None
    spread: Spread
    sizes: ForecastSizes
    manner: ForecastManner
    blend: Blend
    history: list[dict[str, float]]
    stopped_by: str

    @property
    def best_epoch(self) -> int:
        """Epoch that the network is of; 0 where it adds nothing."""
        return self.blend.epoch if self.blend.weight else 0

    def windows(
        self,
        pasts: Sequence[Past],
        scalings: Sequence[Scaling],
        origins: Origins,
        ahead: Sequence[Array] | None = None,
    ) -> WindowSet:
        """Windows as they were in training."""
        return self.manner.windows(pasts, scalings, origins, self.sizes, ahead)

    def __call__(self, windows: WindowSet) -> Array:
        """Forecasts of each window, (m, H, T), in its units."""
        base = naive(windows, self.blend.season)
        if self.blend.weight == 0:
            return base
        out = self.linear(windows)
        if self.network is not None and self.best_epoch:
            # Its last digits hang on the number of threads; of a window's deviation a millionth is enough.
            out = out + run_network(self.network, windows, self.manner.device).round(6)
        return self.blend(out, base)

    def away(self, windows: WindowSet, alpha: float) -> Array:
        """Distance of a quantile from the forecasts, (m, H, T), in units of `y` as it was given."""
        unit = units(windows, self.spread.unit, self.spread.season)
        return np.asarray(unit[:, None] * self.spread.quantile(alpha))

    def __getstate__(self) -> dict[str, Any]:
        """Plain values instead of the network's module."""
        return {**vars(self), "network": None if self.network is None else pack_model(self.network)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Builds the network anew."""
        network = None if state["network"] is None else unpack_model(state["network"], "the saved LSSLForecaster")
        vars(self).update({**state, "network": network})


def learn_forecast(
    pasts: Sequence[Past],
    window: int,
    horizon: int,
    mixer: str,
    given: dict[str, Any],
    options: dict[str, Any] | None,
    manner: ForecastManner,
    season: int | None = None,
) -> DirectForecast:
    """Fits a forecaster.

    First it is tried on the last share of each series: cuts move on through it, and what was learned before each
    forecasts what comes after it. From these forecasts come the penalty of the linear part, the epoch of the network,
    the weight against naive forecasts, and how far forecasts are off. Then both parts are fitted anew, to all of
    the series, with what was chosen.

    Args:
        pasts: The series.
        window: Samples W of a window; 0 for forecasts by the last value alone, as where no window has a target.
        horizon: Steps H.
        mixer: Name of a preset.
        given: Sizes by name, "auto" where they are to be chosen.
        options: Further options of the mixer.
        manner: Everything else.
        season: Samples of a season; None for none.

    Raises:
        ValueError: options that the mixer refuses, or a size out of range.
        FloatingPointError: the training diverged.
    """
    first = max(window, 1)
    trial = choose_forecast_sizes(first, horizon, 1, mixer, given, options)
    every = cut_in_time(pasts, horizon, first, 0.0, MOST_WINDOWS)[0]
    if window == 0 or len(every) == 0:
        return _last_value(pasts, replace(trial, epochs=0), replace(manner, difference=True, by_window=False))
    sizes = choose_forecast_sizes(first, horizon, len(every), mixer, given, options)
    cuts = rolling_cuts(pasts, horizon, first, sizes.validation, N_CUTS, MOST_WINDOWS) if sizes.validation else []
    cuts = [cut for cut in cuts if len(cut[1]) > 1 and len(cut[2])]
    _say(manner, pasts, every, sum(len(later) for *_, later in cuts), sizes)
    windows = manner.windows(pasts, _scalings(pasts), every, sizes)
    if not cuts:  # nothing to choose by: a middling penalty, and a training as long as the sizes say
        linear = fit_linear(windows, 1.0) if manner.linear else no_linear(windows)
        network, trained = manner.train(windows, linear, sizes, sizes.epochs, 1.0)
        blend = Blend(1, 1.0, len(trained.history))
        made = DirectForecast(
            linear, 1.0, network, _nothing(windows), sizes, manner, blend, trained.history, trained.stopped_by
        )
        share = (windows.scale / windows.deviation)[:, None]
        return replace(made, spread=spread_of(share * (windows.target - made(windows))))
    folds, penalty, trained = try_forecasts(pasts, cuts, sizes, manner)
    seasons = [1, season] if season and 1 < season <= window else [1]
    n = independent(cuts, horizon)
    blend, errors = choose_blend(folds, seasons, n)
    spread = spread_of_folds(folds, errors, seasons[-1], n)
    linear = fit_linear(windows, penalty) if manner.linear else no_linear(windows)
    network, stopped_by = build_network(windows, sizes, manner.seed), trained.stopped_by
    if blend.epoch:
        quiet = replace(manner, callbacks=(), verbose=False)
        network, again = quiet.train(windows, linear, sizes, blend.epoch, 1.0)
        stopped_by = "time_limit" if again.stopped_by == "time_limit" else stopped_by
    return DirectForecast(linear, penalty, network, spread, sizes, manner, blend, trained.history, stopped_by)


def continue_forecast(
    made: DirectForecast, pasts: Sequence[Past], scalings: Sequence[Scaling], epochs: int, manner: ForecastManner
) -> DirectForecast:
    """Goes on from the given weights with longer series: the linear part is fitted to all of them, the network trained.

    Args:
        made: The forecaster so far; it is not changed.
        pasts: The series, with what is new.
        scalings: Their statistics, as in the training.
        epochs: Passes of the network over all windows.
        manner: Seed, time limit, callbacks and device.
    """
    origins = cut_in_time(pasts, made.sizes.horizon, made.sizes.window, 0.0, MOST_WINDOWS)[0]
    if made.network is None or len(origins) == 0:
        return made
    windows = made.windows(pasts, scalings, origins)
    linear = fit_linear(windows, made.penalty) if made.manner.linear else made.linear
    network = SequenceModel.from_config(made.network.config, made.network.info, seed=0)
    network.load_state_dict(made.network.state_dict())
    rows: list[dict[str, float]] = []
    if made.best_epoch:
        course = manner.course(epochs, UPDATE_RATE * made.sizes.learning_rate, 1.0, decay=False)
        rows = train_network(network, windows, linear(windows), made.sizes, course).history
    return replace(made, linear=linear, network=network.eval(), history=[*made.history, *rows])


def _last_value(pasts: Sequence[Past], sizes: ForecastSizes, manner: ForecastManner) -> DirectForecast:
    """Forecasts by the last value, with the spread of a walk of the series' own steps."""
    scalings = _scalings(pasts)
    origins = Origins(np.arange(len(pasts)), np.array([past.length for past in pasts]))
    windows = manner.windows(pasts, scalings, origins, sizes)
    steps = [np.diff(past.y, axis=0) / scaling.y_std for past, scaling in zip(pasts, scalings, strict=True)]
    walk = np.concatenate(steps)[:, None]
    walk = walk[np.isfinite(walk).any(axis=(1, 2))]
    spread = spread_of(walk if len(walk) else np.zeros((1, 1, windows.y.shape[-1])), independent=len(walk))
    root = np.sqrt(np.arange(1, sizes.horizon + 1))[:, None]
    spread = spread._replace(step=spread.step * root)
    return DirectForecast(no_linear(windows), PENALTIES[-1], None, spread, sizes, manner, Blend(1, 0.0), [], "epochs")


def _scalings(pasts: Sequence[Past]) -> list[Scaling]:
    return [Scaling.of(past, past.length) for past in pasts]


def _nothing(windows: WindowSet) -> Spread:
    return Spread(np.zeros(windows.target.shape[1:]), tuple(np.zeros(1) for _ in range(windows.target.shape[2])))


def _say(manner: ForecastManner, pasts: Sequence[Past], every: Origins, n_held_out: int, sizes: ForecastSizes) -> None:
    if not manner.verbose:
        return
    console = Console(stderr=True)
    console.print(
        f"{len(pasts)} series, {pasts[0].y.shape[1]} to forecast, {pasts[0].X.shape[1]} beside them, {len(every)} "
        f"windows, {n_held_out} of them held out at first",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    shown = "  ".join(f"{key} {value}" for key, value in sizes.shown().items() if value is not None)
    console.print(shown, highlight=False, markup=False, soft_wrap=True)
