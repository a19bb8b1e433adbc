"""Sums over runs of neighbours as one butterfly, and butterflies between numbers in bit-reversed order."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.structured.butterflies.transforms import bit_reversal

__all__ = ["between_reversed", "run_sums"]


def run_sums(runs: Tensor, weights: Tensor) -> Tensor:
    """Factors of the matrix with y_r = sum of weights_j x_j over the columns j of run r.

    Column j travels to row runs_j by having one binary digit of its place replaced at each level, the lowest first.
    Before the level of stride s, two columns are at one place if they agree in the place above s and in the run modulo
    s. So they lie less than s apart, and as runs do not skip numbers their runs differ by less than s: it is the same
    run, and they may be added there.

    Args:
        runs: Row of each column, whole numbers (n,), n a power of two of at least 2, from 0 on, each the one before
            it or one more.
        weights: Weight of each column, (n,).

    Returns:
        Factors (log2 n, n/2, 2, 2) for increasing strides, zeros and ones but for the weights in the lowest level.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), horizontal step matrices in the proof of theorem 3.

    Cost: O(n log n).

    Example:
        >>> from seqkit.kernels.butterfly import butterfly
        >>> factors = run_sums(torch.tensor([0, 0, 0, 1]), torch.ones(4))
        >>> butterfly(torch.tensor([1.0, 2.0, 3.0, 4.0]), factors[None], "increasing").tolist()
        [6.0, 4.0, 0.0, 0.0]
    """
    n = len(runs)
    n_levels = n.bit_length() - 1
    factors = weights.new_zeros(n_levels, n // 2, 2, 2)
    places = torch.arange(n)
    for level in range(n_levels):
        stride = 1 << level
        pairs = places // (2 * stride) * stride + places % stride
        come, go = places // stride % 2, runs // stride % 2
        factors[level, pairs, go, come] = weights if level == 0 else weights.new_ones(())
        places = places + (go - come) * stride
    return factors


def between_reversed(factors: Tensor) -> Tensor:
    """Factors of the same map between vectors whose places are read with their binary digits backwards.

    A stride s becomes n / 2s, so that increasing strides become decreasing ones and the other way round.

    Args:
        factors: Factors (log2 n, n/2, 2, 2) of one block.

    Returns:
        Factors of the same shape, of R M R with R the bit reversal.

    Example:
        >>> from seqkit.kernels.butterfly import butterfly
        >>> from seqkit.structured.butterflies import bit_reversal
        >>> factors, x, order = torch.randn(3, 4, 2, 2), torch.randn(8), bit_reversal(8)
        >>> there = butterfly(x[order], between_reversed(factors)[None], "decreasing")
        >>> bool(torch.allclose(there, butterfly(x, factors[None], "increasing")[order]))
        True
    """
    n_levels, half = factors.shape[:2]
    order, pairs = bit_reversal(2 * half), torch.arange(half)
    out = torch.empty_like(factors)
    for level in range(n_levels):
        stride = 1 << level
        upper = order[pairs // stride * 2 * stride + pairs % stride]  # new place of the first number of each pair
        turned = half // stride
        out[n_levels - 1 - level, upper // (2 * turned) * turned + upper % turned] = factors[level]
    return out
