"""Attention as its defining formula, with every option, on the whole matrix of scores."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.attention.dropout import kept
from seqkit.kernels.attention.rules import Rules, hidden, segments_of
from seqkit.kernels.attention.tiles import dense_of
from seqkit.kernels.backend import HALF, without_autocast

__all__ = ["attention_reference"]


@without_autocast
def attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
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
    left: int,
    right: int,
    at_end: bool,
    softcap: float,
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Evaluates softmax(c tanh(scale q k / c) - slope |distance|) v over the visible keys; returns it and log sum exp.

    q (B, R, H, D), k (B, T, G, D), v (B, T, G, E) with G dividing H; slopes (H,) or empty; seed (); segments (S, 5) or
    empty; a block mask's rows of tiles (n + 1,), columns and number of bits of each tile (m,), -1 for a full one, and
    bits (p, tile_rows, tile_columns), all empty without one; its transposed copy is not read. Returns (B, R, H, E) and
    (B, R, H).
    """
    rules = Rules(left, right, at_end, softcap, scale, dropout)
    wide = torch.float32 if q.dtype in HALF else q.dtype
    (n_rows, n_queries, n_heads, _), n_keys = q.shape, k.shape[1]
    heads, keys, values = (value.to(wide).transpose(1, 2) for value in (q, k, v))
    keys, values = (value.repeat_interleave(n_heads // k.shape[2], 1) for value in (keys, values))
    visible, distance = places(segments, n_rows, n_queries, n_keys, rules, q.device)
    if row_starts.numel():
        visible = visible & dense_of((n_queries, n_keys), row_starts, columns, partial, bits, tile_rows, tile_columns)
    scores = scale * (heads @ keys.mT)
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
    if slopes.numel():
        scores = scores - slopes.to(wide)[:, None, None] * distance.unsqueeze(1)
    scores = scores.masked_fill(~visible.unsqueeze(1), -torch.inf)
    top = torch.cat([scores.detach(), scores.new_full((*scores.shape[:-1], 1), torch.finfo(wide).min)], -1).amax(-1)
    weights = torch.exp(scores - top.unsqueeze(-1))
    total = weights.sum(-1)
    dead = ~visible.any(-1).unsqueeze(1)
    total = total.masked_fill(dead, 1.0)
    weights = weights / total.unsqueeze(-1)
    if dropout > 0:
        numbers = torch.arange(n_rows * n_heads, device=q.device).view(n_rows, n_heads)
        at, to = torch.arange(n_queries, device=q.device), torch.arange(n_keys, device=q.device)
        weights = weights * kept(seed, numbers, at, to, dropout) / (1 - dropout)
    out = (weights @ values).transpose(1, 2).to(q.dtype)
    return out, (top + total.log()).masked_fill(dead, -torch.inf).transpose(1, 2)


def places(
    segments: Tensor, n_rows: int, n_queries: int, n_keys: int, rules: Rules, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Visible keys and distances of all places, (B, R, T) each; nothing is visible outside the segments."""
    visible = torch.zeros(n_rows, n_queries, n_keys, dtype=torch.bool, device=device)
    distance = torch.zeros(n_rows, n_queries, n_keys, dtype=torch.int64, device=device)
    keys = torch.arange(n_keys, device=device)
    for segment in segments_of(segments, n_rows, n_queries, n_keys):
        queries = torch.arange(segment.first_query, segment.end_query, device=device)
        visible[segment.row, queries] = ~hidden(queries, keys, segment, rules)
        distance[segment.row, queries] = (queries.unsqueeze(-1) + segment.shift(rules.at_end) - keys).abs()
    return visible, distance
