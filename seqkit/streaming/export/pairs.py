"""Complex arithmetic on pairs of real tensors, which ONNX can say."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Pair", "discrete"]

SERIES = 9  # 0.5^9 / 10! is below half an ulp of float32


class Pair(NamedTuple):
    """Real and imaginary part.

    Example:
        >>> Pair(torch.tensor(0.0), torch.tensor(1.0)).by(Pair(torch.tensor(0.0), torch.tensor(1.0))).real
        tensor(-1.)
    """

    real: Tensor
    imag: Tensor

    def by(self, other: Pair) -> Pair:
        """The product, element by element."""
        return Pair(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )

    def plus(self, other: Pair) -> Pair:
        """The sum."""
        return Pair(self.real + other.real, self.imag + other.imag)

    def times(self, factor: Tensor | float) -> Pair:
        """The product with a real number."""
        return Pair(self.real * factor, self.imag * factor)

    def inverse(self) -> Pair:
        """One over it."""
        size = self.real * self.real + self.imag * self.imag
        return Pair(self.real / size, -self.imag / size)

    def joined(self) -> Tensor:
        """[Re, Im] along the last axis."""
        return torch.cat([self.real, self.imag], dim=-1)


def discrete(Lambda: Pair, B: Pair, dt: Tensor, rule: str) -> tuple[Pair, Pair]:
    """A-bar and B-bar of diagonal systems, as `seqkit.hippo.discretize_diagonal`.

    Args:
        Lambda: Eigenvalues, (H, N/2), with negative real part.
        B: Input vectors, (H, N/2).
        dt: Steps, (..., H, 1).
        rule: "bilinear", "zero_order_hold" or "backward_euler".

    Example:
        >>> one, zero = torch.ones(1, 1), torch.zeros(1, 1)
        >>> discrete(Pair(-one, zero), Pair(one, zero), 2 * one, "bilinear")[0].real
        tensor([[0.]])
    """
    z, scaled = Lambda.times(dt), B.times(dt)
    if rule == "zero_order_hold":
        size = z.real.exp()
        A_bar = Pair(size * z.imag.cos(), size * z.imag.sin())
        return A_bar, _phi_1(z, A_bar).by(scaled)
    alpha = {"bilinear": 0.5, "backward_euler": 1.0}[rule]
    below = Pair(1 - alpha * z.real, -alpha * z.imag).inverse()
    return Pair(1 + (1 - alpha) * z.real, (1 - alpha) * z.imag).by(below), below.by(scaled)


def _phi_1(z: Pair, power: Pair) -> Pair:
    """(exp(z) - 1) / z, given exp(z); a series where z is small."""
    small = z.real * z.real + z.imag * z.imag < 0.25
    one, zero = torch.ones_like(z.real), torch.zeros_like(z.real)
    near = Pair(torch.where(small, z.real, zero), torch.where(small, z.imag, zero))
    far = Pair(torch.where(small, one, z.real), torch.where(small, zero, z.imag))
    series = Pair(one, zero)
    for k in range(SERIES, 1, -1):
        series = Pair(one, zero).plus(near.times(1 / k).by(series))
    ratio = Pair(power.real - 1, power.imag).by(far.inverse())
    return Pair(torch.where(small, series.real, ratio.real), torch.where(small, series.imag, ratio.imag))
