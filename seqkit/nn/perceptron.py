"""A perceptron with residual hidden layers, for features that have no time any more."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.checks import check_choice, check_positive_int, check_unit_interval
from seqkit.nn.backbone import ACTIVATIONS, OUTPUTS
from seqkit.nn.batch_norm import BatchNorm
from seqkit.nn.feed_forward import FeedForward
from seqkit.nn.norm import build_norm, norm_names

__all__ = ["Perceptron", "perceptron_norms"]


def perceptron_norms() -> list[str]:
    """Names of the normalisations that a perceptron takes: those of a block, and "batch".

    Example:
        >>> perceptron_norms()
        ['layer', 'rms', 'none', 'batch']
    """
    return [*norm_names(), "batch"]


def _norm(name: str, d_model: int) -> nn.Module:
    return BatchNorm(d_model) if name == "batch" else build_norm(name, d_model)


class Perceptron(nn.Module):
    """Linear map to width D, hidden layers `x + dropout(W dropout(activation(norm(x))))`, and a last normalisation.

    Args:
        n_features: Width of the input.
        d_model: Width D of hidden layers and output.
        n_layers: Number of hidden layers.
        norm: "layer", "rms", "none" or "batch": features have no time any more, so that the statistics of a batch may
            serve; see `BatchNorm`.
        activation: "gelu", "relu", "silu" or "none".
        output: "gated" for `a * sigmoid(b)` with (a, b) = W y of width 2 D, "linear" for W y, "none" for y, "mlp" for
            hidden layers `x + dropout(F(norm(x)))` with a feed-forward part F four times as wide.
        dropout: Share of values set to zero, in [0, 1).

    Raises:
        ValueError: an unknown choice, a size below 1, or a share outside [0, 1).

    Example:
        >>> import torch
        >>> Perceptron(12, 8)(torch.zeros(2, 12)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        n_features: int,
        d_model: int,
        *,
        n_layers: int = 1,
        norm: str = "layer",
        activation: str = "gelu",
        output: str = "gated",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_int("n_layers", n_layers)
        self.output = check_choice("output", output, OUTPUTS)
        check_choice("norm", norm, perceptron_norms())
        check_choice("activation", activation, ACTIVATIONS)
        wide = output == "mlp"  # which has an activation and dropout of its own
        self.activation = nn.Identity() if wide else ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(check_unit_interval("dropout", dropout))
        self.enter = nn.Linear(check_positive_int("n_features", n_features), check_positive_int("d_model", d_model))
        self.norms = nn.ModuleList(_norm(norm, d_model) for _ in range(n_layers))

        def layer() -> nn.Module:
            if wide:
                return FeedForward(d_model, activation=activation, dropout=dropout)
            width = 2 * d_model if output == "gated" else d_model
            return nn.Identity() if output == "none" else nn.Linear(d_model, width)

        self.maps = nn.ModuleList(layer() for _ in range(n_layers))
        self.norm = _norm(norm, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (..., n_features) to (..., D)."""
        x = self.enter(x)
        for norm, layer in zip(self.norms, self.maps, strict=True):
            y = norm(x)
            y = layer(y if self.output == "mlp" else self.dropout(self.activation(y)))
            x = x + self.dropout(F.glu(y, dim=-1) if self.output == "gated" else y)
        return cast("Tensor", self.norm(x))
