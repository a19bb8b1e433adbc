"""The sweeps of the LegS memory as torch products over anti-diagonals, for machines without numba and other devices.

At tick i lane j treats step j, coefficient m = i - j in the order of the sweep, of all series at once: L + N ticks.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sweep"]


def sweep(g: Tensor, tau: Tensor, state: Tensor, rows: Tensor, every: int, factor: Tensor, back: bool) -> None:
    """Sweeps over the series g (S, L): g and state (S, N) are replaced by their last values, rows exchanged.

    Args:
        g: Running values at their start, (S, L).
        tau: 2 / step, (S or 1, L).
        state: s_n c_n, (S, N).
        rows: Written at every `every`-th sample, or added from there on the way back, (S, L // every, N).
        every: Number of samples a row.
        factor: What a row's coefficients are multiplied by on the way out, or in, (N).
        back: Whether time and order run backward.
    """
    (n_series, length), order = g.shape, state.shape[1]
    G, times = (g.flip(-1), tau.flip(-1)) if back else (g, tau)
    w = state.clone() if back else state.flip(-1)
    twice = 2 * torch.arange(1, order + 1, dtype=g.dtype, device=g.device)
    twice = twice if back else twice.flip(0)
    double = 2 * times
    flat = rows.view(n_series, -1)
    first_due = length % every if back else every - 1
    for i in range(order + length - 1):
        low, high, place = max(0, i - order + 1), min(length, i + 1), order - 1 - i
        due = first_due + max(0, -(-(low - first_due) // every)) * every
        inside = range(due, high, every)
        if back and inside:
            lane = torch.arange(due, high, every, device=g.device)
            w[:, place + lane] += flat[:, place_in_rows(lane, i, length, order, every, back)] * factor[place + lane]
        old, here = G[:, low:high], slice(place + low, place + high)
        T = w[:, here] + old
        w[:, here] += 2 * (old - twice[here] * T) / (double[:, low:high] + twice[here])
        G[:, low:high] = w[:, here] + T
        if not back and inside:
            lane = torch.arange(due, high, every, device=g.device)
            flat[:, place_in_rows(lane, i, length, order, every, back)] = w[:, place + lane] * factor[i - lane]
    state.copy_(w if back else w.flip(-1))
    if back:
        g.copy_(G.flip(-1))


def place_in_rows(lane: Tensor, tick: int, length: int, order: int, every: int, back: bool) -> Tensor:
    """Where the coefficient that a lane holds stands in its row, with all rows laid end to end."""
    sample = length - 1 - lane if back else lane
    n = order - 1 - tick + lane if back else tick - lane
    return sample // every * order + n
