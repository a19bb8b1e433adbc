"""Attention without its matrix: a tile of scores at a time, kept in the cache, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.attention.panels import KEYS, Blocks, Panel, blocks_of, panels, query_tiles
from seqkit.kernels.attention.rules import Rules, Segment, segments_of
from seqkit.kernels.attention.scores import LOG2_E, Tile, cap_, hide_, slope_, stays
from seqkit.kernels.backend import HALF
from seqkit.kernels.threads import share

__all__ = ["attention_backward", "attention_forward"]

HAS_NUMBA = find_spec("numba") is not None
if HAS_NUMBA:
    from seqkit.kernels.attention import loops

SCORES = 2**18  # numbers of a tile of scores; more heads are taken together where series are short


class Work(NamedTuple):
    """The arguments by what they are used for."""

    slopes: Tensor
    seed: Tensor
    rules: Rules
    blocks: Blocks
    segments: list[Segment]
    n_key_heads: int
    sharing: int


class Saved(NamedTuple):
    """What the backward reads, by head; keys and values may have a column of ones, queries and gradients one beside.

    Args:
        queries: (B G, H / G, R, D) or one column more.
        keys: (B G, T, D) or one more.
        values: (B G, T, E) or one more.
        grads: Gradients of the output, (B G, H / G, R, E) or one more.
        offset: lse in base 2, (B G, H / G, R, 1); large where nothing is seen.
        own: Output times its gradient, less that of lse, (B G, H / G, R, 1).
        room: Memory for two tiles of scores, (2, n).
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    grads: Tensor
    offset: Tensor
    own: Tensor
    room: Tensor


def attention_forward(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """Returns the output (B, R, H, E) and log sum exp (B, R, H); arguments as in `attention_reference`."""
    work = work_of(q, k, *others)
    keys, values = by_head(k, work.blocks), by_head(v, work.blocks)
    queries = by_shared_head(q, work.sharing).mul_(work.rules.scale * LOG2_E)
    out = queries.new_zeros(*queries.shape[:3], v.shape[-1])
    lse = queries.new_full(queries.shape[:3], -torch.inf)
    room = queries.new_empty(SCORES)
    for tile, found in walk(work, q.device):
        rows = (tile.groups, slice(None), slice(tile.first, tile.end))
        here = queries[rows].flatten(1, 2)
        total = top = sums = None
        for panel in found:
            scores = product_in(room, here, take(keys, tile, panel, work.blocks).mT)
            shape_(scores, work, tile, panel, flipped=False)
            weights, peak, new_sums = weigh_(scores, top)
            if work.rules.dropout > 0:
                weights.mul_(stays(weights, work.seed, tile, panel, work.rules, flipped=False))
            product = torch.bmm(weights, take(values, tile, panel, work.blocks))
            if total is None or sums is None or top is None:
                total, sums = product, new_sums
            else:
                fade = torch.exp2(top - finite(peak))
                total, sums = total.mul_(fade).add_(product), sums.mul_(fade).add_(new_sums)
            top = peak
        if total is not None and sums is not None and top is not None:
            shape = (len(here), work.sharing, -1)
            out[rows] = (total / sums.masked_fill(sums == 0, 1)).view(*shape, v.shape[-1])
            lse[rows] = ((top + sums.log2()) / LOG2_E).view(shape)
    return from_heads(out, q).to(q.dtype), from_heads(lse, q)


def attention_backward(
    grad: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of q, k and v; the last two arguments are the outputs of `attention_forward`."""
    out, lse = others[-2:]
    work = work_of(q, k, *others[:-2])
    saved = saved_for(grad, grad_lse, q, k, v, out, lse, work)
    dq = saved.queries.new_zeros(*saved.queries.shape[:3], q.shape[-1])
    dk, dv = (saved.keys.new_zeros(*saved.keys.shape[:2], one.shape[-1]) for one in (k, v))
    for tile, found in walk(work, q.device):
        total = None
        for panel in found:
            part = panel_back(saved, work, tile, panel, dk, dv)
            total = part if total is None else total.add_(part)
        if total is not None:
            rows = (tile.groups, slice(None), slice(tile.first, tile.end))
            dq[rows] = total.mul_(work.rules.scale).view(len(total), work.sharing, -1, q.shape[-1])
    dk, dv = dk[:, : k.shape[1]].div_(LOG2_E), dv[:, : v.shape[1]]
    n_rows, n_heads = k.shape[0], k.shape[2]
    dk, dv = (one.reshape(n_rows, n_heads, *one.shape[1:]).transpose(1, 2) for one in (dk, dv))
    return from_heads(dq, q).to(q.dtype), dk.to(k.dtype).contiguous(), dv.to(v.dtype).contiguous()


def saved_for(
    grad: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, work: Work
) -> Saved:
    """Arranges what the backward reads.

    lse comes off the scores, and the row's own term y . dy - dlse off the weights' gradients, within the products that
    make them: as a further column beside ones. Not where something happens in between, a cap or dropout.
    """
    keys, values = by_head(k, work.blocks), by_head(v, work.blocks)
    queries = by_shared_head(q, work.sharing).mul_(work.rules.scale * LOG2_E)
    grads = by_shared_head(grad, work.sharing)
    dead = lse == -torch.inf
    terms = (grad.to(lse.dtype) * out.to(lse.dtype)).sum(-1).sub_(grad_lse).masked_fill_(dead, 0)
    offset = by_shared_head(lse.masked_fill(dead, 1e30).unsqueeze(-1), work.sharing).mul_(LOG2_E)
    own = by_shared_head(terms.unsqueeze(-1), work.sharing)
    if work.rules.softcap == 0:
        queries, keys = torch.cat([queries, -offset], -1), torch.cat([keys, torch.ones_like(keys[..., :1])], -1)
    if work.rules.dropout == 0:
        grads, values = torch.cat([grads, -own], -1), torch.cat([values, torch.ones_like(values[..., :1])], -1)
    return Saved(queries, keys, values, grads, offset, own, queries.new_empty(2, SCORES))


def panel_back(saved: Saved, work: Work, tile: Tile, panel: Panel, dk: Tensor, dv: Tensor) -> Tensor:
    """Adds a panel's share to dk and dv, and returns that of dq, (groups, sharing R, D), before the scale.

    Scores are computed again, transposed, because four of the five products then read their factors row by row.
    """
    rows = (tile.groups, slice(None), slice(tile.first, tile.end))
    queries, grads = saved.queries[rows].flatten(1, 2), saved.grads[rows].flatten(1, 2)
    keys, values = take(saved.keys, tile, panel, work.blocks), take(saved.values, tile, panel, work.blocks)
    weights = product_in(saved.room[0], keys, queries.mT)
    capped = shape_(weights, work, tile, panel, flipped=True)
    if work.rules.softcap > 0:
        weights.sub_(saved.offset[rows].reshape(len(weights), 1, -1))
    power_(weights)
    slopes = product_in(saved.room[1], values, grads.mT)
    used = weights
    if work.rules.dropout > 0:
        factors = stays(weights, work.seed, tile, panel, work.rules, flipped=True)
        slopes.mul_(factors).sub_(saved.own[rows].reshape(len(slopes), 1, -1))
        used = factors.mul_(weights)
    add_product(dv, used, grads[..., : dv.shape[-1]], tile, panel, work.blocks)
    slopes.mul_(weights)
    if capped is not None:
        slopes.mul_(capped.div_(work.rules.softcap * LOG2_E).square_().neg_().add_(1))
    add_product(dk, slopes, queries[..., : dk.shape[-1]], tile, panel, work.blocks)
    return torch.bmm(slopes.mT, keys[..., : dk.shape[-1]])


def work_of(
    q: Tensor,
    k: Tensor,
    slopes: Tensor,
    seed: Tensor,
    segments: Tensor,
    row_starts: Tensor,
    columns: Tensor,
    partial: Tensor,
    bits: Tensor,
    column_starts: Tensor,
    rows: Tensor,
    entries: Tensor,
    tile_rows: int,
    tile_columns: int,
    *rules: Any,
) -> Work:
    """Reads the arguments."""
    return Work(
        slopes,
        seed,
        Rules(*rules),
        blocks_of(row_starts, columns, partial, bits, tile_rows, tile_columns),
        segments_of(segments, q.shape[0], q.shape[1], k.shape[1]),
        k.shape[2],
        q.shape[2] // max(1, k.shape[2]),
    )


def walk(work: Work, device: torch.device) -> Iterator[tuple[Tile, list[Panel]]]:
    """Yields tiles of queries with the panels of keys they see, and as many heads as fill a tile of scores."""
    segments = work.segments
    same = len({segment[1:] for segment in segments}) == 1  # rows alike: their heads are taken together
    for segment in segments[:1] if same else segments:
        begin = segment.row * work.n_key_heads
        end = begin + work.n_key_heads * (len(segments) if same else 1)
        for first, stop in query_tiles(segment, work.blocks, work.sharing):
            found = panels(first, stop, segment, work.rules, work.blocks, device)
            widest = max((len(panel.keys) for panel in found), default=KEYS)
            count = max(1, SCORES // (widest * (stop - first) * work.sharing))
            for start in range(begin, end, count):
                groups = slice(start, min(start + count, end))
                yield Tile(segment, first, stop, groups, work.n_key_heads, work.sharing), found


def shape_(scores: Tensor, work: Work, tile: Tile, panel: Panel, flipped: bool) -> Tensor | None:
    """Caps, slopes and hides a tile of products in place; returns a copy of the capped ones where there is a cap."""
    capped = cap_(scores, work.rules).clone() if work.rules.softcap > 0 else None
    if work.slopes.numel():
        slope_(scores, work.slopes, tile, panel, work.rules, flipped)
    hide_(scores, tile, panel, flipped)
    return capped


def weigh_(scores: Tensor, top: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Turns scores (n, R, T) into 2^(scores - peak), in place; returns them, their peaks and sums (n, R, 1).

    The peak is the largest score of a row, and of `top` where there is one.
    """
    peak = scores.amax(-1, keepdim=True)
    peak = peak if top is None else torch.maximum(peak, top)
    if not loops_serve(scores):
        weights = scores.sub_(finite(peak)).exp2_()
        return weights, peak, weights.sum(-1, keepdim=True)
    sums, flat = torch.empty_like(peak), scores.view(-1, scores.shape[2])
    arrays = flat.numpy(), finite(peak).view(-1).numpy(), sums.view(-1).numpy()
    share(lambda start, stop: loops.weigh(start, stop, *arrays), len(flat), 1 + 2**16 // flat.shape[1])
    return scores, peak, sums


def finite(peak: Tensor) -> Tensor:
    """Peaks that can be taken off: where nothing is visible so far, -inf - -inf is not a number."""
    return peak.clamp_min(torch.finfo(peak.dtype).min)


def power_(scores: Tensor) -> None:
    """Turns scores (n, T, R) into powers of 2, in place."""
    if not loops_serve(scores):
        scores.exp2_()
        return
    array = scores.view(-1, scores.shape[2]).numpy()
    share(lambda start, stop: loops.power(start, stop, array), len(array), 1 + 2**16 // array.shape[1])


def loops_serve(scores: Tensor) -> bool:
    """Whether the compiled loops do: in float32, at half of torch's time."""
    return HAS_NUMBA and scores.dtype == torch.float32 and scores.device.type == "cpu"


def by_head(value: Tensor, blocks: Blocks) -> Tensor:
    """Keys or values (B, T, G, D) as (B G, T, D), in whole tiles of a block mask, wide enough to sum in."""
    value = value.float() if value.dtype in HALF else value
    past = -value.shape[1] % blocks.width if blocks.row_starts else 0
    out = torch.nn.functional.pad(value.transpose(1, 2), (0, 0, 0, past))
    return out.reshape(value.shape[0] * value.shape[2], *out.shape[2:]).contiguous()


def by_shared_head(value: Tensor, sharing: int) -> Tensor:
    """What belongs to queries, (B, R, H, D), as a new (B G, H / G, R, D)."""
    n_rows, length, n_heads, size = value.shape
    wide = torch.float32 if value.dtype in HALF else value.dtype
    out = value.new_empty(n_rows, n_heads, length, size, dtype=wide).copy_(value.transpose(1, 2))
    return out.view(n_rows * n_heads // sharing, sharing, length, size)


def from_heads(value: Tensor, q: Tensor) -> Tensor:
    """The way back, (B G, H / G, R, ...) to (B, R, H, ...)."""
    return value.reshape(q.shape[0], q.shape[2], *value.shape[2:]).transpose(1, 2).contiguous()


def product_in(room: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """A batched product in memory that is kept, if it fits there: fresh pages for each cost several percent."""
    shape = (len(left), left.shape[1], right.shape[2])
    size = shape[0] * shape[1] * shape[2]
    return torch.bmm(left, right, out=room[:size].view(shape)) if size <= len(room) else torch.bmm(left, right)


def take(value: Tensor, tile: Tile, panel: Panel, blocks: Blocks) -> Tensor:
    """The panel's keys or values of the tile's heads, (groups, T, D)."""
    if panel.tiles is None:
        return value[tile.groups, panel.first : panel.end]
    by_tile = in_tiles(value, tile, blocks)
    return by_tile.index_select(1, panel.tiles).view(len(by_tile), -1, value.shape[2])


def add_product(total: Tensor, left: Tensor, right: Tensor, tile: Tile, panel: Panel, blocks: Blocks) -> None:
    """Adds a product to the panel's keys or values of the tile's heads, in place."""
    if panel.tiles is None:
        total[tile.groups, panel.first : panel.end].baddbmm_(left, right)
        return
    by_tile = in_tiles(total, tile, blocks)
    by_tile.index_add_(1, panel.tiles, torch.bmm(left, right).view(len(by_tile), len(panel.tiles), -1))


def in_tiles(value: Tensor, tile: Tile, blocks: Blocks) -> Tensor:
    """A view of the tile's heads of keys or values, (groups, tiles, numbers of one)."""
    some = value[tile.groups]
    return some.view(len(some), some.shape[1] // blocks.width, blocks.width * some.shape[2])
