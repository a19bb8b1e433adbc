"""The HiPPO-LegS memory as its defining recurrence: one dense bilinear solve a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["legs_update_reference"]


def legs_matrix(order: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns A (N, N) and B (N) of the orthonormal LegS memory, A positive: A_nk = s_n s_k below the diagonal."""
    n = torch.arange(order, dtype=like.dtype, device=like.device)
    scale = (2 * n + 1).sqrt()
    return torch.outer(scale, scale).tril(-1) + torch.diag(n + 1), scale


@without_autocast
def legs_update_reference(u: Tensor, tau: Tensor, state: Tensor, every: int) -> Tensor:
    """Runs (tau I + A) m = tau c + B u, c <- 2 m - c, and keeps c after every `every`-th sample.

    This is the bilinear rule with step 2 / tau, written for the mean m of the old and the new coefficients.

    Args:
        u: Samples, (S, L).
        tau: 2 / step, (S, L) or (1, L) where all series share their times.
        state: Coefficients before the first sample, (S, N).
        every: Number of samples from one row of the result to the next.

    Example:
        >>> legs_update_reference(torch.ones(1, 2), torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]]), 2)
        tensor([[[1., 0.]]])
    """
    A, B = legs_matrix(state.shape[-1], u)
    identity = torch.eye(len(A), dtype=u.dtype, device=u.device)
    rows = [state.new_zeros(len(u), 0, len(A))]
    for k in range(u.shape[-1]):
        step = tau[:, k, None, None]
        known = tau[:, k, None] * state + u[:, k, None] * B
        middle = torch.linalg.solve_triangular(step * identity + A, known.unsqueeze(-1), upper=False).squeeze(-1)
        state = 2 * middle - state
        if (k + 1) % every == 0:
            rows.append(state.unsqueeze(1))
    return torch.cat(rows, dim=1)
