"""A linear layer whose weight is a structured matrix: a drop-in for `nn.Linear`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.parameters import draw, parameter
from seqkit.structured.project import project, split_options
from seqkit.structured.registry import get_structure, structure_options

__all__ = ["StructuredLinear"]


class StructuredLinear(nn.Module):
    """Linear layer y = x Wᵀ + b with a structured W, used as `nn.Linear` is.

    Args:
        in_features: Size of a row of the input.
        out_features: Size of a row of the output.
        structure: Name of a registered family, `seqkit.structured.structure_names()`.
        bias: Whether to add a bias.
        device: Device of the parameters.
        dtype: Number type of the parameters, floating or complex where the family offers it.
        **options: Options of the family, `seqkit.structured.structure_options(structure)`.

    Attributes:
        structure: Name of the family.
        options: Options of the family that were given.
        matrix: The structured matrix; what trains of W are its parameters.
        bias: The bias, (out,), or None.

    Raises:
        ValueError: a size, family or option that cannot be.

    Source: W starts with the variance of `nn.Linear`, 1 / (3 in) an entry, and so does the bias. The published Monarch
        layer starts with a third of that.

    Cost: that of the family; see `matrix.flops`.

    Example:
        >>> layer = StructuredLinear(64, 32, structure="low_rank", rank=4)
        >>> layer(torch.ones(5, 64)).shape, layer.weight.shape
        (torch.Size([5, 32]), torch.Size([32, 64]))
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        structure: str = "monarch",
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        structure_options(structure, options)
        self.structure, self.options = structure, options
        self.matrix: StructuredMatrix = get_structure(structure)(
            in_features, out_features, **options, device=device, dtype=dtype
        )
        if bias:
            self.bias = parameter(out_features, device=device, dtype=dtype)
            draw(self.bias, 1 / (3 * in_features))
        else:
            self.register_parameter("bias", None)

    @classmethod
    def from_linear(cls, linear: nn.Linear, structure: str = "monarch", **options: Any) -> StructuredLinear:
        """Replaces a dense layer by the nearest one of a family; the bias stays as it is.

        Args:
            linear: The dense layer.
            structure: Name of a registered family.
            **options: Options of the family and of its fit.

        Returns:
            A new layer on the same device, of the same dtype, in the same mode; `linear` is not changed.

        Raises:
            ValueError: not an `nn.Linear`, a lazy one, or a weight that is not finite.

        Example:
            >>> layer = StructuredLinear.from_linear(nn.Linear(8, 8), "low_rank", rank=8)
            >>> layer.matrix.rank
            8
        """
        if not isinstance(linear, nn.Linear):
            raise ValueError(f"`linear` must be an nn.Linear, got {type(linear).__name__}")
        if is_lazy(linear.weight):
            raise ValueError("`linear` must know its sizes, got a lazy layer; run it once before")
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.structure, layer.options = structure, split_options(structure, options)[0]
        layer.matrix = project(linear.weight.detach(), structure, **options)
        layer.register_parameter("bias", None if linear.bias is None else nn.Parameter(linear.bias.detach().clone()))
        return layer.train(linear.training)

    def to_linear(self) -> nn.Linear:
        """Multiplies the factors out: a dense layer that computes the same.

        Example:
            >>> layer, x = StructuredLinear(8, 6, "low_rank"), torch.randn(2, 8)
            >>> bool(torch.allclose(layer(x), layer.to_linear()(x), atol=1e-6))
            True
        """
        bias, trains = self.bias, any(parameter.requires_grad for parameter in self.matrix.parameters())
        linear = nn.Linear(self.in_features, self.out_features, bias is not None, device="meta")  # draws nothing
        linear.weight = nn.Parameter(self.weight.detach().clone(), trains)
        if bias is not None:
            linear.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
        return linear.train(self.training)

    @property
    def in_features(self) -> int:
        """Size of a row of the input."""
        return self.matrix.in_features

    @property
    def out_features(self) -> int:
        """Size of a row of the output."""
        return self.matrix.out_features

    @property
    def weight(self) -> Tensor:
        """W as a dense matrix, (out, in), computed at each access; its gradient goes to the parameters."""
        return self.matrix.dense()

    def forward(self, x: Tensor) -> Tensor:
        """Maps rows (..., in) to (..., out)."""
        y: Tensor = self.matrix(x)
        return y if self.bias is None else y + self.bias.to(y.dtype)  # autocast's, as of `nn.Linear`

    def extra_repr(self) -> str:
        """Sizes and family, as `print` shows them."""
        return f"{self.in_features}, {self.out_features}, {self.structure!r}, bias={self.bias is not None}"
