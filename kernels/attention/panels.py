"""The walk over the score matrix: tiles of queries, and for each the panels of keys that it sees at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.attention.rules import Rules, Segment, hidden, span

__all__ = ["Blocks", "Panel", "blocks_of", "panels", "query_tiles"]

QUERIES, KEYS = 256, 1024  # a tile of scores stays in a core's cache


class Panel(NamedTuple):
    """Keys that a tile of queries meets in one product.

    Args:
        tiles: Numbers of the key tiles that are gathered; None where the keys lie side by side.
        first: First key.
        end: End of the keys, of those side by side.
        keys: Place of each key, (T,).
        covers: Parts of the panel in which something is hidden: from, to, and what, (R, to - from) bool.
    """

    tiles: Tensor | None
    first: int
    end: int
    keys: Tensor
    covers: list[tuple[int, int, Tensor]]


class Blocks(NamedTuple):
    """A block mask as lists for Python; without one `row_starts` is empty."""

    row_starts: list[int]
    columns: list[int]
    partial: list[int]
    bits: Tensor
    height: int
    width: int


def blocks_of(row_starts: Tensor, columns: Tensor, partial: Tensor, bits: Tensor, height: int, width: int) -> Blocks:
    """Reads the lists of a block mask; all empty without one."""
    return Blocks(row_starts.tolist(), columns.tolist(), partial.tolist(), bits, height, width)


def query_tiles(segment: Segment, blocks: Blocks, sharing: int) -> Iterator[tuple[int, int]]:
    """Yields tiles of queries as from and to; `sharing` heads that share keys are multiplied together.

    Example:
        >>> none = Blocks([], [], [], torch.zeros(0), 0, 0)
        >>> list(query_tiles(Segment(0, 0, 300, 0, 300), none, 1))
        [(0, 256), (256, 300)]
    """
    first, end = segment.first_query, segment.end_query
    height = blocks.height if blocks.row_starts else max(16, QUERIES // sharing)
    begin = first - first % height if blocks.row_starts else first
    for start in range(begin, end, height):
        yield max(start, first), min(start + height, end)


def panels(first: int, end: int, segment: Segment, rules: Rules, blocks: Blocks, device: torch.device) -> list[Panel]:
    """Finds the keys that queries [first, end) see, in pieces of about a thousand.

    Example:
        >>> none = Blocks([], [], [], torch.zeros(0), 0, 0)
        >>> rules = Rules(-1, 0, True, 0.0, 1.0, 0.0)
        >>> [one] = panels(0, 2, Segment(0, 0, 4, 0, 4), rules, none, torch.device("cpu"))
        >>> one.keys, [(a, b, what.tolist()) for a, b, what in one.covers]
        (tensor([0, 1]), [(1, 2, [[True], [False]])])
    """
    low, high, all_low, all_high = span(first, end, segment, rules)
    if low >= high:
        return []
    queries = torch.arange(first, end, device=device)
    if blocks.row_starts:
        return gathered(queries, first, (low, high, all_low, all_high), segment, rules, blocks)
    found = []
    for start in range(low, high, KEYS):
        stop = min(start + KEYS, high)
        keys = torch.arange(start, stop, device=device)
        covers = [
            (a - start, b - start, hidden(queries, keys[a - start : b - start], segment, rules))
            for a, b in uncertain(start, stop, all_low, all_high)
        ]
        found.append(Panel(None, start, stop, keys, covers))
    return found


def uncertain(start: int, stop: int, all_low: int, all_high: int) -> list[tuple[int, int]]:
    """Parts of keys [start, stop) outside [all_low, all_high), where some query may not see some key.

    Example:
        >>> uncertain(0, 10, 2, 8), uncertain(0, 10, 8, 2), uncertain(3, 5, 0, 9)
        ([(0, 2), (8, 10)], [(0, 10)], [])
    """
    if all_low >= all_high:
        return [(start, stop)]
    parts = [(start, min(stop, all_low)), (max(start, all_high), stop)]
    return [(a, b) for a, b in parts if a < b]


def gathered(
    queries: Tensor, first: int, limits: tuple[int, int, int, int], segment: Segment, rules: Rules, blocks: Blocks
) -> list[Panel]:
    """The panels of a block mask: the tiles of one row of it, less those that the rules hide whole."""
    low, high, all_low, all_high = limits
    height, width, row = blocks.height, blocks.width, first // blocks.height
    inside = slice(first - row * height, first - row * height + len(queries))
    listed = [
        (blocks.columns[place], blocks.partial[place])
        for place in range(blocks.row_starts[row], blocks.row_starts[row + 1])
        if blocks.columns[place] * width < high and (blocks.columns[place] + 1) * width > low
    ]
    found, count = [], max(1, KEYS // width)
    within = torch.arange(width, device=queries.device)
    for start in range(0, len(listed), count):
        part = listed[start : start + count]
        tiles = torch.tensor([column for column, _ in part], device=queries.device)
        keys = (tiles.unsqueeze(1) * width + within).flatten()
        covers = []
        for place, (column, bits) in enumerate(part):
            a, b = place * width, (place + 1) * width
            certain = all_low <= column * width and (column + 1) * width <= all_high
            if bits >= 0:
                dark = ~blocks.bits[bits, inside]
                covers.append((a, b, dark if certain else dark | hidden(queries, keys[a:b], segment, rules)))
            elif not certain:
                covers.append((a, b, hidden(queries, keys[a:b], segment, rules)))
        side_by_side = part[-1][0] - part[0][0] == len(part) - 1
        begin = part[0][0] * width
        found.append(Panel(None if side_by_side else tiles, begin, begin + len(keys), keys, covers))
    return found
