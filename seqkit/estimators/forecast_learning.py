"""From series to a direct forecaster: cut in time, fit the linear part, train the network, measure, fit anew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console

from seqkit.datasets.rows import Array
from seqkit.estimators.forecast_network import Course, Trained, build_network, run_network, train_network
from seqkit.estimators.forecast_sizes import MOST_WINDOWS, ForecastSizes, choose_forecast_sizes
from seqkit.estimators.forecast_windows import Origins, Scaling, WindowSet, cut_in_time, windows_at
from seqkit.estimators.linear import PENALTIES, Linear, fit_linear, no_linear
from seqkit.estimators.past import Past
from seqkit.estimators.spread import Spread, spread_of
from seqkit.models import SequenceModel

__all__ = ["DirectForecast", "ForecastManner", "continue_forecast", "learn_forecast"]

UPDATE_RATE = 0.1
"""Learning rate of an update over that of the training: it is to shift weights, not to start anew."""


@dataclass(frozen=True)
class ForecastManner:
    """How windows are scaled and a training goes about.

    Args:
        seed: Seed of weights, order and dropout.
        difference: Whether changes from the last value are forecast.
        by_window: Whether each window is divided by its own deviation; by the series' otherwise.
        linear: Whether there is a linear part.
        time_limit: Seconds for all of it; None for no limit.
        callbacks: Called with the metrics of each epoch.
        device: "auto", "cpu" or "cuda".
        verbose: Whether to show what was chosen and how far it is.

    Example:
        >>> ForecastManner(seed=0).linear
        True
    """

    seed: int
    difference: bool = True
    by_window: bool = False
    linear: bool = True
    time_limit: float | None = None
    callbacks: Sequence[Callable[[dict[str, float]], object]] = ()
    device: str = "auto"
    verbose: bool = False
    began: float = field(default_factory=time.monotonic)

    def course(self, epochs: int, rate: float, share: float, decay: bool = True) -> Course:
        """A training that is done by this share of the time."""
        deadline = math.inf if self.time_limit is None else self.began + share * self.time_limit
        console = Console(stderr=True) if self.verbose else None
        return Course(self.seed, epochs, deadline, rate, decay, self.device, self.callbacks, console)


@dataclass(frozen=True)
class DirectForecast:
    """A fitted forecaster: centre + scale (linear part + network).

    Args:
        linear: The linear part.
        penalty: Its penalty.
        network: The network; None where there was nothing to train on.
        spread: How far forecasts are off.
        sizes: Sizes.
        manner: How windows are scaled.
        history: Metrics of each epoch.
        best_epoch: Epoch that the network is of; 0 where it adds nothing.
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
    history: list[dict[str, float]]
    best_epoch: int
    stopped_by: str

    def windows(
        self,
        pasts: Sequence[Past],
        scalings: Sequence[Scaling],
        origins: Origins,
        ahead: Sequence[Array] | None = None,
    ) -> WindowSet:
        """Windows as they were in training."""
        return _windows(pasts, scalings, origins, self.sizes, self.manner, ahead)

    def __call__(self, windows: WindowSet) -> Array:
        """Forecasts of each window, (m, H, T), in its units."""
        out = self.linear(windows)
        if self.network is None or self.best_epoch == 0:
            return out
        added = run_network(self.network, windows, self.manner.device)
        # Its last digits hang on the number of threads; of a window's deviation a millionth is enough.
        return np.asarray(out + added.round(6))


def learn_forecast(
    pasts: Sequence[Past],
    window: int,
    horizon: int,
    mixer: str,
    given: dict[str, Any],
    options: dict[str, Any] | None,
    manner: ForecastManner,
) -> DirectForecast:
    """Fits a forecaster.

    The last share of each series is held out to choose the penalty of the linear part and the
    epoch of the network, and to measure how far forecasts are off; then both parts are fitted anew, to all of the
    series, with what was chosen.

    Args:
        pasts: The series.
        window: Samples W of a window; 0 for forecasts by the last value alone, as where no window has a target.
        horizon: Steps H.
        mixer: Name of a preset.
        given: Sizes by name, "auto" where they are to be chosen.
        options: Further options of the mixer.
        manner: Everything else.

    Raises:
        ValueError: options that the mixer refuses, or a size out of range.
        FloatingPointError: the training diverged.
    """
    first = max(window, 1)
    trial = choose_forecast_sizes(first, horizon, 1, mixer, given, options)
    if window == 0:
        return _last_value(pasts, replace(trial, epochs=0), replace(manner, difference=True, by_window=False))
    train, held_out = cut_in_time(pasts, horizon, first, trial.validation, MOST_WINDOWS)
    sizes = choose_forecast_sizes(first, horizon, len(train) + len(held_out), mixer, given, options)
    every = cut_in_time(pasts, horizon, first, 0.0, MOST_WINDOWS)[0]
    alone = len(train) < 2 or len(held_out) == 0
    if len(every) == 0:
        return _last_value(pasts, replace(trial, epochs=0), manner)
    _say(manner, pasts, every, held_out, sizes)
    if alone:  # nothing to choose by: a middling penalty, and a training as long as the sizes say
        windows = _windows(pasts, _scalings(pasts), every, sizes, manner)
        linear = fit_linear(windows, 1.0) if manner.linear else no_linear(windows)
        network, trained = _train(windows, linear, sizes, manner, sizes.epochs, 1.0)
        made = DirectForecast(linear, 1.0, network, _nothing(windows), sizes, manner, *_told(trained))
        return replace(made, spread=spread_of(windows.target - made(windows)))
    cut_scalings = [Scaling.of(past, past.length - round(sizes.validation * past.length)) for past in pasts]
    earlier = _windows(pasts, cut_scalings, train, sizes, manner)
    later = _windows(pasts, cut_scalings, held_out, sizes, manner)
    linear, penalty = _choose_linear(earlier, later, manner)
    network, trained = _train(earlier, linear, sizes, manner, sizes.epochs, 0.55, (later, linear(later)))
    made = DirectForecast(linear, penalty, network, _nothing(earlier), sizes, manner, *_told(trained))
    spread = spread_of(later.target - made(later))
    windows = _windows(pasts, _scalings(pasts), every, sizes, manner)
    linear = fit_linear(windows, penalty) if manner.linear else no_linear(windows)
    if trained.best_epoch:
        quiet = replace(manner, callbacks=(), verbose=False)
        network, again = _train(windows, linear, sizes, quiet, trained.best_epoch, 1.0)
        if again.stopped_by == "time_limit":
            trained = trained._replace(stopped_by="time_limit")
    return DirectForecast(linear, penalty, network, spread, sizes, manner, *_told(trained))


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


def _windows(
    pasts: Sequence[Past],
    scalings: Sequence[Scaling],
    origins: Origins,
    sizes: ForecastSizes,
    manner: ForecastManner,
    ahead: Sequence[Array] | None = None,
) -> WindowSet:
    return windows_at(
        pasts,
        scalings,
        origins,
        sizes.window,
        sizes.horizon,
        difference=manner.difference,
        by_window=manner.by_window,
        ahead=ahead,
    )


def _train(
    windows: WindowSet,
    linear: Linear,
    sizes: ForecastSizes,
    manner: ForecastManner,
    epochs: int,
    share: float,
    held_out: tuple[WindowSet, Array] | None = None,
) -> tuple[SequenceModel, Trained]:
    network = build_network(windows, sizes, manner.seed)
    course = manner.course(epochs, sizes.learning_rate, share)
    return network, train_network(network, windows, linear(windows), sizes, course, held_out)


def _choose_linear(earlier: WindowSet, later: WindowSet, manner: ForecastManner) -> tuple[Linear, float]:
    """The linear part, with the penalty under which it forecasts what was held out best."""
    if not manner.linear:
        return no_linear(earlier), PENALTIES[-1]
    found = [fit_linear(earlier, penalty) for penalty in PENALTIES]
    errors = [float(np.nanmean(np.abs(later.target - one(later)))) for one in found]
    best = int(np.argmin(errors))
    return found[best], PENALTIES[best]


def _last_value(pasts: Sequence[Past], sizes: ForecastSizes, manner: ForecastManner) -> DirectForecast:
    """Forecasts by the last value, with the spread of a walk of the series' own steps."""
    scalings = _scalings(pasts)
    origins = Origins(np.arange(len(pasts)), np.array([past.length for past in pasts]))
    windows = _windows(pasts, scalings, origins, sizes, manner)
    steps = [np.diff((past.y - s.y_mean) / s.y_std, axis=0) / scale for past, s, scale in
             zip(pasts, scalings, windows.scale / np.stack([s.y_std for s in scalings]), strict=True)]  # fmt: skip
    walk = np.concatenate(steps)[:, None]
    walk = walk[np.isfinite(walk).any(axis=(1, 2))]
    spread = spread_of(walk if len(walk) else np.zeros((1, 1, windows.y.shape[-1])))
    root = np.sqrt(np.arange(1, sizes.horizon + 1))[:, None]
    spread = Spread(spread.step * root, spread.errors)
    return DirectForecast(no_linear(windows), PENALTIES[-1], None, spread, sizes, manner, [], 0, "epochs")


def _scalings(pasts: Sequence[Past]) -> list[Scaling]:
    return [Scaling.of(past, past.length) for past in pasts]


def _told(trained: Trained) -> tuple[list[dict[str, float]], int, str]:
    return trained.history, trained.best_epoch, trained.stopped_by


def _nothing(windows: WindowSet) -> Spread:
    return Spread(np.zeros(windows.target.shape[1:]), tuple(np.zeros(1) for _ in range(windows.target.shape[2])))


def _say(
    manner: ForecastManner, pasts: Sequence[Past], every: Origins, held_out: Origins, sizes: ForecastSizes
) -> None:
    if not manner.verbose:
        return
    console = Console(stderr=True)
    console.print(
        f"{len(pasts)} series, {pasts[0].y.shape[1]} to forecast, {pasts[0].X.shape[1]} beside them, {len(every)} "
        f"windows, {len(held_out)} of them held out at first",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    shown = "  ".join(f"{key} {value}" for key, value in sizes.shown().items() if value is not None)
    console.print(shown, highlight=False, markup=False, soft_wrap=True)
