"""Block masks with a pattern: flat butterfly, local with global tiles, strided."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.kernels.attention.tiles import BlockMask, mask_of_tiles

__all__ = ["butterfly_mask", "local_mask", "strided_mask"]


def butterfly_mask(length: int, n_factors: int, *, tile: int = 64, n_global: int = 0) -> BlockMask:
    """Flat block butterfly: a tile on the diagonal and `n_factors` neighbours of a hypercube in each row.

        tile (i, j) exists where i = j or i xor j is one of 1, 2, 4, ..., 2^(n_factors - 1)

    Args:
        length: Number of queries, and of keys.
        n_factors: Butterfly factors that are summed; more than log2 of the number of tiles add nothing.
        tile: Rows and columns of a tile.
        n_global: Rows and columns of tiles, from the first, that exist whole.

    Source:
        Chen et al. 2022, Pixelated Butterfly (arXiv:2112.00029), section 3. Differs: built on the grid of tiles itself,
        cut where their number is no power of two, so that `density` is what is computed.

    Example:
        >>> butterfly_mask(256, 1).dense()[::64, ::64].int()
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0],
                [0, 0, 1, 1],
                [0, 0, 1, 1]], dtype=torch.int32)
    """
    rows, columns = grid(length, tile)
    if isinstance(n_factors, bool) or not isinstance(n_factors, int) or n_factors < 0:
        raise ValueError(f"`n_factors` must be a whole number, 0 or above, got {n_factors!r}")
    apart = rows ^ columns
    tiles = (apart & (apart - 1)).eq(0) & (apart < 2**n_factors)  # no bit or a single one, and not a high one
    return mask_of_tiles(with_global(tiles, n_global), (length, length), tile)


def local_mask(length: int, width: int, *, tile: int = 64, n_global: int = 0) -> BlockMask:
    """Tiles at most `width` away from the diagonal, and whole rows and columns of the first `n_global` tiles.

    Args:
        length: Number of queries, and of keys.
        width: Tiles on each side of the diagonal.
        tile: Rows and columns of a tile.
        n_global: Rows and columns of tiles, from the first, that exist whole.

    Source:
        Beltagy et al. 2020, Longformer (arXiv:2004.05150), section 3.1, in tiles; the global tiles are those of
        Pixelated Butterfly (arXiv:2112.00029).

    Example:
        >>> local_mask(1024, 1, n_global=1).density
        0.2890625
    """
    rows, columns = grid(length, tile)
    if isinstance(width, bool) or not isinstance(width, int) or width < 0:
        raise ValueError(f"`width` must be a whole number, 0 or above, got {width!r}")
    return mask_of_tiles(with_global((rows - columns).abs() <= width, n_global), (length, length), tile)


def strided_mask(length: int, stride: int, *, tile: int = 64, width: int = 0) -> BlockMask:
    """Tiles at most `width` away from the diagonal, and every `stride`-th one before and after it.

    Args:
        length: Number of queries, and of keys.
        stride: Tiles from one to the next in a row.
        tile: Rows and columns of a tile.
        width: Tiles on each side of the diagonal.

    Source:
        Child et al. 2019, Sparse Transformers (arXiv:1904.10509), section 4.2, the strided pattern, in tiles and on
        both sides of the diagonal; `causal=True` of `attention` hides one of them.

    Example:
        >>> strided_mask(512, 4).dense()[0, ::64].int()
        tensor([1, 0, 0, 0, 1, 0, 0, 0], dtype=torch.int32)
    """
    rows, columns = grid(length, tile)
    check_positive_int("stride", stride)
    apart = rows - columns
    return mask_of_tiles((apart.abs() <= width) | (apart % stride == 0), (length, length), tile)


def grid(length: int, tile: int) -> tuple[Tensor, Tensor]:
    """Rows (n, 1) and columns (1, n) of the tiles of a square mask."""
    n_tiles = -(-check_positive_int("length", length) // check_positive_int("tile", tile))
    places = torch.arange(n_tiles)
    return places.unsqueeze(1), places.unsqueeze(0)


def with_global(tiles: Tensor, n_global: int) -> Tensor:
    """Makes the first rows and columns whole."""
    if isinstance(n_global, bool) or not isinstance(n_global, int) or n_global < 0:
        raise ValueError(f"`n_global` must be a whole number, 0 or above, got {n_global!r}")
    tiles = tiles.clone()
    tiles[:n_global] = True
    tiles[:, :n_global] = True
    return tiles
