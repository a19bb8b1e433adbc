"""A butterfly matrix: one block of log n sparse factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqkit.checks import check_choice
from seqkit.structured.butterflies.factors import multiply, padded_size, random_factors, shape_of_factors
from seqkit.structured.butterflies.fit import nearest_butterfly
from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.parameters import parameter
from seqkit.structured.registry import register_structure

__all__ = ["Butterfly"]


@register_structure("butterfly")
class Butterfly(StructuredMatrix):
    """Butterfly matrix B = B_n B_{n/2} ... B_2, each factor of 2x2 blocks spread over a stride.

    With n the power of two that `in_features` is padded to, W is the top left corner of B; where more than n rows are
    asked for, several butterflies of the same input lie below one another.

    Args:
        in_features: Columns.
        out_features: Rows.
        first: Stride that meets the input first: "increasing" (1, 2, .., n/2) makes B, "decreasing" (n/2, .., 1) a
            matrix of the kind B*.
        device: Device of the parameters.
        dtype: Number type, floating or complex.

    Attributes:
        twiddle: The factors (S, 1, log2 n, n/2, 2, 2), laid out as `seqkit.kernels.butterfly` says.

    Raises:
        ValueError: a size or direction that cannot be.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), definition 2.2. It starts as a random rotation with the
        variance of `nn.Linear`; a fit takes one level off after another by rank-one approximations, exact for members,
        and improves all levels in turns (`nearest_butterfly`).

    Cost: 2 n log2 n parameters a stack, 3 n log2 n operations a row.

    Example:
        >>> Butterfly(64, 64).n_parameters
        768
    """

    exact_fit = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        first: str = "increasing",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.first = check_choice("first", first, ("increasing", "decreasing"))
        shape = shape_of_factors(padded_size(in_features), out_features, 1)
        self.twiddle = parameter(*shape, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random rotations (unitary matrices if complex), scaled so that entries of W have variance 1 / (3 in)."""
        random_factors(self.twiddle, (2 * self.twiddle.shape[3] / (3 * self.in_features)) ** 0.5)

    def multiply(self, x: Tensor) -> Tensor:
        """Log n levels, two at a time in the cache."""
        return multiply(x, self.twiddle, self.out_features, self.first)

    def assign(self, matrix: Tensor, sweeps: int = 20) -> None:
        """Takes off level after level, then improves every level in turns, at most `sweeps` times."""
        self.twiddle.copy_(nearest_butterfly(matrix, self.first, sweeps).unsqueeze(1))

    @property
    def flops(self) -> int:
        """3 n log2 n a stack: two products and a sum for each number of each level."""
        return 3 * self.twiddle.numel() // 2

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """Both directions."""
        return [{"first": "increasing"}, {"first": "decreasing"}]
