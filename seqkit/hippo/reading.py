"""Reading many memories back, each with its own time."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_finite, check_positive, check_shape
from seqkit.hippo.linear_map import linear_map
from seqkit.hippo.measure import Measure
from seqkit.hippo.timeline import readable

__all__ = ["read_back"]

BLOCK = 2**20  # values of basis functions made at a time


def read_back(measure: Measure, scale: float, coefficients: Tensor, times: Tensor, elapsed: float | Tensor) -> Tensor:
    """Values (B, K, D) at times (K,) or (B, K) from coefficients (B, D, N) that cover `elapsed`.

    Args:
        measure: The measure.
        scale: The measure's unit of time in that of `times`.
        coefficients: (B, D, N).
        times: (K,) or (B, K).
        elapsed: One number or (B,).

    Raises:
        ValueError: shapes do not fit, or a time is outside the memory.

    Example:
        >>> from seqkit.hippo import LegS
        >>> read_back(LegS(), 1.0, torch.tensor([[[2.0, 0.0]]]), torch.tensor([0.1, 0.9]), 1.0)
        tensor([[[2.],
                 [2.]]])
    """
    batch, _, order = coefficients.shape
    now = _now(elapsed, batch, coefficients.device)
    if times.dim() == 1:
        times = times.unsqueeze(0)
    check_shape("times", times, ("B or 1", "K"), "give (K,) or one row per series")
    if times.shape[0] not in (1, batch):
        raise ValueError(f"`times` must have 1 or {batch} rows, got {tuple(times.shape)}; give one row per series")
    places = times.detach().to(coefficients.device, torch.float64)
    lags = now - places
    _check_reach(measure, lags, places, now)
    # LegS is time-invariant in log time: a time x out of t lies log(t / x) back there.
    lags = torch.log(now / places) if measure.time_varying else lags / scale
    wide = max(1, BLOCK // (order * max(1, len(lags))))

    def forth(c: Tensor) -> Tensor:
        parts = [c @ measure.basis(order, part).to(c).mT for part in torch.split(lags, wide, dim=1)]
        return torch.cat(parts, dim=-1)

    def back(grad: Tensor) -> Tensor:
        parts = zip(torch.split(grad, wide, dim=-1), torch.split(lags, wide, dim=1), strict=True)
        total = grad.new_zeros(*grad.shape[:2], order)
        for some, part in parts:
            total += some @ measure.basis(order, part).to(grad)
        return total

    return linear_map(coefficients, forth, back).transpose(1, 2)


def _now(elapsed: float | Tensor, batch: int, device: torch.device) -> Tensor:
    """The time of each memory, (B, 1) or (1, 1), in float64."""
    if not isinstance(elapsed, Tensor):
        check_positive("elapsed", elapsed)
        return torch.full((1, 1), elapsed, dtype=torch.float64, device=device)
    if elapsed.dim() == 0:
        elapsed = elapsed.unsqueeze(0)
    if elapsed.dim() != 1 or len(elapsed) not in (1, batch):
        raise ValueError(f"`elapsed` must be one number or of shape ({batch},), got {tuple(elapsed.shape)}")
    if readable(elapsed) and not bool((elapsed > 0).all()):
        raise ValueError(
            f"`elapsed` must be above 0, got {float(elapsed.min())!r}; a memory of nothing reads as nothing"
        )
    return elapsed.detach().to(device, torch.float64).unsqueeze(-1)


def _check_reach(measure: Measure, lags: Tensor, places: Tensor, now: Tensor) -> None:
    """Refuses times before the memory begins or after it ends."""
    if not readable(lags) or not lags.numel():
        return
    check_finite("times", places, "give times that the memory covers")
    reach = now if measure.time_varying else torch.full_like(now, getattr(measure, "window", torch.inf))
    slack = 1e-12 * now.abs()
    outside = ((lags < -slack) | (lags > reach + slack)).nonzero()
    if len(outside):
        i, k = (int(index) for index in outside[0])
        end, got = float(now.expand(len(lags), 1)[i]), float(lags[i, k])
        start = end - float(reach.expand(len(lags), 1)[i])
        raise ValueError(
            f"`times` must lie between {start:.6g} and {end:.6g}, which the memory covers, got {end - got:.6g}"
        )
