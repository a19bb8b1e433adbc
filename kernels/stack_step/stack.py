"""A model as a step needs it: plain tensors, one block after the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "OUTPUTS",
    "POOLS",
    "RULES",
    "Block",
    "Dense",
    "Diagonal",
    "Levels",
    "Linear",
    "LowRank",
    "Norm",
    "Stack",
    "StackState",
    "discrete",
    "fresh",
    "order_of",
    "pooled_width",
]

NORMS = ("none", "layer", "rms")
ACTIVATIONS = ("none", "gelu", "relu", "silu")
OUTPUTS = ("none", "linear", "gated")
POOLS = ("none", "mean", "last", "max", "share")
RULES = ("bilinear", "backward_euler", "zero_order_hold")


class Linear(NamedTuple):
    """A map y = W x + b: weight (outputs, inputs), bias (outputs,)."""

    weight: Tensor
    bias: Tensor


class Norm(NamedTuple):
    """A normalisation over the channels.

    Args:
        kind: One of `NORMS`.
        weight: (H,).
        bias: (H,).
        eps: What is added to the variance.
    """

    kind: str
    weight: Tensor
    bias: Tensor
    eps: float


class Diagonal(NamedTuple):
    """H continuous systems in P conjugate pairs each, discretised with the step `rate * dt`: y = 2 Re C x.

    Args:
        Lambda: Eigenvalues, (H, P) complex.
        B: Input weights, (H, P) complex.
        C: Output weights, (H, M, P) complex.
        dt: Steps of the heads, (H,).
        rule: One of `RULES`.
    """

    Lambda: Tensor
    B: Tensor
    C: Tensor
    dt: Tensor
    rule: str


class LowRank(NamedTuple):
    """H discrete systems in P conjugate pairs each, diagonal but for R directions: x' = A x + B u + Q (2 Re V x).

    Args:
        A: (H, P) complex.
        B: (H, P) complex.
        C: (H, M, P) complex.
        V: (H, R, P) complex.
        Q: (H, R, P) complex.
    """

    A: Tensor
    B: Tensor
    C: Tensor
    V: Tensor
    Q: Tensor


class Dense(NamedTuple):
    """H discrete systems: A (H, N, N), B (H, N) and C (H, M, N), all real."""

    A: Tensor
    B: Tensor
    C: Tensor


class Block(NamedTuple):
    """A residual block, x + out(activation(mix(system(norm(x))))).

    Args:
        norm: Normalisation before the system.
        system: One input and M outputs a head.
        D: Skip, (H, M).
        mix: Map of the M H outputs back to H, after a GELU; None where M is 1.
        activation: One of `ACTIVATIONS`.
        output: One of `OUTPUTS`.
        out: The output map, (H, H) or, gated, (2 H, H); None for none.
    """

    norm: Norm
    system: Diagonal | LowRank | Dense
    D: Tensor
    mix: Linear | None
    activation: str
    output: str
    out: Linear | None


class Levels(NamedTuple):
    """Pooling by shares of samples above T levels of each channel, the mean and the maximum, standardised.

    Args:
        slope: Of the levels, (T, H); a sample x counts as sigmoid(slope x + offset).
        offset: Likewise.
        unit: What means and maxima are counted in, (H,).
        centre: Mean of the pooled values, ((T + 2) H,).
        scale: Their deviation.
        farthest: Where a standardised value is held.
    """

    slope: Tensor
    offset: Tensor
    unit: Tensor
    centre: Tensor
    scale: Tensor
    farthest: float


class Stack(NamedTuple):
    """A whole model: standardise, hold, encode, blocks, norm, pool, head.

    Args:
        mean: Of the raw channels, (C,).
        std: Likewise.
        encoder: Map of the C channels, or of them and C further ones that say which are missing, to H.
        blocks: First one first.
        norm: After the last block.
        pool: One of `POOLS`.
        head: Map to the outputs.
        scale: What outputs are multiplied by, (K,).
        offset: What is added then, (K,).
        shares: Whether outputs become shares by a softmax.
        levels: Where pool is "share"; else None.
    """

    mean: Tensor
    std: Tensor
    encoder: Linear
    blocks: tuple[Block, ...]
    norm: Norm
    pool: str
    head: Linear
    scale: Tensor
    offset: Tensor
    shares: bool
    levels: Levels | None = None


class StackState(NamedTuple):
    """State of n streams.

    Args:
        layers: Each block's x, real, (n, H, N); of pairs [Re x, Im x].
        value: Sum (mean), last or largest value, (n, H), or sums and maxima, (n, (T + 2) H) (share), float64; of no
            meaning without pooling.
        seen: Samples so far, (n,), int64.
        held: Last value of each channel, standardised, (n, C).
    """

    layers: tuple[Tensor, ...]
    value: Tensor
    seen: Tensor
    held: Tensor


def order_of(system: Diagonal | LowRank | Dense) -> int:
    """Real numbers of a head's state."""
    return system.B.shape[-1] * (2 if system.B.is_complex() else 1)


def pooled_width(stack: Stack) -> int:
    """Values that pooling keeps, and gives."""
    return len(stack.encoder.bias) if stack.levels is None else len(stack.levels.centre)


def fresh(stack: Stack, n: int) -> StackState:
    """The state of n streams before their first sample.

    Example:
        >>> one, line = torch.ones(1), Linear(torch.ones(1, 1), torch.zeros(1))
        >>> stack = Stack(0 * one, one, line, (), Norm("none", one, 0 * one, 0.0), "mean", line, one, 0 * one, False)
        >>> fresh(stack, 3).seen
        tensor([0, 0, 0])
    """
    channels, width = len(stack.mean), len(stack.encoder.bias)
    return StackState(
        tuple(stack.mean.new_zeros(n, width, order_of(block.system)) for block in stack.blocks),
        stack.mean.new_zeros(n, pooled_width(stack), dtype=torch.float64),
        torch.zeros(n, dtype=torch.int64),
        stack.mean.new_zeros(n, channels),
    )


def discrete(system: Diagonal, rate: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """A and B of the discrete system, (H, P), or (n, H, P) for a rate a stream, (n,).

    Example:
        >>> one = torch.ones(1, 1) + 0j
        >>> discrete(Diagonal(-one, one, one[None], torch.ones(1), "backward_euler"))[0]
        tensor([[0.5000+0.j]])
    """
    dt = system.dt * (rate.to(system.dt)[:, None] if isinstance(rate, Tensor) else rate)
    z, b = dt[..., None] * system.Lambda, dt[..., None] * system.B
    if system.rule == "zero_order_hold":
        # exp(z) - 1 without the cancellation that a small z brings.
        half = torch.sin(z.imag / 2)
        grown = torch.complex(z.real.expm1() * z.imag.cos() - 2 * half * half, z.real.exp() * z.imag.sin())
        one = torch.ones_like(z)
        return z.exp(), b * torch.where(z == 0, one, grown / torch.where(z == 0, one, z))
    alpha = 0.5 if system.rule == "bilinear" else 1.0
    return (1 + (1 - alpha) * z) / (1 - alpha * z), b / (1 - alpha * z)
