"""Laguerre memory: a past that fades exponentially."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from seqkit.hippo.measure import Measure
from seqkit.hippo.polynomials import laguerre_functions

__all__ = ["LagT"]


@final
@dataclass(frozen=True)
class LagT(Measure):
    """Translated Laguerre: the past fades exponentially.

        A = -Λ⁻¹ (strictly lower ones + (1 + β)/2 I) Λ,  B = ζ^(-1/2) Λ⁻¹ [binomial(n + α, n)]
        Λ_n = sqrt(Γ(n + α + 1) / n!),  ζ = Γ(1 - α) β^(α - 1)

    At β = 0, the default, the measure has no finite mass ζ and is left unnormalised (ζ = 1): with α = 0 the basis is
    that of the Laguerre functions L_n(τ) exp(-τ/2), orthonormal on all lags, A has -1/2 on its diagonal, and B = 1. A
    small β is the regime that keeps a far past readable; β = 1, α = 0 is the untilted measure exp(-τ) of the paper's
    theorem, whose old values come back wrong. A is dissipative in the plain 2-norm, and normal plus low rank, for
    α = 0 alone.

    Args:
        alpha: Exponent of the lag in the weight, between -1 and 1.
        beta: How fast the normalised weight falls, at least 0.

    Source: arXiv 2008.07669, appendix D (c' = -A c + B f; the sign printed there inside A is a slip).

    Example:
        >>> LagT().transition(2)[0]
        tensor([[-0.5000,  0.0000],
                [-1.0000, -0.5000]], dtype=torch.float64)
    """

    alpha: float = 0.0
    beta: float = 0.0

    name: ClassVar[str] = "lagt"
    rank: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and -1 < self.alpha < 1):
            raise ValueError(f"`alpha` must lie between -1 and 1, both excluded, got {self.alpha!r}")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"`beta` must be a finite number of at least 0, got {self.beta!r}")

    @property
    def mass(self) -> float:
        """Mass ζ of the weight under the tilt, 1 where it is unnormalised (β = 0)."""
        return math.gamma(1 - self.alpha) * self.beta ** (self.alpha - 1) if self.beta > 0 else 1.0

    def _norms(self, order: int) -> Tensor:
        """Returns Λ, the norms of the generalised Laguerre polynomials."""
        n = torch.arange(order, dtype=torch.float64)
        return torch.exp((torch.lgamma(n + self.alpha + 1) - torch.lgamma(n + 1)) / 2)

    def transition(self, order: int) -> tuple[Tensor, Tensor]:
        """Returns A (N, N) and B (N,) in float64."""
        norms = self._norms(order)
        ones = torch.ones(order, order, dtype=torch.float64)
        lower = torch.tril(-ones, -1) - (1 + self.beta) / 2 * torch.eye(order, dtype=torch.float64)
        # binomial(n + α, n) = Λ² / Γ(α + 1), so that one factor Λ cancels.
        return lower * norms / norms[:, None], norms / (math.gamma(self.alpha + 1) * math.sqrt(self.mass))

    def low_rank(self, order: int) -> tuple[float, Tensor]:
        """Returns a = -β/2 and P_n = sqrt(1/2), from A + Aᵀ = -(1 1ᵀ + β I).

        Raises:
            ValueError: alpha is not 0; only there is the rest of A skew.
        """
        if self.alpha != 0:
            raise ValueError(
                f"`alpha` must be 0 for a normal-plus-low-rank form of lagt, got {self.alpha!r}; "
                "use the dense transition matrix for other values"
            )
        return -self.beta / 2, torch.full((1, order), math.sqrt(0.5), dtype=torch.float64)

    def density(self, lags: Tensor) -> Tensor:
        """Returns τ^α exp(-τ) / Γ(1 + α), the weight before the tilt that β gives it."""
        return lags**self.alpha * torch.exp(-lags) / math.gamma(1 + self.alpha)

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns ζ^(1/2) Λ_n⁻¹ L_n^(α)(τ) τ^α exp(-(1 - β) τ/2)."""
        factors = math.sqrt(self.mass) / self._norms(order)
        values = laguerre_functions(order, lags, self.alpha, (1 - self.beta) / 2)
        return factors.to(lags) * values * (lags**self.alpha)[..., None]

    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns ζ^(-1/2) Λ_n⁻¹ L_n^(α)(τ) exp(-(1 + β) τ/2), which is the impulse response exactly."""
        factors = 1 / (math.sqrt(self.mass) * self._norms(order))
        return factors.to(lags) * laguerre_functions(order, lags, self.alpha, (1 + self.beta) / 2)
