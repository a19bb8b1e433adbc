"""Parameters in a row, each filled up to a whole number of groups, so that no group holds numbers of two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Padded"]


class Padded:
    """The layout of some parameters, and a row of what coding has lost of each.

    Args:
        parameters: In order.
        group: Numbers of a group.

    Example:
        >>> padded = Padded([nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(9))], 8)
        >>> padded.numbers, padded.error.shape
        (12, torch.Size([24]))
    """

    def __init__(self, parameters: Sequence[nn.Parameter], group: int) -> None:
        self.shapes = [parameter.shape for parameter in parameters]
        sizes = [parameter.numel() for parameter in parameters]
        self.numbers = sum(sizes)
        widths = [-(-size // group) * group for size in sizes]
        starts = [sum(widths[:place]) for place in range(len(widths))]
        self.spans = list(zip(starts, sizes, strict=True))
        self.error = torch.zeros(sum(widths), device=parameters[0].device)

    def views(self, row: Tensor) -> list[Tensor]:
        """Each parameter's part of a row, in its shape.

        Example:
            >>> [view.shape for view in Padded([nn.Parameter(torch.zeros(3, 2))], 8).views(torch.zeros(8))]
            [torch.Size([3, 2])]
        """
        return [
            row[start : start + size].view(shape) for (start, size), shape in zip(self.spans, self.shapes, strict=True)
        ]

    def gather(self, values: Sequence[Tensor]) -> Tensor:
        """Values of the parameters as a row, float32, zeros between.

        Example:
            >>> Padded([nn.Parameter(torch.zeros(2))], 8).gather([torch.ones(2)])
            tensor([1., 1., 0., 0., 0., 0., 0., 0.])
        """
        row = torch.zeros_like(self.error)
        torch._foreach_copy_(self.views(row), list(values))
        return row

    def scatter(self, row: Tensor, values: Sequence[Tensor]) -> None:
        """Sets the values of the parameters to those of a row.

        Example:
            >>> values = [torch.zeros(2)]
            >>> Padded([nn.Parameter(torch.zeros(2))], 8).scatter(torch.ones(8), values)
            >>> values
            [tensor([1., 1.])]
        """
        torch._foreach_copy_(list(values), self.views(row))
