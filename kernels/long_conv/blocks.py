"""The convolution by torch's real FFTs over blocks of series: for half precision, few channels and other devices.

Toeplitz products for short series were measured and lose from L = 32 on (0.45 ms against 0.18 ms at B = 8, H = 128).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from seqkit.kernels.long_conv.reference import masked

__all__ = ["circular_size", "fft_size", "long_conv_backward", "long_conv_forward"]

BLOCK = 1 << 19  # numbers per temporary: enough to amortise a call's plan, few enough to stay in the shared cache
WIDE_BLOCK = 1 << 25  # on other devices, where a call is dear and a temporary is not


def fft_size(at_least: int) -> int:
    """Returns the smallest even 5-smooth number that is at least `at_least`: the sizes FFT libraries are fast at."""
    best = 1 << max(1, (at_least - 1).bit_length())
    five = 1
    while five < best:
        three = five
        while three < best:
            two = 1 << max(1, (-(-at_least // three) - 1).bit_length())
            best = min(best, three * two)
            three *= 3
        five *= 5
    return best


def circular_size(length: int, taps: int, center: int) -> int:
    """Returns how many samples a circle needs so that what wraps around meets no output.

    Outputs are samples `center` .. `center + length - 1` of the full convolution, whose `length + taps - 1` samples may
    overlap outside them.
    """
    return max(length + taps - 1 - center, length + center)


def blocks(batch_size: int, n_channels: int, numbers: int, limit: int) -> Iterator[tuple[slice, slice]]:
    """Yields slices of the batch and of the channels whose series, `numbers` each, fit the limit together.

    A block holds one channel at least and all batch rows if they fit, so that a kernel's spectrum serves many.
    """
    rows = max(1, min(batch_size, limit // numbers))
    width = max(1, limit // (rows * numbers))
    for first in range(0, n_channels, width):
        for row in range(0, batch_size, rows):
            yield slice(row, row + rows), slice(first, first + width)


def kernel_spectra(k: Tensor, center: int, size: int) -> Tensor:
    """Transforms kernels (..., taps) with the middle tap turned to index 0, so that outputs start there too."""
    if center:
        circle = k.new_zeros(*k.shape[:-1], size)
        circle[..., : k.shape[-1] - center] = k[..., center:]
        circle[..., size - center :] = k[..., :center]
        k = circle
    transformed: Tensor = torch.fft.rfft(k, n=size)
    return transformed


def spectra(value: Tensor, like: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Transforms series (..., L) padded to `size`, in the precision of `like`."""
    transformed: Tensor = torch.fft.rfft(masked(value.to(like.dtype), lengths), n=size)
    return transformed


def long_conv_forward(u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int) -> Tensor:
    """Returns y (B, M, H, L); arguments as in `long_conv_reference`."""
    batch_size, n_channels, length = u.shape
    n_outputs, _, taps = k.shape
    size = fft_size(circular_size(length, taps, center))
    y = u.new_empty(batch_size, n_outputs, n_channels, length)
    limit = BLOCK if u.device.type == "cpu" else WIDE_BLOCK
    for rows, channels in blocks(batch_size, n_channels, n_outputs * size, limit):
        if rows.start == 0:
            kernels = kernel_spectra(k[:, channels], center, size)
        ends = lengths[rows]
        products = multiply(spectra(u[rows, channels], k, ends, size).unsqueeze(1), kernels)
        block = torch.fft.irfft(products, n=size)[..., :length]
        if gate.numel():
            block = block * gate[rows, :, channels]
        y[rows, :, channels] = masked(block, ends)
    return y


def multiply(inputs: Tensor, kernels: Tensor) -> Tensor:
    """Multiplies spectra (B, 1, H, F) by (M, H, F), in place where there is one output."""
    return inputs.mul_(kernels) if len(kernels) == 1 else inputs * kernels


def long_conv_backward(
    grad: Tensor, u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of u, k and the gate: correlations of the output's gradient with k and with u.

    The spectra of u and k, and the output before the gate, are computed again block by block; keeping them would triple
    what a layer stores.
    """
    batch_size, n_outputs, n_channels, length = grad.shape
    taps = k.shape[-1]
    size = fft_size(circular_size(length, taps, center))
    du, dk, dgate = u.new_empty(u.shape), k.new_zeros(k.shape), gate.new_empty(gate.shape)
    limit = BLOCK if u.device.type == "cpu" else WIDE_BLOCK
    for rows, channels in blocks(batch_size, n_channels, n_outputs * size, limit):
        if rows.start == 0:
            kernels = kernel_spectra(k[:, channels], center, size)
            total = torch.zeros_like(kernels)
        ends = lengths[rows]
        outer = masked(grad[rows, :, channels].to(k.dtype), ends)
        inputs = spectra(u[rows, channels], k, ends, size).unsqueeze(1)
        if gate.numel():
            ungated = torch.fft.irfft(inputs * kernels, n=size)[..., :length]
            dgate[rows, :, channels] = masked(ungated, ends) * outer
            outer = outer * masked(gate[rows, :, channels], ends)
        outputs = torch.fft.rfft(outer, n=size)
        total += (outputs * inputs.conj_physical_()).sum(0)
        back = multiply_and_sum(outputs, kernels.conj())
        du[rows, channels] = masked(torch.fft.irfft(back, n=size)[..., :length], ends)
        if rows.stop >= batch_size:
            shares = torch.fft.irfft(total, n=size)
            dk[:, channels, center:] = shares[..., : taps - center]
            dk[:, channels, :center] = shares[..., size - center :] if center else 0
    return du, dk, dgate


def multiply_and_sum(outputs: Tensor, kernels: Tensor) -> Tensor:
    """Returns the sum over M of spectra (B, M, H, F) times (M, H, F), in place where there is one output."""
    return outputs.squeeze(1).mul_(kernels.squeeze(0)) if len(kernels) == 1 else (outputs * kernels).sum(1)
