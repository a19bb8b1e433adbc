"""Causal Scatterbrain in chunks: a band of keys and a support exactly, all that lies before by features."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.dropping import Drop, factors
from seqkit.attention.inputs import Heads, recomputed, shared
from seqkit.attention.lsh import exact_part, gather
from seqkit.attention.parts import FeatureState, Part, add_keys, divide, pair_logits, pair_part, state_part
from seqkit.attention.support import Support, few, listed

__all__ = ["band_rows", "block_part", "remainder"]


def band_rows(
    heads: Heads,
    log_queries: Tensor,
    log_keys: Tensor,
    window: int,
    support: Support | None,
    state: FeatureState,
    rows: int,
    *,
    drop: Drop | None = None,
    offset: int = 0,
    known: int = 0,
) -> Tensor:
    """Rows (B, H, L, V), each over the keys up to its place and those of a state.

    Without a support nothing is taken away: a key is added to the state when it leaves the band of the chunk's first
    row, and pairs within a chunk are left out where they are exact.

    Args:
        heads: Queries, keys and values; the query of row i stands at key i + `offset`.
        log_queries: Logarithms of the queries' features (B, H, L, M).
        log_keys: Logarithms of the keys' features (B, G, T, M), minus infinity for a key that does not count.
        window: Last keys up to its place that a row sees exactly, or 0.
        support: Further keys that are exact (B, H, L, W), none of them after the row, or None.
        state: What lies before the keys.
        rows: Rows of a chunk.
        drop: Dropout of exact weights, or None.
        offset: Keys before the first row.
        known: First keys that the state holds already.
    """
    q, length, out = heads.q, heads.q.shape[2], []
    for start in range(0, length, rows):
        part = slice(start, start + rows)
        begin = max(known, start + offset - max(window - 1, 0))
        if support is not None and few(start + offset + rows - known, support.width):
            begin = known  # nothing to gather and nothing to take away
        state = add_keys(state, log_keys[:, :, known:begin], heads.v[:, :, known:begin]) if begin > known else state
        listed = (None, None) if support is None else (support.keys[:, :, part], support.valid[:, :, part])
        mine = q[:, :, part], log_queries[:, :, part], *listed
        out.append(recomputed(_chunk, start, offset, begin, window, drop, *mine, heads.k, log_keys, heads.v, *state))
        known = begin
    return torch.cat(out, 2)


def _chunk(
    start: int,
    offset: int,
    begin: int,
    window: int,
    drop: Drop | None,
    q: Tensor,
    log_queries: Tensor,
    index: Tensor | None,
    valid: Tensor | None,
    k: Tensor,
    log_keys: Tensor,
    v: Tensor,
    *state: Tensor,
) -> Tensor:
    """Rows from `start`; the state holds the keys before `begin`, and a block of pairs the others."""
    heads, rows = q.shape[1], q.shape[2]
    end = start + offset + rows
    keys, logs, values = (shared(x[:, :, begin:end], heads) for x in (k, log_keys, v))
    place = torch.arange(begin, end, device=q.device)
    gap = torch.arange(start + offset, end, device=q.device)[:, None] - place
    exact = gap < window
    if index is not None and valid is not None:
        exact = exact | listed(index - begin, valid & (index >= begin), end - begin)
    parts = [block_part(start, drop, q, log_queries, keys, logs, values, exact, gap >= 0, begin)]
    before = FeatureState(*state)
    if index is None or valid is None or begin == 0:
        return divide(*parts, state_part(before, log_queries)[0])
    far, own = valid & (index < begin), gather(v, index)
    parts.append(exact_part(start, drop, q, k, own, index, far))
    parts.append(remainder(before, log_queries, gather(log_keys, index), own, far))
    return divide(*parts)


def block_part(
    start: int,
    drop: Drop | None,
    q: Tensor,
    log_queries: Tensor,
    k: Tensor,
    log_keys: Tensor,
    values: Tensor,
    exact: Tensor,
    seen: Tensor,
    begin: int = 0,
) -> Part:
    """Rows from `start` with a block of keys from `begin`, each pair exactly or by features.

    Args:
        start: Position of the first row.
        drop: Dropout of exact weights, or None.
        q: Queries (B, H, C, D).
        log_queries: Logarithms of their features (B, H, C, M).
        k: Keys (B, H, K, D).
        log_keys: Logarithms of their features (B, H, K, M), minus infinity for a key that does not count.
        values: Their values (B, H, K, V).
        exact: Which pairs are exact, that can be broadcast to (B, H, C, K).
        seen: Which pairs count, likewise.
        begin: Position of the first key.
    """
    counts = seen & log_keys.isfinite().all(-1)[..., None, :]
    logits = torch.where(exact, q @ k.mT, pair_logits(log_queries, log_keys)).masked_fill(~counts, -torch.inf)
    factor = None
    if drop is not None:
        place = torch.arange(begin, begin + k.shape[2], device=q.device)
        factor = torch.where(exact, factors(drop, start, place, q), 1)
    return pair_part(logits, values, factor)


def remainder(state: FeatureState, log_queries: Tensor, log_keys: Tensor, values: Tensor, held: Tensor) -> Part:
    """The state less those of its keys that the support has, `held`, given with their values for each row."""
    whole, weights = state_part(state, log_queries)
    peak = shared(state.peak, weights.shape[1])
    # Masked before the exponential: a key that the state does not hold may exceed its peak by any factor.
    logits = (log_keys - peak[:, :, None, None]).masked_fill(~held[..., None], -torch.inf)
    known = (weights[..., None, :] @ logits.exp().mT).squeeze(-2)
    left = whole.mass - known.sum(-1, keepdim=True)
    nothing = left.detach() <= 32 * torch.finfo(left.dtype).eps * whole.mass.detach()
    summed = whole.values - (known[..., None, :] @ values).squeeze(-2)
    return Part(summed.masked_fill(nothing, 0), left.masked_fill(nothing, 0), whole.scale)
