"""The structured state-space layer: LSSL with A normal plus low rank, through a Cauchy kernel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from seqkit.hippo import discretize, nplr
from seqkit.kernels.cauchy import cauchy
from seqkit.nn.mixer import register_mixer
from seqkit.ssm.base import LinearSystem, StateSpaceMixer
from seqkit.ssm.diagonal import pairs_to_real, real_to_pairs

__all__ = ["S4"]


@register_mixer("s4")
class S4(StateSpaceMixer):
    """Structured state-space layer: the LSSL map with `A = diag(lambda) - P P^*` in conjugate pairs.

        K = truncated kernel of the bilinear rule, from sums over n of a_n b_n / (z - dt lambda_n)
        step: x_new = D (t - P R (P^* D t)),  t = (2/dt + lambda) x - P (P^* x) + 2 B u,  D = 1 / (2/dt - lambda)

    It starts at the same HiPPO system as `LSSL` in the basis in which its normal part is diagonal. The real part of
    lambda is never positive and -P P^* takes energy out, so the recurrence never grows.

    Args:
        d_model: Number of heads H, one per channel.
        order: State size N of each head, real numbers; even.
        measure: HiPPO measure of the starting A and B: "legs", "legt", "lagt" or "fourier".
        channels: Outputs M of each head. With more than one, GELU and a linear map M*H -> H follow.
        dt_min: Smallest step size at the start, in units of the training step.
        dt_max: Largest step size at the start.
        train_A: Whether lambda, P and B are trained.
        train_dt: Whether the step sizes are trained.

    Source:
        Gu et al. 2021, Efficiently modeling long sequences with structured state spaces (arXiv:2111.00396),
        theorems 1 to 3. Differs: C is the parameter and the kernel is truncated exactly at every length, where the
        paper trains `C (I - A_bar^L)` for one fixed L.

    Cost: see `seqkit.kernels.cauchy` for the kernel, O(B H L log L) for the convolution; O(H N) a step.

    Example:
        >>> layer = S4(4, order=8)
        >>> u = torch.randn(2, 10, 4)
        >>> y, state = layer.scan(u, layer.initial_state(2))
        >>> torch.allclose(y, layer(u), atol=1e-5)
        True
    """

    slow_parameters: ClassVar[tuple[str, ...]] = ("damping", "frequency", "P", "B", "log_dt")

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
    ) -> None:
        super().__init__(d_model, order=order, channels=channels, dt_min=dt_min, dt_max=dt_max, train_dt=train_dt)
        self.measure = measure
        dtype = torch.get_default_dtype()
        start = nplr(measure, order)
        heads = (d_model, 1)
        # A square, not an exponential: some measures have a normal part without damping.
        damping = (-start.Lambda.real).clamp(min=0).sqrt()
        self.damping = nn.Parameter(damping.to(dtype).repeat(heads), requires_grad=train_A)
        self.frequency = nn.Parameter(start.Lambda.imag.to(dtype).repeat(heads), requires_grad=train_A)
        self.P = nn.Parameter(pairs_to_real(start.P).to(dtype).repeat(d_model, 1, 1), requires_grad=train_A)
        self.B = nn.Parameter(pairs_to_real(start.B).to(dtype).repeat(heads), requires_grad=train_A)
        self.C = nn.Parameter(torch.randn(d_model, channels, order) * 0.5**0.5)

    def system(self) -> LinearSystem:
        """The heads' continuous systems in the real basis [Re x, Im x]."""
        Lambda, C = self._lambda(), real_to_pairs(self.C)
        damping, turning = torch.diag_embed(Lambda.real), torch.diag_embed(Lambda.imag)
        normal = torch.cat([torch.cat([damping, -turning], -1), torch.cat([turning, damping], -1)], -2)
        # P^* x runs over both halves of each pair: twice the real part, which in this basis is 2 p p^T with real p.
        A = normal - 2 * self.P.transpose(1, 2) @ self.P
        return LinearSystem(A, self.B, torch.cat([2 * C.real, -2 * C.imag], -1), self.D, self._dt(1.0))

    def _lambda(self) -> Tensor:
        return torch.complex(-self.damping.square(), self.frequency)

    def _kernel(self, length: int, dt: Tensor) -> Tensor:
        P, B, C = real_to_pairs(self.P), real_to_pairs(self.B), real_to_pairs(self.C)
        return cauchy(self._lambda(), P, B, C, dt, length).transpose(0, 1)

    def _advance(self, u: Tensor, x: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        P, state, Lambda = real_to_pairs(self.P), real_to_pairs(x), self._lambda()
        double = (2 / dt)[..., None]
        D = 1 / (double - Lambda)
        t = (double + Lambda) * state - self._project(P, state) + 2 * real_to_pairs(self.B) * u[:, :, None]
        Dt = D * t
        # (I + P^* D P)^-1, of the size of the rank.
        gram = 2 * torch.einsum("hrn,...hn,hsn->...hrs", P.conj(), D, P).real
        eye = torch.eye(P.shape[1], dtype=gram.dtype, device=gram.device)
        inner = 2 * torch.einsum("hrn,bhn->bhr", P.conj(), Dt).real
        coefficients = torch.linalg.solve(eye + gram, inner[..., None])[..., 0]
        new = Dt - D * torch.einsum("hrn,bhr->bhn", P, coefficients.to(P.dtype))
        y = 2 * torch.einsum("hmn,bhn->bhm", real_to_pairs(self.C), new).real
        return y, pairs_to_real(new)

    @staticmethod
    def _project(P: Tensor, x: Tensor) -> Tensor:
        """`P (P^* x)` over both halves of each pair."""
        inner = 2 * torch.einsum("hrn,bhn->bhr", P.conj(), x).real
        return torch.einsum("hrn,bhr->bhn", P, inner.to(P.dtype))

    def _discrete(self, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        system = self.system()
        return (*discretize(system.A, system.B, dt, method="bilinear"), system.C)

    def _scan_even(self, u: Tensor, x: Tensor, lengths: Tensor | None, dt: Tensor) -> tuple[Tensor, Tensor]:
        return self._scan_dense(u, x, lengths, dt, *self._discrete(dt))

    def extra_repr(self) -> str:
        """Sizes and measure."""
        return f"{super().extra_repr()}, measure={self.measure!r}"
