"""Products of butterflies: Kaleidoscope matrices (BB*)^w with expansion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.structured.butterflies.descent import best_descent
from seqkit.structured.butterflies.factors import multiply, padded_size, random_factors, shape_of_factors
from seqkit.structured.butterflies.fit import nearest_butterfly
from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.parameters import parameter
from seqkit.structured.registry import register_structure

__all__ = ["Kaleidoscope"]


@register_structure("kaleidoscope")
class Kaleidoscope(StructuredMatrix):
    """K-matrix: the corner of a product of `width` matrices B B*, butterflies of a size `expansion` times as large.

        W = S M_1 M_2* M_3 M_4* ... S^T,   S = [I 0 ... 0]

    Every structured matrix with a fast algorithm is such a product of moderate width and expansion: Fourier, cosine and
    sine transforms, convolutions, permutations (`seqkit.structured.butterflies` makes them). Rows are padded with zeros
    to n, the power of two at least `in_features`, times `expansion`; where more than n rows are asked for, several
    products of the same input lie below one another.

    Args:
        in_features: Columns.
        out_features: Rows.
        width: Number w of factors B B*.
        expansion: How much larger the butterflies are than the padded input, a power of two.
        device: Device of the parameters.
        dtype: Number type, floating or complex.

    Attributes:
        twiddle: The factors (S, 2 width, log2 n, n/2, 2, 2), laid out as `seqkit.kernels.butterfly` says; the first
            block has decreasing strides.

    Raises:
        ValueError: a size, width or expansion that cannot be.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), definitions 2.3 and 2.4. Differs: more rows than columns
        are stacked products. It starts as random rotations with the variance of `nn.Linear`.

    Cost: 4 w n log2 n parameters a stack, and 6 w n log2 n operations a row. No closed form is known for the nearest
        member: a fit is a descent from several starts, each of `steps` products of size in x out.

    Example:
        >>> Kaleidoscope(64, 64).n_parameters
        1536
    """

    exact_fit = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int = 1,
        expansion: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.width = check_positive_int("width", width)
        self.expansion = check_positive_int("expansion", expansion)
        if expansion & (expansion - 1):
            raise ValueError(f"`expansion` must be a power of two, got {expansion}; take 2 or 4")
        n = padded_size(in_features) * expansion
        self.twiddle = parameter(*shape_of_factors(n, out_features, 2 * width), device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random rotations (unitary matrices if complex), scaled so that entries of W have variance 1 / (3 in)."""
        random_factors(self.twiddle, (2 * self.twiddle.shape[3] / (3 * self.in_features)) ** 0.5)

    def multiply(self, x: Tensor) -> Tensor:
        """All blocks in one pass over each tile of rows."""
        return multiply(x, self.twiddle, self.out_features)

    def assign(self, matrix: Tensor, steps: int = 300, starts: int = 3) -> None:
        """Descends from `starts` random rotations and from the nearest butterfly, and keeps the best."""
        size = float(matrix.abs().square().sum())
        if size == 0:
            self.twiddle.zero_()
            return
        eye = torch.eye(self.in_features, dtype=matrix.dtype, device=matrix.device)

        def dense(values: Sequence[Tensor]) -> Tensor:
            return multiply(eye, values[0], self.out_features).mT

        generator = torch.Generator(matrix.device).manual_seed(0)  # the same fit for the same matrix
        gain = (size * 2 * self.twiddle.shape[3] / matrix.numel()) ** 0.5  # of which a corner has the matrix's norm

        def first_values() -> Iterator[list[Tensor]]:
            for _ in range(starts):
                factors = matrix.new_empty(self.twiddle.shape)
                random_factors(factors, gain, generator)
                yield [factors]
            yield [self.from_butterfly(matrix)]  # often a local minimum, but never worse than a butterfly

        self.twiddle.copy_(best_descent(dense, first_values(), matrix, steps)[0])

    def from_butterfly(self, matrix: Tensor) -> Tensor:
        """The nearest butterfly as the first block; the others are identities."""
        factors = torch.eye(2, dtype=matrix.dtype, device=matrix.device).expand(self.twiddle.shape).clone()
        factors[:, 0] = nearest_butterfly(matrix, "decreasing", n=2 * factors.shape[3])
        return factors

    @property
    def flops(self) -> int:
        """6 w n log2 n a stack: two products and a sum for each number of each level."""
        return 3 * self.twiddle.numel() // 2

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """One and two factors B B*, and one in twice the size."""
        return [{"width": 1}, {"width": 2}, {"width": 1, "expansion": 2}]
