"""The dense matrix as a family of its own, for comparison and for the switch to dense training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.parameters import draw, parameter
from seqkit.structured.registry import register_structure

__all__ = ["Dense"]


@register_structure("dense")
class Dense(StructuredMatrix):
    """Matrix without structure: every entry is a parameter.

    Args:
        in_features: Columns.
        out_features: Rows.
        device: Device of the parameters.
        dtype: Number type, floating or complex.

    Cost: in x out parameters, 2 in x out operations a row.

    Example:
        >>> Dense(3, 2).weight.shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.weight = parameter(out_features, in_features, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform entries with variance 1 / (3 in), as in `nn.Linear`."""
        draw(self.weight, 1 / (3 * self.in_features))

    def multiply(self, x: Tensor) -> Tensor:
        """One dense product."""
        return nn.functional.linear(x, self.weight)

    def dense(self) -> Tensor:
        """Returns the parameter itself."""
        return self.weight

    def assign(self, matrix: Tensor) -> None:
        """Copies the matrix."""
        self.weight.copy_(matrix)

    @property
    def flops(self) -> int:
        """2 in out."""
        return 2 * self.weight.numel()
