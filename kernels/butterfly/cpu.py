"""The path for CPUs: compiled loops that fuse two levels where numba is installed, else torch level by level."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.kernels.butterfly import plain
from seqkit.kernels.butterfly.packing import ZEROS, passes
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


def table(twiddle: Tensor, increasing: bool) -> Any:
    """The passes as numbers for the loops: one or two distances, first packed factor, first matrix of each level."""
    n_blocks, n_levels, n_pairs = twiddle.shape[1:4]
    rows = []
    for block, levels, place in passes(n_blocks, n_levels, increasing):
        matrices = [(block * n_levels + level) * n_pairs for level in levels]
        distances = [1 << level for level in levels]
        rows.append((distances[0], sum(distances[1:]), place, matrices[0], matrices[-1]))
    return np.array(rows, dtype=np.int64).reshape(-1, 5)


def packed(twiddle: Tensor, plan: Any) -> Tensor:
    """The factors in the order of reading, behind those of each stack a few zeros."""
    n_stacks = len(twiddle)
    out = twiddle.new_zeros(n_stacks, twiddle[0].numel() + ZEROS)
    given = (plan, 2 * twiddle.shape[3], n_stacks, parts(twiddle), False)
    loops.rearrange(array(twiddle.contiguous()), array(out), *given)
    return out


def unpacked(factors: Tensor, plan: Any, shape: torch.Size) -> Tensor:
    """What `packed` took, of its shape."""
    out = factors.new_empty(shape)
    loops.rearrange(array(out), array(factors), plan, 2 * shape[3], shape[0], parts(factors), True)
    return out


def looped(x: Tensor, twiddle: Tensor) -> bool:
    """Whether the compiled loops serve."""
    return HAS_NUMBA and x.is_cpu and twiddle.numel() > 0 and x.numel() > 0


def butterfly_forward(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """Returns y (B, S, n) for x (B, n) and twiddle (S, K, m, n/2, 2, 2)."""
    if not looped(x, twiddle):
        return plain.butterfly_forward(x, twiddle, increasing)
    plan, (batch, n), n_stacks = table(twiddle, increasing), x.shape, len(twiddle)
    y = x.new_empty(batch, n_stacks, n)
    given = (array(x.contiguous()), array(packed(twiddle, plan)), plan, n, n_stacks, parts(x))
    out, lanes = array(y), width(x)
    share(lambda start, stop: loops.transform(*given, lanes, start, stop, out), batch, SMALLEST)
    return y


def butterfly_backward(grad: Tensor, x: Tensor, twiddle: Tensor, increasing: bool) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and twiddle; what enters each pass is computed again, tile by tile."""
    if not looped(x, twiddle):
        return plain.butterfly_backward(grad, x, twiddle, increasing)
    plan, (batch, n), n_stacks = table(twiddle, increasing), x.shape, len(twiddle)
    factors, d_x = packed(twiddle, plan), x.new_empty(batch, n_stacks, n)
    sums: list[Tensor] = []
    given = (array(grad.contiguous()), array(x.contiguous()), array(factors), plan, n, n_stacks, parts(x))
    out, lanes = array(d_x), width(x)

    def run(start: int, stop: int) -> None:
        d_t = torch.zeros_like(factors)
        loops.differentiate(*given, lanes, start, stop, out, array(d_t))
        sums.append(d_t)

    share(run, batch, SMALLEST)
    total = torch.stack(sums).sum(0) if len(sums) > 1 else sums[0]
    return d_x.sum(1) if n_stacks > 1 else d_x.view(batch, n), unpacked(total, plan, twiddle.shape)
