"""Pooling over time that respects lengths, with an online form: the pooled value of the samples so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_lengths, check_positive_int

__all__ = ["LastPool", "MaxPool", "MeanPool", "Pool", "PoolState", "build_pool", "pool_names"]


class PoolState(NamedTuple):
    """What pooling remembers: the running value, (B, D), and the number of samples seen so far, (B,)."""

    value: Tensor
    seen: Tensor


class Pool(nn.Module, ABC):
    """Abstract pooling (B, L, D) -> (B, D) over the first `lengths[i]` samples of series i.

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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pools whole series.

        Args:
            x: Values, (B, L, D).
            lengths: Samples of each series, (B,), or None when none is padded.

        Returns:
            Pooled values, (B, D).

        Raises:
            ValueError: lengths that do not fit the block.
        """
        return self.scan(x, self.initial_state(x.shape[0]), lengths)[0]

    def initial_state(self, batch_size: int = 1) -> PoolState:
        """State before the first sample."""
        return PoolState(
            self.start.new_zeros(batch_size, self.d_model),
            torch.zeros(batch_size, dtype=torch.int64, device=self.start.device),
        )

    def step(self, x_t: Tensor, state: PoolState) -> tuple[Tensor, PoolState]:
        """Takes one sample (B, D); returns the value pooled over all samples so far, and the new state."""
        return self.scan(x_t[:, None], state)

    @abstractmethod
    def scan(self, x: Tensor, state: PoolState, lengths: Tensor | None = None) -> tuple[Tensor, PoolState]:
        """Takes a block (B, L, D) that continues from `state`; returns the pooled value and the new state."""


def _inside(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mask (B, L, 1) of the samples that count, and how many there are, (B,)."""
    if lengths is None:
        lengths = torch.full((x.shape[0],), x.shape[1], dtype=torch.int64, device=x.device)
    else:
        check_lengths(lengths, x.shape[0], x.shape[1])
        lengths = lengths.to(x.device)
    return (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, :, None], lengths


class MeanPool(Pool):
    """Mean over a series' samples.

    Example:
        >>> MeanPool(1)(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).item()
        2.0
    """

    def scan(self, x: Tensor, state: PoolState, lengths: Tensor | None = None) -> tuple[Tensor, PoolState]:
        """Running mean; the state keeps the sum."""
        inside, lengths = _inside(x, lengths)
        # In the state's dtype: under autocast a sum of many samples in 8 bits would stop growing.
        total = state.value + torch.where(inside, x, x.new_zeros(())).sum(dim=1, dtype=state.value.dtype)
        seen = state.seen + lengths
        return total / seen[:, None].to(total.dtype), PoolState(total, seen)


class LastPool(Pool):
    """A series' last sample.

    Example:
        >>> LastPool(1)(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).item()
        3.0
    """

    def scan(self, x: Tensor, state: PoolState, lengths: Tensor | None = None) -> tuple[Tensor, PoolState]:
        """The last sample of the block."""
        _, lengths = _inside(x, lengths)
        last = x.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]
        return last, PoolState(last, state.seen + lengths)


class MaxPool(Pool):
    """Largest value of each channel over a series' samples.

    Example:
        >>> MaxPool(1)(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).item()
        3.0
    """

    def scan(self, x: Tensor, state: PoolState, lengths: Tensor | None = None) -> tuple[Tensor, PoolState]:
        """Running maximum; before the first sample there is none, which `seen` tells."""
        inside, lengths = _inside(x, lengths)
        lowest = x.new_full((), -torch.inf)
        largest = torch.where(inside, x, lowest).amax(dim=1)
        before = torch.where((state.seen > 0)[:, None], state.value, lowest)
        value = torch.maximum(largest, before)
        return value, PoolState(value, state.seen + lengths)


_POOLS: dict[str, type[Pool]] = {"mean": MeanPool, "last": LastPool, "max": MaxPool}


def pool_names() -> list[str]:
    """Names that `build_pool` takes.

    Example:
        >>> pool_names()
        ['mean', 'last', 'max']
    """
    return list(_POOLS)


def build_pool(name: str, d_model: int) -> Pool:
    """Pooling by name.

    Args:
        name: "mean", "last" or "max".
        d_model: Channels D.

    Raises:
        ValueError: no such pooling.

    Example:
        >>> type(build_pool("max", 4)).__name__
        'MaxPool'
    """
    return _POOLS[check_choice("pool", name, _POOLS)](d_model)
