"""Sparse plus low-rank attention: exact on a support, random features elsewhere, one normalisation for both."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.band import band_rows, block_part, remainder
from seqkit.attention.dropping import Drop, drop_of
from seqkit.attention.features import RandomFeatures, check_features
from seqkit.attention.inputs import Heads, finish, prepare, recomputed, rows_at_once, shared
from seqkit.attention.lsh import counted, exact_part, gather
from seqkit.attention.parts import FeatureState, divide, no_keys
from seqkit.attention.performer import all_keys, logarithms
from seqkit.attention.support import Support, few, join_supports, listed, local_support
from seqkit.checks import check_positive_int
from seqkit.kernels.backend import without_autocast

__all__ = ["scatterbrain_attention"]


@without_autocast
def scatterbrain_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    features: RandomFeatures,
    support: Support | None = None,
    *,
    window: int | None = None,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Softmax attention that is exact on a support and in a window, and estimated by random features elsewhere.

        o_i = sum_j A_ij v_j / sum_j A_ij,   A_ij = exp(scale q_i . k_j) on S, phi(q_i) . phi(k_j) elsewhere

    Before the division the estimate of A is unbiased, and its error is the features' alone without the pairs of the
    support. Where there are more than 12 W keys, the features' part is the sum over all keys less what the support has
    of it; a remainder within rounding of zero counts as zero. Causally, pairs of the window are left out rather than
    taken away, as are those within a chunk: with a window alone there is no difference of sums.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); T is L where causal or with a window. G divides H: H / G heads in turn share keys and
            values.
        v: Values (B, T, G, V).
        features: As `draw_features` gives them for D, the same for all heads; from other random numbers than a hash.
        support: Keys of each query, as `hash_support`, `sorted_support`, `local_support` or `join_supports` give them;
            None for a window alone.
        window: The last keys up to the query where causal, or those around it, that are exact too; none if None.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Each position sees itself and earlier ones only, whatever the support says.
        lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.
        key_lengths: Keys of each series (B,), where they differ from `lengths`.
        dropout: Share of the exact weights above the fraction bar that are set to 0, the rest divided by 1 - dropout.
            What features say of such a pair stays away, so that the sums are right in the mean.
        seed: Whole number that says which, needed with dropout; as in `seqkit.kernels.attention`.
        chunk: Rows computed at once; chosen by size if None.

    Returns:
        (B, L, H, V), in the dtype of `q`; half precision is computed in float32.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit, dropout comes without a seed, or there is neither a support
            nor a window.

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
        >>> scatterbrain_attention(q, k, v, features, window=16, causal=True).shape
        torch.Size([2, 50, 4, 8])
    """
    heads = prepare(q, k, v, scale, lengths, key_lengths, causal)
    check_features(features, q.shape[3])
    drop, support = drop_of(dropout, seed, q), exact_keys(q, k, support, window, causal)
    support = None if support is None else counted(support, heads, causal)
    logs = logarithms(heads, features)
    width = (0 if support is None else support.width) + (window or 0)
    size = len(q) * q.shape[2] * width * (q.shape[3] + v.shape[3] + features.n_features)
    rows = rows_at_once(chunk, q.shape[1], size)
    state = no_keys(len(q), k.shape[2], features.n_features, v.shape[3], heads.v)
    if causal:
        return finish(band_rows(heads, *logs, window or 0, support, state, rows, drop=drop), q, heads.live)
    assert support is not None
    return finish(_two_sided(heads, *logs, support, state, rows, drop), q, heads.live)


def exact_keys(q: Tensor, k: Tensor, support: Support | None, window: int | None, causal: bool) -> Support | None:
    """The support with the keys around each query; causally the window is no part of it.

    Raises:
        ValueError: there is neither of them, or a window for keys that are not those of the queries' positions.
    """
    if window is None:
        if support is None:
            raise ValueError("`support` or `window` must be given, got neither; performer_attention needs none")
        return support
    check_positive_int("window", window)
    if causal:
        return support
    if q.shape[1] != k.shape[1]:
        raise ValueError(
            f"`window` must be None where `k` has another length ({k.shape[1]}) than `q` ({q.shape[1]}): keys have no "
            "place among the queries; give a support"
        )
    around = local_support(q.shape[1], window, device=q.device)
    return around if support is None else join_supports(support, around)


def _two_sided(
    heads: Heads,
    log_queries: Tensor,
    log_keys: Tensor,
    support: Support,
    state: FeatureState,
    rows: int,
    drop: Drop | None,
) -> Tensor:
    dense = few(heads.k.shape[2], support.width)
    state, out = state if dense else all_keys(state, log_keys, heads.v, rows), []
    for start in range(0, heads.q.shape[2], rows):
        part = slice(start, start + rows)
        mine = [x[:, :, part] for x in (heads.q, log_queries, support.keys, support.valid)]
        mine += [heads.k, log_keys, heads.v]
        out.append(recomputed(_dense_chunk if dense else _chunk, start, drop, *mine, *(() if dense else state)))
    return torch.cat(out, 2)


def _dense_chunk(
    start: int,
    drop: Drop | None,
    q: Tensor,
    log_queries: Tensor,
    index: Tensor,
    valid: Tensor,
    k: Tensor,
    log_keys: Tensor,
    v: Tensor,
) -> Tensor:
    """Rows from `start` by products with all keys: nothing to gather and nothing to take away."""
    exact = listed(index, valid, k.shape[2])
    keys, logs, values = (shared(x, q.shape[1]) for x in (k, log_keys, v))
    return divide(block_part(start, drop, q, log_queries, keys, logs, values, exact, torch.ones_like(exact)))


def _chunk(
    start: int,
    drop: Drop | None,
    q: Tensor,
    log_queries: Tensor,
    index: Tensor,
    valid: Tensor,
    k: Tensor,
    log_keys: Tensor,
    v: Tensor,
    *state: Tensor,
) -> Tensor:
    """Rows from `start`, from the state of all keys and the support."""
    values = gather(v, index)
    exact = exact_part(start, drop, q, k, values, index, valid)
    return divide(exact, remainder(FeatureState(*state), log_queries, gather(log_keys, index), values, valid))
