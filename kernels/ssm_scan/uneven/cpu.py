"""The recurrence with a step per sample on a CPU: compiled loops, or the same in torch, tile of time by tile of time.

    x_k = x_{k-1} + P_k (lambda x_{k-1} + B u_k),   P_k = r_k phi(r_k lambda)

is A_bar x_{k-1} + B_bar u_k in every rule, and keeps its digits where A_bar is near 1.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.ssm_scan.reference import RULES, hold
from seqkit.kernels.threads import share

__all__ = ["ssm_scan_steps_backward", "ssm_scan_steps_forward"]

TILE = 64
LOOPS = find_spec("numba") is not None
if LOOPS:
    from seqkit.kernels.ssm_scan.uneven import loops


def compiled(u: Tensor) -> bool:
    """Whether the compiled loops can serve."""
    return LOOPS and u.device.type == "cpu"


def arrays(*values: Tensor) -> list[Any]:
    """The tensors' memory as the loops read it; half precision is widened."""
    return [
        (value.float() if value.dtype.itemsize < 4 else value).contiguous().resolve_conj().numpy() for value in values
    ]


def halvings(A: Tensor, steps: Tensor) -> int:
    """How often the largest exponent is halved to come below 1/16, where nine terms of the series suffice."""
    largest = float(A.abs().max() * steps.max())
    return max(0, math.ceil(math.log2(max(largest, 1e-9) * 16)))


def ssm_scan_steps_forward(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, steps: Tensor, lengths: Tensor, rule: str
) -> tuple[Tensor, Tensor]:
    """Returns y (B, M, H, L) and the state after sample `lengths`; A, B are complex128, in units of a step of 1."""
    (n_series, n_channels, length), n_outputs = u.shape, C.shape[0]
    y = state.new_empty(n_series, n_outputs, n_channels, length, dtype=state.dtype.to_real())
    final = state.new_empty(state.shape)
    if u.numel() == 0:
        return y.to(u.dtype), final
    if compiled(u):
        values = [RULES.index(rule), halvings(A, steps), *arrays(u, A, B, C, state, steps, lengths, y, final)]
        share(lambda start, stop: loops.advance_steps(start, stop, *values), n_series * n_channels)
        return y.to(u.dtype), final
    x = state.to(A.dtype)
    for first in range(0, length, TILE):
        tile = slice(first, first + TILE)
        for k, now in enumerate(march(u[..., tile], A, B, x, factors(steps[:, tile], A, rule)), first):
            y[..., k] = 2 * (C * now.unsqueeze(1)).sum(-1).real
            x = now
            final = torch.where((lengths == k + 1)[:, None, None], x.to(final.dtype), final)
    return y.to(u.dtype), final


def factors(steps: Tensor, A: Tensor, rule: str) -> list[Tensor]:
    """Returns P_k for each sample of a tile, (B, H, N)."""
    return [step * hold(step * A, rule) for step in steps[:, None, None].to(A.dtype).unbind(-1)]


def slopes(steps: Tensor, A: Tensor, P: list[Tensor], rule: str) -> list[Tensor]:
    """Returns the derivatives of `factors` by lambda."""
    if rule != "zero_order_hold":
        return [p * p / (2 if rule == "bilinear" else 1) for p in P]
    found = []
    for p, step in zip(P, steps[:, None, None].to(A.dtype).unbind(-1), strict=True):
        z = step * A
        near = z.abs() < 2.0**-8
        series = torch.ones_like(z)
        for k in range(8, 2, -1):
            series = 1 + z / k * series
        found.append(step * p + torch.where(near, -0.5 * step**2 * series, (step - p) / torch.where(near, 1, A)))
    return found


def march(u: Tensor, A: Tensor, B: Tensor, x: Tensor, P: list[Tensor]) -> list[Tensor]:
    """Returns the states after each sample of a tile."""
    states = []
    for k, p in enumerate(P):
        x = x + p * (A * x + B * u[..., k, None])
        states.append(x)
    return states


def ssm_scan_steps_backward(
    grad: Tensor,
    grad_final: Tensor,
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    steps: Tensor,
    lengths: Tensor,
    rule: str,
) -> tuple[Tensor, ...]:
    """Returns the gradients of u, A, B, C and state; of the states on the way, one in every tile is held."""
    (n_series, n_channels, length), (n_outputs, _, n_pairs) = u.shape, C.shape
    du = torch.zeros(u.shape, dtype=state.dtype.to_real(), device=u.device)
    if u.numel() == 0:
        return du.to(u.dtype), torch.zeros_like(A), torch.zeros_like(B), torch.zeros_like(C), torch.zeros_like(state)
    if compiled(u):
        d_A, d_B = (A.new_empty(n_series, n_channels, n_pairs) for _ in range(2))
        d_C, d_state = A.new_empty(n_series, n_outputs, n_channels, n_pairs), state.new_empty(state.shape)
        given = arrays(u, A, B, C, state, steps, lengths, grad, grad_final, du, d_A, d_B, d_C, d_state)
        values = [RULES.index(rule), halvings(A, steps), *given]
        share(lambda start, stop: loops.retrace_steps(start, stop, *values), n_series * n_channels)
        return du.to(u.dtype), d_A.sum(0), d_B.sum(0), d_C.sum(0).to(C.dtype), d_state
    starts = [state.to(A.dtype)]
    for first in range(0, length - TILE, TILE):
        tile = slice(first, first + TILE)
        starts.append(march(u[..., tile], A, B, starts[-1], factors(steps[:, tile], A, rule))[-1])
    g = torch.zeros_like(starts[0])
    d_A, d_B, d_C = torch.zeros_like(A), torch.zeros_like(B), torch.zeros_like(C, dtype=A.dtype)
    for first in range(length - 1 - (length - 1) % TILE, -1, -TILE):
        tile = slice(first, first + TILE)
        P = factors(steps[:, tile], A, rule)
        dP = slopes(steps[:, tile], A, P, rule)
        states = [starts[first // TILE], *march(u[..., tile], A, B, starts[first // TILE], P)]
        for k in range(len(P) - 1, -1, -1):
            before, now, given_now = states[k], u[..., first + k, None], grad[..., first + k, None]
            g = (
                g
                + 2 * (given_now * C.conj()).sum(1)
                + torch.where((lengths == first + k + 1)[:, None, None], grad_final, 0)
            )
            d_C += 2 * (given_now * states[k + 1].conj().unsqueeze(1)).sum(0)
            d_w = g * P[k].conj()
            du[..., first + k] = (d_w * B.conj()).real.sum(-1)
            d_A += (d_w * before.conj() + g * ((A * before + B * now) * dP[k]).conj()).sum(0)
            d_B += (d_w * now).sum(0)
            g = g + A.conj() * d_w
    return du.to(u.dtype), d_A, d_B, d_C.to(C.dtype), g.to(state.dtype)
