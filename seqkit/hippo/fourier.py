"""Fourier memory: the modes of a sliding window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from seqkit.checks import check_positive
from seqkit.hippo.measure import Measure
from seqkit.hippo.polynomials import fourier_functions

__all__ = ["Fourier"]


@final
@dataclass(frozen=True)
class Fourier(Measure):
    """Fourier modes of a sliding window, in real form: a cosine and a sine for each of N/2 frequencies.

        A = (S - 2 b bᵀ) / θ,  B = 2 b / θ,  b = (1, 0, √2, 0, √2, 0, ...)

    where S turns the pair of frequency j by 2πj. The factor 2 is the value that a Fourier series takes at the ends of
    its window, the mean of both: the sample that leaves is read back as 2 b·x - u. The sine of frequency 0 is a state
    that stays 0.

    Args:
        window: Length θ of the window, in the unit of time.

    Source: arXiv 2008.07669, appendix D, in the real form of the later S4 code with the gain that makes the window 1.

    Example:
        >>> Fourier().transition(2)[1]
        tensor([2., 0.], dtype=torch.float64)
    """

    window: float = 1.0

    name: ClassVar[str] = "fourier"
    rank: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_positive("window", self.window)

    def transition(self, order: int) -> tuple[Tensor, Tensor]:
        """Returns A (N, N) and B (N,) in float64."""
        edge = self._edge(order)
        cosine = torch.arange(0, order, 2)
        rotation = torch.zeros(order, order, dtype=torch.float64)
        rotation[cosine, cosine + 1] = -math.pi * cosine.to(torch.float64)
        rotation = rotation - rotation.mT
        return (rotation - 2 * torch.outer(edge, edge)) / self.window, 2 * edge / self.window

    def low_rank(self, order: int) -> tuple[float, Tensor]:
        """Returns a = 0 and P = sqrt(2 / θ) b."""
        return 0.0, self._edge(order)[None] * math.sqrt(2 / self.window)

    def density(self, lags: Tensor) -> Tensor:
        """Returns 1/θ within the window and 0 beyond."""
        return torch.where(lags <= self.window, torch.ones_like(lags) / self.window, 0.0)

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns 1, 0, √2 cos 2πτ/θ, √2 sin 2πτ/θ, ..."""
        self._edge(order)
        return fourier_functions(order, lags / self.window)

    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns g_n(τ) / θ within the window and 0 beyond, which the impulse response approaches with order."""
        values = self.basis(order, lags) / self.window
        return torch.where((lags <= self.window)[..., None], values, 0.0)

    def _edge(self, order: int) -> Tensor:
        """Returns b, the basis at lag 0, and refuses an odd order."""
        if order % 2:
            raise ValueError(
                f"`order` must be even for the measure fourier, which keeps a cosine and a sine per frequency, got "
                f"{order}"
            )
        return fourier_functions(order, torch.zeros((), dtype=torch.float64))
