"""The order of training: which series make which batch, as a function of seed and epoch only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from seqkit.checks import check_positive_int
from seqkit.datasets.rows import Array

__all__ = ["Draw", "EpochBatches", "padded_share"]

SPREAD = 0.02
"""Standard deviation of the noise on log lengths by which batches of similar length differ from epoch to epoch."""

BATCH_COST = 0.25
"""What one more batch may save in padding, as a part of a full batch of mean length: few long series among many short
ones get a smaller batch of their own, and no batch is split for little."""


class Draw(NamedTuple):
    """The series of one batch, and numbers that no other batch of the training has, to seed what reading draws."""

    places: list[int]
    key: tuple[int, int, int]


class EpochBatches(Sampler[Draw]):
    """Batches in a new order in every epoch, the same ones for the same seed and epoch.

    Series of unequal length are batched with those of similar length, so that little is padded: the lengths, each times
    a random factor near 1, are sorted, cut into batches of at most `batch_size`, and the batches are put in random
    order. Where to cut is chosen once, to pad least. Series of equal length come in plain random order.

    Lightning calls `set_epoch` by itself; a plain loop calls `loader.sampler.set_epoch(epoch)`.

    Args:
        lengths: Number of samples of each series, (n,).
        batch_size: Series in a batch.
        seed: Seed of the run.
        bucket: Whether series of similar length make a batch.

    Raises:
        ValueError: `batch_size` is not a whole number of at least 1.

    Example:
        >>> batches = EpochBatches(np.array([3, 90, 4, 80]), batch_size=2, seed=0)
        >>> sorted(sorted(draw.places) for draw in batches)
        [[0, 2], [1, 3]]
    """

    def __init__(self, lengths: Array, batch_size: int, seed: int, *, bucket: bool = True) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = check_positive_int("batch_size", batch_size)
        self.seed = seed
        self.bucket = bucket and len(np.unique(self.lengths)) > 1
        n = len(self.lengths)
        sizes = _best_sizes(self.lengths, batch_size) if self.bucket else [batch_size] * (n // batch_size)
        self._cuts = np.cumsum(sizes)
        self._cuts = self._cuts[self._cuts < n]
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts) + 1

    def __iter__(self) -> Iterator[Draw]:
        chosen = self._bucketed() if self.bucket else self._plain()
        draws = [Draw(places.tolist(), (self.seed, self.epoch, k)) for k, places in enumerate(chosen)]
        return iter(draws[self.start :])

    def _plain(self) -> list[Array]:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        return np.split(torch.randperm(len(self.lengths), generator=generator).numpy(), self._cuts)

    def _bucketed(self) -> list[Array]:
        random = np.random.default_rng([self.seed, self.epoch])
        noise = random.normal(scale=SPREAD, size=len(self.lengths))
        batches = np.split(np.argsort(np.log(self.lengths) + noise, kind="stable"), self._cuts)
        return [batches[k] for k in random.permutation(len(batches))]


def _best_sizes(lengths: Array, batch_size: int) -> list[int]:
    """Sizes of batches of sorted series that cost least: samples with padding, and something for each batch.

    The cheapest way to cut the first j series is a last batch of some size after the cheapest way for those before.
    """
    ordered = np.sort(lengths).astype(np.float64)
    each = BATCH_COST * batch_size * float(ordered.mean())
    sizes = np.arange(batch_size, 0, -1)
    cost, last = np.zeros(len(ordered) + 1), np.zeros(len(ordered) + 1, dtype=np.int64)
    for j in range(1, len(ordered) + 1):
        most = min(batch_size, j)
        choices = cost[j - most : j] + sizes[batch_size - most :] * ordered[j - 1]
        best = int(choices.argmin())
        cost[j], last[j] = choices[best] + each, most - best
    out, j = [], len(ordered)
    while j > 0:
        out.append(int(last[j]))
        j -= out[-1]
    return out[::-1]


def padded_share(lengths: Array, draws: list[Draw]) -> float:
    """Share of the samples of all batches that is padding.

    Example:
        >>> padded_share(np.array([4, 2]), [Draw([0, 1], (0, 0, 0))])
        0.25
    """
    room = sum(len(draw.places) * int(lengths[draw.places].max()) for draw in draws)
    return 1 - sum(int(lengths[draw.places].sum()) for draw in draws) / room
