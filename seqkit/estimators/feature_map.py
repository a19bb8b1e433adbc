"""From series to standardised features: what the training series fix of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.estimators.filters import draw_filters, draw_thresholds, memories
from seqkit.kernels.state_features import Filters, state_features

__all__ = ["FeatureMap", "prepare"]

FARTHEST = 3.0
"""Deviations from the training mean at which a feature is held: a series far out must not be far out in thousands."""
BEND = 0.03
"""Deviations of a statistic up to which its signed logarithm is nearly straight."""
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
        unit: Where the signed logarithms of maximum, mean and last output are features too, what each bends at, (L,);
            None without them.

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
    unit: Array | None = None

    @property
    def bank(self) -> Filters:
        """The filters."""
        return Filters(*(torch.from_numpy(field) for field in self.filters))

    def features(self, series: SeriesSet) -> Array:
        """Standardised features of series, (n, P)."""
        return self.standardised(self.raw(series))

    def raw(self, series: SeriesSet) -> Array:
        """Statistics of the filters over series, (n, F S), float64."""
        if series.n_channels != len(self.mean):
            raise ValueError(
                f"{series.origin} has {series.n_channels} channels, and the estimator was trained on {len(self.mean)} "
                "channels; give the same ones in the same order"
            )
        bank, thresholds = self.bank, torch.from_numpy(self.thresholds)
        out, done = np.empty((len(series), len(thresholds), self.n_statistics)), 0
        while done < len(series):
            count = max(1, AT_ONCE // (int(series.lengths[done:].max()) * series.n_channels))
            part = series.select(range(done, min(len(series), done + count)))
            values, steps, lengths = self.padded(part)
            found = state_features(values, bank, thresholds, steps=steps, lengths=lengths)
            out[done : done + len(found)] = found.numpy()[..., : self.n_statistics]
            done += count
        return out.reshape(len(series), -1)

    def standardised(self, raw: Array) -> Array:
        """Features in units of their deviation, held at three of them; the mean where nothing was observed."""
        out = self.widened(raw)
        out = np.subtract(out, self.middle, out=None if out is raw else out)
        return self.shrunk(out)

    def widened(self, raw: Array) -> Array:
        """Statistics and, where they are features too, the signed logarithms sign(x) log(1 + |x| / unit)."""
        if self.unit is None:
            return raw
        further = self.bendable(raw) / self.unit
        np.copysign(np.log1p(np.abs(further)), further, out=further)
        return np.concatenate([raw, further], axis=1)

    def bendable(self, raw: Array) -> Array:
        """What has no bounds among the statistics, (n, L): maximum, mean and last output of each filter."""
        each = raw.reshape(len(raw), len(self.thresholds), self.n_statistics)
        return each[..., self.thresholds.shape[1] :].reshape(len(raw), -1)

    def shrunk(self, centred: Array) -> Array:
        """What `standardised` makes of features without their mean, in their place."""
        centred *= 1 / self.spread
        np.clip(centred, -FARTHEST, FARTHEST, out=centred)
        centred[np.isnan(centred[:, 0])] = 0.0  # a series of which nothing is observed has no feature at all
        return centred

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
    filters = draw_filters(n_filters, series.n_channels, memories(float(np.median(series.lengths))), rng)
    fields = tuple(field.numpy() for field in filters)
    nothing = np.zeros(0)
    none = np.zeros((n_filters, 0), np.float32)
    found = FeatureMap(fields, none, n_statistics, mean, scale, series.sample_rate, nothing, nothing)

    def some(places: Array) -> tuple[Tensor, float | Tensor, Tensor]:
        return found.padded(series.select(places.tolist()))

    found.thresholds = draw_thresholds(filters, n_thresholds, some, len(series), rng).numpy()
    return found


def prepare(
    series: SeriesSet, n_filters: int, n_thresholds: int, n_statistics: int, seed: int, logs: bool = False
) -> tuple[FeatureMap, Array]:
    """The map that training series fix, and their standardised features.

    Args:
        series: Training series.
        n_filters: Number of filters F.
        n_thresholds: Number of levels T of each.
        n_statistics: How many statistics S of each are features: T shares, maximum, mean, last output.
        seed: Seed of filters and levels.
        logs: Whether the signed logarithms of the statistics after the shares are features too.
    """
    found = fit_map(series, n_filters, n_thresholds, n_statistics, seed)
    features = found.raw(series)
    if logs:
        further = BEND * found.bendable(features).std(axis=0)
        found.unit = np.where(further > 0, further, 1.0)
        features = found.widened(features)
    size = np.maximum(features.max(axis=0), -features.min(axis=0))
    found.middle = features.mean(axis=0)
    features -= found.middle
    spread = np.sqrt(np.einsum("np,np->p", features, features) / len(features))
    found.spread = np.where(spread > 1e-7 * size, spread, 1.0)
    return found, found.shrunk(features)


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
