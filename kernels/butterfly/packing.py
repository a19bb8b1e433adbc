"""Passes of the compiled loops over a tile: which levels go together, and where their factors lie."""

from __future__ import annotations

from typing import NamedTuple

from seqkit.kernels.butterfly.reference import levels_in_order

__all__ = ["ZEROS", "Pass", "passes"]

ZEROS = 8  # numbers behind the packed factors of a stack


class Pass(NamedTuple):
    """One pass over a tile.

    Args:
        block: Index of the block.
        levels: Its levels in the order in which they are applied, two neighbours or one.
        place: Index of its first factor in the packed order.
    """

    block: int
    levels: tuple[int, ...]
    place: int


def passes(n_blocks: int, n_levels: int, increasing: bool) -> list[Pass]:
    """Pairs up the levels of each block; the last one of an odd number is a pass of its own.

    Example:
        >>> [one.levels for one in passes(1, 3, increasing=False)]
        [(2, 1), (0,)]
    """
    order, found = levels_in_order(n_blocks, n_levels, increasing), []
    place, factors = 0, 2 << n_levels
    for block in range(n_blocks):
        levels = [index for at, index in order if at == block]
        for first in range(0, n_levels, 2):
            found.append(Pass(block, tuple(levels[first : first + 2]), place))
            place += factors * len(levels[first : first + 2])
    return found
