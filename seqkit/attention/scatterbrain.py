"""Sparse plus low-rank attention: exact on a support, random features elsewhere, one normalisation for both."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures, check_features, log_features
from seqkit.attention.inputs import finish, prepare, recomputed, rows_at_once
from seqkit.attention.lsh import counted, exact_part, gather
from seqkit.attention.parts import FeatureState, Part, add_keys, divide, pair_logits, pair_part, state_part
from seqkit.attention.performer import all_keys
from seqkit.attention.support import Support
from seqkit.kernels.backend import without_autocast

__all__ = ["scatterbrain_attention"]


@without_autocast
def scatterbrain_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    features: RandomFeatures,
    support: Support,
    *,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Softmax attention that is exact on a support and estimated by random features elsewhere.

        o_i = sum_j A_ij v_j / sum_j A_ij,   A_ij = exp(scale q_i . k_j) on S, phi(q_i) . phi(k_j) elsewhere

    Before the division the estimate of A is unbiased, and its error is the features' alone without the pairs of the
    support. The features' part is the sum over all keys less what the support has of it; a remainder within rounding of
    zero counts as zero. Causally, pairs within a chunk are left out rather than taken away.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        v: Values (B, L, H, V).
        features: As `draw_features` gives them for D, the same for all heads; from other random numbers than a hash.
        support: Keys of each query, as `hash_support`, `sorted_support`, `local_support` or `join_supports` give them.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Each position sees itself and earlier ones only, whatever the support says.
        lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.
        chunk: Rows computed at once; chosen by size if None.

    Returns:
        (B, L, H, V), in the dtype of `q`; half precision is computed in float32.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit.

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343), section 4. Differs: causal too, any length and mask, scales per
        feature and row instead of one largest value.

    Cost: O(L (M + W) (D + V)) time for M features and W keys per query; memory O(L (M + W)) with gradients, which
    compute each chunk again.

    Example:
        >>> from seqkit.attention import draw_features, draw_hash, hash_support
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k, v = torch.randn(3, 2, 50, 4, 8, generator=generator)
        >>> features = draw_features(16, 8, generator=generator)
        >>> support = hash_support(q, k, draw_hash(6, 8, generator=generator), 8)
        >>> scatterbrain_attention(q, k, v, features, support).shape
        torch.Size([2, 50, 4, 8])
    """
    heads = prepare(q, k, v, scale, lengths)
    check_features(features, q.shape[3])
    support = counted(support, heads.q, heads.live, causal)
    log_queries, log_keys = log_features(heads.q, features), log_features(heads.k, features)
    if heads.live is not None:
        log_keys = log_keys.masked_fill(~heads.live[..., None], -torch.inf)
    length, size = q.shape[1], len(q) * q.shape[2] * support.width * (q.shape[3] + v.shape[3] + features.n_features)
    rows = rows_at_once(chunk, length, size)
    state = None if causal else all_keys(log_keys, heads.v, rows)
    out = []
    for start in range(0, length, rows):
        part = slice(start, start + rows)
        mine = [x[:, :, part] for x in (heads.q, log_queries, support.keys, support.valid)]
        whole = (heads.k, log_keys, heads.v)
        out.append(recomputed(_chunk, start if causal else None, *mine, *whole, *(state or ())))
        if causal:
            state = add_keys(state, log_keys[:, :, part], heads.v[:, :, part])
    return finish(torch.cat(out, 2), q, heads.live)


def _chunk(
    start: int | None,
    q: Tensor,
    log_queries: Tensor,
    index: Tensor,
    valid: Tensor,
    k: Tensor,
    log_keys: Tensor,
    v: Tensor,
    *state: Tensor,
) -> Tensor:
    """Rows of one chunk; `start` is its first position where causal, and the state then holds the keys before it."""
    values = gather(v, index)
    parts = [exact_part(q, k, values, index, valid)]
    if state:
        held = valid if start is None else valid & (index < start)
        parts.append(_remainder(FeatureState(*state), log_queries, gather(log_keys, index), values, held))
    if start is not None:
        parts.append(_within(start, log_queries, index, valid, log_keys, v))
    return divide(*parts)


def _remainder(state: FeatureState, log_queries: Tensor, log_keys: Tensor, values: Tensor, held: Tensor) -> Part:
    """The state less those of its keys that the support has, `held`, given with their values for each row."""
    whole, weights = state_part(state, log_queries)
    # Masked before the exponential: a key that the state does not hold may exceed its peak by any factor.
    logits = (log_keys - state.peak[:, :, None, None]).masked_fill(~held[..., None], -torch.inf)
    known = (weights[..., None, :] @ logits.exp().mT).squeeze(-2)
    left = whole.mass - known.sum(-1, keepdim=True)
    nothing = left.detach() <= 32 * torch.finfo(left.dtype).eps * whole.mass.detach()
    summed = whole.values - (known[..., None, :] @ values).squeeze(-2)
    return Part(summed.masked_fill(nothing, 0), left.masked_fill(nothing, 0), whole.scale)


def _within(start: int, log_queries: Tensor, index: Tensor, valid: Tensor, log_keys: Tensor, v: Tensor) -> Part:
    """Pairs of one chunk up to the diagonal by features, without those of the support."""
    rows = log_queries.shape[2]
    log_keys, values = log_keys[:, :, start : start + rows], v[:, :, start : start + rows]
    column = (index - start).masked_fill(~valid | (index < start), rows)
    exact = torch.zeros(*index.shape[:3], rows + 1, dtype=torch.bool, device=v.device).scatter(-1, column, True)
    position = torch.arange(rows, device=v.device)
    seen = (position <= position[:, None]) & log_keys.isfinite().all(-1)[..., None, :] & ~exact[..., :rows]
    return pair_part(pair_logits(log_queries, log_keys).masked_fill(~seen, -torch.inf), values)
