"""A loop over the samples of a block, of any length, that an exported program keeps as a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from torch import Tensor
from torch._higher_order_ops.scan import scan

__all__ = ["Body", "along"]

Body: TypeAlias = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], Tensor]]
"""Takes what is carried and one sample of each input; returns what is carried on and this sample's output."""


def along(body: Body, carried: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Runs the body along time; in ONNX it becomes one `Scan`.

    Args:
        body: One turn. What it returns must be new tensors, none of them twice.
        carried: What is carried from sample to sample.
        inputs: Tensors with the time in front, (L, ...).

    Returns:
        What is carried after the last sample, and the outputs, (L, ...).

    Example:
        >>> import torch
        >>> class Sums(torch.nn.Module):
        ...     def forward(self, x):
        ...         return along(lambda c, x: ([c[0] + x[0]], c[0] + 0), [torch.zeros(1)], [x])
        >>> program = torch.export.export(Sums(), (torch.ones(3, 1),)).module()
        >>> program(torch.ones(3, 1))[0]
        [tensor([3.])]
    """
    last, outputs = scan(body, [tensor.contiguous() for tensor in carried], list(inputs))
    return cast("list[Tensor]", list(last)), cast("Tensor", outputs)
