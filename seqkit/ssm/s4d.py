"""The diagonal state-space layer: the same map as LSSL with a normal A."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice
from seqkit.hippo import diagonal_start, discretize_diagonal
from seqkit.kernels.ssm_scan import ssm_scan
from seqkit.kernels.ssm_step import ssm_step
from seqkit.kernels.vandermonde import vandermonde
from seqkit.nn.mixer import State, mask_past_end, register_mixer
from seqkit.ssm.base import LinearSystem, SSMState, StateSpaceMixer
from seqkit.ssm.diagonal import pairs_to_real, real_to_pairs
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
        C = real_to_pairs(self.C)
        # C has one dimension more than A for its outputs, also where each stream has a step of its own.
        y, new = ssm_step(u, A, B, C if A.dim() == 2 else C[None], real_to_pairs(x))
        return y, pairs_to_real(new)

    def _scan_even(self, u: Tensor, x: Tensor, lengths: Tensor | None, dt: Tensor) -> tuple[Tensor, Tensor]:
        C = real_to_pairs(self.C).transpose(0, 1)
        y, new = ssm_scan(u, *self._discrete(dt), C, real_to_pairs(x), lengths=lengths)
        return y + self.D.T[:, :, None] * u[:, None], pairs_to_real(new)

    def _scan_uneven(self, u: Tensor, state: State, steps: Tensor, lengths: Tensor | None) -> tuple[Tensor, State]:
        with torch.autocast(u.device.type, enabled=False):
            signal = mask_past_end(u, lengths).transpose(1, 2).to(state[0].dtype)
            dt = self._dt(1.0)[:, None]
            y, new = ssm_scan(
                signal,
                dt * self._lambda(),
                dt * real_to_pairs(self.B),
                real_to_pairs(self.C).transpose(0, 1),
                real_to_pairs(state[0]),
                steps=steps.detach().to(signal.dtype),
                discretization=self.discretization,
                lengths=lengths,
            )
            y = y + self.D.T[:, :, None] * signal[:, None]
            return mask_past_end(self._merge(y), lengths).to(u.dtype), SSMState(pairs_to_real(new))

    def extra_repr(self) -> str:
        """Sizes, start and discretisation."""
        return f"{super().extra_repr()}, start={self.start!r}, discretization={self.discretization!r}"
