"""What the two estimators on random features share: from a panel to features, and from features to a ridge model."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from seqkit.checks import check_positive, check_positive_int
from seqkit.datasets.rows import Array
from seqkit.estimators.base import SklearnBridge, TellsRate, seed_of, threads
from seqkit.estimators.engines import OneClassEngine, check_engine
from seqkit.estimators.feature_engine import FeatureEngine, FeatureStream
from seqkit.estimators.feature_map import FeatureMap, prepare
from seqkit.estimators.filters import feature_names, statistics
from seqkit.estimators.frame_check import ChecksFrames
from seqkit.estimators.input_check import ChecksInput
from seqkit.estimators.plain import plain
from seqkit.estimators.ridge import Ridge, fit_ridge
from seqkit.estimators.trained import Trained, read_new, read_training
from seqkit.streaming import Engine

__all__ = ["ALPHAS", "FeatureEstimator"]

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 4, 12))
"""Penalties that are tried unless others are given."""


class FeatureEstimator(SklearnBridge, TellsRate, ChecksFrames, ChecksInput):
    """Fits a ridge model to features of a panel; comes before a base class of sktime.

    Example:
        >>> from seqkit.estimators import HiPPOFeaturesRegressor
        >>> issubclass(HiPPOFeaturesRegressor, FeatureEstimator)
        True
    """

    map_: FeatureMap
    ridge_: Ridge
    _trained: Trained
    _logs = False  # whether signed logarithms are features too

    def _learn(self, X: Any, targets: Array, weight: Array | None) -> None:
        """Fits map and model to targets (n, K)."""
        own: Any = self
        began = time.perf_counter()
        n_filters = check_positive_int("n_filters", plain(own.n_filters))
        n_thresholds = check_positive_int("n_thresholds", plain(own.n_thresholds))
        alphas = _checked(own.alphas)
        seed = seed_of(own.random_state)
        series, self._trained = read_training(X, None, own.sample_rate)
        with threads(own.n_jobs):
            self.map_, features = prepare(
                series, n_filters, n_thresholds, self._n_statistics(n_thresholds), seed, logs=self._logs
            )
            drawn = time.perf_counter()
            self.ridge_ = fit_ridge(features, targets, alphas, weight)
        self.alpha_ = self.ridge_.alpha
        if own.verbose:
            rate = "" if series.sample_rate is None else f" at {series.sample_rate:g} Hz"
            print(
                f"{len(series)} series of {series.n_channels} channels{rate}: {features.shape[1]} features of "
                f"{n_filters} filters in {drawn - began:.2f} s; ridge with alpha {self.alpha_:.3g} in "
                f"{time.perf_counter() - drawn:.2f} s",
                file=sys.stderr,
            )

    def _n_statistics(self, n_thresholds: int) -> int:
        """How many statistics of a filter are features: shares, then maximum, mean, last output."""
        return n_thresholds + 3

    def _scores(self, X: Any) -> Array:
        """Scores of a panel, (n, K)."""
        return self.ridge_.scores(self._features(X))

    def _features(self, X: Any) -> Array:
        own: Any = self
        series = read_new(X, self._trained, self.told_rate)
        with threads(own.n_jobs):
            return self.map_.features(series)

    def features(self, X: Any, sample_rate: float | None = None) -> Array:
        """Standardised features of series, as the ridge model reads them.

        Args:
            X: A panel of any type that `fit` takes.
            sample_rate: Samples per second where the index does not say it (Hz); None for that of the training series.

        Returns:
            (n, P), in the order of `feature_names_`.

        Raises:
            NotFittedError: `fit` was not called yet.
            ValueError: another number of channels, or a rate that contradicts the index.
        """
        told: Any = self.told(sample_rate)
        told._check_single()
        return np.asarray(told._features(told._check_convert_X_for_predict(X)))

    @property
    def feature_names_(self) -> Array:
        """Name of each feature: filter, memory in training steps, stages, input, statistic."""
        self._check_single()
        names, n_thresholds = statistics(self.map_.thresholds.shape[1]), self.map_.thresholds.shape[1]
        out = feature_names(self.map_.bank, names[: self.map_.n_statistics])
        if self.map_.unit is None:
            return out
        logs = [f"log_{name}" for name in names[n_thresholds : self.map_.n_statistics]]
        return np.concatenate([out, feature_names(self.map_.bank, logs)])

    def stream(self, sample_rate: float | None = None) -> FeatureStream:
        """The fitted model for one series as it comes in; `StreamPool(model)` takes many.

        Args:
            sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.

        Raises:
            NotFittedError: `fit` was not called yet.
            ValueError: a target of several columns, which has a model for each.
        """
        return FeatureStream(self, sample_rate=sample_rate)

    def streaming_engine(self, backend: str = "auto", dtype: str | None = None, device: str = "cpu") -> Engine:
        """What `Stream` and `StreamPool` run; there is one, in float32 on the CPU."""
        self._check_single(of_features=False)
        own: Any = self
        kind = type(self).__name__
        check_engine(kind, backend, dtype, device, "float32")
        classes = getattr(own, "classes_", None)
        if "map_" not in self.__dict__:
            return OneClassEngine(kind, len(own._X_metadata["feature_kind"]), np.asarray(classes))
        return FeatureEngine(kind, self.map_, self.ridge_, classes, getattr(own, "temperature_", 1.0))

    def _check_single(self, of_features: bool = True) -> None:
        """Refuses an estimator that is not fitted, that is several, or that needed no features."""
        self.check_is_fitted()  # type: ignore[attr-defined]
        if self._is_vectorized:  # type: ignore[attr-defined]
            raise ValueError("a target of several columns has an estimator for each; take one from its table")
        if of_features and "map_" not in self.__dict__:
            raise ValueError("the training series have one class only, so no features were made; give two classes")


def _checked(alphas: Any) -> list[float]:
    """The penalties to try."""
    if alphas is None:
        return list(ALPHAS)
    values = [float(alpha) for alpha in np.atleast_1d(np.asarray(alphas, dtype=np.float64))]
    if not values:
        raise ValueError("`alphas` must hold at least one penalty, got none; leave it out for 0.001 to 10000")
    return [check_positive("alphas", alpha) for alpha in values]
