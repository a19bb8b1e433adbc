"""LegS memories of whole series by one bilinear step a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.hippo.timeline import Timeline
from seqkit.kernels.backend import choose_backend
from seqkit.kernels.legs_update import refusals, started
from seqkit.kernels.legs_update.op import legs_update_op
from seqkit.kernels.legs_update.reference import legs_update_reference

__all__ = ["step_memory"]

STILL = 1e30  # 2 / step of a sample that does not count: what it adds is below every rounding


def step_memory(u: Tensor, line: Timeline, state: Tensor, every: int | None, rule: str) -> Tensor:
    """Coefficients after every `every`-th sample, or at the end, (B, D, K, N).

    The operator is called below its public face, because a sample that does not count is a step of size 0, which no
    timestamps can say.

    Args:
        u: Samples, (B, L, D), finite also where they do not count.
        line: When they end.
        state: Coefficients before, (B, D, N).
        every: Samples from row to row, or None for one row at the end.
        rule: "midpoint" or "reciprocal".

    Cost: 4 N operations a sample.

    Example:
        >>> edges = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
        >>> line = Timeline(edges, 1.0, None, edges[:, -1])
        >>> step_memory(torch.tensor([[[1.0], [3.0]]]), line, torch.zeros(1, 1, 2), None, "midpoint")
        tensor([[[[2.0000, 1.0392]]]])
    """
    (batch, length, width), order = u.shape, state.shape[-1]
    before, after = line.edges[:, :-1], line.edges[:, 1:]
    steps = after - before
    # Published runs take 1/k for the sample after k others, but (t1 - t0) / t1 with times.
    doubled = after + before if rule == "midpoint" else 2 * (before if line.counted else after)
    # Passes over long series cost: in place, and nothing is looked for where all samples count.
    tau = doubled.div_(steps).clamp_(min=1)
    tau = (tau if line.keep is None else torch.where(steps > 0, tau, STILL)).to(u.dtype)
    if len(tau) != 1:
        tau = tau.unsqueeze(1).expand(batch, width, length).reshape(batch * width, length)
    series = u.transpose(1, 2).reshape(batch * width, length)
    fresh = (line.edges[:, :1] == 0).unsqueeze(-1)
    start = torch.where(fresh, started(_first(u, line), order), state).reshape(batch * width, order)
    path = choose_backend("auto", series, refusals(order))
    flat = series, tau, start, length if every is None else every
    rows: Tensor = legs_update_reference(*flat) if path == "reference" else legs_update_op(*flat, path)
    return rows.view(batch, width, *rows.shape[1:])


def _first(u: Tensor, line: Timeline) -> Tensor:
    """Each series' first sample that counts, (B, D, 1)."""
    if line.keep is None:
        return u[:, 0].unsqueeze(-1)
    place = line.keep.to(torch.uint8).argmax(dim=1)
    return u.take_along_dim(place[:, None, None], dim=1).transpose(1, 2)
