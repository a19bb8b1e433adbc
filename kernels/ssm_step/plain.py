"""A step in torch's own operations, for machines without numba and for devices without kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.ssm_step.layout import Layout, rows

__all__ = ["advance", "differentiate"]

FLUSH = {torch.float32: 2.0**-100, torch.float64: 2.0**-960}  # below, a state is 0: denormal numbers are slow
FEW = 16  # streams to a head, below which a product and a sum cost less than a matrix product for each head


@without_autocast
def advance(layout: Layout, operands: Sequence[Tensor], D: Tensor | None, y: Tensor, new: Tensor) -> bool:
    """Writes outputs and new state, as `cpu.advance` does; three passes over the state in its own memory."""
    u, A, B, C, x = (rows(layout, index, value) for index, value in enumerate(operands))
    inplace, on_cpu = new.data_ptr() == operands[4].data_ptr(), y.device.type == "cpu"
    if inplace and on_cpu and not bool(u.isfinite().all()):
        return False
    u, x_new = u.to(A.dtype.to_real()), new.view(*layout.sizes, layout.n_pairs)
    if not inplace:
        x_new.copy_(x)
    x_new.mul_(A).addcmul_(B, u.unsqueeze(-1).to(B.dtype))
    lanes = torch.view_as_real(x_new)
    torch.hardshrink(lanes, FLUSH[lanes.dtype], out=lanes)
    weights, lanes = torch.view_as_real(C.conj().resolve_conj()).flatten(-2), lanes.flatten(-2)
    if layout.strides[3][1] or layout.sizes[1] < FEW:
        found = 2 * (weights * lanes.unsqueeze(-2)).sum(-1)
    else:
        found = 2 * torch.einsum("...mk,...k->...m", weights, lanes)
    if D is not None:
        found += rows(layout, 5, D).to(u.dtype) * u.unsqueeze(-1)
    y.copy_(found.reshape(y.shape))
    return not on_cpu or bool(found.sum().isfinite())


def differentiate(
    layout: Layout, operands: Sequence[Tensor], grad_y: Tensor, grad_new: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of u (a row each), A, B, C (of their own shapes) and the state (a row each)."""
    u, A, B, C, x = (rows(layout, index, value) for index, value in enumerate(operands))
    g_y = grad_y.view(*layout.sizes, layout.n_outputs, 1)
    inner = grad_new.view(*layout.sizes, layout.n_pairs) + 2 * (g_y * C.conj()).sum(-2)
    u = u.unsqueeze(-1)
    d_C = 2 * g_y * (A * x + B * u).conj().unsqueeze(-2)
    d_u = (B.conj() * inner).real.sum(-1)
    d_A, d_B, d_C = (
        value.sum_to_size(like.shape).view(given.shape)
        for value, like, given in zip((inner * x.conj(), inner * u, d_C), (A, B, C), operands[1:4], strict=True)
    )
    return d_u, d_A, d_B, d_C, inner * A.conj()
