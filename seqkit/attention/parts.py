"""Sums of weighted values with their scale taken out, so that parts of very different size can be joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.inputs import shared

__all__ = ["FeatureState", "Part", "add_keys", "divide", "no_keys", "pair_logits", "pair_part", "state_part"]


class Part(NamedTuple):
    """A part of each row of attention: the weights of its keys are exp(scale) times what is summed.

    Args:
        values: Sum of weights times values (B, H, C, V).
        mass: Sum of weights (B, H, C, 1).
        scale: (B, H, C, 1), without a gradient: it drops out of the quotient.
    """

    values: Tensor
    mass: Tensor
    scale: Tensor


class FeatureState(NamedTuple):
    """All keys so far, as features: feature r of key j counts exp(log phi_r(k_j) - peak_r).

    Args:
        peak: Largest logarithm of each feature among the keys (B, G, M), without a gradient; 0 before the first key.
        total: Sums over keys (B, G, M), each at least 1, or 0 before the first key.
        values: Sums of features times values (B, G, M, V).
    """

    peak: Tensor
    total: Tensor
    values: Tensor


def no_keys(batch_size: int, heads: int, n_features: int, size: int, like: Tensor) -> FeatureState:
    """The state before the first key, for values of `size`, with the dtype and device of `like`."""
    zeros = like.new_zeros(batch_size, heads, n_features)
    return FeatureState(zeros, zeros, like.new_zeros(batch_size, heads, n_features, size))


def add_keys(state: FeatureState, log_keys: Tensor, values: Tensor) -> FeatureState:
    """Adds keys, given by the logarithms of their features (B, G, C, M), and their values (B, G, C, V).

    A key that does not count has logarithms of minus infinity.
    """
    before = state.peak.masked_fill(state.total.detach() == 0, -torch.inf)
    peak = torch.maximum(log_keys.detach().amax(-2), before)
    peak = peak.masked_fill(peak.isneginf(), 0)
    weights, kept = (log_keys - peak[..., None, :]).exp(), (before - peak).exp()
    total = weights.sum(-2) + kept * state.total
    return FeatureState(peak, total, weights.mT @ values + kept[..., None] * state.values)


def state_part(state: FeatureState, log_queries: Tensor) -> tuple[Part, Tensor]:
    """Reads a state with queries, given by the logarithms of their features (B, H, C, M).

    Returns:
        The part, whose mass is at least 1 before it is scaled, or 0 without keys, and the queries' weights of features
        (B, H, C, M).
    """
    state = FeatureState(*(shared(x, log_queries.shape[1]) for x in state))
    logits = log_queries + state.peak[..., None, :]
    scale = logits.detach().amax(-1, keepdim=True)
    weights = (logits - scale).exp()
    return Part(weights @ state.values, weights @ state.total[..., None], scale), weights


def pair_logits(log_queries: Tensor, log_keys: Tensor) -> Tensor:
    """Log phi(q_i) . phi(k_j) of every pair (B, H, C, K), each key with its own scale: a later one changes nothing.

    What is too small for the dtype is given as its smallest normal number, in the scale of the pair.
    """
    of_query = log_queries.detach().amax(-1, keepdim=True)
    of_key = log_keys.detach().amax(-1, keepdim=True)
    of_key = of_key.masked_fill(of_key.isinf(), 0)
    products = (log_queries - of_query).exp() @ (log_keys - of_key).exp().mT
    return products.clamp(min=torch.finfo(products.dtype).tiny).log() + of_query + of_key.mT


def pair_part(logits: Tensor, values: Tensor, factor: Tensor | None = None) -> Part:
    """Weights exp(logits) (B, H, C, K) with values (B, H, K, V), or each row's own (B, H, C, K, V).

    Args:
        logits: Logarithms of weights; minus infinity where a key does not count.
        values: Values of the keys.
        factor: Factors of the weights in the sum of values but not in the mass, (B, H, C, K); none if None.
    """
    scale = logits.detach().amax(-1, keepdim=True)
    scale = scale.masked_fill(scale.isinf(), 0)
    weights = (logits - scale).exp()
    mass, used = weights.sum(-1, keepdim=True), weights if factor is None else weights * factor
    own = values.dim() > weights.dim()
    return Part((used[..., None, :] @ values).squeeze(-2) if own else used @ values, mass, scale)


def divide(*parts: Part) -> Tensor:
    """Joins parts and divides by the mass: rows of attention (B, H, C, V), zero where no key has any mass."""
    sizes = [(part.scale + part.mass.detach().log()) for part in parts]
    common = torch.stack(sizes).amax(0)
    common = common.masked_fill(common.isinf(), 0)
    factors = [(part.scale - common).masked_fill(part.mass.detach() <= 0, -torch.inf).exp() for part in parts]
    values = sum(factor * part.values for factor, part in zip(factors, parts, strict=True))
    mass = sum(factor * part.mass for factor, part in zip(factors, parts, strict=True))
    assert isinstance(values, Tensor)
    assert isinstance(mass, Tensor)
    return values / torch.where(mass > 0, mass, 1)
