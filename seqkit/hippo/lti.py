"""Memories of time-invariant measures over whole series, evenly or unevenly sampled."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.hippo.discretize import discretize
from seqkit.hippo.linear_map import linear_map
from seqkit.hippo.timeline import Timeline
from seqkit.kernels.lti_memory import lti_memory

__all__ = ["System", "invariant_memory"]

TABLE = 2**21  # numbers in the matrices of a stretch of uneven samples: 16 MiB


class System(NamedTuple):
    """x' = A x + B u and how it is discretised, with the result for one step of length 1.

    Args:
        A: (N, N).
        B: (N,).
        method: One of `seqkit.hippo.METHODS`.
        A_bar: (N, N).
        B_bar: (N,).
    """

    A: Tensor
    B: Tensor
    method: str
    A_bar: Tensor
    B_bar: Tensor

    def over(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """A-bar (..., N, N) and B-bar (..., N) of steps (...)."""
        return discretize(self.A, self.B, steps, self.method)


def invariant_memory(u: Tensor, line: Timeline, state: Tensor, every: int | None, system: System) -> Tensor:
    """Coefficients after every `every`-th sample, or at the end, (B, D, K, N).

    Args:
        u: Samples, (B, L, D), finite also where they do not count.
        line: When they end.
        state: Coefficients before, (B, D, N).
        every: Samples from row to row, or None for one row at the end.
        system: The memory's system.

    Cost: as `lti_memory` for even samples, some at the end left out or not; else N³ for each different step in a
    stretch of samples, and N² a sample.

    Example:
        >>> one, zero = torch.ones(1), torch.zeros(1, 1, 1)
        >>> edges = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
        >>> line = Timeline(edges, 1.0, None, edges[:, -1])
        >>> system = System(-one[None], one, "bilinear", one[None] / 3, 2 * one / 3)
        >>> invariant_memory(torch.ones(1, 2, 1), line, zero, None, system)
        tensor([[[[0.8889]]]])
    """
    steps = line.edges.diff(dim=-1) * line.unit
    step = _even(steps, line)
    if step is None:
        return _by_sample(u, steps, state, every, system)
    A_bar, B_bar = (system.A_bar, system.B_bar) if step == 1 else system.over(torch.tensor(step, dtype=torch.float64))
    if u.shape[1] == 1 and line.keep is None:  # a stream: the operator's chunks would only be in the way
        return (state @ A_bar.to(u).mT + u.transpose(1, 2) * B_bar.to(u)).unsqueeze(2)
    lengths = None if line.keep is None else line.keep.sum(dim=1)
    series = u.transpose(1, 2)
    rows = lti_memory(series, A_bar.to(u), B_bar.to(u), state, every=every, lengths=lengths)
    return rows.unsqueeze(2) if every is None else rows


def _even(steps: Tensor, line: Timeline) -> float | None:
    """The one step of all samples that count, if they differ by what the rounding of times explains, or None."""
    if not steps.numel():
        return 1.0
    if line.keep is not None:
        ends = line.keep.sum(dim=1, keepdim=True)
        inside = torch.arange(steps.shape[1], device=steps.device) < ends
        if bool((ends < 1).any()) or not torch.equal(inside, line.keep):
            return None
        steps = steps[line.keep]
    low, high = (float(value) for value in steps.aminmax())
    largest = float((line.edges[:, -1:] * line.unit).max())
    return (low + high) / 2 if high - low <= 4 * torch.finfo(torch.float64).eps * largest else None


def _by_sample(u: Tensor, steps: Tensor, state: Tensor, every: int | None, system: System) -> Tensor:
    """The recurrence, with A-bar and B-bar of each sample's own step.

    Series are brought into the form (T, S, ...) of T times with S series each.
    """
    (batch, length, width), order = u.shape, state.shape[-1]
    steps = steps.expand(len(steps), length)
    times, spacing = len(steps), length if every is None else every
    count = length // spacing
    series, start = u.transpose(1, 2), state
    if times == 1:
        series, start = series.reshape(1, -1, length), start.reshape(1, -1, order)
    stretch = max(1, TABLE // (times * order**2))

    def tables(first: int) -> tuple[Tensor, Tensor, Tensor]:
        some, place = torch.unique(steps[:, first : first + stretch], return_inverse=True)
        A_bar, B_bar = system.over(some)
        return A_bar.to(u), B_bar.to(u), place

    def forth(both: Tensor) -> Tensor:
        samples, c = both[..., :length], both[..., length:]
        rows = c.new_empty(*c.shape[:2], count, order)
        for k in range(count * spacing):
            if k % stretch == 0:
                A_bar, B_bar, place = tables(k)
            which = place[:, k % stretch]
            c = torch.baddbmm(samples[..., k, None] * B_bar[which].unsqueeze(1), c, A_bar[which].mT)
            if (k + 1) % spacing == 0:
                rows[:, :, k // spacing] = c
        return rows

    def back(grad: Tensor) -> Tensor:
        result = grad.new_zeros(*grad.shape[:2], length + order)
        c = grad.new_zeros(*grad.shape[:2], order)
        loaded = -1
        for k in reversed(range(count * spacing)):
            if (k + 1) % spacing == 0:
                c = c + grad[:, :, k // spacing]
            if k // stretch != loaded:
                loaded = k // stretch
                A_bar, B_bar, place = tables(loaded * stretch)
            which = place[:, k % stretch]
            result[..., k] = (c * B_bar[which].unsqueeze(1)).sum(dim=-1)
            c = c @ A_bar[which]
        result[..., length:] = c
        return result

    rows = linear_map(torch.cat([series, start], dim=-1), forth, back)
    return rows.reshape(batch, width, count, order)
