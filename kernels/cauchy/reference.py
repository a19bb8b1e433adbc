"""The kernel of a normal-plus-low-rank system: the full dense matrices, discretised and run as a recurrence."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast
from seqkit.kernels.krylov.reference import krylov_reference

__all__ = ["cauchy_reference"]


@without_autocast
def cauchy_reference(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    """Builds A = diag(Lambda) - P P^* of all 2 N modes, its bilinear discretisation, and runs it.

    The arguments are those of `cauchy`, with P always (..., R, N).

    Example:
        >>> one = torch.ones(1) + 0j
        >>> cauchy_reference(-one, 0 * one[None], one, one[None], torch.tensor(1.0), 2)
        tensor([[1.3333, 0.4444]])
    """
    Lambda, P, B, C = (torch.cat([half, half.conj()], dim=-1) for half in (Lambda, P, B, C))
    A = torch.diag_embed(Lambda) - P.mT @ P.conj()
    step = dt[..., None, None]
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    A_bar = torch.linalg.solve(eye - step / 2 * A, eye + step / 2 * A)
    B_bar = torch.linalg.solve(eye - step / 2 * A, step * B.unsqueeze(-1)).squeeze(-1)
    return krylov_reference(A_bar, B_bar, C, length).real
