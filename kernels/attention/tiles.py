"""A block mask: which tiles of the score matrix exist, by rows and by columns, and what partial ones hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_positive_int, check_shape

__all__ = ["BlockMask", "block_mask", "dense_of", "mask_of_tiles"]


class BlockMask(NamedTuple):
    """Tiles of a mask over queries and keys; a tile that is not listed is hidden and costs nothing.

    Made by `block_mask`, `mask_of_tiles` or a pattern. Lists are sorted by row and then by column of tiles.

    Args:
        shape: Numbers of queries and keys.
        tile: Rows and columns of a tile; the last ones may stand over the edge.
        row_starts: Where each row of tiles begins in the lists, (n + 1,).
        columns: Column of each tile, (m,).
        partial: Which of `bits` belongs to each tile, (m,); -1 for a full tile.
        bits: What partial tiles hold, (p, *tile) bool, True for visible.
        column_starts: Where each column of tiles begins in `rows`, (n' + 1,): the transposed copy.
        rows: Row of each tile, column by column, (m,).
        entries: Place of each tile of `rows` in the lists by rows, (m,).
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    row_starts: Tensor
    columns: Tensor
    partial: Tensor
    bits: Tensor
    column_starts: Tensor
    rows: Tensor
    entries: Tensor

    @property
    def density(self) -> float:
        """Share of tiles that exist, on which time depends.

        Example:
            >>> mask_of_tiles(torch.eye(4).bool(), (256, 256), 64).density
            0.25
        """
        return len(self.columns) / max(1, (len(self.row_starts) - 1) * (len(self.column_starts) - 1))

    def dense(self) -> Tensor:
        """The mask as a matrix, (n_queries, n_keys) bool.

        Example:
            >>> mask_of_tiles(torch.eye(2).bool(), (3, 3), 2).dense().int()
            tensor([[1, 1, 0],
                    [1, 1, 0],
                    [0, 0, 1]], dtype=torch.int32)
        """
        return dense_of(self.shape, self.row_starts, self.columns, self.partial, self.bits, *self.tile)

    def to(self, device: torch.device | str) -> BlockMask:
        """The same mask on another device.

        Example:
            >>> mask_of_tiles(torch.eye(2).bool(), (3, 3), 2).to("cpu").shape
            (3, 3)
        """
        return BlockMask(self.shape, self.tile, *(value.to(device) for value in self[2:]))


def dense_of(
    shape: tuple[int, int], row_starts: Tensor, columns: Tensor, partial: Tensor, bits: Tensor, height: int, width: int
) -> Tensor:
    """The matrix of a mask given by its lists, (n_queries, n_keys) bool.

    Example:
        >>> starts, none = torch.tensor([0, 1]), torch.zeros(0, 1, 2).bool()
        >>> dense_of((1, 4), starts, torch.tensor([1]), torch.tensor([-1]), none, 1, 2)
        tensor([[False, False,  True,  True]])
    """
    n_rows, n_columns = len(row_starts) - 1, -(-shape[1] // width)
    tiles = bits.new_zeros(n_rows, n_columns, height, width)
    rows = torch.repeat_interleave(torch.arange(n_rows, device=columns.device), row_starts.diff())
    values = torch.cat([bits, bits.new_ones(1, height, width)])[partial]
    tiles[rows, columns] = values
    return tiles.transpose(1, 2).reshape(n_rows * height, n_columns * width)[: shape[0], : shape[1]]


def mask_of_tiles(tiles: Tensor, shape: tuple[int, int], tile: int | tuple[int, int] = 64) -> BlockMask:
    """Makes the mask whose tiles are full where `tiles` is True.

    Args:
        tiles: The grid, (ceil(n_queries / height), ceil(n_keys / width)) bool.
        shape: Numbers of queries and keys.
        tile: Rows and columns of a tile, or one number for both.

    Raises:
        ValueError: the grid does not fit the shape, or a size is not a whole number of at least 1.

    Example:
        >>> mask_of_tiles(torch.ones(2, 2).bool().tril(), (128, 128)).density
        0.75
    """
    height, width = tile_sizes(tile)
    n_rows, n_columns = -(-shape[0] // height), -(-shape[1] // width)
    check_shape("tiles", tiles, (n_rows, n_columns), "give each tile of the score matrix its place")
    tiles = tiles.bool()
    edge = torch.arange(width, device=tiles.device) < shape[1] - (n_columns - 1) * width
    rows, columns = tiles.nonzero(as_tuple=True)
    if shape[1] % width == 0:
        partial = torch.full_like(columns, -1)
        bits = tiles.new_zeros(0, height, width)
    else:  # keys past the end are hidden, so that every list can be gathered in whole tiles
        partial = torch.where(columns == n_columns - 1, 0, -1)
        bits = edge.expand(1, height, width).clone()
    return listed(shape, (height, width), rows, columns, partial, bits)


def block_mask(
    visible: Tensor | Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, int] | None = None,
    tile: int | tuple[int, int] = 64,
) -> BlockMask:
    """Cuts any mask into tiles and keeps those in which something is visible.

    Args:
        visible: A matrix (n_queries, n_keys) bool, or a function of places of queries (R, 1) and of keys (1, T) that
            says which of them are visible, (R, T); it is asked one row of tiles at a time.
        shape: Numbers of queries and keys, needed for a function.
        tile: Rows and columns of a tile, or one number for both.

    Raises:
        ValueError: the matrix is not one, or a function comes without `shape`.

    Example:
        >>> causal = block_mask(lambda i, j: j <= i, (256, 256), tile=64)
        >>> causal.density, len(causal.bits)
        (0.625, 4)
    """
    height, width = tile_sizes(tile)
    if isinstance(visible, Tensor):
        check_shape("visible", visible, ("n_queries", "n_keys"), "give one mask for all series and heads")
        shape, matrix = (visible.shape[0], visible.shape[1]), visible.bool()
        device = visible.device
    elif shape is None:
        raise ValueError("`shape` must be given where `visible` is a function; pass (n_queries, n_keys)")
    else:
        rule, keys, device = visible, torch.arange(shape[1]).unsqueeze(0), torch.device("cpu")
    found: list[tuple[Tensor, Tensor, Tensor]] = []  # of each row of tiles: columns, which are full, bits of the others
    n_columns = -(-shape[1] // width)
    for first in range(0, shape[0], height):
        end = min(first + height, shape[0])
        if isinstance(visible, Tensor):
            part = matrix[first:end]
        else:
            part = rule(torch.arange(first, end).unsqueeze(1), keys).bool().expand(end - first, shape[1])
        part = torch.nn.functional.pad(part, (0, n_columns * width - shape[1]))
        tiles = part.view(end - first, n_columns, width).transpose(0, 1)
        columns = tiles.flatten(1).any(1).nonzero().squeeze(1)
        full = tiles[columns].flatten(1).all(1)
        bits = torch.nn.functional.pad(tiles[columns[~full]], (0, 0, 0, height - (end - first)))
        found.append((columns, full, bits))
    none = torch.zeros(0, dtype=torch.int64, device=device)
    columns = torch.cat([none, *(one[0] for one in found)])
    full = torch.cat([none.bool(), *(one[1] for one in found)])
    bits = torch.cat([torch.zeros(0, height, width, dtype=torch.bool, device=device), *(one[2] for one in found)])
    rows = torch.repeat_interleave(torch.tensor([len(one[0]) for one in found], dtype=torch.int64)).to(device)
    partial = torch.where(full, -1, (~full).cumsum(0) - 1)
    return listed(shape, (height, width), rows, columns, partial, bits)


def tile_sizes(tile: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a tile, checked."""
    height, width = tile if isinstance(tile, tuple) else (tile, tile)
    return check_positive_int("tile", height), check_positive_int("tile", width)


def listed(
    shape: tuple[int, int], tile: tuple[int, int], rows: Tensor, columns: Tensor, partial: Tensor, bits: Tensor
) -> BlockMask:
    """Adds starts of rows and the transposed copy to lists that are sorted by row and column."""
    n_rows, n_columns = -(-shape[0] // tile[0]), -(-shape[1] // tile[1])
    entries = torch.argsort(columns, stable=True)
    return BlockMask(
        (int(shape[0]), int(shape[1])),
        tile,
        starts(rows, n_rows),
        columns,
        partial,
        bits,
        starts(columns, n_columns),
        rows[entries],
        entries,
    )


def starts(places: Tensor, count: int) -> Tensor:
    """Where each of `count` groups begins in a sorted list of their numbers, (count + 1,).

    Example:
        >>> starts(torch.tensor([0, 0, 2]), 3)
        tensor([0, 2, 2, 3])
    """
    sizes = torch.bincount(places, minlength=count)
    return torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
