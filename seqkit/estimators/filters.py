"""Random banks of filters: memories from below a sample to a fifth of a series, and levels to pool their outputs at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from seqkit.datasets.rows import Array
from seqkit.kernels.state_features import Filters, filter_outputs

__all__ = ["draw_filters", "draw_thresholds", "feature_names", "statistics"]

SHORTEST = 0.7
"""Shortest memory in samples."""
LONGEST = 0.2
"""Longest memory as a share of the median series."""
TURNS = 8.0
"""Largest angle that a filter turns by within its memory, in rad."""
STILL = 0.1
"""Share of filters that do not turn."""
FASTEST = 0.95 * math.pi
"""Largest angle in a sample, just below what alternating samples turn by."""
CHANNELS = 9
"""Most channels that a filter mixes."""
TOGETHER = 16
"""Filters that take one training series for their thresholds."""
GOLDEN = (math.sqrt(5) - 1) / 2


def draw_filters(n_filters: int, n_channels: int, length: float, rng: Generator) -> Filters:
    """Draws filters for series of about `length` samples.

    The memory tau of a filter is log-uniform from 0.7 samples to a fifth of `length`; it is a row of 1 to 4 stages of
    tau / sqrt(m) each, which together spread over tau. Half of the filters read the slope.

    Args:
        n_filters: Number of filters F.
        n_channels: Channels C; a filter mixes up to 9 of them.
        length: Typical number of samples of a series.
        rng: Source of chance.

    Example:
        >>> draw_filters(5, 2, 100, np.random.default_rng(0)).mix.shape
        torch.Size([5, 2])
    """
    tau = np.exp(rng.uniform(math.log(SHORTEST), math.log(max(LONGEST * length, 2 * SHORTEST)), n_filters))
    stages = rng.integers(1, 5, n_filters)
    turns = rng.uniform(0, TURNS, n_filters) * (rng.random(n_filters) > STILL)
    start = rng.uniform(0, 2 * math.pi, n_filters)
    weights = np.zeros((n_filters, n_channels))
    for row in weights:
        count = int(2 ** rng.uniform(0, math.log2(min(n_channels, CHANNELS) + 1))) if n_channels > 1 else 1
        places = rng.choice(n_channels, min(count, n_channels), replace=False)
        row[places] = rng.normal(size=len(places)) if len(places) > 1 else 1.0
    numbers = (np.sqrt(stages) / tau, np.minimum(turns / tau, FASTEST), start, weights)
    decay, turn, phase, mix = (torch.from_numpy(one).float() for one in numbers)
    sloped = torch.from_numpy(rng.random(n_filters) < 0.5)
    return Filters(decay, turn, phase, torch.from_numpy(stages), mix, sloped)


def draw_thresholds(
    filters: Filters, n_thresholds: int, series: Callable[[int], tuple[Tensor, Tensor]], n_series: int, rng: Generator
) -> Tensor:
    """Levels for each filter, (F, T): quantiles of its output on a training series drawn for it and its likes.

    Up to 16 filters with as many stages and the same kind of input take one series. The shares follow each other by
    the golden ratio from filter to filter, so that they cover 0 to 1 evenly.

    Args:
        filters: F filters.
        n_thresholds: Number of levels T.
        series: Gives samples (L, C) and steps (L,) of a training series by its number.
        n_series: Number of training series.
        rng: Source of chance.

    Source:
        Dempster, Schmidt, Webb 2021, MiniRocket (arXiv:2012.08791), for bias values drawn in this way.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> bank = draw_filters(5, 1, 20, rng)
        >>> draw_thresholds(bank, 3, lambda i: (torch.randn(20, 1), torch.ones(20)), 7, rng).shape
        torch.Size([5, 3])
    """
    n_filters = len(filters.decay)
    shares = (np.arange(1, n_filters * n_thresholds + 1) * GOLDEN % 1.0).reshape(n_filters, n_thresholds)
    levels = np.zeros((n_filters, n_thresholds))
    kinds = 2 * filters.stages.numpy() + filters.sloped.numpy()
    for kind in np.unique(kinds):
        alike = np.flatnonzero(kinds == kind)
        for taken in np.split(alike, range(TOGETHER, len(alike), TOGETHER)):
            values, steps = series(int(rng.integers(n_series)))
            outputs = filter_outputs(values, filters.take(torch.from_numpy(taken)), steps=steps).double().numpy()
            # A filter at rest has one level all the time: rounding must not lift it above its own threshold.
            above = 1e-6 * np.abs(outputs).max(axis=0) + 1e-12
            levels[taken] = _quantiles(outputs, shares[taken]) + above[:, None]
    return torch.from_numpy(levels).float()


def _quantiles(values: Array, shares: Array) -> Array:
    """Quantiles of each column of values (L, F) at its own shares (F, T), between samples by a straight line."""
    ranked = np.sort(values, axis=0)
    place = shares * (len(values) - 1)
    below = np.minimum(place.astype(int), max(len(values) - 2, 0))
    column = np.arange(values.shape[1])[:, None]
    low, high = ranked[below, column], ranked[np.minimum(below + 1, len(values) - 1), column]
    return np.asarray(low + (place - below) * (high - low))


def statistics(n_thresholds: int) -> list[str]:
    """Names of the statistics of a filter, in the order of `state_features`.

    Example:
        >>> statistics(1)
        ['share0', 'maximum', 'mean', 'last']
    """
    return [*(f"share{t}" for t in range(n_thresholds)), "maximum", "mean", "last"]


def feature_names(filters: Filters, columns: Sequence[str]) -> Array:
    """A name for each feature: filter, memory in training steps, number of stages, kind of input, statistic.

    Example:
        >>> bank = draw_filters(1, 1, 100, np.random.default_rng(0))
        >>> str(feature_names(bank, ["maximum"])[0])
        'filter0_tau5.92_m3_value_maximum'
    """
    tau = filters.stages.double().sqrt() / filters.decay.double()
    names = []
    for f in range(len(tau)):
        kind = "slope" if bool(filters.sloped[f]) else "value"
        names += [f"filter{f}_tau{float(tau[f]):.3g}_m{int(filters.stages[f])}_{kind}_{column}" for column in columns]
    return np.array(names)
