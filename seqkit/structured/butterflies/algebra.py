"""Transposes, inverses, determinants and products of K-matrices, without making them dense."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.structured.butterflies.butterfly import Butterfly
from seqkit.structured.butterflies.kaleidoscope import Kaleidoscope

__all__ = ["adjoint", "inverse", "kronecker", "log_abs_det", "product", "transpose"]


def check_whole(name: str, matrix: Kaleidoscope | Butterfly) -> Tensor:
    """Refuses corners of larger products and stacks, which these rules do not hold for; returns the factors."""
    factors = matrix.twiddle
    n = 2 * factors.shape[3]
    if (matrix.out_features, matrix.in_features) != (n, n):
        raise ValueError(
            f"`{name}` must be a whole product of butterflies, of a power of two of rows and columns and expansion 1, "
            f"got a part of {(matrix.out_features, matrix.in_features)} of size {n}; take its dense view"
        )
    return factors


def with_factors(factors: Tensor, like: Kaleidoscope) -> Kaleidoscope:
    """A whole K-matrix with given factors (1, K, m, n/2, 2, 2)."""
    n = like.in_features
    devices = [factors.device] if factors.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        found = Kaleidoscope(n, n, width=factors.shape[1] // 2, device=factors.device, dtype=factors.dtype)
    with torch.no_grad():
        found.twiddle.copy_(factors)
    return found


def transpose(matrix: Kaleidoscope) -> Kaleidoscope:
    """The transpose: every 2x2 transposed, the blocks in reverse order.

    Args:
        matrix: A whole K-matrix: n rows and columns, n a power of two, expansion 1.

    Returns:
        A new matrix of the same width.

    Raises:
        ValueError: a corner of a larger product.

    Example:
        >>> matrix = Kaleidoscope(8, 8)
        >>> bool(torch.allclose(transpose(matrix).dense(), matrix.dense().mT, atol=1e-6))
        True
    """
    return with_factors(check_whole("matrix", matrix).mT.flip(1), matrix)


def adjoint(matrix: Kaleidoscope) -> Kaleidoscope:
    """The conjugate of the transpose.

    Args:
        matrix: A whole K-matrix.

    Raises:
        ValueError: a corner of a larger product.

    Example:
        >>> matrix = Kaleidoscope(8, 8, dtype=torch.complex64)
        >>> bool(torch.allclose(adjoint(matrix).dense(), matrix.dense().mH, atol=1e-6))
        True
    """
    return with_factors(check_whole("matrix", matrix).mH.flip(1), matrix)


def inverse(matrix: Kaleidoscope) -> Kaleidoscope:
    """The inverse: every 2x2 inverted, the blocks in reverse order.

    Args:
        matrix: A whole K-matrix, none of whose 2x2 factors is singular.

    Raises:
        ValueError: a corner of a larger product, or a singular factor.

    Example:
        >>> matrix, x = Kaleidoscope(8, 8), torch.randn(8)
        >>> bool(torch.allclose(inverse(matrix)(matrix(x)), x, atol=1e-4))
        True
    """
    (a, b), (c, d) = (row.unbind(-1) for row in check_whole("matrix", matrix).unbind(-2))
    determinant = a * d - b * c
    if not bool(determinant.detach().abs().gt(0).all()):
        raise ValueError("`matrix` must have no singular 2x2 factor, got a determinant of 0; it has no inverse")
    rows = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return with_factors((rows / determinant[..., None, None]).flip(1), matrix)


def log_abs_det(matrix: Kaleidoscope | Butterfly) -> Tensor:
    """The logarithm of |det W|, the sum over all 2x2 factors, with its gradient.

    Args:
        matrix: A whole K-matrix or butterfly.

    Returns:
        A real number; -inf of a singular matrix.

    Raises:
        ValueError: a corner of a larger product.

    Example:
        >>> from seqkit.structured.butterflies import hadamard
        >>> round(log_abs_det(hadamard(4)).exp().item())
        16
    """
    (a, b), (c, d) = (row.unbind(-1) for row in check_whole("matrix", matrix).unbind(-2))
    return (a * d - b * c).abs().log().sum()


def product(second: Kaleidoscope, first: Kaleidoscope) -> Kaleidoscope:
    """The product `second` @ `first`: the blocks of one behind those of the other.

    Args:
        second: A whole K-matrix.
        first: One of the same size and dtype, which meets the input.

    Returns:
        A new matrix, of the sum of both widths.

    Raises:
        ValueError: a corner of a larger product, or different sizes or dtypes.

    Example:
        >>> a, b = Kaleidoscope(4, 4), Kaleidoscope(4, 4, width=2)
        >>> ab = product(a, b)
        >>> ab.width, bool(torch.allclose(ab.dense(), a.dense() @ b.dense(), atol=1e-6))
        (3, True)
    """
    late, early = check_whole("second", second), check_whole("first", first)
    if early.shape[2:] != late.shape[2:] or early.dtype != late.dtype:
        raise ValueError(
            f"`first` must have the size and dtype of `second`, {second.in_features} and {late.dtype}, "
            f"got {first.in_features} and {early.dtype}"
        )
    return with_factors(torch.cat([early, late], 1), first)


def kronecker(outer: Butterfly, inner: Butterfly) -> Butterfly:
    """The Kronecker product of two butterflies of increasing strides: a butterfly of the product of their sizes.

    Args:
        outer: A whole butterfly with `first="increasing"`; its levels get the long strides.
        inner: Another, of the same dtype.

    Raises:
        ValueError: a corner or stack, decreasing strides, or different dtypes.

    Example:
        >>> a, b = Butterfly(4, 4), Butterfly(2, 2)
        >>> bool(torch.allclose(kronecker(a, b).dense(), torch.kron(a.dense(), b.dense()), atol=1e-6))
        True
    """
    high, low = check_whole("outer", outer), check_whole("inner", inner)
    if outer.first != "increasing" or inner.first != "increasing" or high.dtype != low.dtype:
        raise ValueError(
            "`inner` and `outer` must have increasing strides and one dtype, got "
            f"{inner.first} {low.dtype} and {outer.first} {high.dtype}; transpose those with decreasing strides"
        )
    n = outer.in_features * inner.in_features
    # A level of `inner` is the same in each of the blocks that `outer` mixes, one of `outer` for each place in a block.
    small = low[0, 0].repeat(1, outer.in_features, 1, 1)
    large = high[0, 0].repeat_interleave(inner.in_features, 1)
    found = Butterfly(n, n, device=high.device, dtype=high.dtype)
    with torch.no_grad():
        found.twiddle.copy_(torch.cat([small, large])[None, None])
    return found
