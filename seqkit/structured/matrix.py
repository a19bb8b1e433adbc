"""The contract of structured matrices: few parameters, a fast product, a dense view, and a nearest member."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqkit.checks import check_finite, check_keys, check_positive_int, check_shape

__all__ = ["StructuredMatrix"]

LARGEST = 1e100
"""Fits multiply entries several times in double precision."""


class StructuredMatrix(nn.Module, ABC):
    """Abstract matrix W (out, in) of few parameters that maps rows: y = x Wᵀ, as the weight of `nn.Linear` does.

    A family writes a constructor `(in_features, out_features, *, <options>, device=None, dtype=None)` that ends with
    `reset_parameters()`, and the abstract methods below. There is no bias; `StructuredLinear` adds it. A complex
    matrix has complex parameters and takes real rows too.

    Args:
        in_features: Columns of W, at least 1.
        out_features: Rows of W, at least 1.

    Raises:
        ValueError: a size that is not a whole number of at least 1.

    Source: the contract of this toolkit.

    Example:
        >>> from seqkit.structured import get_structure
        >>> matrix = get_structure("low_rank")(6, 4, rank=2)
        >>> matrix(torch.ones(3, 6)).shape, matrix.dense().shape, matrix.n_parameters
        (torch.Size([3, 4]), torch.Size([4, 6]), 20)
    """

    allows_complex: ClassVar[bool] = True
    """Whether complex dtypes are offered."""

    exact_fit: bool = True
    """Whether `fit` finds the nearest member; where it does not, it ends at a member that may only be near it."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = check_positive_int("in_features", in_features)
        self.out_features = check_positive_int("out_features", out_features)

    @abstractmethod
    def multiply(self, x: Tensor) -> Tensor:
        """Maps rows (B, in) of the matrix's dtype to (B, out); `forward` has checked and flattened them."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draws the parameters anew so that entries of W have the variance that `nn.Linear` gives: 1 / (3 in)."""

    @abstractmethod
    def assign(self, matrix: Tensor) -> None:
        """Sets the parameters to the member nearest to `matrix` (out, in), in float64 or complex128, without gradient.

        `fit` has checked it. Further arguments must have names and defaults; `fit` and `project` pass them on.
        """

    @property
    @abstractmethod
    def flops(self) -> int:
        """Floating-point operations for one row; a multiplication and an addition are two."""

    @classmethod
    def candidates(cls, in_features: int, out_features: int) -> list[dict[str, Any]]:
        """Sets of options worth trying at this size, for `best_fit`; the smaller ones first."""
        return [{}]

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def n_parameters(self) -> int:
        """Numbers stored, complex ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def density(self) -> float:
        """Numbers stored by number of entries of W; above 1 the structure saves nothing."""
        return self.n_parameters / (self.in_features * self.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x Wᵀ.

        Args:
            x: Rows, (..., in).

        Returns:
            Rows, (..., out).

        Raises:
            ValueError: the last size is not `in_features`, or another dtype than the matrix's.
        """
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"`x` must have shape (..., {self.in_features}), got {tuple(x.shape)}")
        if x.dtype != self.dtype:
            narrowed = autocast_dtype(x) is not None and autocast_dtype(next(self.parameters())) is not None
            cast = narrowed and x.is_floating_point()
            if not (cast or (self.dtype.is_complex and (x.is_floating_point() or x.is_complex()))):
                raise ValueError(
                    f"`x` must have the matrix's dtype {self.dtype}, got {x.dtype}; convert one of them with .to"
                )
            x = x if cast else x.to(self.dtype)
        y = self.multiply(x.reshape(-1, self.in_features))
        return y.reshape(*x.shape[:-1], self.out_features)

    def dense(self) -> Tensor:
        """Returns W, (out, in), with its gradient to the parameters.

        Cost: the product with an identity matrix, unless the family has a shorter way.
        """
        eye = torch.eye(self.in_features, dtype=self.dtype, device=next(self.parameters()).device)
        return self.multiply(eye).mT

    @torch.no_grad()
    def fit(self, matrix: Tensor, **options: Any) -> StructuredMatrix:
        """Sets the parameters to those of the member nearest to a dense matrix, in the Frobenius norm.

        Args:
            matrix: Dense matrix, (out, in), finite, of any floating or complex dtype.
            **options: Arguments of the family's `assign`, such as a number of iterations where it has them.

        Returns:
            Itself.

        Raises:
            ValueError: wrong shape, NaN or infinite entries, complex entries for a real matrix, or an option that the
                family's fit does not have.
        """
        check_matrix(matrix)
        check_shape("matrix", matrix, (self.out_features, self.in_features))
        if matrix.is_complex() and not self.dtype.is_complex:
            raise ValueError(
                f"`matrix` must be real for a structure of dtype {self.dtype}, got {matrix.dtype}; "
                "give the structure a complex dtype"
            )
        check_keys(f"the fit of {type(self).__name__}", options, fit_options(type(self)))
        assign: Callable[..., None] = self.assign
        assign(matrix.detach().to(torch.complex128 if self.dtype.is_complex else torch.float64), **options)
        return self

    def extra_repr(self) -> str:
        """Sizes and density, as `print` shows them."""
        return f"{self.in_features}, {self.out_features}, density={self.density:.3g}"


def autocast_dtype(value: Tensor) -> torch.dtype | None:
    """What autocast makes of a tensor, or None where it is off or leaves it alone, as float64 and complex numbers.

    Example:
        >>> with torch.autocast("cpu"):
        ...     autocast_dtype(torch.zeros(1)), autocast_dtype(torch.zeros(1, dtype=torch.float64))
        (torch.bfloat16, None)
    """
    kind = value.device.type
    if kind == "meta" or value.is_complex() or value.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def check_matrix(matrix: Tensor) -> None:
    """Refuses what is no dense matrix of finite floating or complex numbers, or too large to be squared."""
    if not isinstance(matrix, Tensor) or matrix.layout != torch.strided or matrix.is_meta:
        what = type(matrix).__name__ if not isinstance(matrix, Tensor) else f"{matrix.layout} on {matrix.device}"
        raise ValueError(
            f"`matrix` must be a dense tensor with its numbers, got {what}; torch.as_tensor makes one of an array, "
            ".to_dense() of a sparse one"
        )
    check_shape("matrix", matrix, ("out", "in"))
    if matrix.numel() == 0:
        raise ValueError(f"`matrix` must have at least one row and one column, got shape {tuple(matrix.shape)}")
    if not (matrix.is_floating_point() or matrix.is_complex()):
        raise ValueError(f"`matrix` must hold floating or complex numbers, got {matrix.dtype}; convert it with .to")
    check_finite("matrix", matrix, "no structured matrix is near to it")
    largest = float(matrix.detach().abs().max())
    if largest > LARGEST:
        raise ValueError(f"`matrix` must hold no numbers above {LARGEST:.0e}, got {largest:.3g}; divide it by its norm")


def fit_options(cls: type[StructuredMatrix]) -> dict[str, Any]:
    """Names and defaults of what the family's fit takes besides the matrix."""
    parameters = list(inspect.signature(cls.assign).parameters.values())[2:]
    return {parameter.name: parameter.default for parameter in parameters}
