"""Tables that are made on the device: full and partial tiles of a block mask apart, and where packed series are cut."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["Listed", "covering", "listed"]


class Listed(NamedTuple):
    """A block mask by lines of tiles, rows or columns: full tiles first, then partial ones, each in rising order.

    Args:
        starts: Where each line begins, (n + 1,).
        middles: Where its partial tiles begin, (n,).
        places: Place of each tile in its line, (m,).
        numbers: Which of the mask's bits belong to it, (m,); -1 for a full one.
    """

    starts: Tensor
    middles: Tensor
    places: Tensor
    numbers: Tensor


@triton.jit
def attention_lists_kernel(
    starts, tiles, partial, entries, middles, places, numbers, HAS_ENTRIES: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    """Sorts one line of tiles: full before partial, else as they were."""
    line = tl.program_id(0)
    begin, end = tl.load(starts + line).to(tl.int32), tl.load(starts + line + 1).to(tl.int32)
    n_full = begin * 0
    for start in range(begin, end, CHUNK):
        which = bit_numbers(partial, entries, start, end, HAS_ENTRIES, CHUNK)
        n_full += tl.sum((which == -1).to(tl.int32), 0)
    middle = begin + n_full
    tl.store(middles + line, middle)
    full, other = begin, middle
    for start in range(begin, end, CHUNK):
        at = start + tl.arange(0, CHUNK)
        which = bit_numbers(partial, entries, start, end, HAS_ENTRIES, CHUNK)
        is_full, is_other = (which == -1).to(tl.int32), (which >= 0).to(tl.int32)
        target = tl.where(is_full > 0, full + tl.cumsum(is_full, 0), other + tl.cumsum(is_other, 0)) - 1
        tile = tl.load(tiles + at, mask=at < end, other=0)
        tl.store(places + target, tile.to(tl.int32), mask=at < end)
        tl.store(numbers + target, which, mask=at < end)
        full += tl.sum(is_full, 0)
        other += tl.sum(is_other, 0)


@triton.jit
def bit_numbers(partial, entries, start, end, HAS_ENTRIES: tl.constexpr, CHUNK: tl.constexpr):
    """Numbers of the bits of tiles from `start` on, -1 for a full one, -2 from the end of the line on."""
    at = start + tl.arange(0, CHUNK)
    there = at < end
    if HAS_ENTRIES:
        found = tl.load(partial + tl.load(entries + at, mask=there, other=0), mask=there, other=-2)
    else:
        found = tl.load(partial + at, mask=there, other=-2)
    return found.to(tl.int32)


def listed(starts: Tensor, tiles: Tensor, partial: Tensor, entries: Tensor | None) -> Listed:
    """Takes the lists of a block mask by rows, or the transposed ones with their entries."""
    n_lines = len(starts) - 1
    middles, places, numbers = (
        torch.empty(size, dtype=torch.int32, device=starts.device) for size in (n_lines, len(tiles), len(tiles))
    )
    if n_lines:
        attention_lists_kernel[(n_lines,)](
            starts, tiles, partial, partial if entries is None else entries, middles, places, numbers,
            HAS_ENTRIES=entries is not None, CHUNK=64, num_warps=1,
        )  # fmt: skip
    return Listed(starts, middles, places, numbers)


def covering(firsts: Tensor, ends: Tensor, unit: int, block: int, n_tiles: int) -> Tensor:
    """Segment of each tile and where it lies, (n_tiles, 2) int32, -1 and 0 past the last; without asking the device.

    Segments [first, end) are cut into tiles from their first place on, which is what the table says; or, with a block
    mask of tiles of `unit` places, where the mask's tiles and their parts of `block` begin: it says the number of the
    part.

    Example:
        >>> bounds = torch.tensor([0, 5, 12])
        >>> covering(bounds[:-1], bounds[1:], 0, 4, 5).T
        tensor([[ 0,  0,  1,  1, -1],
                [ 0,  4,  5,  9,  0]], dtype=torch.int32)
        >>> covering(bounds[:-1], bounds[1:], 4, 4, 5).T
        tensor([[ 0,  0,  1,  1, -1],
                [ 0,  1,  1,  2,  0]], dtype=torch.int32)
    """
    if unit:
        parts = -(-unit // block)
        firsts, ends = (
            firsts // unit * parts + firsts % unit // block,
            torch.where(ends > firsts, (ends - 1) // unit * parts + (ends - 1) % unit // block + 1, -1),
        )
        counts, step = (ends - firsts).clamp_min(0), 1
    else:
        counts, step = (ends - firsts + block - 1) // block, block
    past = counts.cumsum(0)
    number = torch.arange(n_tiles, device=firsts.device)
    segment = torch.searchsorted(past, number, right=True)
    known = segment.clamp_max(len(past) - 1)
    place = firsts[known] + (number - (past - counts)[known]) * step
    there = segment < len(past)
    return torch.stack([torch.where(there, segment, -1), torch.where(there, place, 0)], -1).int()
