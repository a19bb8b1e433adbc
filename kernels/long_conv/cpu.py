"""The causal convolution by real FFTs over blocks of channels, or by Toeplitz products for short series."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from seqkit.kernels.long_conv.reference import toeplitz

__all__ = ["fft_size", "long_conv_backward", "long_conv_forward"]

SHORT = 64  # up to here the Toeplitz product is faster than three FFTs
BLOCK = 1 << 18  # numbers per temporary, so that a block's spectra stay in a core's cache


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


def blocks(n_channels: int, rows: int, size: int) -> Iterator[slice]:
    """Yields slices over channels so that `rows` series of `size` numbers each fit the block."""
    width = max(1, BLOCK // (rows * size))
    return (slice(start, start + width) for start in range(0, n_channels, width))


def long_conv_forward(u: Tensor, k: Tensor, D: Tensor | None) -> Tensor:
    """Returns y (B, M, H, L) for u (B, H, L), k (M, H, taps), D (M, H)."""
    batch_size, n_channels, length = u.shape
    n_outputs = k.shape[0]
    if length <= SHORT:
        matrices = toeplitz(k, length).mT
        y = (u.transpose(0, 1) @ matrices).permute(2, 0, 1, 3).contiguous()
        return y if D is None else y.add_(D.unsqueeze(-1) * u.unsqueeze(1))
    taps = min(length, k.shape[-1])
    size = fft_size(length + taps - 1)
    y = u.new_empty(batch_size, n_outputs, n_channels, length)
    for block in blocks(n_channels, batch_size * n_outputs, size):
        spectra = torch.fft.rfft(u[:, None, block], n=size) * torch.fft.rfft(k[:, block, :taps], n=size)
        part = torch.fft.irfft(spectra, n=size)[..., :length]
        if D is None:
            y[:, :, block] = part
        else:
            torch.addcmul(part, D[:, block, None], u[:, None, block], out=y[:, :, block])
    return y


def long_conv_backward(grad: Tensor, u: Tensor, k: Tensor, D: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of u, k and D: correlations of the output's gradient with k and with u.

    The spectra of u and k are computed again block by block; keeping them would triple what a layer stores.
    """
    length = u.shape[-1]
    d_skip = u.new_empty(0) if D is None else torch.einsum("bmhl,bhl->mh", grad, u)
    taps = min(length, k.shape[-1])
    if length <= SHORT:
        matrices = toeplitz(k, length)
        du = (grad.permute(1, 2, 0, 3) @ matrices).sum(0).transpose(0, 1).contiguous()
        outer = grad.permute(1, 2, 3, 0) @ u.transpose(0, 1)
        dk = k.new_zeros(k.shape)
        dk[..., :taps] = diagonal_sums(outer)[..., :taps]
    else:
        du, dk = fft_backward(grad, u, k, taps)
    return (du if D is None else du.add_((grad * D.unsqueeze(-1)).sum(1))), dk, d_skip


def diagonal_sums(matrices: Tensor) -> Tensor:
    """Sums each lower diagonal, (..., L, L) -> (..., L): entry d is the sum over l - s = d."""
    length = matrices.shape[-1]
    flipped = torch.nn.functional.pad(matrices.flip(-1), (0, length))  # row l holds s = L-1 .. 0, then zeros
    rows = flipped.flatten(-2)[..., : length * (2 * length - 1)]
    skewed = rows.reshape(*matrices.shape[:-1], 2 * length - 1)
    return skewed.sum(-2)[..., length - 1 :]


def fft_backward(grad: Tensor, u: Tensor, k: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of u and k without the skip term."""
    batch_size, n_outputs, n_channels, length = grad.shape
    size = fft_size(length + taps - 1)
    du, dk = u.new_empty(u.shape), k.new_zeros(k.shape)
    for block in blocks(n_channels, batch_size * n_outputs, size):
        spectra = torch.fft.rfft(grad[:, :, block], n=size)
        kernel = torch.fft.rfft(k[:, block, :taps], n=size)
        inputs = torch.fft.rfft(u[:, block], n=size)
        dk[:, block, :taps] = torch.fft.irfft((spectra * inputs.conj().unsqueeze(1)).sum(0), n=size)[..., :taps]
        du[:, block] = torch.fft.irfft((spectra * kernel.conj()).sum(1), n=size)[..., :length]
    return du, dk
