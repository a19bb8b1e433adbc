"""The path for CPUs: compiled loops that fuse two levels where numba is installed, else torch level by level."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.kernels.butterfly import plain
from seqkit.kernels.butterfly.packing import Pass, pack, passes, unpack
from seqkit.kernels.threads import share

HAS_NUMBA = find_spec("numba") is not None
if HAS_NUMBA:
    from seqkit.kernels.butterfly import loops

__all__ = ["butterfly_backward", "butterfly_forward"]

TILE = 512 * 1024  # bytes of a tile that stay in the second cache beside the factors
WIDEST = 4  # registers a place of a tile
SMALLEST = 16  # rows that are worth a thread


def array(value: Tensor) -> Any:
    """The numbers of a contiguous tensor, flat; complex ones as pairs."""
    value = value.detach().resolve_conj()
    return (torch.view_as_real(value) if value.is_complex() else value).reshape(-1).numpy()


def parts(x: Tensor) -> tuple[int, ...]:
    """(0,) for real numbers and (0, 0) for complex ones: the loops are compiled by the type of this."""
    return (0, 0) if x.is_complex() else (0,)


def width(x: Tensor) -> int:
    """Rows of the batch in a tile: as many registers as fit, and no more than the batch fills."""
    fitting = TILE // (loops.LANES * x.shape[1] * x.element_size())
    needed = -(-x.shape[0] // loops.LANES)
    return int(loops.LANES * max(1, min(WIDEST, fitting, needed)))


def table(plan: list[Pass]) -> Any:
    """The passes as numbers for the loops: one or two distances and the place of the first factor."""
    rows = [(1 << p.levels[0], 1 << p.levels[1] if len(p.levels) == 2 else 0, p.place) for p in plan]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def looped(x: Tensor, twiddle: Tensor) -> bool:
    """Whether the compiled loops serve."""
    return HAS_NUMBA and x.is_cpu and twiddle.numel() > 0 and x.numel() > 0


def butterfly_forward(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """Returns y (B, S, n) for x (B, n) and twiddle (S, K, m, n/2, 2, 2)."""
    if not looped(x, twiddle):
        return plain.butterfly_forward(x, twiddle, increasing)
    plan = passes(twiddle.shape[1], twiddle.shape[2], increasing)
    (batch, n), n_stacks = x.shape, len(twiddle)
    y = x.new_empty(batch, n_stacks, n)
    signal, factors, rest = array(x.contiguous()), array(pack(twiddle.contiguous(), plan)), (n, n_stacks, parts(x))
    out, lanes, rows = array(y), width(x), table(plan)
    share(lambda start, stop: loops.transform(signal, factors, rows, *rest, lanes, start, stop, out), batch, SMALLEST)
    return y


def butterfly_backward(grad: Tensor, x: Tensor, twiddle: Tensor, increasing: bool) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and twiddle; what enters each pass is computed again, tile by tile."""
    if not looped(x, twiddle):
        return plain.butterfly_backward(grad, x, twiddle, increasing)
    plan = passes(twiddle.shape[1], twiddle.shape[2], increasing)
    (batch, n), n_stacks = x.shape, len(twiddle)
    packed, d_x = pack(twiddle.contiguous(), plan), x.new_empty(batch, n_stacks, n)
    sums: list[Tensor] = []
    given = (array(grad.contiguous()), array(x.contiguous()), array(packed), table(plan), n, n_stacks, parts(x))
    out, lanes = array(d_x), width(x)

    def run(start: int, stop: int) -> None:
        d_t = torch.zeros_like(packed)
        loops.differentiate(*given, lanes, start, stop, out, array(d_t))
        sums.append(d_t)

    share(run, batch, SMALLEST)
    total = torch.stack(sums).sum(0) if len(sums) > 1 else sums[0]
    return d_x.sum(1) if n_stacks > 1 else d_x.view(batch, n), unpack(total, plan, twiddle.shape)
