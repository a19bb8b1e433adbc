"""The convolution kernel of a normal-plus-low-rank state-space system (S4)."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.kernels.backend import check_dtypes, check_leading, check_values, choose_backend
from seqkit.kernels.cauchy.dense import dense_kernel
from seqkit.kernels.cauchy.feedback import feedback_kernel
from seqkit.kernels.cauchy.nodes import nodes_kernel
from seqkit.kernels.cauchy.reference import cauchy_reference

__all__ = ["cauchy"]

DENSE_UP_TO = 40  # pairs^3 per sample: measured crossing of the two ways, from 16 to 128 pairs and 256 to 16384 samples


def cauchy(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int, backend: str = "auto") -> Tensor:
    """Computes the convolution kernel of x' = (diag(Lambda) - P P^*) x + B u, y = C x under the bilinear rule.

        K[l] = C Abar^l Bbar,   Abar = (I - dt A / 2)^{-1} (I + dt A / 2),   Bbar = (I - dt A / 2)^{-1} dt B

    Every vector is one half of conjugate pairs: the system has 2 N modes, and P^* x runs over both halves.

    Args:
        Lambda: Eigenvalues of the normal part, (..., N) complex, Re <= 0; 0 is allowed.
        P: Low-rank term, of as many dimensions as `Lambda`, (..., N), or of one more, (..., R, N), for rank R.
        B: Input vector, (..., N) complex.
        C: Output matrix, (..., M, N) complex.
        dt: Step in units of 1/Lambda, (...), real, above 0.
        length: Number of samples L, at least 1.
        backend: "auto", "reference" (dense matrices, one step a sample), "cpu" (in the time domain) or "triton" (Cauchy
            sums over frequencies).

    Returns:
        K, (..., M, length), real, exactly the first L samples (nothing is folded in from beyond L). Leading dimensions
        broadcast.

    Raises:
        TypeError: the dtypes are neither float32 nor float64 (complex64, complex128), or differ in precision.
        ValueError: the shapes do not fit together, `length` is below 1, a value is not finite, or the backend is
            unknown or cannot serve.

    Source:
        Gu, Goel, Ré 2021, Efficiently modeling long sequences with structured state spaces (arXiv:2111.00396), section
        3. Differs: "cpu" computes in the time domain, where truncation is exact and a zero eigenvalue is not 0/0;
        "triton" sums over a circle inside the unit circle for the same reason.

    Cost and backends: all but the last steps are in float64 also for float32 inputs (a step rounded to float32 drifts
    by 6e-8 L, and closing the low-rank loop costs up to 5 digits).
    "cpu" works in one of two ways, whichever measured faster. Where N^3 <= 40 L it makes the first m states, m about
    sqrt(L) / 2, and the dense real matrix Abar^m, whose powers read them m samples at a time: N^2 sqrt(L) + N^3 + N L;
    for float32 inputs the last product and most of the gradient are in float32. Else it closes feedback around the
    diagonal system with Vandermonde sums and Newton's series inverse, N L + L log L, all in float64. Neither keeps
    anything of size (H, N, L).
    "triton", for complex64, is the published form: Cauchy sums in float64, N L, with C corrected for truncation by the
    dense power Abar^L, N^3 log L, in torch; it keeps (1 + R) (M + R) spectra of L / 2 numbers, for rank R.

    Example:
        >>> import torch
        >>> one = torch.ones(1) + 0j
        >>> cauchy(-one, one, one, one[None], torch.tensor(1.0), 3)
        tensor([[ 0.8000, -0.1600,  0.0320]])
    """
    check_positive_int("length", length)
    check_dtypes({"dt": dt}, {"Lambda": Lambda, "P": P, "B": B, "C": C})
    if Lambda.dim() < 1:
        raise ValueError(
            f"`Lambda` must have shape (..., N), got {tuple(Lambda.shape)}; pass one of each conjugate pair"
        )
    n_pairs = Lambda.shape[-1]
    if P.dim() not in (Lambda.dim(), Lambda.dim() + 1) or P.shape[-1] != n_pairs:
        raise ValueError(
            f"`P` must have shape (..., {n_pairs}) with as many dimensions as `Lambda` {tuple(Lambda.shape)}, or one "
            f"more for the rank, got {tuple(P.shape)}"
        )
    if B.dim() < 1 or B.shape[-1] != n_pairs:
        raise ValueError(f"`B` must have shape (..., {n_pairs}) to fit `Lambda`, got {tuple(B.shape)}")
    if C.dim() < 2 or C.shape[-1] != n_pairs:
        raise ValueError(f"`C` must have shape (..., M, {n_pairs}) to fit `Lambda`, got {tuple(C.shape)}")
    P = P.unsqueeze(-2) if P.dim() == Lambda.dim() else P
    shapes = {"Lambda": Lambda.shape[:-1], "P": P.shape[:-2], "B": B.shape[:-1], "C": C.shape[:-2], "dt": dt.shape}
    leading = check_leading(shapes)
    check_values({"Lambda": Lambda, "P": P, "B": B, "C": C, "dt": dt})
    path = choose_backend(backend, Lambda)
    if path == "reference":
        return cauchy_reference(Lambda, P, B, C, dt, length)
    flat = flatten(Lambda, P, B, C, dt, leading)
    if path == "triton" and leading.numel():  # FFTs refuse an empty batch
        kernel = nodes_kernel(*flat, length, path)
    elif n_pairs**3 <= DENSE_UP_TO * length:
        kernel = dense_kernel(*flat, length, dt.dtype)
    else:
        kernel = feedback_kernel(*flat, length)
    return kernel.reshape(*leading, C.shape[-2], length).to(dt.dtype)


def flatten(
    Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, leading: torch.Size
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gives every tensor one leading dimension, in double precision."""
    wide = (tensor.to(torch.complex128) for tensor in (Lambda, P, B, C))
    own = (1, 2, 1, 2)
    vectors = [
        tensor.expand(*leading, *tensor.shape[-dims:]).reshape(leading.numel(), *tensor.shape[-dims:])
        for tensor, dims in zip(wide, own, strict=True)
    ]
    return vectors[0], vectors[1], vectors[2], vectors[3], dt.double().expand(leading).reshape(-1)
