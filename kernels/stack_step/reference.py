"""One step of a whole model, as its equations say it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.stack_step.stack import (
    Block,
    Diagonal,
    Levels,
    Linear,
    LowRank,
    Norm,
    Stack,
    StackState,
    discrete,
)

__all__ = ["stack_step_reference"]

ACT = {"none": lambda x: x, "gelu": F.gelu, "relu": F.relu, "silu": F.silu}


def stack_step_reference(
    x: Tensor, stack: Stack, state: StackState, steps: Tensor | None = None, observed: Tensor | None = None
) -> tuple[Tensor, StackState]:
    """Returns outputs (n, K) and the new state for samples (n, C).

    Args:
        x: Samples.
        stack: The model.
        state: Before.
        steps: Time since the sample before in units of the training step, (n,); None for 1.
        observed: Which values are there, bool, (n, C); None for all.
    """
    held = (x - stack.mean) / stack.std
    if observed is not None:
        held = torch.where(observed, held, state.held)
    entered = held
    if stack.encoder.weight.shape[1] > held.shape[1]:
        missing = torch.zeros_like(held) if observed is None else (~observed).to(held.dtype)
        entered = torch.cat([held, missing], -1)
    h = applied(stack.encoder, entered)
    layers = []
    for block, layer in zip(stack.blocks, state.layers, strict=True):
        y, new = stepped(block, normed(block.norm, h), layer, steps)
        h = h + left(block, y)
        layers.append(new)
    h = normed(stack.norm, h)
    seen = state.seen + 1
    value = state.value
    if stack.levels is not None:
        value, h = shared(stack.levels, state, seen, h)
    elif stack.pool != "none":
        value = taken(stack.pool, state, h.double())
        h = (value / seen[:, None] if stack.pool == "mean" else value).to(h.dtype)
    outputs = applied(stack.head, h) * stack.scale + stack.offset
    return outputs.softmax(-1) if stack.shares else outputs, StackState(tuple(layers), value, seen, held)


def taken(pool: str, state: StackState, h: Tensor) -> Tensor:
    """The pooled value with one more sample, (n, H)."""
    if pool == "mean":
        return state.value + h
    return h if pool == "last" else torch.where(state.seen[:, None] > 0, torch.maximum(state.value, h), h)


def shared(levels: Levels, state: StackState, seen: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The same by shares above levels: sums and maxima, and what is pooled, both (n, (T + 2) H)."""
    width = h.shape[1]
    above = torch.sigmoid(h[:, None] * levels.slope + levels.offset).flatten(1)
    sums = state.value[:, :-width] + torch.cat([above, h / levels.unit], 1).double()
    highest = taken("max", state._replace(value=state.value[:, -width:]), (h / levels.unit).double())
    pooled = torch.cat([sums / seen[:, None], highest], 1).to(h.dtype)
    pooled = ((pooled - levels.centre) / levels.scale).clamp(-levels.farthest, levels.farthest)
    return torch.cat([sums, highest], 1), pooled


def applied(linear: Linear, x: Tensor) -> Tensor:
    """W x + b."""
    return F.linear(x, linear.weight, linear.bias)


def normed(norm: Norm, x: Tensor) -> Tensor:
    """A normalisation over the channels."""
    if norm.kind == "layer":
        return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    if norm.kind == "rms":
        return F.rms_norm(x, x.shape[-1:], norm.weight, norm.eps) + norm.bias
    return x


@without_autocast
def stepped(block: Block, u: Tensor, x: Tensor, steps: Tensor | None) -> tuple[Tensor, Tensor]:
    """What a block's system gives, (n, H), and its new state."""
    system, skip = block.system, u[:, :, None] * block.D
    if isinstance(system, (Diagonal, LowRank)):
        old = torch.complex(*(part.contiguous() for part in x.chunk(2, -1)))
        if isinstance(system, Diagonal):
            A, B = discrete(system, 1.0 if steps is None else steps)
            new = A * old + B * u[:, :, None]
        else:
            pulled = 2 * torch.einsum("hrp,nhp->nhr", system.V, old).real
            new = system.A * old + system.B * u[:, :, None] + torch.einsum("hrp,nhr->nhp", system.Q, pulled + 0j)
        y = 2 * torch.einsum("hmp,nhp->nhm", system.C, new).real + skip
        new = torch.cat([new.real, new.imag], -1)
    else:
        new = torch.einsum("hij,nhj->nhi", system.A, x) + system.B * u[:, :, None]
        y = torch.einsum("hmi,nhi->nhm", system.C, new) + skip
    y = y.transpose(1, 2)
    return (y[:, 0] if block.mix is None else applied(block.mix, F.gelu(y.flatten(1)))), new


def left(block: Block, y: Tensor) -> Tensor:
    """What a block adds to its input."""
    y = ACT[block.activation](y)
    if block.out is not None:
        y = applied(block.out, y)
    return F.glu(y, -1) if block.output == "gated" else y
