"""The normal-plus-low-rank kernel through one dense real matrix per system: Woodbury, then the Krylov function."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.krylov.op import krylov_op

__all__ = ["dense_kernel", "discretise", "stacked"]


def stacked(half: Tensor) -> Tensor:
    """Returns real parts followed by imaginary parts, (..., N) complex -> (..., 2N) real."""
    return torch.cat([half.real, half.imag], dim=-1)


def discretise(Lambda: Tensor, P: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Returns Abar (H, 2N, 2N) and Bbar (H, 2N) of the bilinear rule, real, for stacked vectors.

    On stacked vectors the low-rank term is 2 Q Q^T with Q the stacked P, so with d = 1 / (1 - dt Lambda / 2)

        (I - dt A / 2)^{-1} = rot(d) - dt U (I + dt Q^T U)^{-1} V^T,   U = stacked(d P),  V = stacked(conj(d) P),

    where rot(d) multiplies stacked vectors by d, and Abar = 2 (I - dt A / 2)^{-1} - I.
    """
    scale = dt[:, None, None]
    inverse = 1 / (1 - dt[:, None] * Lambda / 2)
    Q, U, V = (stacked(part) for part in (P, inverse.unsqueeze(-2) * P, inverse.conj().unsqueeze(-2) * P))
    loop = torch.eye(P.shape[-2], dtype=dt.dtype, device=dt.device) + scale * Q @ U.mT
    feedback = torch.linalg.solve(loop, V)
    B_bar = stacked(inverse * B).unsqueeze(-1) - scale * U.mT @ (feedback @ stacked(B).unsqueeze(-1))
    real, imag = 2 * inverse.real - 1, 2 * inverse.imag
    blocks = torch.stack([torch.stack([real, -imag], dim=1), torch.stack([imag, real], dim=1)], dim=1)
    rotation = torch.diag_embed(blocks, dim1=2, dim2=4).flatten(3, 4).flatten(1, 2)
    return torch.baddbmm(rotation, -2 * scale * U.mT, feedback), dt[:, None] * B_bar.squeeze(-1)


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
