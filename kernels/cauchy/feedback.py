"""The normal-plus-low-rank kernel as feedback around a diagonal system, in power series truncated at L.

    x' = Lambda x - P (P^* x) + B u  is the diagonal system with its output P^* x fed back into its input P.

Bilinear steps make every path g_ab[l] = dt sum_n a_n b_n d_n Abar_n^l a Vandermonde sum, and closing the loop gives

    K = g_CB - g_CP * (delta + s g_PP)^{-1} * s g_PB,   s g [l] = (g[l] + g[l-1]) / 2,

products and inverse being causal convolutions. Truncation is exact, so the correction C (I - Abar^L) of the Cauchy
sums over roots of unity, which needs a dense matrix power, is not needed; nor is any node where a sum may be 0/0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.long_conv.reference import toeplitz
from seqkit.kernels.vandermonde import vandermonde

__all__ = ["feedback_kernel", "series_inverse"]

START = 32  # length solved as one triangular system before Newton's doubling takes over
SMALLEST = 1e-30  # stands in for Abar = 0 (dt Lambda = -2), whose logarithm is infinite


def feedback_kernel(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length); arguments as in `cauchy` with one leading dimension H, P (H, R, N)."""
    rank, n_outputs = P.shape[-2], C.shape[-2]
    step = dt.unsqueeze(-1) * Lambda / 2
    inputs = torch.cat([P, B.unsqueeze(-2)], dim=-2)
    outputs = torch.cat([P.conj(), C], dim=-2)
    weight = (outputs.unsqueeze(-2) * inputs.unsqueeze(-3)).flatten(-3, -2) * (dt.unsqueeze(-1) / (1 - step)).unsqueeze(
        -2
    )
    ratio = (1 + step) / (1 - step)
    log_ratio = torch.where(ratio.abs() < SMALLEST, SMALLEST, ratio).log()
    paths = vandermonde(log_ratio, weight, length, backend="cpu")
    paths = paths.view(len(dt), rank + n_outputs, rank + 1, length).permute(1, 2, 0, 3)
    for _ in range(rank):
        paths = close_loop(paths)
    return paths.squeeze(1).transpose(0, 1)


def close_loop(paths: Tensor) -> Tensor:
    """Feeds the first output back into the first input, (O, I, H, L) -> (O-1, I-1, H, L)."""
    halved = (paths[0] + pad(paths[0, ..., :-1], (1, 0))) / 2
    delta = torch.zeros_like(halved[0])
    delta[..., 0] = 1
    inner = long_conv(halved[1:], series_inverse(delta + halved[0]), backend="cpu")
    return paths[1:, 1:] - long_conv(inner, paths[1:, 0], backend="cpu").transpose(0, 1)


def series_inverse(series: Tensor) -> Tensor:
    """Returns the power series whose causal convolution with `series` (H, L) is 1, 0, 0, ....

    Newton's rule doubles the number of correct terms: S <- S * (2 - F * S).

    Example:
        >>> series_inverse(torch.tensor([[1.0, -0.5, 0.0]]))
        tensor([[1.0000, 0.5000, 0.2500]])
    """
    length = series.shape[-1]
    known = min(length, START)
    first = torch.zeros(known, 1, dtype=series.dtype, device=series.device)
    first[0] = 1
    system = toeplitz(series, known)
    inverse: Tensor = torch.linalg.solve_triangular(system, first.expand(len(series), -1, -1), upper=False).squeeze(-1)
    while known < length:
        target = min(2 * known, length)
        error = long_conv(pad(inverse, (0, target - known)).unsqueeze(0), series[:, :target], backend="cpu")
        change = long_conv(error[..., known:], inverse, backend="cpu").squeeze(0)
        inverse, known = torch.cat([inverse, -change], dim=-1), target
    return inverse
