"""The usual form of quantised messages in torch operations: rounded numbers that are never packed."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.bench.peers import plain_form
from seqkit.kernels.quantise import largest_code

__all__ = ["ROUNDED", "rounded"]


def rounded(x: Tensor, bits: int, group: int) -> Tensor:
    """Rounds each number to a whole number of its group's steps, which are bfloat16 rounded up.

    What simulations of quantised training compute: the numbers are those that would arrive, and nothing is shorter.

    Args:
        x: Rows, (R, n), float32; `group` divides n.
        bits: Bits of a number.
        group: Numbers that share a step.

    Example:
        >>> rounded(torch.tensor([[7.0, 3.4]]), 4, 2)
        tensor([[7., 3.]])
    """
    parts = x.view(len(x), -1, group)
    exact = parts.abs().amax(-1, keepdim=True) / largest_code(bits)
    step = ((exact.view(torch.int32) + 0xFFFF) & -0x10000).view(torch.float32)
    return (torch.round(parts * torch.where(step > 0, 1 / step, 0)) * step).view(x.shape)


ROUNDED = plain_form(
    "rounding in torch",
    "fake quantisation in torch operations, nothing packed",
    lambda inputs, setting: rounded(inputs["x"].float(), setting["bits"], setting["group"]).to(inputs["x"]),
)
