"""What the two estimators on random features share: from a panel to features, and from features to a ridge model."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.checks import check_positive, check_positive_int
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.estimators.base import SklearnBridge, TellsRate, seed_of, threads
from seqkit.estimators.engines import OneClassEngine, check_engine
from seqkit.estimators.feature_engine import FeatureEngine, FeatureStream
from seqkit.estimators.filters import draw_filters, draw_thresholds, feature_names, statistics
from seqkit.estimators.panel import panel_to_series
from seqkit.estimators.ridge import Ridge, fit_ridge
from seqkit.kernels.state_features import Filters, state_features
from seqkit.streaming import Engine

__all__ = ["ALPHAS", "FeatureEstimator", "FeatureMap", "prepare"]

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 4, 12))
"""Penalties that are tried unless others are given."""
FARTHEST = 3.0
"""Deviations from the training mean at which a feature is held: a series far out must not be far out in thousands."""
AT_ONCE = 2**24
"""Values of padded series held at a time."""


@dataclass(eq=False)
class FeatureMap:
    """From series to features, as fixed by the training series.

    Args:
        filters: The bank, its fields as arrays.
        thresholds: Levels, (F, T).
        n_statistics: How many of the statistics of `state_features` are features: the first ones.
        mean: Mean of each channel, (C,).
        scale: Deviation of each channel, (C,).
        sample_rate: Samples per second of the training series (Hz), or None without a unit of time.
        middle: Mean of each feature, (P,).
        spread: Deviation of each feature, (P,).

    Example:
        >>> FeatureMap.__name__
        'FeatureMap'
    """

    filters: tuple[Array, ...]
    thresholds: Array
    n_statistics: int
    mean: Array
    scale: Array
    sample_rate: float | None
    middle: Array
    spread: Array

    @property
    def bank(self) -> Filters:
        """The filters."""
        return Filters(*(torch.from_numpy(field) for field in self.filters))

    def features(self, series: SeriesSet) -> Array:
        """Standardised features of series, (n, P)."""
        return self.standardised(self.raw(series))

    def raw(self, series: SeriesSet) -> Array:
        """Features of series, (n, P), float64."""
        if series.n_channels != len(self.mean):
            raise ValueError(
                f"{series.origin} has {series.n_channels} channels, and the estimator was trained on {len(self.mean)} "
                "channels; give the same ones in the same order"
            )
        bank, thresholds = self.bank, torch.from_numpy(self.thresholds)
        out, done = np.empty((len(series), len(self.middle))), 0
        while done < len(series):
            count = max(1, AT_ONCE // (int(series.lengths[done:].max()) * series.n_channels))
            part = series.select(range(done, min(len(series), done + count)))
            values, steps, lengths = self.padded(part)
            found = state_features(values, bank, thresholds, steps=steps, lengths=lengths)
            wanted = out[done : done + len(found)]
            wanted.reshape(len(found), len(thresholds), -1)[:] = found.numpy()[..., : self.n_statistics]
            done += count
        return out

    def standardised(self, raw: Array) -> Array:
        """Features in units of their deviation, held at three of them; the mean where nothing was observed."""
        out = (raw - self.middle) / self.spread
        np.clip(out, -FARTHEST, FARTHEST, out=out)
        out[np.isnan(out)] = 0.0
        return out

    def padded(self, series: SeriesSet) -> tuple[Tensor, float | Tensor, Tensor]:
        """Standardised samples (B, L, C), steps in units of the training step, one or (B, L), and lengths."""
        lengths = series.lengths
        longest = int(lengths.max())
        values = np.zeros((len(lengths), longest, series.n_channels), dtype=np.float32)
        inside = np.arange(longest) < lengths[:, None]
        values[inside] = self.scaled(np.concatenate(series.values))
        steps: float | Tensor = self.step(series.sample_rate)
        if series.timestamps is not None:
            spans = np.ones(values.shape[:2])
            for i, seconds in enumerate(series.timestamps):
                spans[i, 1 : len(seconds)] = np.diff(np.asarray(seconds, dtype=np.float64)) * (self.sample_rate or 1.0)
            steps = torch.from_numpy(spans)
        return torch.from_numpy(values), steps, torch.from_numpy(lengths)

    def scaled(self, values: Array) -> Array:
        """Samples (L, C) in units of each channel's deviation, float32."""
        return ((values - self.mean) / self.scale).astype(np.float32)

    def step(self, sample_rate: float | None) -> float:
        """Step of samples at a rate, in units of the training step."""
        base = self.sample_rate or 1.0
        return 1.0 if sample_rate is None else base / sample_rate


def fit_map(series: SeriesSet, n_filters: int, n_thresholds: int, n_statistics: int, seed: int) -> FeatureMap:
    """Draws the features for training series, all but what the features' own values fix."""
    rng = np.random.default_rng(seed)
    mean, scale = _moments(series)
    filters = draw_filters(n_filters, series.n_channels, float(np.median(series.lengths)), rng)
    fields = tuple(field.numpy() for field in filters)
    n_features = n_filters * n_statistics
    unit = np.zeros(n_features), np.ones(n_features)
    found = FeatureMap(
        fields, np.zeros((n_filters, 0), np.float32), n_statistics, mean, scale, series.sample_rate, *unit
    )

    def some(places: Array) -> tuple[Tensor, float | Tensor, Tensor]:
        return found.padded(series.select(places.tolist()))

    found.thresholds = draw_thresholds(filters, n_thresholds, some, len(series), rng).numpy()
    return found


def prepare(
    series: SeriesSet, n_filters: int, n_thresholds: int, n_statistics: int, seed: int
) -> tuple[FeatureMap, Array]:
    """The map that training series fix, and their standardised features."""
    found = fit_map(series, n_filters, n_thresholds, n_statistics, seed)
    raw = found.raw(series)
    found.middle = raw.mean(axis=0)
    spread = raw.std(axis=0)
    found.spread = np.where(spread > 1e-7 * np.abs(raw).max(axis=0), spread, 1.0)
    return found, found.standardised(raw)


def _moments(series: SeriesSet) -> tuple[Array, Array]:
    """Mean and deviation of each channel over all observed samples; 0 and 1 for a channel without any."""
    values = np.concatenate(series.values).astype(np.float64)
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(axis=0), 1)
    values[~seen] = 0.0
    mean = values.sum(axis=0) / count
    values -= mean
    values[~seen] = 0.0
    scale = np.sqrt(np.square(values, out=values).sum(axis=0) / count)
    return mean, np.where(scale > 1e-6 * np.abs(mean), scale, 1.0)


class FeatureEstimator(SklearnBridge, TellsRate):
    """Fits a ridge model to features of a panel; comes before a base class of sktime.

    Example:
        >>> from seqkit.estimators import HiPPOFeaturesRegressor
        >>> issubclass(HiPPOFeaturesRegressor, FeatureEstimator)
        True
    """

    map_: FeatureMap
    ridge_: Ridge

    def _learn(self, X: Any, targets: Array, weight: Array | None) -> None:
        """Fits map and model to targets (n, K)."""
        own: Any = self
        began = time.perf_counter()
        n_filters = check_positive_int("n_filters", own.n_filters)
        n_thresholds = check_positive_int("n_thresholds", own.n_thresholds)
        alphas = _checked(own.alphas)
        seed = seed_of(own.random_state)
        series = panel_to_series(X, sample_rate=own.sample_rate, told=True)
        with threads(own.n_jobs):
            self.map_, features = prepare(series, n_filters, n_thresholds, self._n_statistics(n_thresholds), seed)
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
        told = self.told_rate
        series = panel_to_series(X, sample_rate=told or self.map_.sample_rate, told=told is not None)
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
        names = statistics(self.map_.thresholds.shape[1])
        return feature_names(self.map_.bank, names[: self.map_.n_statistics])

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
