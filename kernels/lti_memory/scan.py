"""The states c_q = P c_{q-1} + z_q for all q, in products of many rows where there is one series and many steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["scan"]

ROWS = 32  # rows from which on a product runs at full speed
GROUP = 32  # most steps that are taken one after the other


def scan(P: Tensor, z: Tensor, start: Tensor) -> Tensor:
    """Returns all states (H, S, Q, N) for P (H, N, N), z (H, S, Q, N) and start (H, S, N).

    With few series, Q steps are cut into groups. The sum of each group, from 0, is found in all groups at once; a scan
    over groups then gives their starts, and all groups run at once from there: N^2 twice a step, but as products of as
    many rows as there are groups.
    """
    (_, n_series, count, _), out = z.shape, torch.empty_like(z, memory_format=torch.contiguous_format)
    if count <= GROUP or n_series >= ROWS:
        walk(P, z, start, out)
        return out
    size = min(GROUP, math.isqrt(count))
    n_groups = count // size
    whole = n_groups * size
    grouped = z[:, :, :whole].unflatten(2, (n_groups, size))
    total = grouped[:, :, :, 0].flatten(1, 2)
    for step in range(1, size):
        total = torch.baddbmm(grouped[:, :, :, step].flatten(1, 2), total, P.mT)
    jump = torch.linalg.matrix_power(P.double(), size).to(P.dtype)
    ends = scan(jump, total.unflatten(1, (n_series, n_groups)), start)
    c = torch.cat([start.unsqueeze(2), ends[:, :, :-1]], dim=2).flatten(1, 2)
    result = out[:, :, :whole].unflatten(2, (n_groups, size))
    for step in range(size):
        c = torch.baddbmm(grouped[:, :, :, step].flatten(1, 2), c, P.mT)
        result[:, :, :, step] = c.unflatten(1, (n_series, n_groups))
    walk(P, z[:, :, whole:], ends[:, :, -1], out[:, :, whole:])
    return out


def walk(P: Tensor, z: Tensor, c: Tensor, out: Tensor) -> None:
    """Takes one step after the other and writes the states into `out`."""
    for q in range(z.shape[2]):
        c = torch.baddbmm(z[:, :, q], c, P.mT)
        out[:, :, q] = c
