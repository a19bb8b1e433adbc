"""Convolution with a kernel as long as the series."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_lengths, check_shape
from seqkit.kernels.backend import HALF, check_dtypes, check_values, choose_backend, full_precision, triton_refusal
from seqkit.kernels.long_conv.blocks import circular_size
from seqkit.kernels.long_conv.op import long_conv_op
from seqkit.kernels.long_conv.reference import long_conv_reference, masked
from seqkit.kernels.long_conv.spectra import size_refusal, slower_with_triton

__all__ = ["long_conv"]


def long_conv(
    u: Tensor,
    k: Tensor,
    D: Tensor | None = None,
    gate: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    causal: bool = True,
    backend: str = "auto",
) -> Tensor:
    """Convolves each channel with its own kernel, looking back only or to both sides.

        y[l] = gate[l] (sum_j k[c + j] u[l - j] + D u[l]),   c = 0, or (taps - 1) / 2 with causal=False

    Args:
        u: Input, (B, H, L); float32, float64, bfloat16 or float16.
        k: Kernel per channel, (H, taps), or one per output and channel, (M, H, taps); float32, or float64 like `u`.
            It may be shorter or longer than the series: only the taps that reach a sample act, the first L, or the
            middle 2 L - 1 with causal=False.
        D: Skip weight, (H,), or (M, H) where `k` has M outputs, in the dtype of `k`; None for no skip term.
        gate: Factor of every output sample, (B, H, L), or (B, M, H, L) where `k` has M outputs and each has a gate of
            its own, in the dtype of `u`; None for no gate.
        lengths: Samples of each series that are valid, (B,) whole numbers from 1 to L. Whatever lies past them in `u`
            and `gate` counts as absent, NaN too; the output is 0 there, and so are the gradients. None if all are.
        causal: Whether y[l] depends on u[0] .. u[l] alone. If False, `k` has an odd number of taps, and its middle one
            acts on the sample itself, those before it on later samples: scipy.signal.convolve(u, k, mode="same").
        backend: "auto", "reference" (Toeplitz matrices), "cpu" (blocked FFT) or "triton" (FFT on matrix units).

    Returns:
        y, (B, H, L), or (B, M, H, L) where `k` has M outputs, in the dtype of `u`; computed in float32 where that is
        half precision. Under autocast `k` and `D` may be in half precision too, and count as float32.

    Raises:
        TypeError: a dtype is not among those above, or they do not fit each other.
        ValueError: the shapes do not fit together, L is 0, the number of taps is even with causal=False, a value that
            is not padding is not finite, a length is not from 1 to L, or the backend is unknown or cannot serve.

    Source:
        Gu et al. 2021 (arXiv:2110.13985), section 3: y = K * u + D u with three padded FFTs. Differs: D is added to
        the tap that acts on the sample itself; backward keeps the arguments alone; with numba, two rows of eight
        channels at a time go through an FFT of their own size, 2^a or 3 2^a, depth first in a core's caches, and
        without it blocks of series go through torch's, of a 5-smooth size. The Triton kernels factor the FFT into
        products with small DFT matrices as Fu et al. 2023 (arXiv:2311.05908) do, two series in one complex one.

    Cost: O(B M H L log L) time. Memory of the output, and on the path for CPUs of 32 padded series a thread (64 in
    backward) or a few blocks of 2 MiB, with Triton of the kernels' spectra. Values leak between samples by rounding
    only, below 1e-6 of the maximum in float32; with Triton and `u` in bfloat16, where products are in TF32, about 1e-3.
    Backends: reference, cpu, triton (float32 and half precision, up to 131072 samples of series and kernel together;
    above 4096, where torch's FFT was twice as fast on an H100, "auto" takes cpu on any device).

    Example:
        >>> import torch
        >>> u, k = torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[1.0, 3.0, 5.0]])
        >>> long_conv(u, k, D=torch.tensor([10.0])).round(decimals=4)
        tensor([[[11.,  3., 27.]]])
        >>> long_conv(u, k, causal=False).round(decimals=4)
        tensor([[[3., 7., 6.]]])
        >>> long_conv(u, k, lengths=torch.tensor([2])).round(decimals=4)
        tensor([[[1., 3., 0.]]])
    """
    k, D = full_precision(k), None if D is None else full_precision(D)
    check_arguments(u, k, D, gate, lengths, causal)
    length, single = u.shape[-1], k.dim() == 2
    kernels, center = effective(k.unsqueeze(0) if single else k, D, length, causal)
    points = circular_size(length, kernels.shape[-1], center)
    refusal = triton_refusal(k) or size_refusal(points)
    # The kernel decides, because it is in the precision that is computed in; u may be in half precision.
    path = choose_backend(backend, k, {} if refusal is None else {"triton": refusal}, slower_with_triton(points))
    gates, ends = u.new_empty(0), torch.empty(0, dtype=torch.int64, device=u.device)
    if gate is not None:  # one gate for all outputs is shown to the operator once for each
        gates = gate if gate.dim() == 4 else gate.unsqueeze(1).expand(-1, len(kernels), -1, -1)
    if lengths is not None:
        ends = lengths.to(device=u.device, dtype=torch.int64)
    compute = long_conv_reference if path == "reference" else lambda *values: long_conv_op(*values, path)
    y: Tensor = compute(u, kernels, gates, ends, center)
    return y.squeeze(1) if single else y


def effective(k: Tensor, D: Tensor | None, length: int, causal: bool) -> tuple[Tensor, int]:
    """Returns the taps (M, H, taps) that reach a sample, the skip weight among them, and the one at lag 0."""
    taps = k.shape[-1]
    center = 0 if causal else (taps - 1) // 2
    unused = max(0, center - (length - 1))
    k, center = k[..., unused : center + length], center - unused
    if D is not None:  # a skip is one more weight on the sample itself; so it costs no pass over the series
        skipped = k[..., center : center + 1] + D.view(k.shape[0], k.shape[1], 1)
        k = torch.cat([k[..., :center], skipped, k[..., center + 1 :]], dim=-1)
    return k, center


def check_arguments(
    u: Tensor, k: Tensor, D: Tensor | None, gate: Tensor | None, lengths: Tensor | None, causal: bool
) -> None:
    """Refuses dtypes, shapes and values that `long_conv` cannot use."""
    parameters = {"k": k} if D is None else {"k": k, "D": D}
    check_types(u, gate, parameters)
    check_shape("u", u, ("B", "H", "L"), "put channels before time")
    batch_size, n_channels, length = u.shape
    single = k.dim() == 2
    outputs: tuple[int, ...] = () if single else (k.shape[0],)
    check_shape("k", k, (n_channels, "taps") if single else ("M", n_channels, "taps"), "give each channel its kernel")
    if length < 1 or k.shape[-1] < 1:
        raise ValueError(f"`u` and `k` must have at least 1 sample, got {length} and {k.shape[-1]}; drop empty series")
    if not causal and k.shape[-1] % 2 == 0:
        raise ValueError(
            f"`k` must have an odd number of taps with causal=False, got {k.shape[-1]}; "
            "its middle tap acts on the sample itself, so append a zero on the side that is shorter"
        )
    if D is not None:
        check_shape("D", D, (*outputs, n_channels), "give each output its skip weight")
    signals = {"u": u}
    if gate is not None:
        wanted = (*outputs, n_channels) if gate.dim() == 4 else (n_channels,)  # one for each output, or for all
        check_shape("gate", gate, (batch_size, *wanted, length), "give each output sample its factor")
        signals["gate"] = gate
    if lengths is not None:
        check_ends(lengths, batch_size, length)
        if not torch.compiler.is_compiling() and u.device.type == "cpu":
            signals = {name: masked(value.detach(), lengths) for name, value in signals.items()}
    check_values({**signals, **parameters})


def check_types(u: Tensor, gate: Tensor | None, parameters: dict[str, Tensor]) -> None:
    """Refuses dtypes other than float32 and float64, and half precision of `u` and `gate` beside float32."""
    if gate is not None and (gate.dtype != u.dtype or gate.device != u.device):
        check_dtypes({"u": u.float() if u.dtype in HALF else u, "gate": gate}, {})
        raise TypeError(f"`gate` must have the dtype of `u` ({u.dtype}), got {gate.dtype}; convert one of them")
    if u.dtype not in HALF:
        check_dtypes({"u": u, **parameters}, {})
        return
    check_dtypes(parameters, {})
    check_dtypes({"u": u.new_empty(0, dtype=parameters["k"].dtype), **parameters}, {})  # refuses another device
    if parameters["k"].dtype != torch.float32:
        raise TypeError(
            f"`k` must be float32 beside `u` in {u.dtype}, got {parameters['k'].dtype}; convert one of them"
        )


def check_ends(lengths: Tensor, batch_size: int, longest: int) -> None:
    """Refuses lengths that do not fit; their values are looked at on the CPU and outside traced graphs only."""
    if lengths.is_floating_point() or torch.compiler.is_compiling() or lengths.device.type != "cpu":
        whole = not (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool)
        check_shape("lengths", lengths, (batch_size,), "give each series its number of samples")
        if not whole:
            raise ValueError(f"`lengths` must be whole numbers, got dtype {lengths.dtype}")
    elif type(lengths) is Tensor:
        check_lengths(lengths, batch_size, longest)
