"""Heads: from features to class scores or to values in the target's own units."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int
from seqkit.nn.statistics import check_statistics

__all__ = ["ClassHead", "ValueHead"]


class ClassHead(nn.Module):
    """Linear map to one score (logit) per class.

    Args:
        d_model: Width D of the features.
        n_outputs: Number of classes.

    Example:
        >>> ClassHead(4, n_outputs=3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, d_model: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(check_positive_int("d_model", d_model), check_positive_int("n_outputs", n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (..., D) to scores (..., n_outputs)."""
        return cast("Tensor", self.linear(x))


class ValueHead(nn.Module):
    """Linear map to values, `y = scale * (W x + b) + offset`, with scale and offset of the training targets.

    The network then works on numbers near 1 whatever unit the target has, and predictions come in that unit.

    Args:
        d_model: Width D of the features.
        n_outputs: Number of values T.

    Example:
        >>> head = ValueHead(4, n_outputs=1)
        >>> head.set_statistics(torch.tensor([70.0]), torch.tensor([12.0]))
        >>> head(torch.zeros(2, 4)).shape
        torch.Size([2, 1])
    """

    def __init__(self, d_model: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(check_positive_int("d_model", d_model), check_positive_int("n_outputs", n_outputs))
        self.register_buffer("offset", torch.zeros(n_outputs))
        self.register_buffer("scale", torch.ones(n_outputs))
        self.offset: Tensor
        self.scale: Tensor

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Takes mean and standard deviation of the training targets, (T,) each.

        Raises:
            ValueError: wrong number of values, one that is not finite, or a standard deviation that is not above 0.
        """
        check_statistics(mean, std, len(self.offset))
        self.offset.copy_(mean)
        self.scale.copy_(std)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (..., D) to values (..., T) in the target's units."""
        return cast("Tensor", self.linear(x)) * self.scale + self.offset
