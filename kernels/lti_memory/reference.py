"""The memory of a linear time-invariant system as its recurrence: one product with A-bar a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["lti_memory_reference"]


@without_autocast
def lti_memory_reference(u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int) -> Tensor:
    """Runs c <- A-bar c + B-bar u_k and keeps c after every `every`-th sample.

    Args:
        u: Samples, (H, S, L): S series for each of H systems.
        A_bar: Transition matrices, (H, N, N).
        B_bar: Input vectors, (H, N).
        state: Coefficients before the first sample, (H, S, N).
        carry: Whether to start from `state`; if not, from 0.
        every: Number of samples from one row of the result to the next.

    Example:
        >>> u, A_bar, state = torch.ones(1, 1, 2), torch.full((1, 1, 1), 0.5), torch.zeros(1, 1, 1)
        >>> lti_memory_reference(u, A_bar, torch.ones(1, 1), state, False, 1).flatten()
        tensor([1.0000, 1.5000])
    """
    c = state if carry else torch.zeros_like(state)
    rows = [c.new_zeros(*c.shape[:2], 0, c.shape[2])]
    for k in range(u.shape[-1]):
        c = c @ A_bar.mT + u[..., k, None] * B_bar.unsqueeze(1)
        if (k + 1) % every == 0:
            rows.append(c.unsqueeze(2))
    return torch.cat(rows, dim=2)
