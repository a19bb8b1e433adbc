"""Legendre memories: the whole past evenly (LegS), or a sliding window of it (LegT)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive
from seqkit.hippo.measure import Measure
from seqkit.hippo.polynomials import legendre_polynomials

__all__ = ["LegS", "LegT"]


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
        norms = _norms(order)
        decay = torch.arange(1, order + 1, dtype=torch.float64)
        return torch.tril(-torch.outer(norms, norms), -1) - torch.diag(decay), norms

    def low_rank(self, order: int) -> tuple[float, Tensor]:
        """Returns a = -1/2 and P_n = sqrt(n + 1/2), from A + Aᵀ = -(I + B Bᵀ)."""
        return -0.5, _norms(order)[None] / math.sqrt(2)

    def density(self, lags: Tensor) -> Tensor:
        """Returns exp(-τ), which is 1/t everywhere in true time."""
        return torch.exp(-lags)

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns sqrt(2n + 1) P_n(2 exp(-τ) - 1)."""
        return _norms(order).to(lags) * legendre_polynomials(order, 2 * torch.exp(-lags) - 1)

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
            return _signs(order) * _norms(order)
        return torch.ones(order, dtype=torch.float64)

    def transition(self, order: int) -> tuple[Tensor, Tensor]:
        """Returns A (N, N) and B (N,) in float64."""
        norms, signs, scaling = _norms(order), _signs(order), self._scaling(order)
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
        norms = _norms(order) / math.sqrt(self.window)
        even = _signs(order) > 0
        return 0.0, torch.stack([norms * even, norms * ~even])

    def density(self, lags: Tensor) -> Tensor:
        """Returns 1/θ within the window and 0 beyond."""
        return torch.where(lags <= self.window, torch.ones_like(lags) / self.window, 0.0)

    def basis(self, order: int, lags: Tensor) -> Tensor:
        """Returns sqrt(2n + 1) P_n(1 - 2τ/θ), over the state's scaling."""
        factors = _norms(order) / self._scaling(order)
        return factors.to(lags) * legendre_polynomials(order, 1 - 2 * lags / self.window)

    def kernel(self, order: int, lags: Tensor) -> Tensor:
        """Returns g_n(τ) / θ within the window and 0 beyond, which the impulse response approaches with order."""
        factors = _norms(order) * self._scaling(order) / self.window
        values = factors.to(lags) * legendre_polynomials(order, 1 - 2 * lags / self.window)
        return torch.where((lags <= self.window)[..., None], values, 0.0)


def _norms(order: int) -> Tensor:
    """Returns sqrt(2n + 1), the factors that make Legendre polynomials orthonormal on an interval of length 1."""
    return torch.sqrt(2 * torch.arange(order, dtype=torch.float64) + 1)


def _signs(order: int) -> Tensor:
    """Returns (-1)^n."""
    return 1.0 - 2.0 * (torch.arange(order, dtype=torch.float64) % 2)
