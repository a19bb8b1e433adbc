"""The states c_q = P c_{q-1} + z_q for all q, in products of many rows where there is one series and many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["GROUP", "scan", "split", "walk"]

ROWS = 32  # rows from which on a product runs at full speed
GROUP = 32  # most steps that are taken one after the other

Totals = Callable[[int, int], tuple[Tensor, Tensor]]


def scan(P: Tensor, z: Tensor, start: Tensor, totals: Totals | None = None) -> Tensor:
    """Returns all states (H, S, Q, N) for P (H, N, N), z (H, S, Q, N) and start (H, S, N).

    With few series, Q steps are cut into groups. The sum of each group, from 0, is found in all groups at once; a scan
    over groups then gives their starts, and all groups run at once from there, as products of as many rows as there
    are groups.

    Args:
        P: Transition of a step.
        z: What each step adds.
        start: State before the first step.
        totals: Takes numbers of groups and of steps in each, returns the sums of the groups (H, S G, N) and their
            transition, where these are to be had for less than N^2 a step.
    """
    (_, n_series, count, _), out = z.shape, torch.empty_like(z, memory_format=torch.contiguous_format)
    if count <= GROUP or n_series >= ROWS:
        walk(P, z, start, out)
        return out
    size = min(GROUP, math.isqrt(count))
    n_groups = count // size
    whole = n_groups * size
    grouped = split(z[:, :, :whole], 2, (n_groups, size))
    total, jump = totals(n_groups, size) if totals else add_up(P, grouped)
    ends = scan(jump, split(total, 1, (n_series, n_groups)), start)
    c = torch.cat([start.unsqueeze(2), ends[:, :, :-1]], dim=2).flatten(1, 2)
    result = split(out[:, :, :whole], 2, (n_groups, size))
    for step in range(size):
        c = torch.baddbmm(grouped[:, :, :, step].flatten(1, 2), c, P.mT)
        result[:, :, :, step] = split(c, 1, (n_series, n_groups))
    walk(P, z[:, :, whole:], ends[:, :, -1], out[:, :, whole:])
    return out


def add_up(P: Tensor, grouped: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sums (H, S G, N) of groups (H, S, G, size, N), and the transition of a whole group."""
    size = grouped.shape[3]
    total = grouped[:, :, :, 0].flatten(1, 2)
    for step in range(1, size):
        total = torch.baddbmm(grouped[:, :, :, step].flatten(1, 2), total, P.mT)
    return total, torch.linalg.matrix_power(P.double(), size).to(P.dtype)


def walk(P: Tensor, z: Tensor, c: Tensor, out: Tensor) -> None:
    """Takes one step after the other and writes the states into `out`."""
    for q in range(z.shape[2]):
        c = torch.baddbmm(z[:, :, q], c, P.mT)
        out[:, :, q] = c


def split(value: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """A view with dimension `dim` parted into `sizes`, one of which may be -1."""
    place = dim % value.dim()
    known = math.prod(size for size in sizes if size >= 0)
    whole = [value.shape[place] // known if size < 0 else size for size in sizes]
    return value.view(*value.shape[:place], *whole, *value.shape[place + 1 :])
