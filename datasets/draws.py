"""Random numbers for generated sets: the same on every machine and with every version of numpy."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["Draws"]


class Draws:
    """Numbers of one series, each series with its own, whatever was drawn for others.

    Only the raw bits of numpy's generators are promised to stay as they are; its distributions are not. So numbers are
    made of bits here, by operations that IEEE 754 rounds alike everywhere.

    Args:
        seed: Seed of the set, 0 to 2^64 - 1.
        part: Number of the part.
        place: Number of the series in it.

    Source:
        The counter-based generator Philox 4x64 of Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy
        as 1, 2, 3.

    Cost:
        Some 10 us for a series, and a few nanoseconds a number.

    Example:
        >>> Draws(0, 1, 2).whole(10, 5).tolist() == Draws(0, 1, 2).whole(10, 5).tolist()
        True
    """

    def __init__(self, seed: int, part: int, place: int) -> None:
        self._bits = np.random.Philox(key=[seed, 0], counter=[0, 0, part, place])

    def shares(self, n: int) -> Array:
        """Numbers of [0, 1), (n,), float64, multiples of 2^-53."""
        return (self._bits.random_raw(n) >> np.uint64(11)) * 2.0**-53

    def whole(self, high: int, n: int) -> Array:
        """Whole numbers from 0 to `high` - 1, (n,), int64; one is more likely than another by 2^-53 `high` at most."""
        return (self.shares(n) * high).astype(np.int64)

    def places(self, n: int, k: int) -> Array:
        """Distinct places of n, in rising order, (k,), int64."""
        return np.sort(np.argsort(self._bits.random_raw(n), kind="stable")[:k])
