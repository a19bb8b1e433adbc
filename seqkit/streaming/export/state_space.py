"""Linear state-space layers in an exported program: dense, diagonal, and diagonal plus low rank."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.hippo import discretize, discretize_diagonal
from seqkit.ssm import LSSL, S4, S4D
from seqkit.ssm.base import StateSpaceMixer
from seqkit.ssm.diagonal import real_to_pairs
from seqkit.streaming.export.chunks import Chunks
from seqkit.streaming.export.form import Form, States
from seqkit.streaming.export.pairs import Pair, discrete

__all__ = ["DenseForm", "DiagonalForm", "LowRankForm"]


class _LinearForm(Form):
    """What they share: skip, the map of several outputs, and blocks by chunks."""

    chunks: Chunks
    C: Tensor
    D: Tensor

    def __init__(self, mixer: StateSpaceMixer) -> None:
        super().__init__()
        self.mix: nn.Linear | None = mixer.mix
        self.register_buffer("D", mixer.D.detach().clone())

    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """One sample: the state takes it in, and is read."""
        new = self._advance(x, state[0], steps)
        y = (self.C * new[:, :, None]).sum(dim=-1) + x[:, :, None] * self.D
        return self._merge(y.transpose(1, 2)), (new,)

    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """A block by chunks."""
        y, new = cast("tuple[Tensor, Tensor]", self.chunks(x, state[0]))
        return self._merge(y + x[:, :, None] * self.D.T), (new,)

    def _merge(self, y: Tensor) -> Tensor:
        """Outputs of the heads (..., M, H) to channels."""
        return y[..., 0, :] if self.mix is None else cast("Tensor", self.mix(F.gelu(y.flatten(-2))))

    @abstractmethod
    def _advance(self, u: Tensor, x: Tensor, steps: Tensor | None) -> Tensor:
        """The state after a sample, (B, H, N)."""

    def _hold(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().float().contiguous())


class DenseForm(_LinearForm):
    """`LSSL`, discretised when it is exported.

    Example:
        >>> DenseForm(LSSL(2, order=4), step=1.0).takes_steps
        False
    """

    A: Tensor
    B: Tensor

    def __init__(self, mixer: LSSL, *, step: float) -> None:
        super().__init__(mixer)
        system = mixer.system()
        A, B, C = (value.detach().double() for value in system[:3])
        A_bar, B_bar = discretize(A, B, step * system.dt.detach().double(), method=mixer.discretization)
        self.chunks = Chunks(A_bar, B_bar, C)
        self._hold(A=A_bar, B=B_bar, C=C)

    def _advance(self, u: Tensor, x: Tensor, steps: Tensor | None) -> Tensor:
        return (self.A @ x[..., None])[..., 0] + self.B * u[:, :, None]


class DiagonalForm(_LinearForm):
    """`S4D`; with steps at run time it discretises in real arithmetic at each sample.

    Example:
        >>> DiagonalForm(S4D(2, order=4), step=1.0, runtime=True).takes_steps
        True
    """

    takes_steps = True
    real: Tensor
    imag: Tensor
    B: Tensor
    dt: Tensor

    def __init__(self, mixer: S4D, *, step: float, runtime: bool) -> None:
        super().__init__(mixer)
        self.rule = mixer.discretization
        system = mixer.system()
        half = mixer.order // 2
        A, B, C, dt = (value.detach().double() for value in (system.A, system.B, system.C, system.dt))
        places = torch.arange(half)
        Lambda = torch.complex(A[:, places, places], A[:, places + half, places])
        A_bar, B_bar = discretize_diagonal(Lambda, real_to_pairs(B), step * dt, method=self.rule)
        fixed = torch.cat([B_bar.real, B_bar.imag], dim=-1)
        self.chunks = Chunks(A_bar, fixed, C)
        if runtime:
            self._hold(real=Lambda.real, imag=Lambda.imag, B=B, C=C, dt=dt[:, None])
        else:  # A x = Re A [Re x, Im x] + Im A [-Im x, Re x]: few operations on long rows
            both = torch.cat([A_bar.real, A_bar.real], -1), torch.cat([-A_bar.imag, A_bar.imag], -1)
            self._hold(real=both[0], imag=both[1], B=fixed, C=C)

    def _advance(self, u: Tensor, x: Tensor, steps: Tensor | None) -> Tensor:
        half = x.shape[-1] // 2
        state = Pair(x[..., :half], x[..., half:])
        if steps is None:
            return self.real * x + self.imag * torch.cat([state.imag, state.real], -1) + self.B * u[:, :, None]
        dt = self.dt * steps.to(x.dtype)[:, None, None]
        A, B = discrete(Pair(self.real, self.imag), Pair(self.B[:, :half], self.B[:, half:]), dt, self.rule)
        return A.by(state).plus(B.times(u[:, :, None])).joined()


class LowRankForm(_LinearForm):
    """`S4`: A normal plus low rank under the bilinear rule, O(N) a step.

    Example:
        >>> LowRankForm(S4(2, order=4), step=0.5).takes_steps
        True
    """

    takes_steps = True
    real: Tensor
    imag: Tensor
    P_real: Tensor
    P_imag: Tensor
    B: Tensor
    dt: Tensor

    def __init__(self, mixer: S4, *, step: float) -> None:
        super().__init__(mixer)
        system = mixer.system()
        half = mixer.order // 2
        A, B, C, dt = (value.detach().double() for value in (system.A, system.B, system.C, system.dt))
        self.chunks = Chunks(*discretize(A, B, step * dt, method="bilinear"), C)
        self.fixed = step
        P = mixer.P.detach()
        self._hold(
            real=-mixer.damping.detach().square(),
            imag=mixer.frequency.detach(),
            P_real=P[..., :half],
            P_imag=P[..., half:],
            B=B,
            C=C,
            dt=dt[:, None],
        )

    def _advance(self, u: Tensor, x: Tensor, steps: Tensor | None) -> Tensor:
        half = x.shape[-1] // 2
        dt = self.dt * (self.fixed if steps is None else steps.to(x.dtype)[:, None, None])
        double, state = 2 / dt, Pair(x[..., :half], x[..., half:])
        inverse = Pair(double - self.real, (-self.imag).expand_as(double - self.real)).inverse()
        known = Pair(double + self.real, self.imag).by(state)
        lost = self._spread(self._inner(state))
        driven = Pair(self.B[:, :half], self.B[:, half:]).times(2 * u[:, :, None])
        t = Pair(known.real - lost.real + driven.real, known.imag - lost.imag + driven.imag)
        Dt = inverse.by(t)
        back = inverse.by(self._spread(_solve(self._gram(inverse), self._inner(Dt))))
        return Pair(Dt.real - back.real, Dt.imag - back.imag).joined()

    def _inner(self, x: Pair) -> list[Tensor]:
        """`P^* x` over both halves of each pair, one (B, H) for each rank."""
        rank = self.P_real.shape[1]
        return [2 * (self.P_real[:, r] * x.real + self.P_imag[:, r] * x.imag).sum(dim=-1) for r in range(rank)]

    def _spread(self, weights: list[Tensor]) -> Pair:
        """`P w`."""
        real = sum((self.P_real[:, r] * w[..., None] for r, w in enumerate(weights)), torch.zeros(()))
        imag = sum((self.P_imag[:, r] * w[..., None] for r, w in enumerate(weights)), torch.zeros(()))
        return Pair(real, imag)

    def _gram(self, inverse: Pair) -> list[list[Tensor]]:
        """`I + P^* D P`, entry by entry."""
        rank = self.P_real.shape[1]
        columns = [self._inner(inverse.by(Pair(self.P_real[:, s], self.P_imag[:, s]))) for s in range(rank)]
        return [[columns[s][r] + float(r == s) for s in range(rank)] for r in range(rank)]


def _solve(matrix: list[list[Tensor]], known: list[Tensor]) -> list[Tensor]:
    """Solves a small system by elimination; its symmetric part is positive, so no rows need to change places."""
    rank = len(known)
    matrix, known = [list(row) for row in matrix], list(known)
    for k in range(rank):
        for r in range(k + 1, rank):
            factor = matrix[r][k] / matrix[k][k]
            matrix[r] = [a - factor * b for a, b in zip(matrix[r], matrix[k], strict=True)]
            known[r] = known[r] - factor * known[k]
    found: list[Tensor] = []
    for k in reversed(range(rank)):
        rest = known[k]
        for weight, value in zip(matrix[k][k + 1 :], found, strict=True):
            rest = rest - weight * value
        found.insert(0, rest / matrix[k][k])
    return found
