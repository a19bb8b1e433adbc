"""Performer a sample or a block at a time: its state is all keys so far, as features."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures, check_features, log_features
from seqkit.attention.inputs import finish, prepare, rows_at_once
from seqkit.attention.parts import FeatureState, add_keys, divide, no_keys, state_part
from seqkit.attention.performer import causal_rows, logarithms
from seqkit.kernels.backend import without_autocast

__all__ = ["performer_block", "performer_state", "performer_step"]


def performer_state(like: Tensor, batch_size: int, n_heads: int, features: RandomFeatures, size: int) -> FeatureState:
    """The state before the first sample.

    Args:
        like: A tensor of the dtype and device of the series; half precision is kept in float32.
        batch_size: Series B.
        n_heads: Heads G of keys and values.
        features: Random features.
        size: Size V of values.

    Returns:
        G M (V + 2) numbers a series, however long it gets.

    Example:
        >>> from seqkit.attention import draw_features
        >>> features = draw_features(16, 8, generator=torch.Generator().manual_seed(0))
        >>> performer_state(torch.zeros(1), 2, 4, features, 8).values.shape
        torch.Size([2, 4, 16, 8])
    """
    wide = like.new_zeros((), dtype=torch.promote_types(like.dtype, torch.float32))
    return no_keys(batch_size, n_heads, features.n_features, size, wide)


@without_autocast
def performer_step(
    q: Tensor, k: Tensor, v: Tensor, features: RandomFeatures, state: FeatureState, *, scale: float | None = None
) -> tuple[Tensor, FeatureState]:
    """One sample of causal Performer: its key joins the state, and its query reads the state.

    Each feature of the state is held relative to its largest key so far; where a larger one comes, the sums are scaled
    down once.

    Args:
        q: Queries (B, H, D).
        k: Keys (B, G, D).
        v: Values (B, G, V).
        features: Random features.
        state: As `performer_state` or the previous step gave it.
        scale: Factor of q . k; 1 / sqrt(D) if None.

    Returns:
        (B, H, V), the row of `performer_attention` with causal=True, and the new state.

    Raises:
        ValueError: shapes or dtypes do not fit.

    Cost: O((H + G) M (D + V)) time.

    Example:
        >>> from seqkit.attention import draw_features
        >>> features = draw_features(16, 8, generator=torch.Generator().manual_seed(0))
        >>> q, k, v = torch.randn(3, 2, 4, 8)
        >>> y, state = performer_step(q, k, v, features, performer_state(q, 2, 4, features, 8))
        >>> torch.allclose(y, v)  # there is one key
        True
    """
    heads = prepare(q[:, None], k[:, None], v[:, None], scale, None)
    check_features(features, q.shape[2])
    state = add_keys(state, log_features(heads.k, features), heads.v)
    out = divide(state_part(state, log_features(heads.q, features))[0])
    return finish(out, q, None)[:, 0], state


@without_autocast
def performer_block(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    features: RandomFeatures,
    state: FeatureState,
    *,
    scale: float | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, FeatureState]:
    """A block of samples of causal Performer, after those of a state.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, G, D).
        v: Values (B, L, G, V).
        features: Random features.
        state: As `performer_state`, a step or a block gave it.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        lengths: Samples of each series (B,); the state of each is that after its own last sample.

    Returns:
        (B, L, H, V) and the new state.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit.

    Cost: as `performer_attention`.

    Example:
        >>> from seqkit.attention import draw_features
        >>> features = draw_features(16, 8, generator=torch.Generator().manual_seed(0))
        >>> q, k, v = torch.randn(3, 2, 50, 4, 8)
        >>> y, state = performer_block(q, k, v, features, performer_state(q, 2, 4, features, 8))
        >>> y.shape
        torch.Size([2, 50, 4, 8])
    """
    heads = prepare(q, k, v, scale, lengths, causal=True)
    check_features(features, q.shape[3])
    rows = rows_at_once(None, q.shape[1], len(q) * q.shape[2] * features.n_features)
    out, state = causal_rows(*logarithms(heads, features), heads.v, state, rows)
    return finish(out, q, heads.live), state
