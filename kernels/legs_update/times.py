"""The times of the LegS memory's samples as the one number a step needs, tau = 2 / (size of the bilinear step)."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_finite, check_not_negative
from seqkit.kernels.backend import check_leading

__all__ = ["RULES", "check_times", "steps"]

RULES = ("midpoint", "reciprocal")


def check_times(u: Tensor, seen: int | float | Tensor, timestamps: Tensor | None, rule: str) -> torch.Size:
    """Refuses times that are of no use, and returns the leading shape of u and all times together."""
    check_choice("rule", rule, RULES)
    leading = {"u": u.shape[:-1]}
    if isinstance(seen, Tensor):
        leading["seen"] = seen.shape
        if readable(seen):
            check_finite("seen", seen, "give the samples or the time behind `state`")
            if bool((seen < 0).any()):
                raise ValueError(f"`seen` must not be negative, got {float(seen.min())!r}; a series starts at 0")
    else:
        check_not_negative("seen", seen)
    if timestamps is not None:
        if timestamps.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"`timestamps` must be float32 or float64, got {timestamps.dtype}; convert it with .to(torch.float64)"
            )
        if timestamps.dim() < 1 or timestamps.shape[-1] != u.shape[-1]:
            raise ValueError(
                f"`timestamps` must have shape (..., {u.shape[-1]}) to fit `u`, got {tuple(timestamps.shape)}; "
                "give each sample the time at which it ends"
            )
        if timestamps.device != u.device:
            raise ValueError(f"`timestamps` must be on {u.device} like `u`, got {timestamps.device}")
        leading["timestamps"] = timestamps.shape[:-1]
    shape = check_leading(leading)
    if timestamps is not None and readable(timestamps):
        check_finite("timestamps", timestamps)
        rise = ends(seen, timestamps).diff(dim=-1)
        if bool((rise <= 0).any()):
            place = tuple(int(i) for i in (rise <= 0).nonzero()[0])
            raise ValueError(
                f"`timestamps` must rise from sample to sample and lie above `seen`, got a step of "
                f"{float(rise[place])!r} at {place}; sort the samples and count time from the start of the series"
            )
    return shape


def readable(value: Tensor) -> bool:
    """Whether looking at values costs nothing: they lie in this machine's memory, and nothing is traced."""
    return value.device.type == "cpu" and not torch.compiler.is_compiling() and type(value) is Tensor


def ends(seen: int | float | Tensor, timestamps: Tensor) -> Tensor:
    """The times between pieces, (..., L + 1) float64: where the memory stands now, then the end of each sample."""
    times = timestamps.to(torch.float64)
    if not isinstance(seen, Tensor):
        start = times.new_full((*times.shape[:-1], 1), seen)
        return torch.cat([start, times], dim=-1)
    now = seen.to(times).unsqueeze(-1)
    shape = check_leading({"seen": seen.shape, "timestamps": times.shape[:-1]})
    return torch.cat([now.expand(*shape, 1), times.expand(*shape, times.shape[-1])], dim=-1)


def steps(u: Tensor, seen: int | float | Tensor, timestamps: Tensor | None, rule: str) -> Tensor:
    """Returns tau (..., L) in the dtype of u, computed in float64; no more leading dimensions than the times have.

    midpoint: (t1 + t0) / (t1 - t0). reciprocal: 2 t1 / (t1 - t0), and 2 k for the sample after k others without
    timestamps. A series that starts holds its first sample already, which any step leaves alone: tau is 1 there.

    Example:
        >>> steps(torch.zeros(3), 0, None, "midpoint")
        tensor([1., 3., 5.])
    """
    if timestamps is not None:
        times = ends(seen, timestamps.detach())
        before, after = times[..., :-1], times[..., 1:]
        tau = (after + before if rule == "midpoint" else 2 * after) / (after - before)
    else:
        count = torch.arange(u.shape[-1], dtype=torch.float64, device=u.device)
        known = seen.to(count).unsqueeze(-1) if isinstance(seen, Tensor) else seen
        tau = 2 * (count + known) + (1 if rule == "midpoint" else 0)
    return tau.clamp(min=1).to(u.dtype)
