"""The kernel of keys' and values' gradients: a program holds a tile of keys and goes along the queries that see it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.attention.triton.call import VARIED, Call
from seqkit.kernels.attention.triton.loads import load_rows
from seqkit.kernels.attention.triton.places import block_at, blocks_of, own_tile, sees, segment_at
from seqkit.kernels.attention.triton.scores import bits_of, dropout_key, shaped, stays, visible
from seqkit.kernels.attention.triton.sizes import key_sizes

__all__ = ["gradients_of_keys"]


@triton.jit(do_not_specialize=VARIED)
def attention_bwd_keys_kernel(
    q, k, v, grad, own, offset, dk, dv, slopes, seed, segments, covers, starts, middles, places, numbers, bits,
    n_tiles, n_queries, n_keys, n_heads, sharing,
    q_row, q_time, q_head, k_row, k_time, k_head, v_row, v_time, v_head,
    left, right, factor, bound, threshold, kept_factor, scale,
    SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    AT_END: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_CAP: tl.constexpr,
    HAS_SLOPES: tl.constexpr, HAS_DROPOUT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, EDGES: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Sums dv = sum_i p_ij dy_i and dk = scale sum_i ds_ij q_i of a tile of keys over one head of queries.

    Scores stand keys by queries, so that weights and slopes enter the two products of the sums as they are.
    """
    program = tl.program_id(0)
    number, other = program % n_tiles, program // n_tiles
    head = other % n_heads
    key_head = (head // sharing).to(tl.int64)
    first, stop, line, segment = own_tile(covers, number, HAS_SEGMENTS, KEYS, WIDTH)
    row, first_query, end_query, first_key, end_key = segment_at(
        segments, tl.maximum(segment, 0), (other // n_heads).to(tl.int64), n_queries, n_keys, HAS_SEGMENTS
    )
    shift = first_key - first_query
    if AT_END:
        shift += (end_key - first_key) - (end_query - first_query)
    lower, upper = tl.maximum(first, first_key), tl.minimum(stop, end_key)
    if HAS_SEGMENTS:
        upper = tl.where(segment >= 0, upper, lower)
    low, high, all_low, all_high = sees(
        lower, upper, first_query, end_query, -shift - right, left - shift, HAS_RIGHT, HAS_LEFT
    )

    within = tl.arange(0, KEYS)
    j = first + within
    live = (j >= lower) & (j < upper)
    keys = load_rows(k + row * k_row + key_head * k_head, first, k_time, within, live, True, SIZE, D, UPCAST)
    values = load_rows(v + row * v_row + key_head * v_head, first, v_time, within, live, True, VALUE_SIZE, E, UPCAST)
    dk_sum, dv_sum = tl.zeros((KEYS, D), tl.float32), tl.zeros((KEYS, E), tl.float32)
    start, stop, inner, outer, partial, last = blocks_of(
        starts, middles, places, line, low, high, all_low, all_high, QUERIES, HEIGHT, EDGES
    )
    q_base = q + row * q_row + head.to(tl.int64) * q_head
    grad_base = grad + (row * n_queries * n_heads + head) * VALUE_SIZE
    line_at = (row * n_heads + head) * n_queries
    slope, key = 0.0, 0
    if HAS_SLOPES:
        slope = tl.load(slopes + head) * 1.4426950408889634
    if HAS_DROPOUT:
        key = dropout_key(seed, row * n_heads + head)
    for index in range(inner, outer):
        dk_sum, dv_sum = add_block(
            dk_sum, dv_sum, keys, values, q_base, grad_base, own + line_at, offset + line_at, index,
            places, numbers, bits, j, line, low, high, lower, upper, first_query, shift, left, right, slope,
            factor, bound, key, threshold, kept_factor, q_time, n_heads,
            False, False, SIZE, VALUE_SIZE, D, E, QUERIES, HEIGHT, WIDTH,
            HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    if EDGES:
        for place in range(start, stop - (outer - inner)):
            index = tl.where(place < inner, place, place + (outer - inner))
            dk_sum, dv_sum = add_block(
                dk_sum, dv_sum, keys, values, q_base, grad_base, own + line_at, offset + line_at, index,
                places, numbers, bits, j, line, low, high, lower, upper, first_query, shift, left, right, slope,
                factor, bound, key, threshold, kept_factor, q_time, n_heads,
                True, False, SIZE, VALUE_SIZE, D, E, QUERIES, HEIGHT, WIDTH,
                HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip
    if HEIGHT > 0:
        for index in range(partial, last):
            dk_sum, dv_sum = add_block(
                dk_sum, dv_sum, keys, values, q_base, grad_base, own + line_at, offset + line_at, index,
                places, numbers, bits, j, line, low, high, lower, upper, first_query, shift, left, right, slope,
                factor, bound, key, threshold, kept_factor, q_time, n_heads,
                True, True, SIZE, VALUE_SIZE, D, E, QUERIES, HEIGHT, WIDTH,
                HAS_LEFT, HAS_RIGHT, HAS_CAP, HAS_SLOPES, HAS_DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip

    d, e = tl.arange(0, D), tl.arange(0, E)
    at = (row * n_keys + j) * n_heads + head
    tl.store(
        dk + at[:, None] * SIZE + d[None, :], (dk_sum * scale).to(dk.dtype.element_ty),
        mask=live[:, None] & (d < SIZE)[None, :],
    )  # fmt: skip
    tl.store(
        dv + at[:, None] * VALUE_SIZE + e[None, :], dv_sum.to(dv.dtype.element_ty),
        mask=live[:, None] & (e < VALUE_SIZE)[None, :],
    )  # fmt: skip


@triton.jit
def add_block(
    dk_sum, dv_sum, keys, values, q_base, grad_base, own, offset, index,
    places, numbers, bits, j, line, low, high, lower, upper, first_query, shift, left, right, slope,
    factor, bound, key, threshold, kept_factor, q_time, n_heads,
    HIDES: tl.constexpr, PARTIAL: tl.constexpr, SIZE: tl.constexpr, VALUE_SIZE: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, QUERIES: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_CAP: tl.constexpr, HAS_SLOPES: tl.constexpr,
    HAS_DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Adds the share of a block of queries; what lies past the held keys' ends enters their own rows alone."""
    start, stop, tile = block_at(index, places, low, high, QUERIES, HEIGHT)
    within = tl.arange(0, QUERIES)
    i = start + within
    inside = (i >= first_query) & (i < stop)
    here = load_rows(q_base, start, q_time, within, inside, HIDES, SIZE, D, UPCAST)
    dy = load_rows(grad_base, start, n_heads * VALUE_SIZE, within, inside, HIDES, VALUE_SIZE, E, UPCAST)
    if HIDES:
        powers = tl.load(offset + i, mask=inside, other=float("inf"))
        terms = tl.load(own + i, mask=inside, other=0.0)
    else:
        powers, terms = tl.load(offset + i), tl.load(own + i)
    products = tl.dot(keys, tl.trans(here), input_precision=PRECISION)
    i, j = i[None, :], j[:, None]
    scores, bent = shaped(products, i, j, shift, slope, factor, bound, HAS_CAP, HAS_SLOPES, PRECISION == "tf32x3")
    if HIDES:
        seen = visible(i, j, shift, lower, upper, left, right, HAS_LEFT, HAS_RIGHT)
        if PARTIAL:
            PARTS: tl.constexpr = (HEIGHT + QUERIES - 1) // QUERIES
            which = tl.load(numbers + index // PARTS)
            seen = seen & bits_of(bits, which, i, j, tile, line, stop, upper, HEIGHT, WIDTH)
        scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp2(scores - powers[None, :])
    slopes = tl.dot(values, tl.trans(dy), input_precision=PRECISION)
    used = weights
    if HAS_DROPOUT:
        stay = stays(key, i, j, threshold)
        slopes = tl.where(stay, slopes * kept_factor, 0.0)
        used = tl.where(stay, weights * kept_factor, 0.0)
    dv_sum = tl.dot(used.to(dy.dtype), dy, dv_sum, input_precision=PRECISION)
    slopes = weights * (slopes - terms[None, :])
    if HAS_CAP:
        slopes *= 1.0 - bent * bent
    dk_sum = tl.dot(slopes.to(here.dtype), here, dk_sum, input_precision=PRECISION)
    return dk_sum, dv_sum


def gradients_of_keys(grad: Tensor, own: Tensor, offset: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    """Returns the gradients of k and v, given y . dy - dlse and lse of each query, (B, H, R)."""
    q, k, v = call.q, call.k, call.v
    sizes = key_sizes(call.widest, q.dtype, call.height, call.width)
    tiles = call.by_keys(sizes.keys)
    # Heads that share keys have a program each, whose sums are added afterwards: in one program they would take turns,
    # with registers for the addresses of all.
    shape, wide = (*k.shape[:2], q.shape[2]), torch.float32 if call.sharing > 1 else None
    dk, dv = (call.result(*shape, value.shape[3], dtype=wide) for value in (k, v))
    attention_bwd_keys_kernel[call.grid(tiles)](
        q, k, v, grad, own, offset, dk, dv, *call.pointers(tiles),
        *call.numbers(tiles), *call.strides(), *call.factors(), call.rules.scale,
        QUERIES=sizes.queries, KEYS=sizes.keys, **call.options(sizes.queries, q.shape[1], call.height),
        num_warps=sizes.warps, num_stages=sizes.stages,
    )  # fmt: skip
    if call.sharing > 1:
        dk, dv = (value.unflatten(2, (k.shape[2], call.sharing)).sum(3) for value in (dk, dv))
    return dk, dv
