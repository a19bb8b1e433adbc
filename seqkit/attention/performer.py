"""Low-rank attention alone: every pair through random features, in linear time and memory."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures, check_features, log_features
from seqkit.attention.inputs import finish, prepare, recomputed, rows_at_once
from seqkit.attention.parts import FeatureState, add_keys, divide, pair_logits, pair_part, state_part
from seqkit.kernels.backend import without_autocast

__all__ = ["performer_attention"]


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
    chunk: int | None = None,
) -> Tensor:
    """Softmax attention whose weights are estimated by positive random features.

        o_i = sum_j phi(q_i) . phi(k_j) v_j / sum_j phi(q_i) . phi(k_j),   j <= i where causal

    Keys are summed into one state of M (V + 1) numbers; causally, chunk by chunk, with the pairs of one chunk among
    themselves. Each feature of the keys is held relative to its largest so far, and each row relative to its own
    largest term, so nothing overflows and no later key touches an earlier row.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        v: Values (B, L, H, V).
        features: As `draw_features` gives them for D, the same for all heads.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Each position sees itself and earlier ones only.
        lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.
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
    heads = prepare(q, k, v, scale, lengths)
    check_features(features, q.shape[3])
    log_queries, log_keys = log_features(heads.q, features), log_features(heads.k, features)
    if heads.live is not None:
        log_keys = log_keys.masked_fill(~heads.live[..., None], -torch.inf)
    length = q.shape[1]
    rows = rows_at_once(chunk, length, len(q) * q.shape[2] * features.n_features)
    if causal:
        return finish(_causal(log_queries, log_keys, heads.v, rows), q, heads.live)
    state = all_keys(log_keys, heads.v, rows)
    out = [recomputed(_read, *state, log_queries[:, :, start : start + rows]) for start in range(0, length, rows)]
    return finish(torch.cat(out, 2), q, heads.live)


def all_keys(log_keys: Tensor, values: Tensor, rows: int) -> FeatureState:
    """The state of all keys, added chunk by chunk."""
    state: FeatureState | None = None
    for start in range(0, values.shape[2], rows):
        state = add_keys(state, log_keys[:, :, start : start + rows], values[:, :, start : start + rows])
    assert state is not None
    return state


def _read(peak: Tensor, total: Tensor, values: Tensor, log_queries: Tensor) -> Tensor:
    return divide(state_part(FeatureState(peak, total, values), log_queries)[0])


def _causal(log_queries: Tensor, log_keys: Tensor, values: Tensor, rows: int) -> Tensor:
    state: FeatureState | None = None
    out = []
    for start in range(0, values.shape[2], rows):
        block = [x[:, :, start : start + rows] for x in (log_queries, log_keys, values)]
        out.append(recomputed(_causal_chunk, *block, *(state or ())))
        state = add_keys(state, *block[1:])
    return torch.cat(out, 2)


def _causal_chunk(log_queries: Tensor, log_keys: Tensor, values: Tensor, *state: Tensor) -> Tensor:
    """Rows of one chunk: its pairs up to the diagonal, and the state of the keys before it where there is one."""
    position = torch.arange(values.shape[2], device=values.device)
    seen = (position <= position[:, None]) & log_keys.isfinite().all(-1)[..., None, :]
    parts = [pair_part(pair_logits(log_queries, log_keys).masked_fill(~seen, -torch.inf), values)]
    if state:
        parts.append(state_part(FeatureState(*state), log_queries)[0])
    return divide(*parts)
