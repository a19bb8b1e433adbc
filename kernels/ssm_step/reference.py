"""One step of diagonal systems, as the two equations say it."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["ssm_step_reference"]


@without_autocast
def ssm_step_reference(u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, D: Tensor) -> tuple[Tensor, Tensor]:
    """Returns y (..., M) and the new state (..., N) for u (...), A, B, state (..., N), C (..., M, N), D (..., M).

    Example:
        >>> one = torch.ones(1, 1) + 0j
        >>> y, state = ssm_step_reference(torch.ones(1), one / 2, one, one[None], one, torch.zeros(1, 1))
        >>> y, state
        (tensor([[3.]]), tensor([[1.5000+0.j]]))
    """
    leading = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        u.shape, A.shape[:-1], B.shape[:-1], C.shape[:-2], state.shape[:-1], D.shape[:-1]
    )
    u = u.expand(leading).unsqueeze(-1)
    x = A * state + B * u
    return 2 * (C * x.unsqueeze(-2)).sum(-1).real + D * u, x
