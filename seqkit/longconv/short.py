"""A short filter that knows time: the signal at a few lags in training steps, whatever its samples' steps are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ShortFilter", "lag_weights"]

TAPS = 3
FINEST = 0.5  # of steps: down to it all lags are read in full
KEPT = math.ceil((TAPS - 1) / FINEST)  # samples before the newest that the lags read


class ShortFilter(nn.Module):
    """Depthwise filter of three taps: each channel weights its signal now and 1 and 2 training steps ago.

        y(t) = b + sum_m s_m x(t - m),   m = 0, 1, 2

    Between samples the signal is linear. At the training step this is a depthwise convolution of three taps. Four
    samples before the newest are read, which is enough for steps down to 1/2; from finer ones the oldest stands in for
    what lies further back. Before its first sample a series is 0.

    Args:
        n_channels: Number of channels.

    Source: the short convolution of Poli et al. 2023 (arXiv:2302.10866), section 3.2. Differs: lags are times.

    Example:
        >>> short = ShortFilter(2)
        >>> short(torch.zeros(1, 5, 2), rate=2.0).shape
        torch.Size([1, 5, 2])
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        bound = TAPS**-0.5  # what a convolution of these taps starts with
        self.weight = nn.Parameter(torch.empty(TAPS, n_channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_channels).uniform_(-bound, bound))

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Filters whole series (B, L, D) of even steps."""
        taps = self._taps(rate, x)
        used = min(KEPT, math.ceil((TAPS - 1) / rate)) + 1
        padded = F.pad(x, (0, 0, used - 1, 0))
        y = self.bias + taps[0] * x
        for back in range(1, used):
            y = y + taps[back] * padded[:, used - 1 - back : padded.shape[1] - back]
        return y

    def newest(self, x: Tensor, rate: float) -> Tensor:
        """Filters the newest sample of series of even steps, (B, KEPT + 1, D), newest first; returns (B, D)."""
        return self.bias + (self._taps(rate, x) * x).sum(1)

    def _taps(self, rate: float, like: Tensor) -> Tensor:
        """Taps for samples `rate` apart, (KEPT + 1, D)."""
        gaps = torch.full((KEPT,), rate, dtype=torch.float64, device=like.device)
        return lag_weights(gaps).to(like.dtype).mT @ self.weight

    def uneven(self, x: Tensor, gaps: Tensor) -> Tensor:
        """Filters series that continue.

        Args:
            x: Samples, (B, KEPT + L, D), of which the first KEPT come before the block.
            gaps: Time from each sample to its predecessor, (B, KEPT + L).

        Returns:
            (B, L, D).
        """
        length = x.shape[1] - KEPT
        # What lies i samples back of sample l is KEPT + l - i in `gaps`.
        back = gaps[:, 1:].unfold(1, KEPT, 1).flip(-1)
        weights = lag_weights(back).to(x.dtype)  # B, L, TAPS, KEPT + 1
        y = self.bias.expand(x.shape[0], length, -1)
        for i in range(KEPT + 1):
            y = y + (weights[..., i] @ self.weight) * x[:, KEPT - i : KEPT - i + length]
        return y


def lag_weights(gaps: Tensor) -> Tensor:
    """Weights of a sample and those before it in the linear signal at the lags 0, 1, 2.

    With nodes at the ages a_i and c_i the share of the gap before node i that a lag has passed, x(t - lag) =
    x_0 + sum_i c_i (x_i - x_(i-1)).

    Args:
        gaps: Time from each of the newest samples to its predecessor, (..., n), newest first.

    Returns:
        Weights, (..., 3, n + 1), newest first.

    Example:
        >>> lag_weights(torch.tensor([2.0, 2.0]))
        tensor([[1.0000, 0.0000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.0000, 1.0000, 0.0000]])
    """
    lags = torch.arange(TAPS, dtype=gaps.dtype, device=gaps.device)[:, None]
    younger = (gaps.cumsum(-1) - gaps)[..., None, :]
    passed = ((lags - younger) / gaps[..., None, :]).clamp(0, 1)
    return F.pad(passed, (1, 0), value=1.0) - F.pad(passed, (0, 1))
