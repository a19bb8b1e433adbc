"""HiPPO matrices as normal plus low rank, and diagonal starting values, as conjugate pairs halved."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive_int
from seqkit.hippo.measures import Measure, as_measure

__all__ = ["DIAGONAL_STARTS", "Nplr", "diagonal_start", "nplr"]

DIAGONAL_STARTS = ("legs", "lin", "inv")
"""Starting values of diagonal state spaces."""


class Nplr(NamedTuple):
    """One of each conjugate pair of A = W (diag(Λ) - Σ_r p_r p_r*) W*, where W = [V, conj V] is unitary.

    The half state z = V* x obeys the same system with x = 2 Re(V z); a product over the full state is 2 Re of the one
    over half of it, p* x = 2 Re(p_half* z).

    Args:
        Lambda: Eigenvalues of the normal part, (N/2,), complex, by increasing imaginary part, none negative.
        P: Low-rank factors V* P, (R, N/2), complex.
        B: Input vector V* B, (N/2,), real and positive by the choice of phases, held as complex.
        V: Eigenvectors, (N, N/2), complex.
    """

    Lambda: Tensor
    P: Tensor
    B: Tensor
    V: Tensor


def nplr(measure: str | Measure, order: int, dtype: torch.dtype = torch.complex128) -> Nplr:
    """Writes the matrix of a measure as normal plus low rank, by a unitary change of basis.

        A = W (diag(Λ) - P P*) W*

    A + P Pᵀ is a I plus a skew matrix, whose eigenvectors are orthogonal, so the change of basis loses nothing; the
    eigenvectors of A itself are useless beyond order 16. Where the skew part has the eigenvalue 0 (fourier), its
    eigenspace has even dimension and is paired like the rest.

    Args:
        measure: "legs", "legt", "lagt", "fourier", or a measure (lagt with alpha 0, legt orthonormal).
        order: State order N, even.
        dtype: Complex type of the result; the decomposition is done in complex128.

    Returns:
        Eigenvalues, low-rank factors, input vector and eigenvectors, each halved.

    Raises:
        ValueError: an odd order, a measure without this form, a type that is not complex.

    Source: arXiv 2111.00396, theorem 1 and appendix C.
    Cost: one Hermitian eigendecomposition, N³.

    Example:
        >>> form = nplr("legs", 8)
        >>> form.Lambda.real
        tensor([-0.5000, -0.5000, -0.5000, -0.5000], dtype=torch.float64)
    """
    _check_even(order)
    _check_complex(dtype)
    chosen = as_measure(measure)
    A, B = chosen.transition(order)
    shift, P = chosen.low_rank(order)
    normal = A + P.mT @ P
    # What is not skew here is rounding; taking the exact skew part makes the eigenvectors orthogonal to rounding.
    frequencies, vectors = _positive_half((normal - normal.mT) / 2)
    rotated_B = vectors.mH @ B.to(vectors.dtype)
    vectors = vectors * (rotated_B / rotated_B.abs())
    Lambda = torch.complex(torch.full_like(frequencies, shift), frequencies)
    rotated_P = P.to(vectors.dtype) @ vectors.conj()
    rotated_B = rotated_B.abs().to(vectors.dtype)
    return Nplr(Lambda.to(dtype), rotated_P.to(dtype), rotated_B.to(dtype), vectors.to(dtype))


def diagonal_start(kind: str, order: int, dtype: torch.dtype = torch.complex128) -> tuple[Tensor, Tensor]:
    """Returns eigenvalues and input vector that start a diagonal state space, one of each conjugate pair.

        legs: λ = eigenvalues of the normal part of LegS,        B = V* B_LegS / 2
        lin:  λ_n = -1/2 + i π n,                                B = 1
        inv:  λ_n = -1/2 + i (N/π) (N / (2n + 1) - 1),           B = 1

    The output is y = 2 Re(Σ C_n z_n). The 1/2 in the first line has nothing to do with that 2: dropping the low-rank
    part of LegS and halving B leaves the same states for every signal that the memory can reconstruct.

    Args:
        kind: "legs", "lin" or "inv".
        order: State order N, even; N/2 pairs are returned.
        dtype: Complex type of the result.

    Returns:
        Eigenvalues (N/2,), by increasing imaginary part, and input vector (N/2,).

    Raises:
        ValueError: an unknown kind, an odd order, a type that is not complex.

    Source: arXiv 2206.11893, section 4 (its released code leaves out the 1/2).
    Cost: an eigendecomposition for legs, N³; N for the others.

    Example:
        >>> diagonal_start("lin", 4)[0].imag
        tensor([0.0000, 3.1416], dtype=torch.float64)
    """
    check_choice("kind", kind, DIAGONAL_STARTS)
    if kind == "legs":
        form = nplr("legs", order, dtype)
        return form.Lambda, form.B / 2
    _check_even(order)
    _check_complex(dtype)
    n = torch.arange(order // 2, dtype=torch.float64)
    imaginary = math.pi * n if kind == "lin" else (order / math.pi * (order / (2 * n + 1) - 1)).flip(0)
    return torch.complex(torch.full_like(imaginary, -0.5), imaginary).to(dtype), torch.ones(order // 2, dtype=dtype)


def _positive_half(skew: Tensor) -> tuple[Tensor, Tensor]:
    """Returns w >= 0 (N/2,), ascending, and V (N, N/2) with skew V = i V diag(w) and [V, conj V] unitary."""
    order = skew.shape[-1]
    values, vectors = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    values, vectors = values[order // 2 :].clone(), vectors[:, order // 2 :].clone()
    zero = values.abs() <= order * torch.finfo(torch.float64).eps * values[-1]
    if bool(zero.any()):
        # A computed eigenvector of 0 need not be orthogonal to its conjugate; a pair of real ones makes it so.
        _, _, rows = torch.linalg.svd(skew)
        null = rows[order - 2 * int(zero.sum()) :].to(vectors.dtype)
        vectors[:, zero] = ((null[0::2] + 1j * null[1::2]) / math.sqrt(2)).mT
        values[zero] = 0.0
    return values, vectors


def _check_even(order: int) -> None:
    check_positive_int("order", order)
    if order % 2:
        raise ValueError(f"`order` must be even, because half of each conjugate pair is kept, got {order}")


def _check_complex(dtype: torch.dtype) -> None:
    if not dtype.is_complex:
        raise ValueError(f"`dtype` must be a complex type, got {dtype}")
