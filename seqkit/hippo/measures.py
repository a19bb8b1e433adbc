"""How a memory weights the past, and the linear system that follows from each weighting."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive, check_positive_int
from seqkit.hippo.polynomials import fourier_functions, laguerre_functions, legendre_polynomials

__all__ = ["MEASURES", "Fourier", "LagT", "LegS", "LegT", "Measure", "as_measure", "transition"]


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
    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns the functions g_n(τ) that read the past back, (..., N), at lags (...)."""

    @abstractmethod
    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns the functions k_n(τ) that project the past, (..., N), at lags (...)."""


def legendre_norms(order: int) -> Tensor:
    """Returns sqrt(2n + 1), the factors that make Legendre polynomials orthonormal on an interval of length 1."""
    return torch.sqrt(2 * torch.arange(order, dtype=torch.float64) + 1)


def alternating_signs(order: int) -> Tensor:
    """Returns (-1)^n."""
    return 1.0 - 2.0 * (torch.arange(order, dtype=torch.float64) % 2)


@final
@dataclass(frozen=True)
class LegS(Measure):
    """Scaled Legendre: the whole past counts evenly, however long it is.

        A_nk = -sqrt((2n + 1)(2k + 1)) for n > k, -(n + 1) for n = k, 0 above;  B_n = sqrt(2n + 1)

    The exact memory is x' = (A x + B u) / t. Without 1 / t, as in state-space layers, the past is weighted by
    exp(-τ) and the polynomials are warped: g_n(τ) = sqrt(2n + 1) P_n(2 exp(-τ) - 1).

    Source: arXiv 2008.07669, theorem 2 (there c' = -A c + B f, so A has the other sign).

    Example:
        >>> LegS().transition(2)[0]
        tensor([[-1.0000,  0.0000],
                [-1.7321, -2.0000]], dtype=torch.float64)
    """

    name: ClassVar[str] = "legs"
    rank: ClassVar[int] = 1
    time_varying: ClassVar[bool] = True

    def transition(self, order: int) -> tuple[Tensor, Tensor]:
        """Returns A (N, N) and B (N,) in float64."""
        norms = legendre_norms(order)
        decay = torch.arange(1, order + 1, dtype=torch.float64)
        return -torch.tril(torch.outer(norms, norms), -1) - torch.diag(decay), norms

    def low_rank(self, order: int) -> tuple[float, Tensor]:
        """Returns a = -1/2 and P_n = sqrt(n + 1/2), from A + Aᵀ = -(I + B Bᵀ)."""
        return -0.5, legendre_norms(order)[None] / math.sqrt(2)

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns sqrt(2n + 1) P_n(2 exp(-τ) - 1)."""
        return legendre_norms(order).to(lags) * legendre_polynomials(order, 2 * torch.exp(-lags) - 1)

    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns exp(-τ) g_n(τ), which is the impulse response exactly."""
        return torch.exp(-lags)[..., None] * self.basis(order, lags)


@final
@dataclass(frozen=True)
class LegT(Measure):
    """Translated Legendre: a sliding window counts evenly and nothing before it.

        A_nk = -sqrt((2n + 1)(2k + 1)) / θ * (1 if k <= n else (-1)^(n - k));  B_n = sqrt(2n + 1) / θ

    With `normalization="lmu"` the state is the Legendre memory unit's, (-1)^n sqrt(2n + 1) times the orthonormal one;
    its steps are no contraction in the 2-norm.

    Args:
        window: Length θ of the window, in the unit of time. (Some released code halves A and B, a window of 2.)
        normalization: "orthonormal" or "lmu".

    Source: arXiv 2008.07669, theorem 1 and appendix D.

    Example:
        >>> LegT().transition(2)[0]
        tensor([[-1.0000,  1.7321],
                [-1.7321, -3.0000]], dtype=torch.float64)
    """

    window: float = 1.0
    normalization: str = "orthonormal"

    name: ClassVar[str] = "legt"
    rank: ClassVar[int] = 2
    normalizations: ClassVar[tuple[str, ...]] = ("orthonormal", "lmu")

    def __post_init__(self) -> None:
        check_positive("window", self.window)
        check_choice("normalization", self.normalization, self.normalizations)

    def _scaling(self, order: int) -> Tensor:
        """Returns the state's scale relative to the orthonormal one."""
        if self.normalization == "lmu":
            return alternating_signs(order) * legendre_norms(order)
        return torch.ones(order, dtype=torch.float64)

    def transition(self, order: int) -> tuple[Tensor, Tensor]:
        """Returns A (N, N) and B (N,) in float64."""
        norms, signs, scaling = legendre_norms(order), alternating_signs(order), self._scaling(order)
        pattern = torch.tril(torch.ones_like(norms).expand(order, order)) + torch.triu(torch.outer(signs, signs), 1)
        A = -torch.outer(norms, norms) * pattern / self.window
        return scaling[:, None] * A / scaling, scaling * norms / self.window

    def low_rank(self, order: int) -> tuple[float, Tensor]:
        """Returns a = 0 and P = sqrt(2n + 1) / sqrt(θ), once on even and once on odd n.

        Raises:
            ValueError: the normalisation is not orthonormal; only there is the rest of A skew.
        """
        if self.normalization != "orthonormal":
            raise ValueError(
                f"`normalization` must be orthonormal for a normal-plus-low-rank form, got {self.normalization!r}; "
                "rescale the state by (-1)^n sqrt(2n + 1) afterwards"
            )
        norms = legendre_norms(order) / math.sqrt(self.window)
        even = alternating_signs(order) > 0
        return 0.0, torch.stack([norms * even, norms * ~even])

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns sqrt(2n + 1) P_n(1 - 2τ/θ), over the state's scaling."""
        factors = legendre_norms(order) / self._scaling(order)
        return factors.to(lags) * legendre_polynomials(order, 1 - 2 * lags / self.window)

    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns g_n(τ) / θ within the window and 0 beyond, which the impulse response approaches with order."""
        factors = legendre_norms(order) * self._scaling(order) / self.window
        values = factors.to(lags) * legendre_polynomials(order, 1 - 2 * lags / self.window)
        return torch.where((lags <= self.window)[..., None], values, 0.0)


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
        tensor([[-0.5000, -0.0000],
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
        lower = torch.tril(ones, -1) + (1 + self.beta) / 2 * torch.eye(order, dtype=torch.float64)
        # binomial(n + α, n) = Λ² / Γ(α + 1), so that one factor Λ cancels.
        return -lower * norms / norms[:, None], norms / (math.gamma(self.alpha + 1) * math.sqrt(self.mass))

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

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns ζ^(1/2) Λ_n⁻¹ L_n^(α)(τ) τ^α exp(-(1 - β) τ/2)."""
        factors = math.sqrt(self.mass) / self._norms(order)
        values = laguerre_functions(order, lags, self.alpha, (1 - self.beta) / 2)
        return factors.to(lags) * values * (lags**self.alpha)[..., None]

    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns ζ^(-1/2) Λ_n⁻¹ L_n^(α)(τ) exp(-(1 + β) τ/2), which is the impulse response exactly."""
        factors = 1 / (math.sqrt(self.mass) * self._norms(order))
        return factors.to(lags) * laguerre_functions(order, lags, self.alpha, (1 + self.beta) / 2)


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


MEASURES: dict[str, type[LegS] | type[LegT] | type[LagT] | type[Fourier]] = {
    kind.name: kind for kind in (LegS, LegT, LagT, Fourier)
}
"""The measures by name."""


def as_measure(measure: str | Measure, normalization: str | None = None) -> Measure:
    """Returns the measure of a name, or the given measure, in the asked normalisation.

    Args:
        measure: "legs", "legt", "lagt" or "fourier" for the default of each, or a measure.
        normalization: One of the measure's `normalizations`, or None to leave it.

    Raises:
        ValueError: the name is unknown, or the measure has no such normalisation.
        TypeError: `measure` is neither a name nor a measure.

    Example:
        >>> as_measure("legt", "lmu")
        LegT(window=1.0, normalization='lmu')
    """
    if isinstance(measure, str):
        chosen: Measure = MEASURES[check_choice("measure", measure, MEASURES)]()
    elif isinstance(measure, Measure):
        chosen = measure
    else:
        raise TypeError(f"`measure` must be one of {', '.join(MEASURES)} or a Measure, got {measure!r}")
    if normalization is None:
        return chosen
    check_choice(f"normalization of {chosen.name}", normalization, chosen.normalizations)
    return replace(chosen, normalization=normalization) if isinstance(chosen, LegT) else chosen


def transition(
    measure: str | Measure, order: int, dtype: torch.dtype = torch.float64, *, normalization: str | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the transition matrices of a HiPPO memory.

        x'(t) = A x(t) + B u(t)

    A has a symmetric part that is nowhere positive in the orthonormal normalisation (LagT: with alpha 0). For LegS this
    is the system without the factor 1 / t. A window or decay of 1 makes dt the fraction of the memory that one step
    covers.

    Args:
        measure: "legs", "legt", "lagt", "fourier", or a measure with its own window or exponents.
        order: Number of coefficients N, at least 1; even for fourier.
        dtype: Real type of the result; the entries are computed in float64.
        normalization: Scaling of the coefficients, "orthonormal" (the default) or, for legt, "lmu".

    Returns:
        A of shape (N, N) and B of shape (N,).

    Raises:
        ValueError: an unknown measure or normalisation, an order below 1, a type that is not a real float.

    Source: arXiv 2008.07669, theorems 1 and 2 and appendix D, with the sign of arXiv 2110.13985.
    Cost: N² numbers.

    Example:
        >>> A, B = transition("legs", 4)
        >>> torch.allclose(A[:, 0], -B)
        True
    """
    check_positive_int("order", order)
    if not dtype.is_floating_point:
        raise ValueError(f"`dtype` must be a real floating type, got {dtype}; the matrices are real")
    A, B = as_measure(measure, normalization).transition(order)
    return A.to(dtype), B.to(dtype)
