"""Dropout by a counter: whether a weight stays is a function of seed, head, query and key, whatever the tiles are."""

from __future__ import annotations

from torch import Tensor

__all__ = ["kept"]

BITS = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def mix(x: Tensor) -> Tensor:
    """A bijection of 32 bits whose every output bit depends on every input bit; x is int64 between 0 and 2^32 - 1.

    Source: the function `lowbias32` of C. Wellons' search of integer hashes ("Prospecting for Hash Functions", 2018).

    Example:
        >>> import torch
        >>> int(mix(torch.tensor(1)))
        1753845952
    """
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & BITS
    x = ((x ^ (x >> 15)) * 0x846CA68B) & BITS
    return x ^ (x >> 16)


def kept(seed: Tensor, heads: Tensor, queries: Tensor, keys: Tensor, dropout: float) -> Tensor:
    """Says which weights stay, (*heads, R, T) bool; each does with probability 1 - dropout.

    Args:
        seed: A whole number, int64 without dimensions.
        heads: Numbers of row and head, row * n_heads + head; int64 of any shape.
        queries: Places of the queries in their row, (R,).
        keys: Places of the keys in their row, (T,).
        dropout: Share of weights to drop.

    Example:
        >>> import torch
        >>> at = torch.arange(3)
        >>> kept(torch.tensor(0), at, at, at, 0.5).shape
        torch.Size([3, 3, 3])
    """
    key = mix((mix((seed & BITS) ^ GOLDEN) + (seed >> 32)) & BITS)
    key = mix((key + heads.unsqueeze(-1) * GOLDEN) & BITS)
    key = mix((key + queries * GOLDEN) & BITS)
    numbers = mix((key.unsqueeze(-1) + keys * GOLDEN) & BITS)
    return numbers >= round(dropout * 2**32)
