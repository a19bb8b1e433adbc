"""Poolings in an exported program."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.hippo.exact import quadrature
from seqkit.hippo.polynomials import legendre_polynomials
from seqkit.nn import Pool, PoolState
from seqkit.ssm.legs_pool import LegSPool, integration, line_means
from seqkit.streaming.export.form import Form, States

__all__ = ["LegSPoolForm", "RunningForm"]


class RunningForm(Form):
    """A pooling whose own block form is plain torch already: mean, last, maximum, shares.

    Args:
        pool: Any pooling that pools by samples.

    Example:
        >>> from seqkit.nn import MeanPool
        >>> RunningForm(MeanPool(2)).block(torch.ones(1, 3, 2), (torch.zeros(1, 2).double(), torch.tensor([0])))[0]
        tensor([[1., 1.]])
    """

    takes_steps = True  # they have no use for them

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool

    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """One sample."""
        return self.block(x[:, None], state)

    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """A block."""
        value, seen = state
        pooled, after = self.pool.scan(x, PoolState(value, seen))
        return pooled, tuple(after)


class LegSPoolForm(Form):
    """The course of each channel in Legendre polynomials: what is known is placed, what comes is projected.

    Args:
        pool: The pooling.
        step: Step of samples that come without one.

    Example:
        >>> LegSPoolForm(LegSPool(2, order=4), step=1.0).takes_steps
        True
    """

    takes_steps = True
    nodes: Tensor
    weighted: Tensor
    norms: Tensor
    integrate: Tensor

    def __init__(self, pool: LegSPool, *, step: float) -> None:
        super().__init__()
        self.fixed, self.order, self.courses, self.integrals = step, pool.order, pool.n_courses, pool.integrals
        self.lift, self.interpolate = pool.lift, pool.interpolate
        nodes, weighted = quadrature(pool.order)
        self.register_buffer("nodes", nodes.clone())
        self.register_buffer("weighted", weighted.T.contiguous())
        self.register_buffer("norms", torch.sqrt(2 * torch.arange(pool.order, dtype=torch.float64) + 1))
        self.register_buffer("integrate", integration(pool.order).T.contiguous())

    def step(self, x: Tensor, state: States, steps: Tensor | None) -> tuple[Tensor, States]:
        """One sample."""
        elapsed = state[1]
        end = elapsed + (self.fixed if steps is None else steps)
        return self._take(x[:, None], state, torch.stack([elapsed, end], dim=1), end)

    def block(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        """A block, all samples at once."""
        elapsed = state[1]
        edges = elapsed[:, None] + self.fixed * torch.arange(x.shape[1] + 1, dtype=torch.float64)
        return self._take(x, state, edges, elapsed + self.fixed * x.shape[1])

    def _take(self, x: Tensor, state: States, edges: Tensor, end: Tensor) -> tuple[Tensor, States]:
        if self.lift is not None:
            x = torch.cat([x, self.lift(x)], dim=-1)
        samples = x.double()
        known, after = state[0], list[Tensor]()
        if self.interpolate:
            known, last = known[:, : self.courses * self.order], known[:, self.courses * self.order :]
            after = [samples[:, -1]]
            samples = line_means(samples, torch.where((state[1] > 0)[:, None], last, samples[:, 0]))
        before = known.view(-1, self.courses, self.order)
        value = self._placed(before, edges[:, 0] / end) + self._projected(samples, edges / end[:, None])
        pooled = torch.cat([value, 4 * (value @ self.integrate)], dim=-1) if self.integrals else value
        return pooled.flatten(1).to(x.dtype), (torch.cat([value.flatten(1), *after], dim=1), end.clone())

    def _placed(self, c: Tensor, share: Tensor) -> Tensor:
        """What the whole keeps of the coefficients of its first part; see `seqkit.hippo.exact_memory.place`."""
        values = legendre_polynomials(self.order, 2 * share[:, None] * self.nodes - 1)  # (B, nodes, N)
        return c @ self.weighted @ (values * (share[:, None, None] * self.norms))

    def _projected(self, x: Tensor, edges: Tensor) -> Tensor:
        """Coefficients of samples held between edges in units of the whole; see `project_pieces` there."""
        jumps = -F.pad(x.transpose(1, 2), (1, 1)).diff(dim=-1)  # (B, courses, L + 1)
        sums = jumps @ legendre_polynomials(self.order + 1, 2 * edges - 1)
        lower = torch.cat([-sums[..., :1], sums[..., : self.order - 1]], dim=-1)
        return (sums[..., 1:] - lower) / (2 * self.norms)
