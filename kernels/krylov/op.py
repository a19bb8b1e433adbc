"""`seqkit::krylov` for torch's dispatcher: kernels by device, shapes, gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.krylov import cpu

__all__ = ["krylov_op"]

krylov_op = torch.library.custom_op(
    "seqkit::krylov",
    without_autocast(cpu.krylov_forward),
    mutates_args=(),
    schema="(Tensor A, Tensor B, Tensor C, int length) -> Tensor",
)
krylov_backward_op = torch.library.custom_op(
    "seqkit::krylov_backward",
    without_autocast(cpu.krylov_backward),
    mutates_args=(),
    schema="(Tensor grad, Tensor A, Tensor B, Tensor C) -> (Tensor, Tensor, Tensor)",
)


@krylov_op.register_fake
def _(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    return C.new_empty(C.shape[0], C.shape[1], length)


@krylov_backward_op.register_fake
def _(grad: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return A.new_empty(A.shape), B.new_empty(B.shape), C.new_empty(C.shape)


def save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
    """Keeps the inputs only."""
    ctx.save_for_backward(*inputs[:3])


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    """Computes all three gradients: they share every block, and autograd drops what nobody asked for."""
    return *krylov_backward_op(grad.contiguous(), *ctx.saved_tensors), None


krylov_op.register_autograd(backward, setup_context=save)
