"""Random numbers by a counter: what a number is rounded with is a function of seed, row and place, on every path."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["key_of", "uniform"]

BITS = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def mix(x: Tensor) -> Tensor:
    """A bijection of 32 bits whose every output bit depends on every input bit; x is int64 between 0 and 2^32 - 1.

    Source: the function `lowbias32` of C. Wellons' search of integer hashes ("Prospecting for Hash Functions", 2018).

    Example:
        >>> int(mix(torch.tensor(1)))
        1753845952
    """
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & BITS
    x = ((x ^ (x >> 15)) * 0x846CA68B) & BITS
    return x ^ (x >> 16)


def key_of(seed: Tensor) -> Tensor:
    """What of a seed the rows are numbered from.

    Example:
        >>> key_of(torch.tensor(0)).dtype
        torch.int64
    """
    return mix((mix((seed & BITS) ^ GOLDEN) + (seed >> 32)) & BITS)


def uniform(seed: Tensor, n_rows: int, length: int) -> Tensor:
    """Numbers of [0, 1), (R, n) float32, multiples of 2^-24.

    Args:
        seed: A whole number, int64 without dimensions.
        n_rows: Rows R.
        length: Numbers n of a row.

    Example:
        >>> uniform(torch.tensor(0), 2, 3).shape
        torch.Size([2, 3])
    """
    rows = mix((key_of(seed) + torch.arange(n_rows, device=seed.device) * GOLDEN) & BITS)
    numbers = mix((rows.unsqueeze(-1) + torch.arange(length, device=seed.device) * GOLDEN) & BITS)
    return (numbers >> 8).float() * 2.0**-24
