"""What `LSSLClassifier` and `LSSLRegressor` share: fitting, outputs, keeping and streaming a model."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.batching import loader
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.targets import info_of
from seqkit.estimators.base import SklearnBridge, TellsRate, seed_of, threads
from seqkit.estimators.engines import OneClassEngine
from seqkit.estimators.input_check import ChecksInput
from seqkit.estimators.learning import Manner, check_spacing, copied, learn, scale_scores
from seqkit.estimators.packing import pack_model, unpack_model
from seqkit.estimators.sizes import AUTO, DataShape, choose_sizes
from seqkit.estimators.trained import Trained, read_new, read_training
from seqkit.models import SequenceModel
from seqkit.models.config import get_preset
from seqkit.runs.inference import new_gaps, pick_device, run_model, told_rate
from seqkit.streaming import Engine, Stream, as_engine

__all__ = ["ModelEstimator"]

SIZES = (
    *("d_model", "n_layers", "order", "dropout", "epochs", "batch_size", "learning_rate", "weight_decay"),
    *("label_smoothing", "input_noise", "validation", "patience"),
)
"""Parameters that may be "auto"."""

VALUES_AT_ONCE = 2**22
"""Values that a layer holds for one batch of a prediction: 16 MiB in float32."""

MODELS = ("model_", "_previous")


class ModelEstimator(SklearnBridge, TellsRate, ChecksInput):
    """Fits a `SequenceModel` to a panel; comes before a base class of sktime, which brings `fit` and `predict`.

    Example:
        >>> from seqkit.estimators import LSSLRegressor
        >>> issubclass(LSSLRegressor, ModelEstimator)
        True
    """

    model_: SequenceModel
    _trained: Trained | None = None

    def reset(self) -> Self:
        """Back to the state after construction; with `warm_start` the model is kept to go on from."""
        previous = self.__dict__.get("_previous")
        if "model_" in self.__dict__:
            previous = copied(self.model_)
            if self.model_.info.classes:
                scale_scores(previous, self.__dict__["temperature_"])  # training goes on from scores as they were
        trained = self._trained
        super().reset()
        if previous is not None and self.__dict__["warm_start"]:
            self._previous, self._trained = previous, trained
        return self

    def _train(self, X: Any, y: Any, classes: tuple[str, ...], class_weight: list[float] | None) -> None:
        """Fits the model and writes what became of it."""
        began = time.monotonic()
        own: Any = self
        get_preset(own.mixer, "mixer")
        pick_device(own.device)
        if not isinstance(own.warm_start, bool):
            raise ValueError(f"`warm_start` must be true or false, got {own.warm_start!r}")
        series, self._trained = read_training(X, y, own.sample_rate, self._trained)
        manner = Manner(
            seed=seed_of(own.random_state),
            time_limit=own.time_limit,
            class_weight=class_weight,
            callbacks=tuple(own.callbacks or ()),
            device=own.device,
            verbose=bool(own.verbose),
            began=began,
        )
        shape = DataShape(len(series), float(np.median(series.lengths)), series.n_channels, bool(classes))
        given = {name: getattr(own, name) for name in SIZES if hasattr(own, name)}
        sizes = choose_sizes(shape, own.mixer, given, own.mixer_options)
        info = _info(series, classes)
        previous = self.__dict__.pop("_previous", None)
        if previous is not None:
            _check_goes_on(previous, info, own)
            info, sizes = previous.info, replace(sizes, model=previous.config)
        at_once = min(sizes.batch_size, len(series)) * int(shape.length) * sizes.model.d_model
        with threads(own.n_jobs, at_once):
            learned = learn(series, info, sizes, manner, previous)
        self.model_ = learned.model
        self.sizes_ = sizes.shown()
        self.history_ = learned.history
        self.stopped_by_ = learned.stopped_by
        self.temperature_ = learned.temperature

    def _outputs(self, X: Any) -> Array:
        """Scores or values of the model for a panel, (n, n_outputs), float64."""
        own: Any = self
        model = self.model_
        assert self._trained is not None  # sktime asks whether it is fitted
        series = read_new(X, self._trained, self.told_rate)
        check_spacing(model, series)
        rate, notes = told_rate(model, series, sample_rate=None)
        if series.timestamps is not None:
            rate = None  # as in a stream, the first sample counts as one training step
        for note in (*notes, *new_gaps(model, series)):
            warnings.warn(note, stacklevel=5)
        longest = int(series.lengths.max())
        batch_size = int(np.clip(VALUES_AT_ONCE // (longest * model.config.d_model), 1, 256))
        batches = loader(series, model.info, batch_size=batch_size, with_target=False)
        with threads(own.n_jobs, min(batch_size, len(series)) * longest * model.config.d_model):
            return run_model(model, batches, sample_rate=rate, device=own.device).scores.double().numpy()

    def stream(self, sample_rate: float | None = None) -> Stream:
        """The fitted model for one series as it comes in; `StreamPool(model)` takes many.

        After any samples the outputs are those of `predict_proba`, or `predict`, for the series so far.

        Args:
            sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.

        Raises:
            NotFittedError: `fit` was not called yet.
            ValueError: a target of several columns, which has a model for each.
        """
        return Stream(self, sample_rate=sample_rate)

    def streaming_engine(self, backend: str = "auto", dtype: str | None = None, device: str = "cpu") -> Engine:
        """What `Stream` and `StreamPool` run; arguments and errors as theirs."""
        self.check_is_fitted()  # type: ignore[attr-defined]
        if self._is_vectorized:  # type: ignore[attr-defined]
            raise ValueError("a target of several columns has an estimator for each; stream those of its table")
        classes = getattr(self, "classes_", None)
        if "model_" not in self.__dict__:
            channels = len(self._X_metadata["feature_kind"])  # type: ignore[attr-defined]
            return OneClassEngine(type(self).__name__, channels, np.asarray(classes))
        engine = as_engine(self.model_, backend=backend, dtype=dtype, device=device)
        engine.classes = classes  # of their own type, where a model has texts
        return engine

    def __getstate__(self) -> dict[str, Any]:
        """The weights on the CPU beside plain values instead of modules."""
        state = dict(self.__dict__)
        for name in MODELS:
            if name in state:
                state[name] = pack_model(state[name])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Builds the models anew."""
        self.__dict__.update(state)
        for name in MODELS:
            if name in state:
                self.__dict__[name] = unpack_model(state[name], f"the saved {type(self).__name__}")


def _info(series: SeriesSet, classes: tuple[str, ...]) -> DataInfo:
    """What the series hold, with classes in sktime's order."""
    info = info_of("X", {"train": series})
    return replace(info, classes=classes) if classes else info


def _check_goes_on(previous: SequenceModel, info: DataInfo, own: Any) -> None:
    """Refuses to go on from a model of other data or sizes."""
    pairs: dict[str, tuple[Any, Any]] = {
        what: (getattr(previous.info, what), getattr(info, what)) for what in ("n_channels", "classes", "sample_rate")
    }
    config = previous.config
    pairs["mixer"] = config.name, own.mixer
    known = {"d_model": config.d_model, "n_layers": config.n_layers, "dropout": config.dropout, **config.options}
    asked = {name: getattr(own, name) for name in ("d_model", "n_layers", "dropout", "order")} | (
        own.mixer_options or {}
    )
    pairs |= {name: (known.get(name), value) for name, value in asked.items() if value != AUTO}
    for what, (before, now) in pairs.items():
        if before != now:
            raise ValueError(
                f"with `warm_start` the {what} must stay as in the fit before, {before}, got {now}; set "
                "warm_start=False to begin anew"
            )
