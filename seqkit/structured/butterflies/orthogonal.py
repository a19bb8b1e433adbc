"""Rotations in n log n: butterflies whose 2x2 factors are rotations by trained angles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int
from seqkit.structured.butterflies.descent import best_descent
from seqkit.structured.butterflies.factors import multiply, padded_size, rotations, shape_of_factors
from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.parameters import parameter
from seqkit.structured.registry import register_structure

__all__ = ["OrthogonalKaleidoscope"]


@register_structure("orthogonal_kaleidoscope")
class OrthogonalKaleidoscope(StructuredMatrix):
    """Scaled rotation W = scale Q, Q a product of `width` matrices B B* whose 2x2 factors rotate by trained angles.

    Q stays orthogonal whatever the angles are, so that the norm of a row of a power of two numbers is kept up to the
    scale. At other sizes, W is the corner of such a matrix, and the norm is at most that.

    Args:
        in_features: Columns.
        out_features: Rows.
        width: Number w of factors B B*.
        device: Device of the parameters.
        dtype: Number type, floating.

    Attributes:
        angles: Angles in radians (S, 2 width, log2 n, n/2), n the padded size; the first block has decreasing strides.
        scale: Factor of the whole, a number.

    Raises:
        ValueError: a size or width that cannot be, or a complex dtype.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), orthogonal variant. Differs: a trained scale, so that it
        stands in for a layer of any gain.

    Cost: w n log2 n parameters a stack, 6 w n log2 n operations a row; a fit is a descent from `starts` random angles.

    Example:
        >>> matrix = OrthogonalKaleidoscope(8, 8)
        >>> gram = matrix.dense() @ matrix.dense().mT / matrix.scale**2
        >>> bool(torch.allclose(gram, torch.eye(8), atol=1e-5))
        True
    """

    exact_fit = False
    allows_complex: ClassVar[bool] = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.width = check_positive_int("width", width)
        shape = shape_of_factors(padded_size(in_features), out_features, 2 * width)[:-2]
        self.angles = parameter(*shape, device=device, dtype=dtype, complex_too=False)
        self.scale = parameter(device=device, dtype=dtype, complex_too=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform angles, and the scale at which entries of W have variance 1 / (3 in)."""
        nn.init.uniform_(self.angles, -math.pi, math.pi)
        nn.init.constant_(self.scale, (2 * self.angles.shape[3] / (3 * self.in_features)) ** 0.5)

    def multiply(self, x: Tensor) -> Tensor:
        """The rotations, then the scale."""
        return self.scale * multiply(x, rotations(self.angles), self.out_features)

    def assign(self, matrix: Tensor, steps: int = 300, starts: int = 4) -> None:
        """Descends from `starts` random rotations of the matrix's norm, and keeps the best."""
        check_positive_int("starts", starts)
        norm = torch.linalg.norm(matrix)
        if norm == 0:
            self.scale.zero_()
            return
        matrix = matrix / norm  # so that the scale is found as fast as the angles, whatever it is
        eye = torch.eye(self.in_features, dtype=matrix.dtype, device=matrix.device)

        def dense(values: Sequence[Tensor]) -> Tensor:
            return values[1] * multiply(eye, rotations(values[0]), self.out_features).mT

        generator = torch.Generator(matrix.device).manual_seed(0)  # the same fit for the same matrix
        gain = matrix.new_tensor((2 * self.angles.shape[3] / matrix.numel()) ** 0.5)

        def first_values() -> Iterator[list[Tensor]]:
            for _ in range(starts):
                angles = matrix.new_empty(self.angles.shape)
                yield [angles.uniform_(-math.pi, math.pi, generator=generator), gain]

        angles, scale = best_descent(dense, first_values(), matrix, steps)
        # For fixed angles the best scale is a projection: never worse than no matrix at all.
        turned = dense([angles, torch.ones_like(scale)])
        self.angles.copy_(angles)
        best = (turned * matrix).sum() / turned.square().sum().clamp(min=torch.finfo(turned.dtype).tiny)
        self.scale.copy_(norm * best)

    @property
    def flops(self) -> int:
        """6 w n log2 n a stack, and the scale."""
        return 6 * self.angles.numel() + self.out_features

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """One and two factors B B*."""
        return [{"width": 1}, {"width": 2}]
