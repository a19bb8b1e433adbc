"""The memory of a linear time-invariant system in stretches of samples: two matrix products instead of one a sample.

A stretch of m samples turns the state c into A^m c + V u. What all stretches add is found at once (`Stretches`), then
the states go from stretch to stretch (`scan`); the way back makes the same two steps with the transposed matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.lti_memory.scan import GROUP, scan, split
from seqkit.kernels.lti_memory.stretches import Stretches
from seqkit.kernels.lti_memory.tables import Chain, add

__all__ = ["lti_memory_backward", "lti_memory_forward"]


def jump(stretches: Stretches, A: Tensor) -> Chain:
    """The chain whose power carries the state over a stretch."""
    return stretches.chain if stretches.n_chunks == 1 else Chain(A, None, stretches.every)


def states(u: Tensor, A: Tensor, B: Tensor, every: int, P: Tensor, z: Tensor, start: Tensor) -> Tensor:
    """Returns the states after all stretches; groups of a few samples are stretches, too, with a table of their own."""

    def totals(n_groups: int, size: int) -> tuple[Tensor, Tensor]:
        longer = Stretches(u[..., : n_groups * size * every], A, B, size * every)
        return longer.sums(), jump(longer, A).power

    return scan(P, z, start, totals if every * GROUP <= 2 * A.shape[-1] else None)


def lti_memory_forward(u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int) -> Tensor:
    """Returns the rows (H, S, L // every, N) for u (H, S, L), A_bar (H, N, N), B_bar (H, N) and state (H, S, N)."""
    if not u.shape[-1] // every or not u.numel():
        return state.new_zeros(*state.shape[:2], u.shape[-1] // every, state.shape[-1])
    stretches = Stretches(u, A_bar, B_bar, every)
    z = split(stretches.sums(), 1, (u.shape[1], -1))
    if not carry and stretches.count == 1:
        return z.contiguous()
    start = state if carry else torch.zeros_like(state)
    return states(u, A_bar, B_bar, every, jump(stretches, A_bar).power, z, start)


def lti_memory_backward(
    grad: Tensor, u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of u, A_bar, B_bar and state; sums and states of stretches are computed again."""
    d_u, d_state = u.new_zeros(u.shape), state.new_zeros(state.shape)
    if not u.shape[-1] // every or not u.numel():
        return d_u, A_bar.new_zeros(A_bar.shape), B_bar.new_zeros(B_bar.shape), d_state
    stretches = Stretches(u, A_bar, B_bar, every)
    kept: list[Tensor] = []
    z = split(stretches.sums(kept), 1, (u.shape[1], -1))
    d_A: Tensor | None = None
    d_power: Tensor | None = None
    d_z = grad
    if carry or stretches.count > 1:
        over = jump(stretches, A_bar)
        P, start = over.power, state if carry else torch.zeros_like(state)
        before = torch.cat([start.unsqueeze(2), states(u, A_bar, B_bar, every, P, z, start)[:, :, :-1]], dim=2)
        d_z = scan(P.mT, grad.flip(2), torch.zeros_like(state)).flip(2)
        d_power = d_z.flatten(1, 2).mT @ before.flatten(1, 2)
        if carry:
            d_state = (d_z[:, :, 0] @ P).contiguous()
        if over is not stretches.chain:
            d_A, d_power = over.backward(d_power)[0], None
    d_parts, d_A_parts, d_B = stretches.backward(d_z.flatten(1, 2), kept, d_power)
    d_u[..., : stretches.count * every] = split(d_parts, 1, (u.shape[1], -1)).flatten(2)
    return d_u, add(d_A, d_A_parts).to(A_bar.dtype), d_B.to(B_bar.dtype), d_state
