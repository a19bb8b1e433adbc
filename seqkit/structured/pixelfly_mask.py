"""Which blocks a flat block butterfly keeps: the diagonal and the neighbours whose number differs in one low bit."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive_int

__all__ = ["butterfly_mask", "check_factors", "neighbours"]


def neighbours(n_blocks: int, n_factors: int, device: torch.device | str | None = None) -> Tensor:
    """Columns of the kept blocks of each row of blocks: i, i xor 1, i xor 2, .., i xor 2^(s-1).

    Each column of the result is a permutation that is its own inverse, so the same table serves the transpose.

    Args:
        n_blocks: Number of block rows and block columns, a power of two.
        n_factors: Number of butterfly factors s whose patterns are joined, from 0 to log2 of `n_blocks`.
        device: Device of the table.

    Returns:
        Whole numbers, (n_blocks, s + 1).

    Example:
        >>> neighbours(4, 2).tolist()
        [[0, 1, 2], [1, 0, 3], [2, 3, 0], [3, 2, 1]]
    """
    rows = torch.arange(n_blocks, device=device)
    return torch.stack([rows] + [rows ^ (1 << level) for level in range(n_factors)], dim=1)


def butterfly_mask(n_blocks: int, n_factors: int) -> Tensor:
    """Mask of the flat block butterfly over blocks, symmetric, with s + 1 blocks in each row and each column.

    Args:
        n_blocks: Number of block rows and block columns, a power of two.
        n_factors: Number of butterfly factors s, from 0 to log2 of `n_blocks`; below that, the blocks fall into
            n_blocks / 2^s groups between which nothing flows.

    Returns:
        Whether a block is kept, bool, (n_blocks, n_blocks).

    Raises:
        ValueError: a number of blocks that is no power of two, or more factors than it has bits.

    Source: Chen et al. 2021, Pixelated Butterfly (arXiv:2112.00029), flat block butterfly.

    Example:
        >>> butterfly_mask(4, 1).int().tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    if check_positive_int("n_blocks", n_blocks) & (n_blocks - 1):
        raise ValueError(f"`n_blocks` must be a power of two, got {n_blocks}; take {1 << (n_blocks.bit_length() - 1)}")
    check_factors(n_factors, n_blocks)
    mask = torch.zeros(n_blocks, n_blocks, dtype=torch.bool)
    return mask.scatter_(1, neighbours(n_blocks, n_factors), True)


def check_factors(n_factors: int, n_blocks: int) -> int:
    """Refuses what is no number of factors of this many blocks."""
    most = n_blocks.bit_length() - 1
    whole = isinstance(n_factors, int) and not isinstance(n_factors, bool)
    if not whole or not 0 <= n_factors <= most:
        raise ValueError(
            f"`n_factors` must be a whole number from 0 to {most} for {n_blocks} blocks, got {n_factors!r}; "
            "use smaller blocks for more factors"
        )
    return n_factors
