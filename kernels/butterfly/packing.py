"""Factors in the order in which the compiled loops read them, two levels a pass."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.butterfly.reference import levels_in_order

__all__ = ["Pass", "pack", "passes", "unpack"]

ZEROS = 8  # numbers behind the factors of a stack


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


def pack(twiddle: Tensor, plan: list[Pass]) -> Tensor:
    """Returns the factors (S, size), contiguous, from twiddle (S, K, m, n/2, 2, 2).

    A pass of two levels holds, for each group of four places in order, the two matrices of its first level and the two
    of its second; a pass of one level holds its matrices in order.
    """
    n_stacks, n_pairs = twiddle.shape[0], twiddle.shape[3]
    found = []
    for one in plan:
        factors = twiddle[:, one.block, list(one.levels)]
        if len(one.levels) == 2:
            gap = 1 << min(one.levels)
            factors = factors.view(n_stacks, 2, n_pairs // (2 * gap), 2, gap, 4).permute(0, 2, 4, 1, 3, 5)
        found.append(factors.reshape(n_stacks, -1))
    return torch.cat([*found, twiddle.new_zeros(n_stacks, ZEROS)], 1)


def unpack(packed: Tensor, plan: list[Pass], shape: torch.Size) -> Tensor:
    """Returns what `pack` took, of `shape`."""
    n_stacks, n_pairs = shape[0], shape[3]
    twiddle = packed.new_empty(shape)
    for one in plan:
        size = 4 * n_pairs * len(one.levels)
        factors = packed[:, one.place : one.place + size]
        if len(one.levels) == 2:
            gap = 1 << min(one.levels)
            factors = factors.view(n_stacks, n_pairs // (2 * gap), gap, 2, 2, 4).permute(0, 3, 1, 4, 2, 5)
        twiddle[:, one.block, list(one.levels)] = factors.reshape(n_stacks, len(one.levels), n_pairs, 2, 2)
    return twiddle
