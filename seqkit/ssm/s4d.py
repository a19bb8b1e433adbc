"""The diagonal state-space layer: the same map as LSSL with a normal A."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice
from seqkit.hippo import diagonal_start, discretize_diagonal
from seqkit.kernels.vandermonde import vandermonde
from seqkit.nn.mixer import register_mixer
from seqkit.ssm.base import LinearSystem, StateSpaceMixer
from seqkit.ssm.diagonal import diagonal_final_state, diagonal_response, pairs_to_real, real_to_pairs
from seqkit.ssm.lssl import DISCRETIZATIONS

__all__ = ["S4D", "STARTS"]

STARTS = ("legs", "lin", "inv")


@register_mixer("s4d")
class S4D(StateSpaceMixer):
    """Diagonal state-space layer: H systems in N/2 conjugate pairs each.

        x_n' = lambda_n x_n + B_n u,   y = 2 Re sum_n C_n x_n + D u,   K_l = 2 Re sum_n C_n B_bar_n A_bar_n^l

    The real part of lambda is `-exp(log_damping)`, so every mode decays whatever the parameters are.

    Args:
        d_model: Number of heads H, one per channel.
        order: State size N of each head, real numbers; even.
        start: Starting eigenvalues: "legs" (normal part of LegS), "lin" (-1/2 + i pi n) or "inv".
        channels: Outputs M of each head. With more than one, GELU and a linear map M*H -> H follow.
        dt_min: Smallest step size at the start, in units of the training step.
        dt_max: Largest step size at the start.
        train_A: Whether lambda and B are trained.
        train_dt: Whether the step sizes are trained.
        discretization: "bilinear", "zero_order_hold" or "backward_euler".

    Source:
        Gu et al. 2022, On the parameterization and initialization of diagonal state space models
        (arXiv:2206.11893). Differs: the LegS start halves B, as the derivation asks.

    Cost: O(H N L) multiply-adds in matrix products and O(H N sqrt(L)) exponentials for the kernel, O(B H L log L) for
        the convolution; O(H N) a step.

    Example:
        >>> layer = S4D(4, order=8)
        >>> u = torch.randn(2, 10, 4)
        >>> state = layer.initial_state(2)
        >>> outputs = []
        >>> for k in range(10):
        ...     y, state = layer.step(u[:, k], state)
        ...     outputs.append(y)
        >>> torch.allclose(torch.stack(outputs, 1), layer(u), atol=1e-4)
        True
    """

    slow_parameters: ClassVar[tuple[str, ...]] = ("log_damping", "frequency", "B", "log_dt")

    def __init__(
        self,
        d_model: int,
        *,
        order: int = 64,
        start: str = "legs",
        channels: int = 1,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        train_A: bool = True,
        train_dt: bool = True,
        discretization: str = "bilinear",
    ) -> None:
        super().__init__(d_model, order=order, channels=channels, dt_min=dt_min, dt_max=dt_max, train_dt=train_dt)
        self.start = check_choice("start", start, STARTS)
        self.discretization = check_choice("discretization", discretization, DISCRETIZATIONS)
        dtype = torch.get_default_dtype()
        Lambda, B = diagonal_start(start, order)
        heads = (d_model, 1)
        self.log_damping = nn.Parameter((-Lambda.real).log().to(dtype).repeat(heads), requires_grad=train_A)
        self.frequency = nn.Parameter(Lambda.imag.to(dtype).repeat(heads), requires_grad=train_A)
        self.B = nn.Parameter(pairs_to_real(B).to(dtype).repeat(heads), requires_grad=train_A)
        self.C = nn.Parameter(torch.randn(d_model, channels, order) * 0.5**0.5)

    def system(self) -> LinearSystem:
        """The heads' continuous systems in the real basis [Re x, Im x]."""
        Lambda, C = self._lambda(), real_to_pairs(self.C)
        damping, turning = torch.diag_embed(Lambda.real), torch.diag_embed(Lambda.imag)
        A = torch.cat([torch.cat([damping, -turning], -1), torch.cat([turning, damping], -1)], -2)
        return LinearSystem(A, self.B, torch.cat([2 * C.real, -2 * C.imag], -1), self.D, self._dt(1.0))

    def _lambda(self) -> Tensor:
        return torch.complex(-self.log_damping.exp(), self.frequency)

    def _discrete(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        return discretize_diagonal(self._lambda(), real_to_pairs(self.B), dt, method=self.discretization)

    def _exponent(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Exponent a with A_bar = exp(a), and B_bar."""
        A, B = self._discrete(dt)
        # Under zero-order hold the exponent is known; its logarithm would lose the turns of fast modes.
        exact = self.discretization == "zero_order_hold"
        return (self._lambda() * dt[..., None] if exact else A.log()), B

    def _kernel(self, length: int, dt: Tensor) -> Tensor:
        exponent, B = self._exponent(dt)
        return vandermonde(exponent, real_to_pairs(self.C) * B[:, None], length).transpose(0, 1)

    def _advance(self, u: Tensor, x: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        A, B = self._discrete(dt)
        new = A * real_to_pairs(x) + B * u[:, :, None]
        y = 2 * torch.einsum("hmn,bhn->bhm", real_to_pairs(self.C), new).real
        return y, pairs_to_real(new)

    def _response(self, x: Tensor, length: int, dt: Tensor) -> Tensor:
        return diagonal_response(self._exponent(dt)[0], real_to_pairs(self.C), real_to_pairs(x), length)

    def _final_state(self, newest_first: Tensor, x: Tensor, lengths: Tensor, dt: Tensor) -> Tensor:
        exponent, B = self._exponent(dt)
        return pairs_to_real(diagonal_final_state(exponent, B, newest_first, real_to_pairs(x), lengths))

    def extra_repr(self) -> str:
        """Sizes, start and discretisation."""
        return f"{super().extra_repr()}, start={self.start!r}, discretization={self.discretization!r}"
