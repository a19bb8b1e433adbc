"""The linear state-space layer with a dense transition matrix, fixed or trained."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice
from seqkit.hippo import discretize, transition
from seqkit.kernels.krylov import krylov
from seqkit.nn.mixer import register_mixer
from seqkit.ssm.base import LinearSystem, StateSpaceMixer
from seqkit.ssm.dissipative import DissipativeMatrix

__all__ = ["DISCRETIZATIONS", "LSSL"]

DISCRETIZATIONS = ("bilinear", "zero_order_hold", "backward_euler")
"""Rules under which a dissipative A gives a discrete system that never grows, whatever the step."""


@register_mixer("lssl")
class LSSL(StateSpaceMixer):
    """Linear state-space layer: H systems that share one dense A and own B, C, D and dt.

        x' = A x + B u,  y = C x + D u,   kernel K_l = C A_bar^l B_bar,   y = K * u + D u

    A starts as a HiPPO matrix and stays dissipative when trained (`DissipativeMatrix`), so no step size and no
    length makes the recurrence grow.

    Args:
        d_model: Number of heads H, one per channel.
        order: State size N of each head.
        measure: HiPPO measure of the starting A and B: "legs", "legt", "lagt" or "fourier".
        channels: Outputs M of each head. With more than one, GELU and a linear map M*H -> H follow.
        dt_min: Smallest step size at the start, in units of the training step.
        dt_max: Largest step size at the start.
        train_A: Whether A and B are trained.
        train_dt: Whether the step sizes are trained; with neither this is the paper's LSSL-fixed.
        discretization: "bilinear" (the paper's), "zero_order_hold" or "backward_euler".

    Source:
        Gu et al. 2021, Combining recurrent, convolutional, and continuous-time models with linear state-space
        layers (arXiv:2110.13985). Differs: the trained A is any dissipative matrix instead of one of low
        recurrence width, which holds every HiPPO matrix too but cannot become unstable.

    Cost: O(H N^3 log L + H N^2 sqrt(L) + H N L) for the kernel, O(B H L log L) for the convolution; O(H N^2) a step
        after a solve of O(H N^3).

    Example:
        >>> layer = LSSL(4, order=8)
        >>> u = torch.randn(2, 10, 4)
        >>> y, state = layer.scan(u[:, :6], layer.initial_state(2))
        >>> rest, _ = layer.scan(u[:, 6:], state)
        >>> torch.allclose(torch.cat([y, rest], 1), layer(u), atol=1e-4)
        True
    """

    slow_parameters: ClassVar[tuple[str, ...]] = ("A.skew", "A.damping", "A.low_rank", "B", "log_dt")

    def __init__(
        self,
        d_model: int,
        *,
        order: int = 64,
        measure: str = "legs",
        channels: int = 1,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        train_A: bool = True,
        train_dt: bool = True,
        discretization: str = "bilinear",
    ) -> None:
        super().__init__(d_model, order=order, channels=channels, dt_min=dt_min, dt_max=dt_max, train_dt=train_dt)
        self.measure = measure
        self.discretization = check_choice("discretization", discretization, DISCRETIZATIONS)
        A, B = transition(measure, order)
        self.A = DissipativeMatrix(A, trainable=train_A)
        self.B = nn.Parameter(B.to(torch.get_default_dtype()).repeat(d_model, 1), requires_grad=train_A)
        self.C = nn.Parameter(torch.randn(d_model, channels, order))

    def system(self) -> LinearSystem:
        """The heads' continuous systems; A is the same for all."""
        A = self.A().expand(self.d_model, -1, -1)
        return LinearSystem(A, self.B, self.C, self.D, self._dt(1.0))

    def _discrete(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        return discretize(self.A(), self.B, dt, method=self.discretization)

    def _kernel(self, length: int, dt: Tensor) -> Tensor:
        A, B = self._discrete(dt)
        return krylov(A, B, self.C, length).transpose(0, 1)

    def _advance(self, u: Tensor, x: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        A, B = self._discrete(dt)
        x = (A @ x[..., None])[..., 0] + B * u[:, :, None]
        return torch.einsum("hmn,bhn->bhm", self.C, x), x

    def _scan_even(self, u: Tensor, x: Tensor, lengths: Tensor | None, dt: Tensor) -> tuple[Tensor, Tensor]:
        A, B = self._discrete(dt)
        return self._scan_dense(u, x, lengths, dt, A, B, self.C)

    def extra_repr(self) -> str:
        """Sizes, measure and discretisation."""
        return f"{super().extra_repr()}, measure={self.measure!r}, discretization={self.discretization!r}"
