"""Making and drawing the parameters of structured matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["draw", "parameter"]


def parameter(
    *shape: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None, complex_too: bool = True
) -> nn.Parameter:
    """Parameter of a floating or complex dtype, not yet drawn.

    Args:
        *shape: Its shape.
        device: Its device.
        dtype: Its number type; torch's default if None.
        complex_too: Whether the family offers complex dtypes.

    Raises:
        ValueError: a dtype that holds whole numbers, or complex numbers where the family has none.

    Example:
        >>> parameter(2, 3).shape
        torch.Size([2, 3])
    """
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not (dtype.is_floating_point or (dtype.is_complex and complex_too)):
        raise ValueError(f"`dtype` must be floating{' or complex' if complex_too else ''}, got {dtype}")
    return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))


@torch.no_grad()
def draw(values: Tensor, variance: float) -> None:
    """Fills a tensor with uniform numbers of mean 0 and E|w|² = `variance`, real and imaginary parts alike.

    Example:
        >>> values = torch.empty(1000)
        >>> draw(values, 0.25)
        >>> 0.8 < float(values.std()) / 0.5 < 1.2
        True
    """
    parts = torch.view_as_real(values) if values.is_complex() else values
    bound = (3 * variance / (2 if values.is_complex() else 1)) ** 0.5
    parts.uniform_(-bound, bound)
