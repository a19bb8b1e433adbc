"""Attention by its definition: the whole matrix, without any scaling tricks. What the tests trust, in float64."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures
from seqkit.attention.inputs import both_inside, check_heads, inside, shared
from seqkit.attention.support import Support
from seqkit.kernels.attention.dropout import kept

__all__ = ["dense_attention", "dense_matrix", "dense_support"]


def dense_support(support: Support, length: int) -> Tensor:
    """A support as a matrix (B, H, L, T) of truth values.

    Args:
        support: Keys of each query.
        length: Number of keys T.

    Example:
        >>> from seqkit.attention import local_support
        >>> dense_support(local_support(3, 2, causal=True), 3)[0, 0].int().tolist()
        [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    index = support.keys.masked_fill(~support.valid, length)
    empty = torch.zeros(*index.shape[:3], length + 1, dtype=torch.bool, device=index.device)
    return empty.scatter(-1, index, True)[..., :length]


def dense_matrix(
    q: Tensor,
    k: Tensor,
    *,
    features: RandomFeatures | None = None,
    support: Support | None = None,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
) -> Tensor:
    """The matrix before rows are divided by their sums.

    Without features and support exp(scale q . k) everywhere; with a support alone, zero off it; with features alone
    phi(q) . phi(k) everywhere; with both, exact on the support and by features elsewhere. Zero for keys that causality
    or lengths exclude.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); T is L where causal, and G divides H.
        features: Random features, or None.
        support: Keys of each query, or None.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Only keys up to the query's own position.
        lengths: Samples of each series (B,).
        key_lengths: Keys of each series (B,), where they differ from `lengths`.

    Returns:
        (B, H, L, T).

    Raises:
        ValueError: shapes, dtypes or lengths do not fit.

    Example:
        >>> q, k = torch.zeros(2, 1, 3, 1, 4)
        >>> dense_matrix(q, k, causal=True)[0, 0].tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    check_heads(q, k, causal=causal)
    factor = math.sqrt(1 / math.sqrt(q.shape[3]) if scale is None else scale)
    _, seen = both_inside(q, k, lengths, key_lengths)
    n_keys, heads = k.shape[1], q.shape[2]
    q, k = (factor * shared(x.transpose(1, 2), heads) for x in (q, k))
    matrix = (q @ k.mT).exp()
    if features is not None:
        low_rank = _features(q, features) @ _features(k, features).mT
        matrix = low_rank if support is None else torch.where(dense_support(support, n_keys), matrix, low_rank)
    elif support is not None:
        matrix = matrix * dense_support(support, n_keys)
    if seen is not None:
        matrix = matrix.masked_fill(~seen[..., None, :], 0)
    return matrix.tril() if causal else matrix


def dense_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    features: RandomFeatures | None = None,
    support: Support | None = None,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Attention with the rows of `dense_matrix` divided by their sums; rows without a key, and past the end, are zero.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); T is L where causal, and G divides H.
        v: Values (B, T, G, V).
        features: Random features, or None.
        support: Keys of each query, or None.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Only keys up to the query's own position.
        lengths: Samples of each series (B,).
        key_lengths: Keys of each series (B,), where they differ from `lengths`.
        dropout: Share of exact weights, those that are not features', set to 0 above the fraction bar.
        seed: Whole number that says which.

    Returns:
        (B, L, H, V).

    Raises:
        ValueError: shapes, dtypes or lengths do not fit.

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343), section 4.

    Cost: O(L^2 (M + D + V)) time and O(L^2) memory.

    Example:
        >>> q, k, v = torch.randn(3, 1, 5, 2, 4)
        >>> dense_attention(q, k, v, causal=True).shape
        torch.Size([1, 5, 2, 4])
    """
    check_heads(q, k, v, causal=causal)
    options: Any = {"scale": scale, "causal": causal, "lengths": lengths, "key_lengths": key_lengths}
    matrix = dense_matrix(q, k, features=features, support=support, **options)
    mass = matrix.sum(-1, keepdim=True)
    if dropout:
        exact = features is None if support is None else dense_support(support, k.shape[1])
        matrix = torch.where(torch.as_tensor(exact), matrix * _factors(matrix, dropout, seed), matrix)
    out = matrix @ shared(v.transpose(1, 2), q.shape[2]) / torch.where(mass > 0, mass, 1)
    live = inside(lengths, q.shape[1], q)
    return (out if live is None else out.masked_fill(~live[..., None], 0)).transpose(1, 2)


def _factors(matrix: Tensor, dropout: float, seed: int) -> Tensor:
    batch, heads, rows, keys = matrix.shape
    number = torch.arange(batch * heads).view(batch, heads)
    stays = kept(torch.tensor(seed), number, torch.arange(rows), torch.arange(keys), dropout)
    return stays.to(matrix) / (1 - dropout)


def _features(x: Tensor, features: RandomFeatures) -> Tensor:
    rows = features.directions.to(x)
    if features.hyperbolic:
        rows = torch.cat((rows, -rows))
    return (x @ rows.mT - x.square().sum(-1, keepdim=True) / 2).exp() / math.sqrt(len(rows))
