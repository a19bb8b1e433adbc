"""The Krylov function of a dense state-space system."""

from __future__ import annotations

from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.kernels.backend import check_dtypes, check_leading, check_values, choose_backend
from seqkit.kernels.krylov.op import krylov_op
from seqkit.kernels.krylov.reference import krylov_reference

__all__ = ["krylov"]

COMPLEX = "its kernels are for real systems, and `A` is complex"


def krylov(A: Tensor, B: Tensor, C: Tensor, length: int, backend: str = "auto") -> Tensor:
    """Computes the Krylov function of a linear system: its convolution kernel, sample by sample.

        K[l] = C A^l B,   l = 0 .. length-1

    Args:
        A: State matrix per sample (discretised), (..., N, N), real or complex. Its powers must stay bounded: a spectral
            radius of 1.001 grows a millionfold in 14 000 samples.
        B: Input vector, (..., N).
        C: Output matrix, (..., M, N).
        length: Number of samples L, at least 1.
        backend: "auto", "reference" (the recurrence), "cpu" (baby and giant steps in torch) or "triton" (the same,
            joined by Triton kernels).

    Returns:
        K, (..., M, length), of the dtype of `A`. Leading dimensions broadcast.

    Raises:
        TypeError: the dtypes are neither float32 nor float64 (complex64, complex128), or differ.
        ValueError: the shapes do not fit together, `length` is below 1, a value is not finite, or the backend is
            unknown or cannot serve.

    Source:
        Gu et al. 2021, Combining recurrent, convolutional and continuous-time models with linear state-space layers
        (arXiv:2110.13985), section 4. Differs: the paper's doubling keeps A^l B for all l, (H, N, L) numbers; here
        l = i m + j, and two blocks of about sqrt(L) powers are joined by one matrix product.

    Cost and backends: about N^3 log L + N^2 sqrt(L) + N L a channel; memory N^2 log L + N sqrt(L) + L, also backward,
    which computes the blocks again. Backends: reference; cpu; triton, for real float32, where torch's batched products
    make the powers, under its setting for float32 products (torch.set_float32_matmul_precision). In float32 the error
    is about 2e-6 at L = 16384 for systems that forget; a system that forgets nothing drifts by 6e-8 a sample.

    Example:
        >>> import torch
        >>> krylov(torch.tensor([[0.5]]), torch.ones(1), torch.ones(1, 1), 4)
        tensor([[1.0000, 0.5000, 0.2500, 0.1250]])
    """
    check_positive_int("length", length)
    kind = {"A": A, "B": B, "C": C}
    check_dtypes(*(({}, kind) if A.is_complex() else (kind, {})))
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"`A` must have shape (..., N, N), got {tuple(A.shape)}; pass one square matrix per system")
    order = A.shape[-1]
    if B.dim() < 1 or B.shape[-1] != order:
        raise ValueError(f"`B` must have shape (..., {order}) to fit `A`, got {tuple(B.shape)}")
    if C.dim() < 2 or C.shape[-1] != order:
        raise ValueError(f"`C` must have shape (..., M, {order}) to fit `A`, got {tuple(C.shape)}")
    leading = check_leading({"A": A.shape[:-2], "B": B.shape[:-1], "C": C.shape[:-2]})
    check_values(kind)
    path = choose_backend(backend, A, {"triton": COMPLEX} if A.is_complex() else {})
    if path == "reference":
        return krylov_reference(A, B, C, length)
    n_systems = leading.numel()
    shared = A.shape[:-2].numel() == 1
    flat_A = (A if shared else A.expand(*leading, order, order)).reshape(1 if shared else n_systems, order, order)
    flat_B = B.expand(*leading, order).reshape(n_systems, order)
    flat_C = C.expand(*leading, *C.shape[-2:]).reshape(n_systems, *C.shape[-2:])
    kernel: Tensor = krylov_op(flat_A.resolve_conj(), flat_B.resolve_conj(), flat_C.resolve_conj(), length, path)
    return kernel.reshape(*leading, C.shape[-2], length)
