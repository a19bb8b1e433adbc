"""What a memory still knows of a series at its end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_finite, check_shape
from seqkit.hippo.memory import HiPPOMemory
from seqkit.hippo.weighting import density

__all__ = ["Recall", "reach_of", "recall", "weight_at"]

FADED = 5.0
"""Where a fading past ends: exp(-5) is less than a hundredth."""

ROUNDING = 1e-12
"""Part of a signal's size up to which it is constant."""


class Recall(NamedTuple):
    """A series as it was and as it is remembered.

    Args:
        memory: The memory.
        elapsed: Time at the end of the series.
        times: Middles of the samples' stretches, (L,), float64.
        signal: Samples, (L,), float64.
        remembered: What the memory reads back there, (L,), float64; NaN further back than it reaches.
        error: Root of the mean squared difference, each moment counted as the memory's measure counts it.
        relative_error: `error` over the standard deviation of the signal, counted alike: 1 where no more is known than
            the mean; NaN for a constant signal.
    """

    memory: HiPPOMemory
    elapsed: float
    times: Tensor
    signal: Tensor
    remembered: Tensor
    error: float
    relative_error: float


def recall(memory: HiPPOMemory, u: Tensor, *, rate: float | Tensor = 1.0, timestamps: Tensor | None = None) -> Recall:
    """Lets a memory take in a series, and reads back what it remembers at the end.

    A memory reaches back over the whole series for legs, over the last window for legt and fourier, and is read over
    five windows for lagt, of whose weight less than a hundredth lies further back.

    Args:
        memory: The memory.
        u: One series of one channel, (L,).
        rate: Length of each sample's stretch of time.
        timestamps: Instead, the end of each stretch, (L,), rising from above 0, the start of the series.

    Returns:
        The series and the memory of it, in float64.

    Raises:
        ValueError: an empty series, NaN or infinite samples, times that do not rise, or a window
            that ends before the last sample's middle.

    Cost: as `HiPPOMemory.project` and `HiPPOMemory.reconstruct`.

    Example:
        >>> wave = torch.sin(torch.linspace(0, 20, 500))
        >>> [round(recall(HiPPOMemory(order), wave).relative_error, 3) for order in (4, 8, 16)]
        [0.97, 0.736, 0.002]
    """
    check_shape("u", u, ("L",), "one series of one channel; draw several one by one")
    if not len(u):
        raise ValueError("`u` must hold at least one sample, got none")
    check_finite("u", u)
    signal = u.detach().to(memory.A.device, torch.float64)
    start = memory.initial_state(1, 1, dtype=torch.float64)
    coefficients, state = memory.scan(signal[None, :, None], start, timestamps, rate=rate)
    edges = torch.cat([signal.new_zeros(1), _ends(signal, rate, timestamps)])
    middles = (edges[1:] + edges[:-1]) / 2
    elapsed = float(state.elapsed[0])
    counts = middles >= elapsed - reach_of(memory, elapsed)
    if not bool(counts.any()):
        raise ValueError(
            f"`window` must reach back to the middle of the last sample, {elapsed - float(middles[-1]):g} before the "
            f"end, got {reach_of(memory, elapsed):g}; choose a longer one"
        )
    remembered = torch.full_like(signal, torch.nan)
    remembered[counts] = memory.reconstruct(coefficients, middles[counts], elapsed=elapsed)[0, :, 0]
    shares = (weight_at(memory, middles, elapsed) * edges.diff())[counts]
    shares = shares / shares.sum()
    error, size = (float((shares @ values[counts] ** 2).sqrt()) for values in (remembered - signal, signal))
    spread = float((shares @ (signal[counts] - shares @ signal[counts]) ** 2).sqrt())
    relative = error / spread if spread > ROUNDING * size else float("nan")
    return Recall(memory, elapsed, middles, signal, remembered, error, relative)


def weight_at(memory: HiPPOMemory, times: Tensor, elapsed: float) -> Tensor:
    """The weight that a memory's measure puts on times, when it has run for `elapsed`.

    Args:
        memory: The memory.
        times: Times, (...), on the clock of `elapsed`.
        elapsed: Time now.

    Returns:
        Weights per unit of time, (...).

    Example:
        >>> weight_at(HiPPOMemory(4), torch.tensor([-1.0, 1.0, 3.0, 5.0]), 4.0)
        tensor([0.0000, 0.2500, 0.2500, 0.0000])
    """
    lags = (elapsed - times) / memory.scale
    return density(memory.measure, lags, elapsed=elapsed if memory.measure.time_varying else None) / memory.scale


def _ends(signal: Tensor, rate: float | Tensor, timestamps: Tensor | None) -> Tensor:
    """Where the samples' stretches end, (L,)."""
    if timestamps is not None:
        return timestamps.to(signal).reshape(-1)
    return torch.arange(1, len(signal) + 1, dtype=torch.float64, device=signal.device) * float(rate)


def reach_of(memory: HiPPOMemory, elapsed: float) -> float:
    """How far back a memory is worth reading, when it has run for `elapsed`.

    Example:
        >>> reach_of(HiPPOMemory(4), 30.0), reach_of(HiPPOMemory(4, "lagt", window=2.0), 30.0)
        (30.0, 10.0)
    """
    if memory.measure.time_varying:
        return elapsed
    return float(getattr(memory.measure, "window", FADED * memory.scale))
