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
    schema="(Tensor u, Tensor k) -> Tensor",
)
long_conv_backward_op = torch.library.custom_op(
    "seqkit::long_conv_backward",
    without_autocast(cpu.long_conv_backward),
    mutates_args=(),
    schema="(Tensor grad, Tensor u, Tensor k) -> (Tensor, Tensor)",
)


@long_conv_op.register_fake
def _(u: Tensor, k: Tensor) -> Tensor:
    return u.new_empty(u.shape[0], k.shape[0], u.shape[1], u.shape[2])


@long_conv_backward_op.register_fake
def _(grad: Tensor, u: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), k.new_empty(k.shape)


def save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    """Keeps the inputs, not their padded spectra."""
    ctx.save_for_backward(*inputs)


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Computes both gradients at once: they share the spectrum of `grad`."""
    du, dk = long_conv_backward_op(grad.contiguous(), *ctx.saved_tensors)
    return du, dk


long_conv_op.register_autograd(backward, setup_context=save)
