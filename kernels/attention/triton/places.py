"""Where a program of Triton's kernels works, and which blocks of the other side it meets; in Triton.

"Own" is the side of which a program holds a tile, "other" the side that it goes along: queries and keys in the
forward, keys and queries in the kernel of the keys' gradients. Place p of the own side sees [p + before, p + after].
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["block_at", "blocks_of", "own_tile", "queries_of", "sees", "segment_at"]


@triton.jit
def segment_at(segments, which, row, n_queries, n_keys, HAS_SEGMENTS: tl.constexpr):
    """Row, first query, end of queries, first key, end of keys of a segment; of the whole row without segments."""
    if HAS_SEGMENTS:
        at = segments + which * 5
        found = tl.load(at)
        first_query, end_query = tl.load(at + 1).to(tl.int32), tl.load(at + 2).to(tl.int32)
        first_key, end_key = tl.load(at + 3).to(tl.int32), tl.load(at + 4).to(tl.int32)
    else:
        found = row
        first_query, end_query = n_queries * 0, n_queries
        first_key, end_key = n_keys * 0, n_keys
    return found, first_query, end_query, first_key, end_key


@triton.jit
def own_tile(covers, number, HAS_SEGMENTS: tl.constexpr, BLOCK: tl.constexpr, UNIT: tl.constexpr):
    """First place of the own tile, its end, the row of tiles of a block mask it lies in, and the segment, -1 for none.

    UNIT is the size of a block mask's tile on this side, 0 without a mask.
    """
    segment = number * 0
    value = number
    if HAS_SEGMENTS:
        segment, value = tl.load(covers + 2 * number), tl.load(covers + 2 * number + 1)
    if UNIT > 0:
        PARTS: tl.constexpr = (UNIT + BLOCK - 1) // BLOCK
        line = value // PARTS
        first = line * UNIT + value % PARTS * BLOCK
        stop = tl.minimum(first + BLOCK, (line + 1) * UNIT)
    else:
        line = value * 0
        first = value if HAS_SEGMENTS else value * BLOCK
        stop = first + BLOCK
    return first, stop, line, segment


@triton.jit
def sees(
    lower, upper, first_other, end_other, before, after, HAS_BEFORE: tl.constexpr, HAS_AFTER: tl.constexpr
):  # fmt: skip
    """Places of the other side that own places [lower, upper) see: from, to (any), and from, to (all of them)."""
    low, all_low, high, all_high = first_other, first_other, end_other, end_other
    if HAS_BEFORE:
        low = tl.maximum(low, lower + before)
        all_low = tl.maximum(low, upper - 1 + before)
    if HAS_AFTER:
        high = tl.minimum(high, upper + after)
        all_high = tl.minimum(high, lower + after + 1)
    high = tl.where(lower < upper, high, low)
    return low, high, all_low, all_high


@triton.jit
def queries_of(
    covers, segments, n_tiles, n_queries, n_keys, n_heads, left, right, QUERIES: tl.constexpr, HEIGHT: tl.constexpr,
    AT_END: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_SEGMENTS: tl.constexpr,
):  # fmt: skip
    """The tile of queries of this program, and which keys it sees.

    Returns row, head, first place, from and to of its queries, line of a block mask's tiles, shift from queries to
    keys, first key of the segment, and what `sees` says of the keys.
    """
    program = tl.program_id(0)
    number, other = program % n_tiles, program // n_tiles
    if HAS_RIGHT:
        number = n_tiles - 1 - number  # under causality the last tiles take longest: they start first
    head = other % n_heads
    first, stop, line, segment = own_tile(covers, number, HAS_SEGMENTS, QUERIES, HEIGHT)
    row, first_query, end_query, first_key, end_key = segment_at(
        segments, tl.maximum(segment, 0), (other // n_heads).to(tl.int64), n_queries, n_keys, HAS_SEGMENTS
    )
    shift = first_key - first_query
    if AT_END:
        shift += (end_key - first_key) - (end_query - first_query)
    lower, upper = tl.maximum(first, first_query), tl.minimum(stop, end_query)
    if HAS_SEGMENTS:
        upper = tl.where(segment >= 0, upper, lower)
    low, high, all_low, all_high = sees(
        lower, upper, first_key, end_key, shift - left, shift + right, HAS_LEFT, HAS_RIGHT
    )
    return row, head, first, lower, upper, line, shift, first_key, low, high, all_low, all_high


@triton.jit
def blocks_of(
    starts, middles, places, line, low, high, all_low, all_high,
    BLOCK: tl.constexpr, UNIT: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Blocks of the other side, counted from `low` on, or with a block mask by their place in its lists.

    Returns from and to; from and to of those among them in which nothing is hidden; from and to of those of partial
    tiles.
    """
    if UNIT > 0:
        PARTS: tl.constexpr = (UNIT + BLOCK - 1) // BLOCK
        begin, middle = tl.load(starts + line).to(tl.int32), tl.load(middles + line)
        end = tl.load(starts + line + 1).to(tl.int32)
        start, stop, inner, outer = entries_in(places, begin, middle, low, high, all_low, all_high, UNIT, EDGES)
        if UNIT % BLOCK > 0:
            inner, outer = start, start
        partial, last, _, _ = entries_in(places, middle, end, low, high, all_low, all_high, UNIT, EDGES)
        start, stop, inner, outer = start * PARTS, stop * PARTS, inner * PARTS, outer * PARTS
        partial, last = partial * PARTS, last * PARTS
    else:
        inner, outer, stop = inner_blocks(low, high, all_low, all_high, BLOCK)
        start, partial, last = stop * 0, stop * 0, stop * 0
    return start, stop, inner, outer, partial, last


@triton.jit
def inner_blocks(low, high, all_low, all_high, BLOCK: tl.constexpr):
    """Blocks from `low` on: where those that all see begin and end, and how many there are to `high`."""
    count = tl.cdiv(tl.maximum(high - low, 0), BLOCK)
    inner = tl.minimum(tl.cdiv(all_low - low, BLOCK), count)
    outer = tl.minimum(tl.maximum(tl.maximum(all_high - low, 0) // BLOCK, inner), count)
    return inner, outer, count


@triton.jit
def entries_in(
    places, begin, end, low, high, all_low, all_high, UNIT: tl.constexpr, HAS_LIMITS: tl.constexpr
):  # fmt: skip
    """Of entries [begin, end) of a sorted list of tiles, those that reach into [low, high).

    Returns from and to, and between them from and to of those that lie inside [all_low, all_high).
    """
    CHUNK: tl.constexpr = 64
    early, late, unsure_early, unsure_late = begin * 0, begin * 0, begin * 0, begin * 0
    if HAS_LIMITS:
        for start in range(begin, end, CHUNK):
            at = start + tl.arange(0, CHUNK)
            there = at < end
            first = tl.load(places + at, mask=there, other=0) * UNIT
            early += tl.sum((there & (first + UNIT <= low)).to(tl.int32), 0)
            late += tl.sum((there & (first >= high)).to(tl.int32), 0)
            unsure_early += tl.sum((there & (first < all_low)).to(tl.int32), 0)
            unsure_late += tl.sum((there & (first + UNIT > all_high)).to(tl.int32), 0)
    start, stop = tl.minimum(begin + early, end), tl.maximum(end - late, begin)
    stop = tl.maximum(stop, start)
    inner = tl.minimum(tl.maximum(begin + unsure_early, start), stop)
    outer = tl.minimum(tl.maximum(end - unsure_late, inner), stop)
    return start, stop, inner, outer


@triton.jit
def block_at(index, places, low, high, BLOCK: tl.constexpr, UNIT: tl.constexpr):
    """First place of a block, the end of what may be read of it, and its tile of the mask."""
    if UNIT > 0:
        PARTS: tl.constexpr = (UNIT + BLOCK - 1) // BLOCK
        tile = tl.load(places + index // PARTS)
        start = tile * UNIT + index % PARTS * BLOCK
        stop = tl.minimum(high, (tile + 1) * UNIT)
    else:
        tile = index * 0
        start = low + index * BLOCK
        stop = high
    return start, stop, tile
