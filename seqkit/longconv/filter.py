"""A long filter as a function of time: a small network of sines, fading exponentially."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive, check_positive_int

__all__ = ["ImplicitFilter"]

OMEGA = 10.0  # turns a layer's small weights into oscillations, as in the released code
SHORTEST, LONGEST = 0.05, 1.5  # times, in windows, after which the filters have faded to FADED at the start
FADED = 0.01
BANDS = 4


class ImplicitFilter(nn.Module):
    """Filters h_f(t) for 0 <= t < window, by their values at whole training steps.

        h_f(t) = sqrt(2 a_f) exp(-a_f t) w_f . sin(omega (W sin(omega (V e(t / window)))))

    e holds t and the cosine and sine of four frequencies. The root keeps the energy of a filter whatever its rate of
    fading a_f is.

    Args:
        n_filters: Number of filters F.
        window: How far they reach back, in training steps; rounded up.
        width: Sines of a layer.

    Raises:
        ValueError: a size below 1 or a window that is not positive.

    Source:
        Poli et al. 2023, Hyena (arXiv:2302.10866), section 3.3, and the released code of Monarch Mixer. Differs:
        the rates of fading are spread evenly in their logarithm and trained, and the energy is kept.

    Example:
        >>> ImplicitFilter(3, window=20.0)().shape
        torch.Size([20, 3])
    """

    def __init__(self, n_filters: int, *, window: float, width: int = 64) -> None:
        super().__init__()
        check_positive_int("n_filters", n_filters)
        self.reach = math.ceil(check_positive("window", window))
        last = nn.Linear(check_positive_int("filter_width", width), n_filters, bias=False)
        nn.init.normal_(last.weight, std=(2 / width) ** 0.5)  # sines have the mean square 1/2
        self.inner = nn.Sequential(
            nn.Linear(1 + 2 * BANDS, width),
            _Sine(),
            nn.Linear(width, width),
            _Sine(),
            last,
        )
        slow, fast = (-math.log(FADED) / (share * self.reach) for share in (LONGEST, SHORTEST))
        spread = torch.linspace(math.log(slow), math.log(fast), n_filters)
        self.log_decay = nn.Parameter(spread[torch.randperm(n_filters)])

    def forward(self) -> Tensor:
        """Values at the times 0, 1 .., (window, F)."""
        decay = self.log_decay.exp()
        time = torch.arange(self.reach, dtype=decay.dtype, device=decay.device)[:, None]
        turns = 2 * math.pi / self.reach * time * 2.0 ** torch.arange(BANDS, dtype=decay.dtype, device=decay.device)
        features = torch.cat([time / self.reach, turns.cos(), turns.sin()], -1)
        values: Tensor = self.inner(features)
        return values * (-decay * time).exp() * (2 * decay).sqrt()


class _Sine(nn.Module):
    """sin(omega x)."""

    def forward(self, x: Tensor) -> Tensor:
        return (OMEGA * x).sin()
