"""`seqkit::vandermonde` for torch's dispatcher: kernels by device, shapes, gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.vandermonde import cpu

__all__ = ["vandermonde_op"]

vandermonde_op = torch.library.custom_op(
    "seqkit::vandermonde",
    without_autocast(cpu.vandermonde_forward),
    mutates_args=(),
    schema="(Tensor a, Tensor weight, int length) -> Tensor",
)
vandermonde_backward_op = torch.library.custom_op(
    "seqkit::vandermonde_backward",
    without_autocast(cpu.vandermonde_backward),
    mutates_args=(),
    schema="(Tensor grad, Tensor a, Tensor weight) -> (Tensor, Tensor)",
)


@vandermonde_op.register_fake
def _(a: Tensor, weight: Tensor, length: int) -> Tensor:
    return weight.new_empty(weight.shape[0], weight.shape[1], length, dtype=weight.dtype.to_real())


@vandermonde_backward_op.register_fake
def _(grad: Tensor, a: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), weight.new_empty(weight.shape)


def save(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    """Keeps the inputs only."""
    ctx.save_for_backward(*inputs[:2])


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    """Computes both gradients: they share the tables and the sums."""
    return *vandermonde_backward_op(grad.contiguous(), *ctx.saved_tensors), None


vandermonde_op.register_autograd(backward, setup_context=save)
