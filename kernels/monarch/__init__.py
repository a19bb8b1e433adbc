"""The product of rows with a Monarch matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_shape
from seqkit.kernels.backend import HALF, check_dtypes, check_values, choose_backend, triton_refusal
from seqkit.kernels.monarch.op import monarch_op
from seqkit.kernels.monarch.reference import monarch_reference

__all__ = ["monarch"]

MANY = 8192
FEW = "a program takes 64 rows through both products, and with so few most of the device would have nothing to do"
COMPLEX = "its kernels are for real numbers, and `x` is complex"


def monarch(x: Tensor, w1: Tensor, w2: Tensor, backend: str = "auto") -> Tensor:
    """Multiplies rows by a Monarch matrix: two block-diagonal matrices with a transposition of the blocks between.

        y[k, r, l] = sum_p w1[k, (r, l), p] x[k, p],   z[s, l] = sum_(k, r) w2[l, s, (k, r)] y[k, r, l]

    Indices in one place run in the order written, the last fastest. So the matrix is M[(s, l), (k, p)] =
    sum_r w2[l, s, (k, r)] w1[k, (r, l), p], and each of its k l slices over (s, p) has at most rank r.

    Args:
        x: Rows, (..., k p): k blocks of p numbers.
        w1: First factor, (k, r l, p).
        w2: Second factor, (l, s, k r).
        backend: "auto", "reference" (the sums above), "cpu" (two batched products a group of rows) or "triton" (both
            products in one kernel).

    Returns:
        Rows, (..., s l), of the dtype of `x`.

    Raises:
        TypeError: a dtype is not float32, float64, bfloat16, float16, complex64 or complex128, or the three differ.
        ValueError: the shapes do not fit together, a value is not finite, or the backend is unknown or cannot serve.

    Source:
        Dao et al. 2022, Monarch (arXiv:2204.00595), section 3.1, and section 3.2 for rectangular ones. Differs: slices
        may have any rank, the square form is r = 1 and k = l = p = s.

    Cost and backends: 2 r (l k p + k l s) operations a row; 4 n^1.5 for n by n with blocks of sqrt(n). Backends:
        reference; cpu; triton, for float32, bfloat16 and float16, which "auto" takes from 8192 rows on. Sums are of
        float32 or wider. Autocast does not reach inside.

    Example:
        >>> w1, w2 = torch.ones(2, 3, 4), torch.ones(3, 5, 2)
        >>> monarch(torch.ones(1, 8), w1, w2).shape
        torch.Size([1, 15])
    """
    check_types({"x": x, "w1": w1, "w2": w2})
    check_shape("w1", w1, ("k", "r l", "p"), "give each block of `x` a matrix")
    check_shape("w2", w2, ("l", "s", "k r"), "give each block of the result a matrix")
    (k, q, p), (n_blocks, _, inner) = w1.shape, w2.shape
    if w1.numel() == 0 or w2.numel() == 0:
        raise ValueError(
            f"`w1` and `w2` must not be empty, got {tuple(w1.shape)} and {tuple(w2.shape)}; drop the layer"
        )
    if q % n_blocks or inner != k * (q // n_blocks):
        raise ValueError(
            f"`w1` and `w2` must be (k, r l, p) and (l, s, k r) for one r, got {tuple(w1.shape)} and "
            f"{tuple(w2.shape)}; see the docstring for what the letters are"
        )
    if x.dim() < 1 or x.shape[-1] != k * p:
        raise ValueError(f"`x` must have shape (..., {k * p}) to fit `w1`, got {tuple(x.shape)}")
    check_values({"x": x, "w1": w1, "w2": w2})
    refusal = COMPLEX if x.is_complex() else triton_refusal(x, halves=True)
    like = x.new_empty(0, dtype=torch.float32) if x.dtype in HALF else x  # Triton's kernels read half precision
    rows = x.reshape(-1, k * p).resolve_conj()
    few = x.device.type == "cuda" and rows.shape[0] < MANY
    path = choose_backend(backend, like, {} if refusal is None else {"triton": refusal}, slower=FEW if few else None)
    if path == "reference":
        z = monarch_reference(rows, w1, w2)
    else:
        z = monarch_op(rows.contiguous(), w1.resolve_conj(), w2.resolve_conj(), path)
    return z.reshape(*x.shape[:-1], z.shape[-1])


def check_types(named: dict[str, Tensor]) -> None:
    """Refuses dtypes that are not floating or complex, and three that differ in dtype or device."""
    first = named["x"]
    if first.dtype not in HALF:
        check_dtypes(*(({}, named) if first.is_complex() else (named, {})))
        return
    for name, value in named.items():
        if value.dtype != first.dtype:
            raise TypeError(
                f"`{name}` must have the precision of `x` ({first.dtype}), got {value.dtype}; convert one of them"
            )
        if value.device != first.device:
            raise ValueError(f"`{name}` must be on {first.device} like `x`, got {value.device}")
