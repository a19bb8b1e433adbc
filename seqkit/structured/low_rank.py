"""Low rank: W = U V with few columns in between."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive_int
from seqkit.structured.blocks import ranks
from seqkit.structured.covariance import nearest_rank, roots, steadied
from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.parameters import draw, parameter
from seqkit.structured.registry import register_structure

__all__ = ["LowRank"]


@register_structure("low_rank")
class LowRank(StructuredMatrix):
    """Matrix of rank at most r: W = U V with U (out, r) and V (r, in).

    Args:
        in_features: Columns of W.
        out_features: Rows of W.
        rank: r, between 1 and the smaller size; a quarter of the smaller size, at least 1, if None.
        device: Device of the parameters.
        dtype: Number type, floating or complex.

    Raises:
        ValueError: a rank above the smaller size.

    Source: the fit is the theorem of Eckart and Young (1936): keep the r largest singular values. Each factor takes
        the root of the singular value.

    Cost: r (in + out) parameters, 2 r (in + out) operations a row; the fit O(in out min(in, out)).

    Example:
        >>> LowRank(8, 6, rank=2).n_parameters
        28
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rank: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        smaller = min(in_features, out_features)
        self.rank = max(1, smaller // 4) if rank is None else check_positive_int("rank", rank)
        if self.rank > smaller:
            raise ValueError(f"`rank` must be at most the smaller size, {smaller}, got {self.rank}; lower it")
        self.U = parameter(out_features, self.rank, device=device, dtype=dtype)
        self.V = parameter(self.rank, in_features, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform factors: an entry of W is a sum of r products, so var(U) var(V) = 1 / (3 r in)."""
        draw(self.V, 1 / self.in_features)
        draw(self.U, 1 / (3 * self.rank))

    def multiply(self, x: Tensor) -> Tensor:
        """First V, then U."""
        return nn.functional.linear(nn.functional.linear(x, self.V), self.U)

    def dense(self) -> Tensor:
        """Returns U V."""
        return self.U @ self.V

    def assign(self, matrix: Tensor, covariance: Tensor | None = None) -> None:
        """Keeps the largest singular values, of W C^(1/2) where inputs have a covariance C."""
        if covariance is not None:
            matrix, _ = nearest_rank(matrix, self.rank, *roots(steadied(covariance, matrix)))
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        root = s[: self.rank].sqrt()
        self.U.copy_(u[:, : self.rank] * root)
        self.V.copy_(root[:, None] * vh[: self.rank])

    @property
    def flops(self) -> int:
        """2 r (in + out)."""
        return 2 * self.rank * (self.in_features + self.out_features)

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """Ranks up to the smaller size, four to each doubling."""
        return [{"rank": rank} for rank in ranks(min(in_features, out_features))]
