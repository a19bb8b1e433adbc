"""Pooling by LegS: a series as the coefficients of its whole course, however fast it was recorded."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive, check_positive_int, check_shape
from seqkit.hippo import HiPPOMemory, MemoryState
from seqkit.nn.hold import last_of
from seqkit.nn.mixer import mask_past_end, sample_steps
from seqkit.nn.pool import Pool, PoolState, register_pool

__all__ = ["LegSPool", "integration", "line_means"]


@register_pool("legs")
class LegSPool(Pool):
    """Coefficients of each channel's course in N Legendre polynomials, time being a share of the series so far.

        c_n = ∫ x(s t) sqrt(2n + 1) P_n(2s - 1) ds over 0 <= s <= 1, each sample held for the stretch that it ends

    The series played at another speed, or recorded at another rate, has the same coefficients but for what sampling
    itself loses: there is nothing to be told. Uneven times count as they are. A series so far and its rest are joined
    exactly, so blocks and single samples give what the whole gives.

    Args:
        d_model: Channels D.
        order: Coefficients N of each channel; order 1 is the mean over time.
        integrals: Whether the N coefficients of each channel's running integral follow, in time of a quarter of the
            series so far: where a pen is, from how fast it moves. They say nothing new, but say it to a perceptron in a
            form that it learns more from.
        features: Number K of learned functions of a sample's channels whose courses are projected beside those of the
            channels themselves, `W_2 gelu(W_1 x + b_1)`: what a linear map of the whole course cannot say, such as how
            fast a pen moves whatever its direction.
        interpolate: Whether each stretch counts with the mean of the samples at its two ends, as a straight line
            between them would, instead of with the one that ends it; the first stretch has one sample only. Closer to a
            smooth course, the more so the fewer samples there are.

    Source:
        Gu et al. 2020, HiPPO (arXiv:2008.07669), section 3: timescale equivariance. The exact projection is ours,
        and so are straight lines between samples.

    Cost: N operations a sample; a step N^2, in float64.

    Example:
        >>> pool, x = LegSPool(2, order=4), torch.randn(1, 50, 2)
        >>> torch.allclose(pool(x), pool(x.repeat_interleave(2, dim=1)), atol=1e-6)
        True
    """

    def __init__(
        self, d_model: int, *, order: int = 16, integrals: bool = False, features: int = 0, interpolate: bool = False
    ) -> None:
        super().__init__(d_model)
        self.order = check_positive_int("order", order)
        self.integrals = integrals
        self.interpolate = interpolate
        if isinstance(features, bool) or not isinstance(features, int) or features < 0:
            raise ValueError(f"`features` must be a whole number of at least 0, got {features!r}")
        self.n_courses = d_model + features
        hidden = 4 * features
        self.lift = (
            nn.Sequential(nn.Linear(d_model, hidden), nn.GELU(), nn.Linear(hidden, features)) if features else None
        )
        self.memory = HiPPOMemory(order, "legs", rule="exact")

    @property
    def width(self) -> int:
        """(D + K) N, or twice that with integrals."""
        return self.n_courses * self.order * (2 if self.integrals else 1)

    def initial_state(self, batch_size: int = 1) -> PoolState:
        """State before the first sample; `seen` is the time so far, and with lines the last sample ends `value`.

        Both are float64: in float32 the coefficients of a stream of ten million samples would stop following it.
        """
        like = self.start.double()
        width = self.n_courses * (self.order + self.interpolate)
        return PoolState(like.new_zeros(batch_size, width), like.new_zeros(batch_size))

    def scan(
        self,
        x: Tensor,
        state: PoolState,
        lengths: Tensor | None = None,
        *,
        rate: float | Tensor = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, PoolState]:
        """Coefficients of everything so far; `rate` matters only where a series changes it on the way."""
        check_shape("x", x, ("B", "L", self.d_model), f"d_model is {self.d_model}")
        elapsed, times = state.seen, None
        if timestamps is not None:
            check_shape("timestamps", timestamps, tuple(x.shape[:2]))
            steps = sample_steps(timestamps, check_positive("rate", cast("float", rate)), lengths).to(
                x.device, torch.float64
            )
            times = elapsed[:, None] + steps.cumsum(dim=1)
        known, last = state.value.tensor_split([self.n_courses * self.order], dim=1)
        before = MemoryState(known.view(-1, self.n_courses, self.order), elapsed, elapsed)
        with torch.autocast(x.device.type, enabled=False):
            samples = mask_past_end(x.to(self.start.dtype), lengths)
            if self.lift is not None:
                samples = torch.cat([samples, self.lift(samples)], dim=-1)
            own = rate if times is None else 1.0
            samples = samples.to(state.value.dtype)
            if self.interpolate:
                last = torch.where((elapsed > 0)[:, None], last, samples[:, 0])
                samples, last = line_means(samples, last), last_of(samples, lengths)
            value, after = self.memory.scan(samples, before, times, lengths=lengths, rate=own)
            pooled = value
            if self.integrals:
                pooled = torch.cat([value, 4 * value @ integration(self.order).to(value).mT], dim=-1)
        state = PoolState(torch.cat([value.flatten(1), last], dim=1), after.elapsed)
        return pooled.flatten(1).to(self.start.dtype), state

    def extra_repr(self) -> str:
        """Sizes."""
        features = self.n_courses - self.d_model
        words = f"d_model={self.d_model}, order={self.order}, integrals={self.integrals}, features={features}"
        return f"{words}, interpolate={self.interpolate}"


def line_means(x: Tensor, before: Tensor) -> Tensor:
    """Mean of each sample and the one before it: what a straight line between them comes to.

    Args:
        x: Samples, (B, L, D).
        before: The sample before the first one, (B, D).

    Example:
        >>> line_means(torch.tensor([[[2.0], [6.0]]]), torch.tensor([[0.0]])).flatten()
        tensor([1., 4.])
    """
    return (x + torch.cat([before[:, None], x[:, :-1]], dim=1)) / 2


def integration(order: int) -> Tensor:
    """Coefficients of the integral from 0 to s, by those of the integrand, (N, N); the degree N is left out.

        ∫ g_n = b_{n+1} g_{n+1} - b_n g_{n-1},  b_n = 1 / (2 sqrt(4n² - 1));  ∫ g_0 = g_0 / 2 + b_1 g_1

    Args:
        order: Number of coefficients N.

    Example:
        >>> integration(1)
        tensor([[0.5000]], dtype=torch.float64)
    """
    n = torch.arange(1, order, dtype=torch.float64)
    beside = 0.5 / torch.sqrt(4 * n * n - 1)
    matrix = torch.diag(beside, -1) - torch.diag(beside, 1)
    matrix[0, 0] = 0.5
    return matrix
