"""Rotary positions whose unit is time: a sample's position is its time in training steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.nn.mixer import sample_steps

__all__ = ["rotary_frequencies", "rotary_turns", "rotate", "turned_on"]

SLOWEST = 10000.0  # radians of the first pair to those of the slowest, nearly


def rotary_frequencies(head_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Turns of each pair of channels in one training step, (F,) float64 for F = head_size // 2.

        f_i = 10000^(-i / F) / 2 pi

    Args:
        head_size: Channels of a head; the last of an odd number is not turned.
        device: Where the numbers are to lie.

    Source:
        Su et al. 2021, RoFormer (arXiv:2104.09864), equation 15. Differs: in turns.

    Example:
        >>> 2 * torch.pi * rotary_frequencies(4)
        tensor([1.0000, 0.0100], dtype=torch.float64)
    """
    pairs = head_size // 2
    places = torch.arange(pairs, dtype=torch.float64, device=device)
    return places.mul_(-math.log(SLOWEST) / max(1, pairs)).exp_().div_(2 * math.pi)


def turned_on(before: Tensor, rate: float | Tensor, frequencies: Tensor) -> Tensor:
    """Turns of the next sample, within [0, 1), so that they are as exact after ten million samples as after ten.

    Args:
        before: Turns of the sample before, (B, F) float64.
        rate: Time since then in training steps; one number, or one per stream (B,).
        frequencies: What `rotary_frequencies` returned, (F,).

    Example:
        >>> turned_on(torch.tensor([[0.75]]).double(), 2.0, torch.tensor([0.25]).double())
        tensor([[0.2500]], dtype=torch.float64)
    """
    step = rate.to(frequencies)[:, None] if isinstance(rate, Tensor) and rate.dim() == 1 else rate
    return (before + frequencies * step).frac()


def rotary_turns(
    length: int,
    frequencies: Tensor,
    *,
    rate: float = 1.0,
    timestamps: Tensor | None = None,
    lengths: Tensor | None = None,
    before: Tensor | None = None,
) -> Tensor:
    """Turns of every sample of series, within [0, 1).

    Args:
        length: Number of samples L.
        frequencies: What `rotary_frequencies` returned, (F,).
        rate: Time between samples in training steps.
        timestamps: Time of each sample in training steps, (B, L), as in `Mixer.forward`.
        lengths: Samples of each series, (B,).
        before: Turns of the sample before the first, (B, F); 0 where there was none.

    Returns:
        (B, L, F) float64, or (1, L, F) where all series are alike.

    Raises:
        ValueError: times that do not increase.

    Example:
        >>> rotary_turns(3, torch.tensor([0.25]).double(), rate=2.0).flatten().tolist()
        [0.5, 0.0, 0.5]
    """
    if timestamps is None:
        time = rate * torch.arange(1, length + 1, dtype=torch.float64, device=frequencies.device)[None]
    else:
        time = sample_steps(timestamps.double(), rate, lengths).cumsum(1)
    turns = time[..., None] * frequencies
    return (turns if before is None else turns + before[:, None]).frac()


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turns pairs of channels, channel i with channel i + F.

    Args:
        x: Queries or keys, (B, L, H, D).
        turns: Turns of each pair, (B, L, F) or (1, L, F) with F = D // 2.

    Returns:
        (B, L, H, D), in the dtype of `x`.

    Example:
        >>> rotate(torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), torch.tensor([0.25]).view(1, 1, 1).double()).flatten()
        tensor([-2.,  1.])
    """
    angles = turns.unsqueeze(2) * (2 * math.pi)
    wide = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(wide), angles.sin().to(wide)
    pairs = turns.shape[-1]
    a, b, rest = torch.split(x.to(wide), [pairs, pairs, x.shape[-1] - 2 * pairs], -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1).to(x.dtype)
