"""The forecaster over any model of the toolkit."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from sktime.forecasting.base import BaseForecaster

from seqkit.checks import check_choice, check_positive, check_positive_int
from seqkit.estimators.base import SklearnBridge, seed_of, threads
from seqkit.estimators.columns import as_fitted
from seqkit.estimators.engines import check_engine
from seqkit.estimators.forecast_engine import ForecastEngine, ForecastStream
from seqkit.estimators.forecast_frames import joined, stacked, values_at
from seqkit.estimators.forecast_learning import continue_forecast, learn_forecast
from seqkit.estimators.forecast_manner import ForecastManner
from seqkit.estimators.forecast_sizes import choose_season, choose_window
from seqkit.estimators.forecast_windows import Scaling
from seqkit.estimators.input_check import ChecksSeries
from seqkit.estimators.past import Past, check_known, pasts_of
from seqkit.estimators.plain import plain
from seqkit.estimators.sizes import AUTO
from seqkit.estimators.steps_ahead import steps_from, times_from
from seqkit.streaming.snapshot import Progress, pack

__all__ = ["LSSLForecaster"]

SCALES = ("series", "window")
MTYPES = ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"]


class LSSLForecaster(SklearnBridge, ChecksSeries, BaseForecaster):  # type: ignore[misc] # sktime has no types
    """Forecasts series several steps ahead with a linear state-space layer, or any other mixer of the toolkit.

        model = centre + scale (linear part of the window + network of the window)
        forecast = naive forecast + weight (model - naive forecast)

    All steps of the horizon are forecast at once, each by weights of its own, from a window of the latest samples; one
    model serves all series and all channels that it is fitted to. A window counts from its last value or from the
    series' mean, in units of the series' deviation or its own. The linear part is a ridge regression in closed form;
    the network starts at 0 and learns what that leaves over.

    First all of it is tried: cuts move on through the last samples of each series, and what is learned before each cut
    forecasts what comes after it. By these forecasts penalty, epoch and weight are chosen, against the last value or
    the last season, so that a model that does not beat them adds nothing. From the errors of each cut, with
    the choice of the others, come quantiles and intervals, by split conformal prediction with errors scaled by step and
    window, wider where few of them are independent. Then both parts are fitted anew to all samples.

    - Exogenous X: its past goes into the window, and its values over the horizon into both parts. At `predict`, what
      `X` lacks, or all of it without `X`, is held at its last known value. Columns of `X` and `y` are found by name.
    - Missing values (NaN) are held and, where there are some in training, told to the network; missing targets weigh
      nothing. Times that an even index lacks are missing values. An index without an even step is refused.
    - In-sample steps are forecasts one step ahead by the fitted model; before the first sample that is the mean.
    - `update` goes on from the given weights, or with `update_params=False` only takes in the new samples.
    - A series too short for a window and a horizon, twice, is forecast by its last value, with a warning.

    Args:
        mixer: Name of a preset of `seqkit.models`: "lssl", "s4", "s4d", "gru", "lstm", "hippo_legs" and so on, as
            `seqkit models` lists them.
        horizon: Steps that the model is made for. Then `fit` needs no `fh`, and `predict` takes any steps up to it.
            None for the last step of the `fh` that `fit` gets.
        window: Samples that a forecast looks back on; "auto" for two seasons and two horizons, 16 at least.
        season: Samples of a season, for the window; "auto" for what the time index or the series suggest, None
            for none.
        d_model: Width of the network.
        n_layers: Number of blocks.
        order: Size of the state of each channel, for mixers that have one.
        dropout: Share of values dropped in each block.
        mixer_options: Further options of the mixer, such as `measure`, and sizes of the network, such as `pool`.
        difference: Whether changes from the last value are forecast; the values themselves otherwise, which is better
            for series that keep to a mean and much worse for those whose level moves on.
        scale: "series": windows count in units of their series' deviation; "window": in those of their own.
        linear: Whether there is a linear part.
        epochs: Passes over the training windows at most; 0 for the linear part alone.
        batch_size: Windows in a batch.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices outside the state-space parameters.
        validation: Share of each series, its last samples, that the cuts move through; 0 for none: then nothing is
            chosen, the weight is 1, and intervals come from the errors in training, which are too small.
        patience: Epochs without a better validation loss after which training stops; None for never.
        update_epochs: Passes over all windows in an `update`.
        time_limit: Seconds that `fit` or `update` may take; None for no limit.
        callbacks: Functions that take each epoch's metrics as a dictionary; one that returns True ends the training.
        device: "auto", "cpu" or "cuda". The fitted model is kept on the CPU.
        n_jobs: Threads; -1 for all cores, None for one.
        random_state: Seed of weights, order and dropout: a whole number, a generator of numpy's, or None for a new one
            each time. Global generators are left alone.
        verbose: Whether to show what was chosen, and progress with the time left, on standard error.

    Attributes:
        model_: The fitted parts, with the network as `model_.network`.
        sizes_: What was chosen and given, by name; `weight`, `naive`, the season of the naive forecast (1 for the last
            value), and `unit`, what errors are measured in, too.
        history_: Metrics of each epoch before the last cut.
        best_epoch_: Epoch that was chosen; 0 where the network adds nothing.
        stopped_by_: "epochs", "patience", "time_limit" or "callback".

    Raises:
        ValueError: at `fit`, an unknown name, a value out of range, or series that cannot be used; at `predict`, a step
            beyond the horizon.

    Source:
        Gu et al. 2021, LSSL (arXiv:2110.13985), for the layer; Zeng et al. 2023 (arXiv:2205.13504) for a linear map of
        the window counted from its last value.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from seqkit.estimators import LSSLForecaster
        >>> y = pd.Series(np.sin(np.arange(120) / 4) + np.arange(120) / 40)
        >>> model = LSSLForecaster("s4d", epochs=2, random_state=0).fit(y[:108], fh=range(1, 13))
        >>> bool((model.predict() - y[108:]).abs().mean() < 0.2)
        True
        >>> model.predict_interval(coverage=0.9).shape
        (12, 2)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "seqkit",
        "maintainers": "seqkit",
        "python_dependencies": ["torch"],
        "y_inner_mtype": MTYPES,
        "X_inner_mtype": MTYPES,
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:missing_values": True,
        "capability:update": True,
        "capability:random_state": True,
        "capability:categorical_in_X": False,
        "capability:non_contiguous_X": True,
        "X-y-must-have-same-index": False,
        "requires-fh-in-fit": True,
        "property:randomness": "derandomized",
    }

    # The samples so far are kept here, in any version of sktime; a second copy is of no use.
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}

    def __init__(
        self,
        mixer: str = "lssl",
        *,
        horizon: int | None = None,
        window: int | str = AUTO,
        season: int | str | None = AUTO,
        d_model: int | str = AUTO,
        n_layers: int | str = AUTO,
        order: int | str = AUTO,
        dropout: float | str = AUTO,
        mixer_options: dict[str, Any] | None = None,
        difference: bool = True,
        scale: str = "series",
        linear: bool = True,
        epochs: int | str = AUTO,
        batch_size: int | str = AUTO,
        learning_rate: float | str = AUTO,
        weight_decay: float | str = AUTO,
        validation: float | str = AUTO,
        patience: int | str | None = AUTO,
        update_epochs: int = 5,
        time_limit: float | None = None,
        callbacks: Sequence[Callable[[dict[str, float]], object]] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.mixer = mixer
        self.horizon = horizon
        self.window = window
        self.season = season
        self.d_model = d_model
        self.n_layers = n_layers
        self.order = order
        self.dropout = dropout
        self.mixer_options = mixer_options
        self.difference = difference
        self.scale = scale
        self.linear = linear
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation = validation
        self.patience = patience
        self.update_epochs = update_epochs
        self.time_limit = time_limit
        self.callbacks = callbacks
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        super().__init__()
        self._y = self._X = None  # where sktime keeps them if `remember_data` is set

    def __dynamic_tags__(self) -> None:
        """A model made for a horizon needs no steps to be fitted."""
        self.set_tags(**{"requires-fh-in-fit": self.horizon is None})

    def _fit(self, y: Any, X: Any, fh: Any) -> LSSLForecaster:
        began = time.monotonic()
        pasts = pasts_of(y, X)
        self._check_overlap(X, y)
        self._set_end(pasts, y)
        horizon = self._check(fh)
        season = choose_season(pasts, self.season)
        window = choose_window(pasts, horizon, self.window, season)
        names = ("d_model", "n_layers", "order", "dropout", "epochs", "batch_size", "learning_rate", "weight_decay",
                 "validation", "patience")  # fmt: skip
        given = {name: getattr(self, name) for name in names}
        with threads(self.n_jobs):
            self.model_ = learn_forecast(
                pasts, window, horizon, self.mixer, given, self.mixer_options, self._manner(began), season
            )
        if self.model_.network is None:
            longest = max(past.length for past in pasts)
            warnings.warn(
                f"the longest series has {longest} samples, too few for a window and a horizon of {horizon}, so "
                "forecasts are its last value; give longer series, or a shorter horizon or window",
                stacklevel=2,
            )
        self._scalings = {past.key: Scaling.of(past, past.length) for past in pasts}
        self._pasts = pasts
        self._frames = y, X
        self._tell()
        return self

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> LSSLForecaster:
        began = time.monotonic()
        y, X = as_fitted(y, self._frames[0].columns, "`y`"), self._known(X)
        y, X = (joined(old, new) for old, new in zip(self._frames, (y, X), strict=True))
        self._pasts, self._frames = pasts_of(y, X, before=self._pasts), (y, X)
        self._set_end(self._pasts, y)
        for past in self._pasts:
            self._scalings.setdefault(past.key, Scaling.of(past, past.length))
        if update_params:
            check_positive_int("update_epochs", self.update_epochs)
            scalings = [self._scalings[past.key] for past in self._pasts]
            with threads(self.n_jobs):
                self.model_ = continue_forecast(
                    self.model_, self._pasts, scalings, self.update_epochs, self._manner(began)
                )
            self._tell()
        return self

    def _predict(self, fh: Any, X: Any = None) -> Any:
        return self._frame(fh, X, [None])

    def _predict_quantiles(self, fh: Any, X: Any, alpha: Any) -> Any:
        return self._frame(fh, X, list(alpha))

    def stream(self, series: Any = None, resume: bool = True) -> ForecastStream:
        """The fitted model for one series as it comes in; see `ForecastStream`. `StreamPool(forecaster)` takes many.

        Args:
            series: Name of the series, where the model was fitted to several.
            resume: Whether to go on after the samples of `fit` and `update`; from an empty window otherwise, as `reset`
                does.

        Raises:
            NotFittedError: `fit` was not called yet.
            ValueError: no such series.
        """
        engine = self.streaming_engine(series=series)
        stream = ForecastStream(engine)
        if resume:
            stream.load_state_dict(pack(engine, engine.after(self._past(series)), Progress()))
        return stream

    def streaming_engine(
        self, backend: str = "auto", dtype: str | None = None, device: str = "cpu", *, series: Any = None
    ) -> ForecastEngine:
        """What `Stream` and `StreamPool` run; a sample is the values to forecast and what is known beside them.

        Args:
            backend: "auto".
            dtype: "float64" or None.
            device: "cpu".
            series: As in `stream`; scaling is that series' own.
        """
        self.check_is_fitted()
        check_engine(type(self).__name__, backend, dtype, device, "float64")
        return ForecastEngine(self.model_, self._scalings[self._past(series).key])

    def _past(self, series: Any) -> Past:
        """What came so far of one of the series."""
        key = () if series is None else series if isinstance(series, tuple) else (series,)
        found = [past for past in self._pasts if past.key == key]
        if not found:
            names = [past.key if len(past.key) > 1 else past.key[0] for past in self._pasts if past.key]
            raise ValueError(
                f"`series` must be one that the model was fitted to, such as {names[0]!r}, got {series!r}"
                if names
                else f"`series` must be None for a model of a single series, got {series!r}"
            )
        return found[0]

    def _frame(self, fh: Any, X: Any, alphas: list[float | None]) -> Any:
        """Forecasts by series, or quantiles of them with a column for each channel and level."""
        import pandas as pd  # noqa: PLC0415

        parts, keys = [], []
        X = self._known(X)
        lacking = X is not None
        for past in self._pasts:
            # Of a single series sktime knows the end, and its step where one sample does not tell it.
            end = past.index[-1:] if past.key else self._cutoff
            steps, scaling = steps_from(fh, end), self._scalings[past.key]
            lacking = lacking and int(steps.max()) > 0 and not past.has_ahead(X, self.model_.sizes.horizon)
            values = values_at(self.model_, past, scaling, X, steps, alphas)
            parts.append(pd.DataFrame(values, index=times_from(fh, end)))
            keys.append(past.key)
        if lacking:
            warnings.warn("`X` has no row at the times of the horizon, so the last values known are held", stacklevel=6)
        columns = self._frames[0].columns
        if alphas != [None]:
            columns = pd.MultiIndex.from_tuples([(name, alpha) for name in self._names() for alpha in alphas])
        for part in parts:
            part.columns = columns
        return stacked(parts, keys, self._frames[0].index.names)

    def _names(self) -> list[Any]:
        """Names of the channels as sktime has them in the columns of quantiles."""
        return list(self._get_varnames())

    def _known(self, X: Any) -> Any:
        """What is known beside, with the columns of `fit`."""
        if X is None:
            return None
        if self._frames[1] is None:
            raise ValueError("`X` must be left out, as the model was fitted without it; fit with `X` to use it")
        check_known(X, self._frames[0])
        return as_fitted(X, self._frames[1].columns, "`X`")

    def _check_overlap(self, X: Any, y: Any) -> None:
        """Refuses what is known beside where none of it belongs to a sample."""
        if X is None:
            return
        check_known(X, y)
        if not X.index.isin(y.index).any():
            raise ValueError("`X` must have rows at times of `y`, got none; give it the index of `y`")

    def _set_end(self, pasts: list[Past], y: Any) -> None:
        """Tells sktime where a single series ends, and its step: an update may bring older samples, or gaps."""
        if not pasts[0].key and pasts[0].length > 1:
            dated = hasattr(pasts[0].index, "freq")
            self._set_cutoff((pasts[0].index if dated else y.index)[-1:])

    def _check(self, fh: Any) -> int:
        """Refuses what only this class knows of; returns the horizon."""
        check_choice("scale", self.scale, SCALES)
        if self.time_limit is not None:
            check_positive("time_limit", self.time_limit)
        for name in ("difference", "linear", "verbose"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise ValueError(f"`{name}` must be true or false, got {getattr(self, name)!r}")
        for one in self.callbacks or ():
            if not callable(one):
                raise ValueError(f"`callbacks` must be functions of the metrics, got {one!r}")
        if self.horizon is not None:
            return check_positive_int("horizon", plain(self.horizon))
        return max(1, int(steps_from(fh, self._cutoff).max()))

    def _manner(self, began: float) -> ForecastManner:
        return ForecastManner(
            seed=seed_of(self.random_state),
            difference=bool(self.difference),
            by_window=self.scale == "window",
            linear=bool(self.linear),
            time_limit=self.time_limit,
            callbacks=tuple(self.callbacks or ()),
            device=self.device,
            verbose=bool(self.verbose),
            began=began,
        )

    def _tell(self) -> None:
        manner = self.model_.manner
        chosen: dict[str, Any] = {"difference": manner.difference, "scale": "window" if manner.by_window else "series"}
        chosen |= {"penalty": self.model_.penalty, "weight": self.model_.blend.weight}
        chosen |= {"naive": self.model_.blend.season, "unit": self.model_.spread.unit}
        self.sizes_ = {**self.model_.sizes.shown(), **chosen}
        self.history_ = self.model_.history
        self.best_epoch_ = self.model_.best_epoch
        self.stopped_by_ = self.model_.stopped_by

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small models for sktime's suite."""
        small = {"d_model": 4, "n_layers": 1, "epochs": 1, "random_state": 0, "device": "cpu"}
        return [
            {"mixer": "s4d", "order": 4, "window": 6, "scale": "window", "update_epochs": 1, **small},
            {
                "mixer": "gru",
                "horizon": 8,
                "window": 4,
                "difference": False,
                "scale": "series",
                "update_epochs": 1,
                **small,
            },
        ]
