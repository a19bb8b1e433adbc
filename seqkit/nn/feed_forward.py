"""The feed-forward part of a transformer's block, and the activations by name."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int, check_unit_interval

__all__ = ["ACTIVATIONS", "FeedForward"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "none": nn.Identity}


class FeedForward(nn.Module):
    """A perceptron with one wide hidden layer, for each sample by itself: `W dropout(activation(V x + a)) + b`.

    Args:
        d_model: Channels D of input and output.
        expansion: Width of the hidden layer in units of D.
        activation: "gelu", "relu", "silu" or "none".
        dropout: Share of hidden values set to zero in training, in [0, 1).

    Raises:
        ValueError: an unknown activation, a size below 1, or a share outside [0, 1).

    Source:
        Vaswani et al. 2017 (arXiv:1706.03762), section 3.3.

    Example:
        >>> import torch
        >>> FeedForward(4)(torch.zeros(2, 7, 4)).shape
        torch.Size([2, 7, 4])
    """

    def __init__(self, d_model: int, *, expansion: int = 4, activation: str = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        width = check_positive_int("expansion", expansion) * check_positive_int("d_model", d_model)
        self.wide = nn.Linear(d_model, width)
        self.activation = ACTIVATIONS[check_choice("activation", activation, ACTIVATIONS)]()
        self.dropout = nn.Dropout(check_unit_interval("dropout", dropout))
        self.narrow = nn.Linear(width, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Maps samples (..., D)."""
        return cast("Tensor", self.narrow(self.dropout(self.activation(self.wide(x)))))
