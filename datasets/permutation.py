"""Orders in which the pixels of an image are shown, by name."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.series import Array

__all__ = ["bit_reversal", "pixel_order"]


def bit_reversal(n: int) -> Array:
    """Places 0..n-1 in bit-reversed order: all numbers of as many bits as n-1 reversed, without those of n and above.

    Args:
        n: Number of places.

    Source:
        The pixel order of permuted MNIST in Gu et al. 2020, HiPPO (arXiv:2008.07669), by its released code.

    Cost:
        O(n log n).

    Example:
        >>> bit_reversal(784)[:5].tolist()
        [0, 512, 256, 768, 128]
    """
    bits = max(n - 1, 1).bit_length()
    numbers = np.arange(2**bits)
    order = np.zeros_like(numbers)
    for k in range(bits):
        order |= ((numbers >> k) & 1) << (bits - 1 - k)
    return order[order < n]


def pixel_order(permutation: str, n: int) -> Array | None:
    """Order by name: sample k of a permuted series is sample order[k] of the plain one; None keeps the order.

    Args:
        permutation: "none"; "bit_reversal"; "numpy:SEED", as numpy's RandomState(SEED) permutes; or "random:SEED", as
            torch.randperm with a generator of that seed does.
        n: Number of samples.

    Raises:
        ValueError: another name, or a seed that is not a whole number from 0 to 2^32 - 1.

    Source:
        Le et al. 2015 (arXiv:1504.00941) permute by one random draw; many papers since use "numpy:92916".

    Example:
        >>> pixel_order("numpy:92916", 784)[:3].tolist()
        [319, 576, 323]
    """
    kind, _, seed = permutation.partition(":") if isinstance(permutation, str) else ("", "", "")
    if permutation == "none":
        return None
    if permutation == "bit_reversal":
        return bit_reversal(n)
    if kind not in ("numpy", "random") or not seed.isdecimal() or int(seed) >= 2**32:
        raise ValueError(
            "`permutation` must be none, bit_reversal, numpy:SEED or random:SEED with a SEED from 0 to 2^32 - 1, "
            f"got {permutation!r}"
        )
    if kind == "numpy":
        return np.random.RandomState(int(seed)).permutation(n)
    import torch  # noqa: PLC0415 - listing data sets must not wait for torch

    return torch.randperm(n, generator=torch.Generator().manual_seed(int(seed))).numpy()
