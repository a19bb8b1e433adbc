"""Long convolution in Monarch form: one-sided or two-sided, gated, over series of any length."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.checks import check_choice, check_shape
from seqkit.kernels.long_conv import check_arguments, long_conv
from seqkit.longconv.transform import Pair, from_spectrum, split_points, to_spectrum

__all__ = ["FORMS", "monarch_conv"]

FORMS = ("auto", "fft", "monarch")


def monarch_conv(
    u: Tensor,
    k: Tensor,
    k_reverse: Tensor | None = None,
    D: Tensor | None = None,
    gate: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    form: str = "auto",
    order: int | None = None,
) -> Tensor:
    """Convolves each channel with its own kernel, and with a second one that looks at later samples.

        y[l] = gate[l] (sum_(j>=0) k[j] u[l - j] + sum_(j>=0) k_reverse[j] u[l + 1 + j] + D u[l])

    In Monarch form with M = F P of `dft_factors` this is y = conj(M) diag(M^T k) M^T u / N over zero-padded series of
    N samples, so nothing wraps around; two series go through it as the two parts of a complex one. Without `k_reverse`
    the map is a lower triangular Toeplitz matrix.

    Args:
        u: Input, (B, H, L); float32, float64 or half precision.
        k: Kernel of each channel, (H, taps), float32 or float64, for the sample itself and those before it.
            Taps that reach no sample do nothing.
        k_reverse: Kernel of each channel, (H, taps), for the samples after it: its first tap is at offset -1, so the
            sample itself is weighted by k[0] alone. None for a causal map.
        D: Skip weight, (H,).
        gate: Factor of every output sample, (B, H, L).
        lengths: Samples of each series, (B,); what lies past them counts as absent and comes out as 0.
        form: "monarch" (dense stages, differentiable any number of times), "fft"
            (`seqkit.kernels.long_conv`: its loops on the CPU, Triton's stages on CUDA), or "auto", which takes "fft".
        order: Stages of the Monarch form; None for the fewest of at most 64 points. Other forms have none.

    Returns:
        y, (B, H, L).

    Raises:
        TypeError: dtypes that do not fit each other.
        ValueError: shapes that do not fit, an unknown form, or an order for a form that has none.

    Source:
        Fu et al. 2023, Monarch Mixer (arXiv:2310.12109), section 3. Two-sided as its released code pads kernels;
        another branch there weights the sample itself twice. Differs: series may be padded.

    Cost: "fft" O(B H L log L). "monarch" O(p B H N^(1 + 1/p)) in matrix products; on one core it takes three
        times as long as "fft" at 256 samples and thirteen times at 4,096, benchmarks/results/long_convolution.md.

    Example:
        >>> u = torch.tensor([[[1.0, 0.0, 2.0]]])
        >>> monarch_conv(u, torch.tensor([[1.0, 3.0]]), torch.tensor([[10.0]]), form="monarch").round(decimals=4)
        tensor([[[ 1., 23.,  2.]]])
    """
    check_choice("form", form, FORMS)
    if order is not None and form != "monarch":
        raise ValueError(f"`order` is for form 'monarch', got {order!r} with form {form!r}; leave it out")
    kernel, center = _joined(k, k_reverse)
    if form != "monarch":
        y: Tensor = long_conv(u, kernel, D, gate, lengths, causal=k_reverse is None)
        return y
    check_arguments(u, kernel, D, gate, lengths, k_reverse is None)
    signal = u.to(k.dtype)
    past = torch.zeros(1, 1, 1, dtype=torch.bool, device=u.device)
    if lengths is not None:
        past = torch.arange(u.shape[-1], device=u.device) >= lengths.to(u.device)[:, None, None]
    signal = signal.masked_fill(past, 0)
    y = _by_stages(signal, kernel, center, order)
    if D is not None:
        y = y + D[:, None] * signal
    if gate is not None:
        y = y * gate.masked_fill(past, 0)
    return y.masked_fill(past, 0).to(u.dtype)


def _joined(k: Tensor, k_reverse: Tensor | None) -> tuple[Tensor, int]:
    """Both kernels as one, (H, taps), and the place of the tap that acts on the sample itself: the middle one."""
    check_shape("k", k, ("H", "taps"), "give each channel its kernel")
    if k_reverse is None:
        return k, 0
    check_shape("k_reverse", k_reverse, (k.shape[0], "taps"), "give each channel its kernel")
    after, before = k_reverse.shape[-1], k.shape[-1] - 1
    side = max(after, before)
    return F.pad(torch.cat([k_reverse.flip(-1), k], -1), (side - after, side - before)), side


def _by_stages(u: Tensor, kernel: Tensor, center: int, order: int | None) -> Tensor:
    """The convolution by Monarch products, outputs (B, H, L)."""
    batch_size, n_channels, length = u.shape
    kernel = kernel[..., max(0, center - length + 1) : center + length]  # others reach no sample
    center = min(center, length - 1)
    n_points = 1 << (length + max(kernel.shape[-1] - 1 - center, center) - 1).bit_length()
    digits = split_points(n_points, order)
    before, after = kernel[..., :center], kernel[..., center:]
    circle = torch.cat([after, kernel.new_zeros(n_channels, n_points - kernel.shape[-1]), before], -1)
    signal = F.pad(u, (0, n_points - length, 0, 0, 0, batch_size % 2))
    x = to_spectrum(Pair(signal[0::2], signal[1::2]), digits)
    h = to_spectrum(Pair(circle, torch.zeros_like(circle)), digits)
    y = from_spectrum(Pair(x.re * h.re - x.im * h.im, x.re * h.im + x.im * h.re), digits)
    rows = torch.stack([y.re[..., :length], y.im[..., :length]], 1).flatten(0, 1)
    return rows[:batch_size]
