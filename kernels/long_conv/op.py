"""`seqkit::long_conv` for torch's dispatcher: kernels by device, shapes, gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.long_conv import cpu

__all__ = ["long_conv_op"]

long_conv_op = torch.library.custom_op(
    "seqkit::long_conv",
    without_autocast(cpu.long_conv_forward),
    mutates_args=(),
    schema="(Tensor u, Tensor k, Tensor? D) -> Tensor",
)
long_conv_backward_op = torch.library.custom_op(
    "seqkit::long_conv_backward",
    without_autocast(cpu.long_conv_backward),
    mutates_args=(),
    schema="(Tensor grad, Tensor u, Tensor k, Tensor? D) -> (Tensor, Tensor, Tensor)",
)


@long_conv_op.register_fake
def _(u: Tensor, k: Tensor, D: Tensor | None) -> Tensor:
    return u.new_empty(u.shape[0], k.shape[0], u.shape[1], u.shape[2])


@long_conv_backward_op.register_fake
def _(grad: Tensor, u: Tensor, k: Tensor, D: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    return u.new_empty(u.shape), k.new_empty(k.shape), u.new_empty(0 if D is None else D.shape)


def save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    """Keeps the inputs, not their padded spectra."""
    ctx.save_for_backward(*inputs)


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Computes all gradients at once: they share the spectrum of `grad`."""
    u, k, D = ctx.saved_tensors
    du, dk, d_skip = long_conv_backward_op(grad.contiguous(), u, k, D)
    return du, dk, None if D is None else d_skip


long_conv_op.register_autograd(backward, setup_context=save)
