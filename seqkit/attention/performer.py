"""Low-rank attention alone: every pair through random features, in linear time and memory."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures, check_features, log_features
from seqkit.attention.inputs import Heads, finish, prepare, recomputed, rows_at_once, shared
from seqkit.attention.parts import FeatureState, add_keys, divide, no_keys, pair_logits, pair_part, state_part
from seqkit.kernels.backend import without_autocast

__all__ = ["all_keys", "causal_rows", "logarithms", "performer_attention"]


@without_autocast
def performer_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    features: RandomFeatures,
    *,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Softmax attention whose weights are estimated by positive random features.

        o_i = sum_j phi(q_i) . phi(k_j) v_j / sum_j phi(q_i) . phi(k_j),   j <= i where causal

    Keys are summed into one state of M (V + 1) numbers; causally, chunk by chunk, with the pairs of one chunk among
    themselves. Each feature of the keys is held relative to its largest so far, and each row relative to its own
    largest term, so nothing overflows and no later key touches an earlier row. There is no dropout: no pair has a
    weight of its own.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); T is L where causal. G divides H: H / G heads in turn share keys and values.
        v: Values (B, T, G, V).
        features: As `draw_features` gives them for D, the same for all heads.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Each position sees itself and earlier ones only.
        lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.
        key_lengths: Keys of each series (B,), where they differ from `lengths`.
        chunk: Rows computed at once; chosen by size if None.

    Returns:
        (B, L, H, V), in the dtype of `q`; half precision is computed in float32.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit.

    Source:
        Choromanski et al., Rethinking Attention with Performers (arXiv:2009.14794). Differs: scales per feature and
        row, and no small number added.

    Cost: O(L M (D + V)) time, and O(L M) memory with gradients, which compute each chunk again.

    Example:
        >>> from seqkit.attention import draw_features
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k, v = torch.randn(3, 2, 50, 4, 8, generator=generator)
        >>> performer_attention(q, k, v, draw_features(16, 8, generator=generator), causal=True).shape
        torch.Size([2, 50, 4, 8])
    """
    heads = prepare(q, k, v, scale, lengths, key_lengths, causal)
    check_features(features, q.shape[3])
    log_queries, log_keys = logarithms(heads, features)
    length = q.shape[1]
    rows = rows_at_once(chunk, length, len(q) * q.shape[2] * features.n_features)
    state = no_keys(len(q), k.shape[2], features.n_features, v.shape[3], heads.v)
    if causal:
        return finish(causal_rows(log_queries, log_keys, heads.v, state, rows)[0], q, heads.live)
    state = all_keys(state, log_keys, heads.v, rows)
    out = [recomputed(_read, *state, log_queries[:, :, start : start + rows]) for start in range(0, length, rows)]
    return finish(torch.cat(out, 2), q, heads.live)


def logarithms(heads: Heads, features: RandomFeatures) -> tuple[Tensor, Tensor]:
    """Logarithms of the features of queries and of keys, minus infinity for keys past the end."""
    log_queries, log_keys = log_features(heads.q, features), log_features(heads.k, features)
    return log_queries, log_keys if heads.key_live is None else log_keys.masked_fill(
        ~heads.key_live[..., None], -torch.inf
    )


def all_keys(state: FeatureState, log_keys: Tensor, values: Tensor, rows: int) -> FeatureState:
    """Adds keys chunk by chunk."""
    for start in range(0, values.shape[2], rows):
        state = add_keys(state, log_keys[:, :, start : start + rows], values[:, :, start : start + rows])
    return state


def _read(peak: Tensor, total: Tensor, values: Tensor, log_queries: Tensor) -> Tensor:
    return divide(state_part(FeatureState(peak, total, values), log_queries)[0])


def causal_rows(
    log_queries: Tensor, log_keys: Tensor, values: Tensor, state: FeatureState, rows: int
) -> tuple[Tensor, FeatureState]:
    """Rows (B, H, L, V) over the keys up to each and those of a state, and the state with all keys."""
    out = []
    for start in range(0, values.shape[2], rows):
        block = [x[:, :, start : start + rows] for x in (log_queries, log_keys, values)]
        out.append(recomputed(_causal_chunk, *block, *state))
        state = add_keys(state, *block[1:])
    return torch.cat(out, 2), state


def _causal_chunk(log_queries: Tensor, log_keys: Tensor, values: Tensor, *state: Tensor) -> Tensor:
    """Rows of one chunk: its pairs up to the diagonal, and the state of the keys before it."""
    log_keys, values = (shared(x, log_queries.shape[1]) for x in (log_keys, values))
    position = torch.arange(values.shape[2], device=values.device)
    seen = (position <= position[:, None]) & log_keys.isfinite().all(-1)[..., None, :]
    logits = pair_logits(log_queries, log_keys).masked_fill(~seen, -torch.inf)
    return divide(pair_part(logits, values), state_part(FeatureState(*state), log_queries)[0])
