"""A linear map whose matrix is made in blocks, used and dropped, on the way back once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["linear_map"]

Map: TypeAlias = Callable[[Tensor], Tensor]


class _LinearMap(torch.autograd.Function):
    """The gradient of a linear map is the transposed map, and the gradient of that the map itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forth: Map, back: Map) -> Tensor:
        ctx.forth, ctx.back = forth, back
        return forth(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return linear_map(grads[0], ctx.back, ctx.forth), None, None


def linear_map(x: Tensor, forth: Map, back: Map) -> Tensor:
    """Applies a linear map, differentiable in `x` any number of times without keeping the map's matrix.

    Args:
        x: Argument.
        forth: The map.
        back: The transposed map, from what `forth` returns to what it takes.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> linear_map(x, lambda v: 3 * v, lambda v: 3 * v).sum().backward()
        >>> x.grad
        tensor([3., 3.])
    """
    result: Tensor = _LinearMap.apply(x, forth, back)  # type: ignore[no-untyped-call]
    return result
