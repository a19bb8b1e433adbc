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

SPREAD = 0.05
"""Standard deviation of the noise on log lengths by which batches of similar length differ from epoch to epoch."""


class Draw(NamedTuple):
    """The series of one batch, and numbers that no other batch of the training has, to seed what reading draws."""

    places: list[int]
    key: tuple[int, int, int]


class EpochBatches(Sampler[Draw]):
    """Batches in a new order in every epoch, the same ones for the same seed and epoch.

    Series of unequal length are batched with those of similar length, so that little is padded: the lengths, each times
    a random factor near 1, are sorted, cut into batches, and the batches are put in random order. One batch in a random
    place of the sorted lengths takes what does not fill a batch. Series of equal length come in plain random order.

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
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        chosen = self._bucketed() if self.bucket else self._plain()
        draws = [Draw(places.tolist(), (self.seed, self.epoch, k)) for k, places in enumerate(chosen)]
        return iter(draws[self.start :])

    def _plain(self) -> list[Array]:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        order: Array = torch.randperm(len(self.lengths), generator=generator).numpy()
        return np.split(order, range(self.batch_size, len(order), self.batch_size))

    def _bucketed(self) -> list[Array]:
        random = np.random.default_rng([self.seed, self.epoch])
        noise = random.normal(scale=SPREAD, size=len(self.lengths))
        order = np.argsort(np.log(self.lengths) + noise, kind="stable")
        sizes = np.full(len(self), self.batch_size)
        sizes[random.integers(len(sizes))] -= sizes.sum() - len(order)
        batches = np.split(order, np.cumsum(sizes)[:-1])
        return [batches[k] for k in random.permutation(len(batches))]


def padded_share(lengths: Array, draws: list[Draw]) -> float:
    """Share of the samples of all batches that is padding.

    Example:
        >>> padded_share(np.array([4, 2]), [Draw([0, 1], (0, 0, 0))])
        0.25
    """
    room = sum(len(draw.places) * int(lengths[draw.places].max()) for draw in draws)
    return 1 - sum(int(lengths[draw.places].sum()) for draw in draws) / room
