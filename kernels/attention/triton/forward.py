"""The forward kernel: a program holds a tile of queries of one head and goes along the keys that it sees."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.attention.triton.call import VARIED, call_of
from seqkit.kernels.attention.triton.loads import load_rows
from seqkit.kernels.attention.triton.places import block_at, blocks_of, queries_of
from seqkit.kernels.attention.triton.scores import bits_of, dropout_key, shaped, stays, visible
from seqkit.kernels.attention.triton.sizes import query_sizes

__all__ = ["attention_forward"]


@triton.jit(do_not_specialize=VARIED)
def attention_fwd_kernel(
    q, k, v, out, lse, slopes, seed, segments, covers, starts, middles, places, numbers, bits,
    n_tiles, n_queries, n_keys, n_heads, sharing,
    q_row, q_time, q_head, k_row, k_time, k_head, v_row, v_time, v_head,
    left, right, factor, bound, threshold, kept_factor,
    SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    AT_END: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_CAP: tl.constexpr,
    HAS_SLOPES: tl.constexpr, HAS_DROPOUT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, EDGES: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Computes y = softmax(scores) v and lse of a tile of queries by the running maximum and sum of each row."""
    row, head, first, lower, upper, line, shift, first_key, low, high, all_low, all_high = queries_of(
        covers, segments, n_tiles, n_queries, n_keys, n_heads, left, right,
        QUERIES, HEIGHT, AT_END, HAS_LEFT, HAS_RIGHT, HAS_SEGMENTS,
    )  # fmt: skip
    within = tl.arange(0, QUERIES)
    i = first + within
    live = (i >= lower) & (i < upper)
    here = load_rows(q + row * q_row + head.to(tl.int64) * q_head, first, q_time, within, live, True, SIZE, D, UPCAST)
    key_head = (head // sharing).to(tl.int64)
    k_base, v_base = k + row * k_row + key_head * k_head, v + row * v_row + key_head * v_head
    slope, key = 0.0, 0
    if HAS_SLOPES:
        slope = tl.load(slopes + head) * 1.4426950408889634
    if HAS_DROPOUT:
        key = dropout_key(seed, row * n_heads + head)

    total = tl.zeros((QUERIES, E), tl.float32)
    sums = tl.zeros((QUERIES,), tl.float32)
    top = tl.full((QUERIES,), float("-inf"), tl.float32)
    start, stop, inner, outer, partial, last = blocks_of(
        starts, middles, places, line, low, high, all_low, all_high, KEYS, WIDTH, EDGES
    )
    for index in range(inner, outer):
        total, sums, top = add_block(
            total, sums, top, here, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
            first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
            False, False, SIZE, VALUE_SIZE, D, E, KEYS, HEIGHT, WIDTH,
            HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    if EDGES:
        for place in range(start, stop - (outer - inner)):
            index = tl.where(place < inner, place, place + (outer - inner))
            total, sums, top = add_block(
                total, sums, top, here, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
                first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
                True, False, SIZE, VALUE_SIZE, D, E, KEYS, HEIGHT, WIDTH,
                HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip
    if WIDTH > 0:
        for index in range(partial, last):
            total, sums, top = add_block(
                total, sums, top, here, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
                first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
                True, True, SIZE, VALUE_SIZE, D, E, KEYS, HEIGHT, WIDTH,
                HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip

    seen = sums > 0
    total = total / tl.where(seen, sums, 1.0)[:, None]
    # Where nothing is seen the sum is 0: log2 gives minus infinity, and so does the maximum.
    found = (top + tl.log2(tl.where(seen, sums, 1.0))) * 0.6931471805599453
    at = (row * n_queries + i) * n_heads + head
    tl.store(lse + at, found, mask=live)
    e = tl.arange(0, E)
    tl.store(
        out + at[:, None] * VALUE_SIZE + e[None, :],
        total.to(out.dtype.element_ty),
        mask=live[:, None] & (e < VALUE_SIZE)[None, :],
    )


@triton.jit
def add_block(
    total, sums, top, here, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
    first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
    HIDES: tl.constexpr, PARTIAL: tl.constexpr, SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, KEYS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_CAP: tl.constexpr, HAS_SLOPES: tl.constexpr,
    HAS_DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Adds a block of keys to the running sums: what was summed before fades by 2^(old maximum - new maximum)."""
    start, stop, tile = block_at(index, places, low, high, KEYS, WIDTH)
    within = tl.arange(0, KEYS)
    j = start + within
    inside = (j >= first_key) & (j < stop)
    keys = load_rows(k_base, start, k_time, within, inside, HIDES, SIZE, D, UPCAST)
    products = tl.dot(here, tl.trans(keys), input_precision=PRECISION)
    i, j = i[:, None], j[None, :]
    scores, _ = shaped(products, i, j, shift, slope, factor, bound, HAS_CAP, HAS_SLOPES, PRECISION == "tf32x3")
    if HIDES:
        seen = visible(i, j, shift, first_key, stop, left, right, HAS_LEFT, HAS_RIGHT)
        if PARTIAL:
            PARTS: tl.constexpr = (WIDTH + KEYS - 1) // KEYS
            which = tl.load(numbers + index // PARTS)
            seen = seen & bits_of(bits, which, i, j, line, tile, upper, stop, HEIGHT, WIDTH)
        scores = tl.where(seen, scores, float("-inf"))
    peak = tl.maximum(top, tl.max(scores, 1))
    base = peak
    if HIDES:
        base = tl.where(peak == float("-inf"), 0.0, peak)  # minus infinity less itself is not a number
    weights = tl.exp2(scores - base[:, None])
    fade = tl.exp2(top - base)
    sums = sums * fade + tl.sum(weights, 1)
    if HAS_DROPOUT:
        weights = tl.where(stays(key, i, j, threshold), weights * kept_factor, 0.0)
    values = load_rows(v_base, start, v_time, within, inside, HIDES, VALUE_SIZE, E, UPCAST)
    total = tl.dot(weights.to(values.dtype), values, total * fade[:, None], input_precision=PRECISION)
    return total, sums, peak


def attention_forward(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """Returns the output (B, R, H, E) and log sum exp (B, R, H); arguments as in `attention_reference`."""
    call = call_of(q, k, v, *others)
    out = call.result(*q.shape[:3], v.shape[3])
    lse = torch.full(q.shape[:3], -torch.inf, dtype=torch.float32, device=q.device)
    if call.empty:
        return out.to(q.dtype), lse
    sizes = query_sizes(call.widest, q.dtype, call.height, call.width, backward=False)
    own = call.by_queries(sizes.queries)
    with torch.cuda.device_of(q):
        attention_fwd_kernel[call.grid(own)](
            call.q, call.k, call.v, out, lse, *call.pointers(own),
            *call.numbers(own), *call.strides(), *call.factors(),
            QUERIES=sizes.queries, KEYS=sizes.keys, **call.options(sizes.keys, k.shape[1], call.width),
            num_warps=sizes.warps, num_stages=sizes.stages,
        )  # fmt: skip
    return out.to(q.dtype), lse
