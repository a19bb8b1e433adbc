"""Causal convolution with a kernel as long as the series."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_shape
from seqkit.kernels.backend import check_dtypes, check_values, choose_backend, full_precision
from seqkit.kernels.long_conv.op import long_conv_op
from seqkit.kernels.long_conv.reference import long_conv_reference

__all__ = ["long_conv"]


def long_conv(u: Tensor, k: Tensor, D: Tensor | None = None, backend: str = "auto") -> Tensor:
    """Convolves each channel with its own kernel, looking back only.

        y[l] = sum_{s=0..l} k[l-s] u[s] + D u[l]

    Args:
        u: Input, (B, H, L).
        k: Kernel per channel, (H, taps), or one per output and channel, (M, H, taps). It may be shorter or longer than
            the series; only the first L taps act.
        D: Skip weight, (H,), or (M, H) where `k` has M outputs; None for no skip term.
        backend: "auto", "reference" (Toeplitz matrices) or "cpu" (blocked FFT).

    Returns:
        y, (B, H, L), or (B, M, H, L) where `k` has M outputs. Under autocast, half precision is computed in float32.

    Raises:
        TypeError: the dtypes are neither float32 nor float64, or differ.
        ValueError: the shapes do not fit together, L is 0, a value is not finite,
            or the backend is unknown or cannot serve.

    Source:
        Gu et al. 2021 (arXiv:2110.13985), section 3: y = K * u + D u with three padded FFTs. Differs: the FFT is of a
        5-smooth size of at least L + taps - 1, over blocks of channels that fit a core's cache, and backward keeps
        only `u` and `k`; D is added to k[0].

    Cost: O(B M H L log L) time; memory of the output and one block. Values leak backwards in time by rounding only,
    below 1e-6 of the maximum in float32. Backends: reference, cpu.

    Example:
        >>> import torch
        >>> long_conv(torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[1.0, 3.0]]), D=torch.tensor([10.0]))
        tensor([[[11.,  3., 22.]]])
    """
    u, k = full_precision(u), full_precision(k)
    D = None if D is None else full_precision(D)
    check_dtypes({"u": u, "k": k} if D is None else {"u": u, "k": k, "D": D}, {})
    check_shape("u", u, ("B", "H", "L"), "put channels before time")
    n_channels = u.shape[1]
    single = k.dim() == 2
    check_shape("k", k, (n_channels, "taps") if single else ("M", n_channels, "taps"), "give each channel its kernel")
    if u.shape[-1] < 1 or k.shape[-1] < 1:
        raise ValueError(
            f"`u` and `k` must have at least 1 sample, got {u.shape[-1]} and {k.shape[-1]}; drop empty series"
        )
    if D is not None:
        check_shape("D", D, (n_channels,) if single else (k.shape[0], n_channels), "give each output its skip weight")
    check_values({"u": u, "k": k} if D is None else {"u": u, "k": k, "D": D})
    path = choose_backend(backend, u, {"triton": "long_conv has no Triton kernels"})
    if path == "reference":
        return long_conv_reference(u, k, D)
    if D is not None:  # a skip is one more weight on the newest sample; so it costs no pass over the series
        k = torch.cat([k[..., :1] + D.unsqueeze(-1), k[..., 1:]], dim=-1)
    y: Tensor = long_conv_op(u, k.unsqueeze(0) if single else k, path)
    return y.squeeze(1) if single else y
