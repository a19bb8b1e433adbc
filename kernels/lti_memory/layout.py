"""Sorts the leading dimensions of a call into systems, along which A-bar or B-bar differ, and series that share one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Layout", "layout"]


class Layout(NamedTuple):
    """Where the leading dimensions go.

    Args:
        leading: The common leading shape.
        systems: The dimensions along which the system differs.
        series: The others.
    """

    leading: torch.Size
    systems: list[int]
    series: list[int]

    def sizes(self) -> tuple[int, int]:
        """H and S, the numbers of systems and of series each."""
        return (
            torch.Size([self.leading[i] for i in self.systems]).numel(),
            torch.Size([self.leading[i] for i in self.series]).numel(),
        )

    def gather(self, value: Tensor) -> Tensor:
        """Brings a value (..., n) of each series into the form (H, S, n)."""
        size = value.shape[-1]
        full = value.expand(*self.leading, size)
        return full.permute(*self.systems, *self.series, len(self.leading)).reshape(*self.sizes(), size)

    def system(self, value: Tensor, trailing: int) -> Tensor:
        """Brings a property of the systems, with `trailing` dimensions of its own, into the form (H, ...)."""
        own = value.shape[value.dim() - trailing :]
        shape = [size if i in self.systems else 1 for i, size in enumerate(self.leading)]
        return value.expand(*shape, *own).reshape(self.sizes()[0], *own)

    def scatter(self, value: Tensor) -> Tensor:
        """Brings a result (H, S, ...) back to the leading dimensions."""
        own = value.shape[2:]
        order = [*self.systems, *self.series]
        split = value.reshape(*(self.leading[i] for i in order), *own)
        back = [order.index(i) for i in range(len(order))]
        return split.permute(*back, *range(len(order), len(order) + len(own)))


def layout(leading: torch.Size, *systems: torch.Size) -> Layout:
    """Sorts the dimensions of `leading` by whether one of the `systems`' leading shapes extends along them.

    Example:
        >>> layout(torch.Size([2, 3]), torch.Size([3])).systems
        [1]
    """
    padded = [(1,) * (len(leading) - len(shape)) + tuple(shape) for shape in systems]
    differ = [i for i in range(len(leading)) if any(shape[i] != 1 for shape in padded)]
    return Layout(leading, differ, [i for i in range(len(leading)) if i not in differ])
