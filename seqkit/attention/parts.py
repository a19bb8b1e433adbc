"""Sums of weighted values with their scale taken out, so that parts of very different size can be joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["FeatureState", "Part", "add_keys", "divide", "pair_logits", "pair_part", "state_part"]


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
        peak: Largest logarithm of each feature among the keys (B, H, M), without a gradient.
        total: Sums over keys (B, H, M), each at least 1.
        values: Sums of features times values (B, H, M, V).
    """

    peak: Tensor
    total: Tensor
    values: Tensor


def add_keys(state: FeatureState | None, log_keys: Tensor, values: Tensor) -> FeatureState:
    """Adds keys, given by the logarithms of their features (B, H, C, M), and their values (B, H, C, V).

    A key that does not count has logarithms of minus infinity; the first keys ever added must hold one that counts.
    """
    peak = log_keys.detach().amax(-2)
    if state is not None:
        peak = torch.maximum(peak, state.peak)
    weights = (log_keys - peak[..., None, :]).exp()
    total, summed = weights.sum(-2), weights.mT @ values
    if state is not None:
        kept = (state.peak - peak).exp()
        total, summed = total + kept * state.total, summed + kept[..., None] * state.values
    return FeatureState(peak, total, summed)


def state_part(state: FeatureState, log_queries: Tensor) -> tuple[Part, Tensor]:
    """Reads a state with queries, given by the logarithms of their features (B, H, C, M).

    Returns:
        The part, whose mass is at least 1 before it is scaled, and the queries' weights of features (B, H, C, M).
    """
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


def pair_part(logits: Tensor, values: Tensor) -> Part:
    """Weights exp(logits) (B, H, C, K) with values (B, H, K, V), or each row's own (B, H, C, K, V)."""
    scale = logits.detach().amax(-1, keepdim=True)
    scale = scale.masked_fill(scale.isinf(), 0)
    weights = (logits - scale).exp()
    own = values.dim() > weights.dim()
    summed = (weights[..., None, :] @ values).squeeze(-2) if own else weights @ values
    return Part(summed, weights.sum(-1, keepdim=True), scale)


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
