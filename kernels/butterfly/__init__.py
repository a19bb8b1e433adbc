"""Products with butterfly matrices in n log n operations."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_choice
from seqkit.kernels.backend import check_dtypes, check_values, choose_backend
from seqkit.kernels.butterfly.op import butterfly_op
from seqkit.kernels.butterfly.reference import butterfly_reference

__all__ = ["butterfly"]

DIRECTIONS = ("increasing", "decreasing")
LARGEST = 8192  # numbers of a vector that Triton's kernels keep in registers


def butterfly(x: Tensor, twiddle: Tensor, first: str = "decreasing", backend: str = "auto") -> Tensor:
    """Multiplies vectors by a product of butterfly matrices, in n log n operations.

        level i:  y[g, a, s] = sum_b T[g 2^i + s, a, b] x[g, b, s],   g < n / 2^(i+1),  s < 2^i

    where x[g, b, s] is element (2 g + b) 2^i + s. A block applies its m = log2 n levels with strides 1, 2, .., n/2
    (increasing: the matrix B) or n/2, .., 1 (decreasing: a matrix of the kind B*); directions alternate from block to
    block. So K = 2 blocks of which the first is decreasing are B B*.

    Args:
        x: Vectors (..., n), n a power of two of at least 2.
        twiddle: Factors (K, m, n/2, 2, 2) of K blocks, or (S, K, m, n/2, 2, 2) of S matrices that take the same x.
            Real or complex as x is.
        first: Direction of the first block, "decreasing" or "increasing".
        backend: "auto", "reference" (level by level, as sums), "cpu" (two levels in a pass over a tile in the cache,
            compiled; plain torch where numba is missing) or "triton" (real vectors of at most 8192
            numbers; all levels of a block in registers).

    Returns:
        The products, (..., n), or (..., S, n).

    Raises:
        TypeError: a dtype is not float32, float64 or their complex ones, or the two differ.
        ValueError: the shapes do not fit, a value is not finite, or the backend is unknown or cannot serve.

    Source:
        Dao, Sohoni, Gu, Eichhorn, Blonder, Leszczynski, Rudra, Ré 2020, Kaleidoscope (arXiv:2012.14966), definitions
        2.1 to 2.3. Differs: the levels are applied to tiles of the batch two at a time.

    Cost and backends: 3 K S n log2 n operations a vector; memory that of input and output, backward too. Backends:
        reference; cpu; triton, for float32.

    Example:
        >>> hadamard = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).expand(1, 2, 2, 2, 2)
        >>> butterfly(torch.tensor([1.0, 2.0, 3.0, 4.0]), hadamard)
        tensor([10., -2., -4.,  0.])
    """
    increasing = check_choice("first", first, DIRECTIONS) == "increasing"
    named = {"x": x, "twiddle": twiddle}
    as_complex = x.is_complex() or twiddle.is_complex()
    check_dtypes({} if as_complex else named, named if as_complex else {})
    check_sizes(x, twiddle)
    check_values(named)
    path = choose_backend(backend, x, refusals(x))
    stacked = twiddle if twiddle.dim() == 6 else twiddle.unsqueeze(0)
    rows = x.reshape(-1, x.shape[-1]).resolve_conj()
    if path == "reference":
        y = butterfly_reference(rows, stacked, increasing)
    else:
        y = butterfly_op(rows.contiguous(), stacked.resolve_conj(), increasing, path)
    leading = x.shape[:-1] if twiddle.dim() == 5 else (*x.shape[:-1], len(twiddle))
    return y.reshape(*leading, x.shape[-1])


def refusals(x: Tensor) -> dict[str, str]:
    """Paths that cannot serve, and why."""
    if x.is_complex():
        return {"triton": "butterfly has no Triton kernels for complex numbers"}
    if x.shape[-1] > LARGEST:
        return {"triton": f"its kernels hold vectors of at most {LARGEST} numbers, and these have {x.shape[-1]}"}
    return {}


def check_sizes(x: Tensor, twiddle: Tensor) -> None:
    """Refuses sizes that are not powers of two and factors that do not fit them."""
    n = x.shape[-1] if x.dim() else 0
    if n < 2 or n & (n - 1):
        raise ValueError(
            f"`x` must have a power of two of at least 2 numbers along its last dimension, got {tuple(x.shape)}; "
            "pad it with zeros"
        )
    n_levels = n.bit_length() - 1
    wanted = torch.Size((n_levels, n // 2, 2, 2))
    if twiddle.dim() not in (5, 6) or twiddle.shape[-4:] != wanted or 0 in twiddle.shape:
        raise ValueError(
            f"`twiddle` must have shape (K, {n_levels}, {n // 2}, 2, 2) or (S, K, {n_levels}, {n // 2}, 2, 2) to fit "
            f"`x` {tuple(x.shape)}, got {tuple(twiddle.shape)}"
        )
