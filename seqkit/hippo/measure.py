"""What a measure over the past must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

__all__ = ["Measure"]


class Measure(ABC):
    """A weighting of the past, with the basis that is orthonormal under it.

    The state x(t) of order N holds c_n(t) = ∫ u(t - τ) k_n(τ) dτ over lags τ >= 0, the past is read back as
    u(t - τ) ≈ Σ_n c_n g_n(τ), and x' = A x + B u. Time is in the unit of the window (LegT, Fourier) or of the decay
    (LegS, LagT): a layer that steps by dt forgets after about 1 / dt samples.

    Attributes:
        name: Name in `MEASURES`.
        rank: Rank R of P in A = a I + S - P Pᵀ with S skew.
        time_varying: Whether the measure itself stretches with time, so that its exact system is
            x' = (A x + B u) / t; a state-space layer uses the system without 1 / t, which is the same in log time.
        normalizations: Scalings of the coefficients that the measure offers, the default first.

    Example:
        >>> from seqkit.hippo import LegS
        >>> isinstance(LegS(), Measure), LegS().rank
        (True, 1)
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    time_varying: ClassVar[bool] = False
    normalizations: ClassVar[tuple[str, ...]] = ("orthonormal",)

    @abstractmethod
    def transition(self, order: int) -> tuple[Tensor, Tensor]:
        """Returns A (N, N) and B (N,) of x' = A x + B u in float64."""

    @abstractmethod
    def low_rank(self, order: int) -> tuple[float, Tensor]:
        """Returns a and P (R, N) in float64 such that A + PᵀP = a I + S with S skew."""

    @abstractmethod
    def density(self, lags: Tensor) -> Tensor:
        """Returns the weight w(τ) of the past at lags (...); it integrates to 1 over the lags from 0 on."""

    @abstractmethod
    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns the functions g_n(τ) that read the past back, (..., N), at lags (...)."""

    @abstractmethod
    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns the functions k_n(τ) that project the past, (..., N), at lags (...)."""
