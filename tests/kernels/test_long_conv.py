"""The causal convolution against numpy, its causality, its sizes and its memory."""

import numpy as np
import pytest
import torch

from seqkit.kernels.long_conv import cpu, long_conv


@pytest.mark.parametrize("taps", [1, 3, 40, 300])
@pytest.mark.parametrize("length", [1, 2, 64, 65, 257])
def test_numpy_convolve(length: int, taps: int) -> None:
    u, k = torch.randn(2, 3, length).double(), torch.randn(2, 3, taps).double()
    got = long_conv(u, k)
    for b, m, h in np.ndindex(2, 2, 3):
        np.testing.assert_allclose(got[b, m, h], np.convolve(u[b, h], k[m, h])[:length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [50, 1000, 4096])
def test_the_future_leaks_by_rounding_only(length: int) -> None:
    u, k = torch.randn(1, 4, length), torch.randn(4, length)
    later = u.clone()
    later[..., length // 2 :] += 1
    before, after = (long_conv(value, k) for value in (u, later))
    leak = (before - after)[..., : length // 2].abs().max()
    assert leak < 1e-6 * after.abs().max()
    assert (before - after)[..., length // 2 :].abs().max() > 0.1


def test_impulse_gives_the_kernel() -> None:
    u = torch.zeros(1, 2, 500)
    u[..., 0] = 1
    k = torch.randn(3, 2, 500)
    torch.testing.assert_close(long_conv(u, k)[0], k, rtol=0, atol=2e-6)


def test_skip_weight_of_each_output() -> None:
    u, D = torch.randn(2, 3, 90), torch.randn(4, 3)
    torch.testing.assert_close(long_conv(u, torch.zeros(4, 3, 5), D), D[..., None] * u[:, None])


def test_fft_sizes_are_even_smooth_and_minimal() -> None:
    smooth = sorted(2**a * 3**b * 5**c for a in range(1, 15) for b in range(9) for c in range(7))
    for at_least in range(1, 3000):
        assert cpu.fft_size(at_least) == next(size for size in smooth if size >= at_least)


def test_blocks_cover_every_channel_once() -> None:
    for width in (1, 7, 128):
        covered = [c for block in cpu.blocks(width, 8, 8192) for c in range(width)[block]]
        assert covered == list(range(width))


def test_backward_makes_no_padded_copy_of_everything(largest_tensor) -> None:
    u, k = torch.randn(4, 64, 4000), torch.randn(1, 64, 4000)
    grad = torch.randn(4, 1, 64, 4000)
    assert largest_tensor(cpu.long_conv_forward, u, k) <= u.numel()
    assert largest_tensor(cpu.long_conv_backward, grad, u, k) <= u.numel()
