"""A butterfly as its definition: one level after another, each a sum over the two halves of its blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["butterfly_reference", "level", "levels_in_order"]


def levels_in_order(n_blocks: int, n_levels: int, increasing: bool) -> list[tuple[int, int]]:
    """Block and level in the order in which they meet the input; directions alternate from block to block.

    Example:
        >>> levels_in_order(2, 2, increasing=False)
        [(0, 1), (0, 0), (1, 0), (1, 1)]
    """
    order = []
    for block in range(n_blocks):
        up = increasing == (block % 2 == 0)
        order += [(block, index) for index in (range(n_levels) if up else reversed(range(n_levels)))]
    return order


def level(x: Tensor, twiddle: Tensor, stride: int) -> Tensor:
    """One level: x (..., n) and twiddle (..., n/2, 2, 2), pairs `stride` apart.

    Example:
        >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> level(torch.arange(4.0), swap.expand(2, 2, 2), 2)
        tensor([2., 3., 0., 1.])
    """
    n = x.shape[-1]
    pairs = x.reshape(*x.shape[:-1], n // (2 * stride), 2, stride)
    factors = twiddle.reshape(*twiddle.shape[:-3], n // (2 * stride), stride, 2, 2)
    return torch.einsum("...gsij,...gjs->...gis", factors, pairs).reshape(*x.shape[:-1], n)


@without_autocast
def butterfly_reference(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """Applies x (B, n) to twiddle (S, K, m, n/2, 2, 2) with n = 2^m; returns (B, S, n).

    Level i of each block joins elements 2^i apart. Written as sums, one level after another, in plain torch.

    Example:
        >>> hadamard = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).expand(1, 1, 2, 2, 2, 2)
        >>> butterfly_reference(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), hadamard, True)
        tensor([[[10., -2., -4.,  0.]]])
    """
    n_stacks, n_blocks, n_levels = twiddle.shape[:3]
    y = x.unsqueeze(1).expand(-1, n_stacks, -1)
    for block, index in levels_in_order(n_blocks, n_levels, increasing):
        y = level(y, twiddle[:, block, index], 1 << index)
    return y.clone() if n_blocks == 0 else y
