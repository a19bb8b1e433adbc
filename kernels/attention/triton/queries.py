"""The kernel of the queries' gradient: a program holds a tile of queries of one head and goes along the keys."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.attention.triton.call import VARIED, Call
from seqkit.kernels.attention.triton.loads import load_rows
from seqkit.kernels.attention.triton.places import block_at, blocks_of, queries_of
from seqkit.kernels.attention.triton.scores import bits_of, dropout_key, shaped, stays, visible
from seqkit.kernels.attention.triton.sizes import query_sizes

__all__ = ["gradient_of_queries"]


@triton.jit(do_not_specialize=VARIED)
def attention_bwd_queries_kernel(
    q, k, v, grad, own, offset, dq, slopes, seed, segments, covers, starts, middles, places, numbers, bits,
    n_tiles, n_queries, n_keys, n_heads, sharing,
    q_row, q_time, q_head, k_row, k_time, k_head, v_row, v_time, v_head,
    left, right, factor, bound, threshold, kept_factor, scale,
    SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    AT_END: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_CAP: tl.constexpr,
    HAS_SLOPES: tl.constexpr, HAS_DROPOUT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, EDGES: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Sums dq = scale sum_j ds_ij k_j, ds_ij = p_ij (dy_i . v_j - own_i), of a tile of queries."""
    row, head, first, lower, upper, line, shift, first_key, low, high, all_low, all_high = queries_of(
        covers, segments, n_tiles, n_queries, n_keys, n_heads, left, right,
        QUERIES, HEIGHT, AT_END, HAS_LEFT, HAS_RIGHT, HAS_SEGMENTS,
    )  # fmt: skip
    within = tl.arange(0, QUERIES)
    i = first + within
    live = (i >= lower) & (i < upper)
    here = load_rows(q + row * q_row + head.to(tl.int64) * q_head, first, q_time, within, live, True, SIZE, D, UPCAST)
    grad_base = grad + (row * n_queries * n_heads + head) * VALUE_SIZE
    dy = load_rows(grad_base, first, n_heads * VALUE_SIZE, within, live, True, VALUE_SIZE, E, UPCAST)
    line_at = (row * n_heads + head) * n_queries + i
    terms = tl.load(own + line_at, mask=live, other=0.0)
    powers = tl.load(offset + line_at, mask=live, other=float("inf"))
    key_head = (head // sharing).to(tl.int64)
    k_base, v_base = k + row * k_row + key_head * k_head, v + row * v_row + key_head * v_head
    slope, key = 0.0, 0
    if HAS_SLOPES:
        slope = tl.load(slopes + head) * 1.4426950408889634
    if HAS_DROPOUT:
        key = dropout_key(seed, row * n_heads + head)

    total = tl.zeros((QUERIES, D), tl.float32)
    start, stop, inner, outer, partial, last = blocks_of(
        starts, middles, places, line, low, high, all_low, all_high, KEYS, WIDTH, EDGES
    )
    for index in range(inner, outer):
        total = add_block(
            total, here, dy, terms, powers, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
            first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
            False, False, SIZE, VALUE_SIZE, D, E, KEYS, HEIGHT, WIDTH,
            HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    if EDGES:
        for place in range(start, stop - (outer - inner)):
            index = tl.where(place < inner, place, place + (outer - inner))
            total = add_block(
                total, here, dy, terms, powers, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
                first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
                True, False, SIZE, VALUE_SIZE, D, E, KEYS, HEIGHT, WIDTH,
                HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip
    if WIDTH > 0:
        for index in range(partial, last):
            total = add_block(
                total, here, dy, terms, powers, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
                first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
                True, True, SIZE, VALUE_SIZE, D, E, KEYS, HEIGHT, WIDTH,
                HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip

    d = tl.arange(0, D)
    at = dq + ((row * n_queries + i) * n_heads + head)[:, None] * SIZE + d[None, :]
    tl.store(at, (total * scale).to(dq.dtype.element_ty), mask=live[:, None] & (d < SIZE)[None, :])


@triton.jit
def add_block(
    total, here, dy, terms, powers, k_base, v_base, index, places, numbers, bits, i, line, low, high, upper,
    first_key, shift, left, right, slope, factor, bound, key, threshold, kept_factor, k_time, v_time,
    HIDES: tl.constexpr, PARTIAL: tl.constexpr, SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, KEYS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_CAP: tl.constexpr, HAS_SLOPES: tl.constexpr,
    HAS_DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Adds the share of a block of keys, whose scores are computed again."""
    start, stop, tile = block_at(index, places, low, high, KEYS, WIDTH)
    within = tl.arange(0, KEYS)
    j = start + within
    inside = (j >= first_key) & (j < stop)
    keys = load_rows(k_base, start, k_time, within, inside, HIDES, SIZE, D, UPCAST)
    values = load_rows(v_base, start, v_time, within, inside, HIDES, VALUE_SIZE, E, UPCAST)
    products = tl.dot(here, tl.trans(keys), input_precision=PRECISION)
    slopes = tl.dot(dy, tl.trans(values), input_precision=PRECISION)
    i, j = i[:, None], j[None, :]
    scores, bent = shaped(products, i, j, shift, slope, factor, bound, HAS_CAP, HAS_SLOPES, PRECISION == "tf32x3")
    if HIDES:
        seen = visible(i, j, shift, first_key, stop, left, right, HAS_LEFT, HAS_RIGHT)
        if PARTIAL:
            PARTS: tl.constexpr = (WIDTH + KEYS - 1) // KEYS
            which = tl.load(numbers + index // PARTS)
            seen = seen & bits_of(bits, which, i, j, line, tile, upper, stop, HEIGHT, WIDTH)
        scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp2(scores - powers[:, None])
    if HAS_DROPOUT:
        slopes = tl.where(stays(key, i, j, threshold), slopes * kept_factor, 0.0)
    slopes = weights * (slopes - terms[:, None])
    if HAS_CAP:
        slopes *= 1.0 - bent * bent
    return tl.dot(slopes.to(keys.dtype), keys, total, input_precision=PRECISION)


def gradient_of_queries(grad: Tensor, own: Tensor, offset: Tensor, call: Call) -> Tensor:
    """Returns the gradient of q, given y . dy - dlse and lse of each query, (B, H, R)."""
    q, k = call.q, call.k
    sizes = query_sizes(call.widest, q.dtype, call.height, call.width, backward=True)
    tiles = call.by_queries(sizes.queries)
    dq = call.result(*q.shape)
    attention_bwd_queries_kernel[call.grid(tiles)](
        q, k, call.v, grad, own, offset, dq, *call.pointers(tiles),
        *call.numbers(tiles), *call.strides(), *call.factors(), call.rules.scale,
        QUERIES=sizes.queries, KEYS=sizes.keys, **call.options(sizes.keys, k.shape[1], call.width),
        num_warps=sizes.warps, num_stages=sizes.stages,
    )  # fmt: skip
    return dq
