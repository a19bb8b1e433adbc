"""Random banks of filters: memories from below a sample to a fifth of a series, and levels to pool their outputs at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from seqkit.datasets.rows import Array
from seqkit.kernels.state_features import LANES, Filters, pack, sample_outputs

__all__ = ["draw_filters", "draw_thresholds", "feature_names", "memories", "statistics"]

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


def memories(length: float) -> tuple[float, float]:
    """Shortest and longest memory of a filter in samples, for series of about `length` samples.

    Example:
        >>> memories(100.0)
        (0.7, 20.0)
    """
    return SHORTEST, max(LONGEST * length, 2 * SHORTEST)


def draw_filters(n_filters: int, n_channels: int, between: tuple[float, float], rng: Generator) -> Filters:
    """Draws filters.

    The memory tau of a filter is log-uniform between two bounds; it is a row of 1 to 4 stages of tau / sqrt(m) each,
    which together spread over tau. Half of the filters read the slope. Numbers of stages and kinds of input take turns,
    so that each has as many filters.

    Args:
        n_filters: Number of filters F.
        n_channels: Channels C; a filter mixes up to 9 of them.
        between: Shortest and longest memory in samples, such as `memories` gives.
        rng: Source of chance.

    Example:
        >>> draw_filters(5, 2, memories(100), np.random.default_rng(0)).mix.shape
        torch.Size([5, 2])
    """
    numbers = np.arange(n_filters)
    tau = np.exp(rng.uniform(math.log(between[0]), math.log(between[1]), n_filters))
    stages = numbers % 4 + 1
    turns = rng.uniform(0, TURNS, n_filters) * (rng.random(n_filters) > STILL)
    start = rng.uniform(0, 2 * math.pi, n_filters)
    fields = (np.sqrt(stages) / tau, np.minimum(turns / tau, FASTEST), start, _mix(n_filters, n_channels, rng))
    decay, turn, phase, mix = (torch.from_numpy(one).float() for one in fields)
    sloped = torch.from_numpy(numbers // 4 % 2 == 1)
    return Filters(decay, turn, phase, torch.from_numpy(stages), mix, sloped)


def _mix(n_filters: int, n_channels: int, rng: Generator) -> Array:
    """Weights of the channels, (F, C): normal ones for a few channels drawn for each filter, 1 for a single one."""
    if n_channels == 1:
        return np.ones((n_filters, 1))
    counts = (2 ** rng.uniform(0, math.log2(min(n_channels, CHANNELS) + 1), (n_filters, 1))).astype(int)
    weights = rng.normal(size=(n_filters, n_channels))
    ranks = rng.random((n_filters, n_channels)).argsort(axis=1).argsort(axis=1)
    return np.where(ranks < counts, np.where(counts > 1, weights, 1.0), 0.0)


def draw_thresholds(
    filters: Filters,
    n_thresholds: int,
    series: Callable[[Array], tuple[Tensor, float | Tensor, Tensor]],
    n_series: int,
    rng: Generator,
) -> Tensor:
    """Levels for each filter, (F, T): quantiles of its output on a training series drawn for it and its likes.

    Up to 16 filters with as many stages and the same kind of input take one series, and of a long one 256 outputs at
    equal distances. The shares follow each other by the golden ratio from filter to filter, so that they cover 0 to 1
    evenly.

    Args:
        filters: F filters.
        n_thresholds: Number of levels T.
        series: Gives samples (B, L, C), steps and lengths of training series by their numbers.
        n_series: Number of training series.
        rng: Source of chance.

    Source:
        Dempster, Schmidt, Webb 2021, MiniRocket (arXiv:2012.08791), for bias values drawn in this way.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> bank = draw_filters(5, 1, memories(20), rng)
        >>> draw_thresholds(bank, 3, lambda at: (torch.randn(len(at), 20, 1), 1.0, None), 7, rng).shape
        torch.Size([5, 3])
    """
    n_filters = len(filters.decay)
    shares = (np.arange(1, n_filters * n_thresholds + 1) * GOLDEN % 1.0).reshape(n_filters, n_thresholds)
    bank = pack(filters, torch.zeros(n_filters, 0))
    drawn = rng.integers(n_series, size=(len(bank.kind), LANES // TOGETHER))
    used, places = np.unique(drawn, return_inverse=True)
    values, steps, lengths = series(used)
    chosen = torch.from_numpy(places.reshape(drawn.shape))
    outputs = sample_outputs(values, bank, chosen, steps=steps, lengths=lengths).numpy()
    # A filter at rest has one level all the time: rounding must not lift it above its own threshold.
    above = 1e-6 * np.nan_to_num(np.fmax.reduce(np.abs(outputs), axis=1)) + 1e-12
    return torch.from_numpy(_quantiles(outputs, shares) + above[:, None]).float()


def _quantiles(values: Array, shares: Array) -> Array:
    """Quantiles of each row of values (F, L), NaN left out, at its own shares (F, T), by a straight line between."""
    ranked = np.sort(values, axis=1)  # NaN comes last
    counts = np.maximum((~np.isnan(ranked)).sum(axis=1, keepdims=True), 1)
    place = shares * (counts - 1)
    below = np.minimum(place.astype(int), np.maximum(counts - 2, 0))
    low = np.take_along_axis(ranked, below, axis=1).astype(np.float64)
    high = np.take_along_axis(ranked, np.minimum(below + 1, counts - 1), axis=1)
    return np.asarray(np.nan_to_num(low + (place - below) * (high - low)))


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
        >>> bank = draw_filters(1, 1, memories(100), np.random.default_rng(0))
        >>> str(feature_names(bank, ["maximum"])[0])
        'filter0_tau5.92_m1_value_maximum'
    """
    tau = filters.stages.double().sqrt() / filters.decay.double()
    names = []
    for f in range(len(tau)):
        kind = "slope" if bool(filters.sloped[f]) else "value"
        names += [f"filter{f}_tau{float(tau[f]):.3g}_m{int(filters.stages[f])}_{kind}_{column}" for column in columns]
    return np.array(names)
