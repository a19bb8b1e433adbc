"""Pooling over time that respects lengths, with an online form, and the registry of poolings by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_lengths, check_positive_int
from seqkit.registry import Registry

__all__ = [
    "LastPool",
    "MaxPool",
    "MeanPool",
    "Pool",
    "PoolState",
    "build_pool",
    "get_pool",
    "pool_names",
    "pool_options",
    "register_pool",
]


class PoolState(NamedTuple):
    """What pooling remembers: the running value, (B, width), and the samples (or the time) seen so far, (B,)."""

    value: Tensor
    seen: Tensor


class Pool(nn.Module, ABC):
    """Abstract pooling (B, L, D) -> (B, width) over the first `lengths[i]` samples of series i.

    Args:
        d_model: Channels D.

    Example:
        >>> pool = MeanPool(1)
        >>> pooled, state = pool.step(torch.tensor([[1.0]]), pool.initial_state(1))
        >>> pooled, state = pool.step(torch.tensor([[3.0]]), state)
        >>> pooled.item()
        2.0
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        # A buffer without a place in the saved weights: it only tells the device and dtype of a new state.
        self.register_buffer("start", torch.zeros(d_model), persistent=False)
        self.start: Tensor

    @property
    def width(self) -> int:
        """Size of a pooled value, d_model unless a pooling says otherwise."""
        return self.d_model

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, *, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Pools whole series.

        Args:
            x: Values, (B, L, D).
            lengths: Samples of each series, (B,), or None when none is padded.
            rate: Sampling step, as for a mixer; what is pooled by samples has no use for it.
            timestamps: Time of each sample, as for a mixer; likewise.

        Returns:
            Pooled values, (B, width).

        Raises:
            ValueError: lengths that do not fit the block.
        """
        return self.scan(x, self.initial_state(x.shape[0]), lengths, rate=rate, timestamps=timestamps)[0]

    def initial_state(self, batch_size: int = 1) -> PoolState:
        """State before the first sample."""
        return PoolState(
            self.start.new_zeros(batch_size, self.d_model),
            torch.zeros(batch_size, dtype=torch.int64, device=self.start.device),
        )

    def step(self, x_t: Tensor, state: PoolState, *, rate: float | Tensor = 1.0) -> tuple[Tensor, PoolState]:
        """Takes one sample (B, D); returns the value pooled over all samples so far, and the new state.

        Args:
            x_t: Sample, (B, D).
            state: What `initial_state` or the previous call returned.
            rate: Time since the sample before in units of the training step; one number, or one per stream (B,).
        """
        return self.scan(x_t[:, None], state, rate=rate)

    @abstractmethod
    def scan(
        self,
        x: Tensor,
        state: PoolState,
        lengths: Tensor | None = None,
        *,
        rate: float | Tensor = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, PoolState]:
        """Takes a block (B, L, D) that continues from `state`; returns the pooled value and the new state."""


_POOLS: Registry[Pool] = Registry("pool", no_options=("d_model",))
P = TypeVar("P", bound=type[Pool])


def register_pool(name: str) -> Callable[[P], P]:
    """Class decorator that makes a pooling known by name to models, configurations and the command line.

    Args:
        name: Name in configurations, such as "mean".

    Raises:
        ValueError: the name is already taken.

    Example:
        >>> from seqkit.nn import MeanPool
        >>> register_pool("mean")(MeanPool) is MeanPool  # the same class again is no harm
        True
    """
    return _POOLS.register(name)


def pool_names() -> list[str]:
    """Names that `build_pool` takes.

    Example:
        >>> pool_names()[:3]
        ['mean', 'last', 'max']
    """
    return _POOLS.names()


def pool_options(name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Options of a pooling with their defaults, overridden by those given; `d_model` is not among them.

    Args:
        name: Name of a registered pooling.
        given: Options to override.

    Raises:
        ValueError: no such pooling, or an option that it does not have.

    Example:
        >>> pool_options("mean")
        {}
    """
    return _POOLS.options(name, given)


def get_pool(name: str) -> type[Pool]:
    """Class of the pooling with this name.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    Example:
        >>> get_pool("max").__name__
        'MaxPool'
    """
    return _POOLS.get(name)


def build_pool(name: str, d_model: int, **options: Any) -> Pool:
    """Pooling by name.

    Args:
        name: One of `pool_names()`.
        d_model: Channels D.
        options: Options of the pooling.

    Raises:
        ValueError: no such pooling or option.

    Example:
        >>> type(build_pool("max", 4)).__name__
        'MaxPool'
    """
    return get_pool(name)(d_model, **pool_options(name, options))


def inside_lengths(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mask (B, L, 1) of the samples that count, and how many there are, (B,)."""
    if lengths is None:
        lengths = torch.full((x.shape[0],), x.shape[1], dtype=torch.int64, device=x.device)
    else:
        check_lengths(lengths, x.shape[0], x.shape[1])
        lengths = lengths.to(x.device)
    return (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, :, None], lengths


@register_pool("mean")
class MeanPool(Pool):
    """Mean over a series' samples.

    Example:
        >>> MeanPool(1)(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).item()
        2.0
    """

    def initial_state(self, batch_size: int = 1) -> PoolState:
        """A sum of nothing, in float64: in float32 the sum of a stream of ten million samples would stop growing."""
        value, seen = super().initial_state(batch_size)
        return PoolState(value.double(), seen)

    def scan(
        self,
        x: Tensor,
        state: PoolState,
        lengths: Tensor | None = None,
        *,
        rate: float | Tensor = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, PoolState]:
        """Running mean; the state keeps the sum."""
        inside, lengths = inside_lengths(x, lengths)
        # Under autocast a block's sum in 8 bits would stop growing as well.
        block = torch.where(inside, x, x.new_zeros(())).sum(dim=1, dtype=self.start.dtype)
        total = state.value + block
        seen = state.seen + lengths
        return (total / seen[:, None]).to(self.start.dtype), PoolState(total, seen)


@register_pool("last")
class LastPool(Pool):
    """A series' last sample.

    Example:
        >>> LastPool(1)(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).item()
        3.0
    """

    def scan(
        self,
        x: Tensor,
        state: PoolState,
        lengths: Tensor | None = None,
        *,
        rate: float | Tensor = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, PoolState]:
        """The last sample of the block."""
        _, lengths = inside_lengths(x, lengths)
        last = x.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]
        return last, PoolState(last, state.seen + lengths)


@register_pool("max")
class MaxPool(Pool):
    """Largest value of each channel over a series' samples.

    Example:
        >>> MaxPool(1)(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).item()
        3.0
    """

    def scan(
        self,
        x: Tensor,
        state: PoolState,
        lengths: Tensor | None = None,
        *,
        rate: float | Tensor = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, PoolState]:
        """Running maximum; before the first sample there is none, which `seen` tells."""
        inside, lengths = inside_lengths(x, lengths)
        lowest = x.new_full((), -torch.inf)
        largest = torch.where(inside, x, lowest).amax(dim=1)
        before = torch.where((state.seen > 0)[:, None], state.value, lowest)
        value = torch.maximum(largest, before)
        return value, PoolState(value, state.seen + lengths)
