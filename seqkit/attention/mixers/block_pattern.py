"""A pattern of tiles as a rule: the mask of a length, what a stream sees of its past, and how far back that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive_int
from seqkit.kernels.attention import BlockMask, butterfly_mask, local_mask, mask_of_tiles, strided_mask

__all__ = ["PATTERNS", "BlockPattern", "block_pattern"]

PATTERNS = {
    "butterfly": {"n_factors": 4, "n_global": 0},
    "local": {"width": 1, "n_global": 0},
    "strided": {"stride": 8, "width": 1},
}
"""The options of each pattern with their defaults."""


@dataclass(frozen=True)
class BlockPattern:
    """Which tiles of the scores exist; `block_pattern` checks and fills in.

    Args:
        name: "butterfly": tiles i and j with i = j or i xor j one of 1, 2, ... 2^(n_factors - 1). "local": at most
            `width` apart. "strided": at most `width` or a multiple of `stride` apart.
        block_size: Samples of a tile, in rows and in columns.
        n_factors: Factors of a butterfly.
        width: Tiles on each side of the diagonal.
        stride: Tiles from one to the next.
        n_global: Tiles, from the first, that read all and that all read.

    Example:
        >>> block_pattern("local", 16, width=2).reach
        48
    """

    name: str
    block_size: int
    n_factors: int
    width: int
    stride: int
    n_global: int

    @property
    def first(self) -> int:
        """Samples, from the first, that all later ones read."""
        return self.n_global * self.block_size

    @property
    def reach(self) -> int | None:
        """Samples up to its own that one reads at most, without the first ones that stay; None where there is no bound.

        Example:
            >>> block_pattern("butterfly", 16, n_factors=3).reach, block_pattern("strided", 16).reach
            (80, None)
        """
        if self.name == "strided":
            return None
        tiles = self.width if self.name == "local" else 2**self.n_factors // 2
        return (tiles + 1) * self.block_size

    @property
    def cycle(self) -> int:
        """Samples after which everything repeats, a multiple of the reach.

        Example:
            >>> block_pattern("butterfly", 16, n_factors=3).cycle  # 5 tiles back, and 8 kinds of rows
            640
        """
        period = self.block_size * (2**self.n_factors if self.name == "butterfly" else 1)
        return math.lcm(period, self.reach or period)

    def mask(self, length: int) -> BlockMask:
        """The mask of a series of this length; its tiles are listed anew each time.

        Example:
            >>> block_pattern("butterfly", 64, n_factors=1).mask(256).density
            0.5
        """
        tile = min(self.block_size, length)  # a short series is one tile
        if self.block_size >= length:
            return mask_of_tiles(torch.ones(1, 1, dtype=torch.bool), (length, length), tile)
        if self.name == "butterfly":
            return butterfly_mask(length, self.n_factors, tile=tile, n_global=self.n_global)
        if self.name == "local":
            return local_mask(length, self.width, tile=tile, n_global=self.n_global)
        return strided_mask(length, self.stride, tile=tile, width=self.width)

    def sees(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Whether queries read keys, without a causal rule.

        Args:
            queries: Numbers of samples, whole, all less a common multiple of the cycle or as they are.
            keys: The same; below 0 for none. The two broadcast.

        Example:
            >>> block_pattern("local", 2, width=0).sees(torch.tensor([5]), torch.arange(6))
            tensor([False, False, False, False,  True,  True])
        """
        rows, columns = (one.div(self.block_size, rounding_mode="floor") for one in (queries, keys))
        if self.name == "butterfly":
            apart = rows ^ columns  # negative, and so too large, where a row of 2^n_factors tiles lies in between
            seen = (apart & (apart - 1)).eq(0) & (apart >= 0) & (apart < 2**self.n_factors)
        else:
            apart = (rows - columns).abs()
            seen = apart <= self.width
            if self.name == "strided":
                seen = seen | (apart % self.stride == 0)
        seen = seen | (rows < self.n_global) | (columns < self.n_global)
        return torch.logical_and(seen, keys >= 0)

    def __str__(self) -> str:
        """Its name and its own options."""
        own = ", ".join(f"{key}={getattr(self, key)}" for key in PATTERNS[self.name])
        return f"pattern={self.name!r}, block_size={self.block_size}, {own}"


def block_pattern(name: str, block_size: int, **options: int | None) -> BlockPattern:
    """Makes a pattern from what was given, with the defaults of `PATTERNS` for the rest.

    Args:
        name: "butterfly", "local" or "strided".
        block_size: Samples of a tile.
        options: `n_factors`, `width`, `stride` and `n_global`; None where not given.

    Raises:
        ValueError: an unknown pattern, an option that it does not have, or a value that is no whole number.

    Example:
        >>> print(block_pattern("strided", 32, stride=4))
        pattern='strided', block_size=32, stride=4, width=1
    """
    own = PATTERNS[check_choice("pattern", name, PATTERNS)]
    values = {"n_factors": 0, "width": 0, "stride": 1, "n_global": 0, **own}
    for key, value in options.items():
        if value is None:
            continue
        if key not in own:
            raise ValueError(
                f"`{key}` must not be given for the pattern {name}, got {value!r}; it has {' and '.join(own)}"
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < (key == "stride"):
            raise ValueError(f"`{key}` must be a whole number of at least {int(key == 'stride')}, got {value!r}")
        values[key] = value
    return BlockPattern(name, check_positive_int("block_size", block_size), **values)
