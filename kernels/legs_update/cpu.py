"""The LegS memory in O(N) a step, forward and back: one sweep serves both.

With w_n = s_n c_n, s_n = sqrt(2n+1), and a running value G that starts at -2 u, one bilinear step of size 2 / tau is

    T = w_n + G,   w_n <- w_n + (G - 2 (n+1) T) / (tau + n + 1),   G <- w_n + T,   n = 0 .. N-1.

What is added to w_n is small where tau is large, so float32 loses little. The transpose is the same with n falling; G
then starts at 0 and ends at tau times the gradient of u.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.legs_update import wavefront
from seqkit.kernels.threads import share

__all__ = ["HAS_NUMBA", "legs_update_backward", "legs_update_forward"]

HAS_NUMBA = find_spec("numba") is not None
SIDE_BY_SIDE = 16  # series from which on they are vectorised over series, not each over time
TILE = 64  # series whose states share the cache


def legs_update_forward(u: Tensor, tau: Tensor, state: Tensor, every: int) -> Tensor:
    """Returns the rows (S, L // every, N) for u (S, L), tau (S or 1, L) and state (S, N)."""
    scale = scales(state)
    rows = state.new_empty(len(u), u.shape[-1] // every, state.shape[-1])
    sweep(-2 * u.contiguous(), tau, state.contiguous() * scale, rows, every, scale.reciprocal(), back=False)
    return rows


def legs_update_backward(grad: Tensor, u: Tensor, tau: Tensor, state: Tensor, every: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of u and state; the sweep is linear and needs neither of them."""
    scale = scales(state)
    running, carried = u.new_zeros(u.shape), state.new_zeros(state.shape)
    sweep(running, tau, carried, grad, every, scale, back=True)
    return running.div_(tau), carried.div_(scale)


def scales(like: Tensor) -> Tensor:
    """s_n = sqrt(2n + 1), (N)."""
    n = torch.arange(like.shape[-1], dtype=torch.float64, device=like.device)
    return (2 * n + 1).sqrt().to(like.dtype)


def sweep(g: Tensor, tau: Tensor, state: Tensor, rows: Tensor, every: int, factor: Tensor, back: bool) -> None:
    """Runs the sweep described above over all series, in compiled loops where they can serve; see `wavefront.sweep`."""
    if not len(g):
        return
    if not HAS_NUMBA or g.device.type != "cpu":
        wavefront.sweep(g, tau, state, rows, every, factor, back)
        return
    loops: Any = importlib.import_module("seqkit.kernels.legs_update.loops")
    if state.shape[-1] > loops.LONGEST:
        wavefront.sweep(g, tau, state, rows, every, factor, back)
        return
    ramp = torch.arange(max(state.shape[-1], loops.LANES) * 2 + 2 * loops.LANES, dtype=g.dtype)
    arrays = [value.detach().contiguous().numpy() for value in (g, tau, state, rows)]
    constants = every, factor.numpy(), ramp.numpy(), back
    shared = len(tau) == 1

    def one_by_one(start: int, stop: int) -> None:
        for s in range(start, stop):
            loops.one(arrays[0][s], arrays[1][0 if shared else s], arrays[2][s], arrays[3][s], *constants)

    def side_by_side(start: int, stop: int) -> None:
        for first in range(start, stop, TILE):
            part = slice(first, min(first + TILE, stop))
            loops.many(
                arrays[0][part], arrays[1] if shared else arrays[1][part], arrays[2][part], arrays[3][part], *constants
            )

    if len(g) < SIDE_BY_SIDE:
        share(one_by_one, len(g))
    else:
        share(side_by_side, len(g), SIDE_BY_SIDE)
