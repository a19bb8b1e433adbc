"""Tiles of Triton's attention kernels by head size and precision, as they fit a Hopper GPU's registers and memory."""

from __future__ import annotations

from typing import NamedTuple

import torch

from seqkit.kernels.backend import interpreting

__all__ = ["Sizes", "key_sizes", "padded", "query_sizes"]

INTERPRETED = (32, 32, 4, 1)  # its time goes by operations, not by numbers


class Sizes(NamedTuple):
    """A program's tile.

    Args:
        queries: Queries of a tile.
        keys: Keys of a tile.
        warps: Warps of 32 threads of a program.
        stages: Blocks that are in flight from memory.
    """

    queries: int
    keys: int
    warps: int
    stages: int


# By padded head size: in half precision, in float32, which splits each number into three for matrix units. In half
# precision no loop spills a register up to 128, as compiled for a Hopper GPU (tests/kernels/hopper.py); wider heads,
# all options at once, and float32 above 64 do.
FORWARD = {
    64: (Sizes(128, 64, 4, 3), Sizes(64, 32, 4, 2)),
    128: (Sizes(128, 64, 8, 3), Sizes(64, 16, 4, 2)),
    256: (Sizes(128, 32, 8, 2), Sizes(32, 16, 4, 2)),
}
OF_KEYS = {
    64: (Sizes(64, 128, 8, 2), Sizes(32, 32, 4, 2)),
    128: (Sizes(32, 128, 8, 2), Sizes(16, 32, 4, 2)),
    256: (Sizes(16, 64, 8, 2), Sizes(16, 16, 4, 2)),
}
OF_QUERIES = {
    64: (Sizes(128, 64, 8, 2), Sizes(64, 32, 4, 2)),
    128: (Sizes(128, 64, 8, 2), Sizes(32, 16, 4, 2)),
    256: (Sizes(64, 32, 8, 2), Sizes(16, 16, 4, 2)),
}


def padded(size: int) -> int:
    """The power of two that holds `size` numbers, at least the 16 of a matrix unit.

    Example:
        >>> padded(3), padded(64), padded(80)
        (16, 64, 128)
    """
    return max(16, 1 << max(0, size - 1).bit_length())


def query_sizes(widest: int, dtype: torch.dtype, height: int, width: int, backward: bool) -> Sizes:
    """Tiles of the kernels that hold queries: the forward, and the gradient of queries.

    Args:
        widest: The larger of the padded sizes of keys and values.
        dtype: Their precision.
        height: Rows of a block mask's tile, 0 without one.
        width: Columns of a block mask's tile, 0 without one.
        backward: Whether gradients are computed.
    """
    return chosen(OF_QUERIES if backward else FORWARD, widest, dtype, height, width)


def key_sizes(widest: int, dtype: torch.dtype, height: int, width: int) -> Sizes:
    """Tiles of the kernel that holds keys; arguments as in `query_sizes`."""
    return chosen(OF_KEYS, widest, dtype, height, width)


def chosen(table: dict[int, tuple[Sizes, Sizes]], widest: int, dtype: torch.dtype, height: int, width: int) -> Sizes:
    """A row of a table, no larger than tiles of a block mask."""
    sizes = Sizes(*INTERPRETED) if interpreting() else table[max(64, widest)][dtype == torch.float32]
    queries = min(sizes.queries, padded(height)) if height else sizes.queries
    keys = min(sizes.keys, padded(width)) if width else sizes.keys
    warps = max(1, queries * keys // 256, max(queries, keys) * widest // 2048)
    return Sizes(queries, keys, min(sizes.warps, warps), sizes.stages)
