"""The Krylov function as its recurrence: one matrix-vector product a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["krylov_reference"]


@without_autocast
def krylov_reference(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Runs x_0 = B, x_{l+1} = A x_l and reads K[l] = C x_l.

    Example:
        >>> krylov_reference(torch.tensor([[0.5]]), torch.ones(1), torch.ones(1, 1), 3)
        tensor([[1.0000, 0.5000, 0.2500]])
    """
    state: Tensor = torch.broadcast_tensors(B.unsqueeze(-1), A[..., :1])[0]  # type: ignore[no-untyped-call]
    samples = []
    for _ in range(length):
        samples.append(C @ state)
        state = A @ state
    return torch.cat(samples, dim=-1)
