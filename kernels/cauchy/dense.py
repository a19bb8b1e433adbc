"""The normal-plus-low-rank kernel through one dense real matrix per system: Woodbury, then the Krylov function."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.krylov.op import krylov_op

__all__ = ["dense_kernel", "discretise", "stacked"]


def stacked(half: Tensor) -> Tensor:
    """Returns real parts followed by imaginary parts, (..., N) complex -> (..., 2N) real."""
    return torch.cat([half.real, half.imag], dim=-1)


def rotation(values: Tensor) -> Tensor:
    """Returns the real 2N x 2N matrix that multiplies stacked vectors by the complex `values`."""
    real, imag = torch.diag_embed(values.real), torch.diag_embed(values.imag)
    return torch.cat([torch.cat([real, -imag], dim=-1), torch.cat([imag, real], dim=-1)], dim=-2)


def discretise(Lambda: Tensor, P: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Returns Abar (..., 2N, 2N) and Bbar (..., 2N) of the bilinear rule, real, for stacked vectors.

    On stacked vectors the low-rank term is 2 Q Q^T with Q the stacked P, so with d = 1 / (1 - dt Lambda / 2)

        (I - dt A / 2)^{-1} = rot(d) - dt U (I + dt Q^T U)^{-1} V^T,   U = stacked(d P),  V = stacked(conj(d) P).
    """
    scale = dt[..., None, None]
    inverse = 1 / (1 - dt[..., None] * Lambda / 2)
    Q, U, V = (stacked(part) for part in (P, inverse.unsqueeze(-2) * P, inverse.conj().unsqueeze(-2) * P))
    loop = torch.eye(P.shape[-2], dtype=dt.dtype, device=dt.device) + scale * Q @ U.mT
    resolvent = rotation(inverse) - scale * U.mT @ torch.linalg.solve(loop, V)
    eye = torch.eye(resolvent.shape[-1], dtype=dt.dtype, device=dt.device)
    B_bar = scale.squeeze(-1) * (resolvent @ stacked(B).unsqueeze(-1)).squeeze(-1)
    return 2 * resolvent - eye, B_bar


def dense_kernel(
    Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Returns K (H, M, length); arguments as in `cauchy` with one leading dimension H, P (H, R, N), in float64.

    With `dtype` float32, powers and the blocks they fill are still made in float64, so that they do not drift; the join
    of the blocks and the way back of the gradient are in float32.
    """
    A_bar, B_bar = discretise(Lambda, P, B, dt)
    kernel: Tensor = krylov_op(A_bar, B_bar.to(dtype), 2 * stacked(C.conj()).to(dtype), length, "cpu")
    return kernel
