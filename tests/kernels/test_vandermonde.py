"""The diagonal kernel against numpy, its precision at long phases, and its memory."""

import numpy as np
import pytest
import torch

from seqkit.kernels.vandermonde import cpu, vandermonde


def exponents(n_channels: int, n_pairs: int) -> torch.Tensor:
    """The usual diagonal start: decay 1/2, frequencies pi n, steps from 0.001 to 0.1."""
    dt = torch.logspace(-3, -1, n_channels, dtype=torch.float64)[:, None]
    return dt * torch.complex(torch.tensor(-0.5).double(), torch.pi * torch.arange(n_pairs, dtype=torch.float64))


@pytest.mark.parametrize("length", [1, 5, 64, 129, 2000])
def test_running_product_of_numpy(length: int) -> None:
    a, weight = exponents(3, 4).numpy(), np.random.default_rng(0).normal(size=(3, 2, 4)) + 0.3j
    powers = np.concatenate([np.ones((3, 1, 4)), np.cumprod(np.repeat(np.exp(a)[:, None], length - 1, 1), axis=1)], 1)
    want = 2 * np.einsum("hmn,hln->hml", weight, powers).real
    np.testing.assert_allclose(vandermonde(torch.tensor(a), torch.tensor(weight), length), want, rtol=0, atol=1e-11)


def test_float32_within_a_millionth_of_float64() -> None:
    a, weight = exponents(128, 32).to(torch.complex64), torch.randn(128, 1, 32, dtype=torch.complex64)
    got = vandermonde(a, weight, 16384)
    few = slice(0, 128, 16)  # the defining sum over all channels would hold a gigabyte
    want = vandermonde(a[few].to(torch.complex128), weight[few].to(torch.complex128), 16384, backend="reference")
    assert float((got[few] - want).pow(2).mean().sqrt() / want.pow(2).mean().sqrt()) < 1e-6


def test_fast_decay_underflows_to_zero_without_nan() -> None:
    a = torch.tensor([-50.0 + 2j, -1e4 + 0j, -1e-3 + 1j], dtype=torch.complex64).requires_grad_()
    weight = torch.ones(1, 3, dtype=torch.complex64).requires_grad_()
    kernel = vandermonde(a, weight, 3000)
    gradients = torch.autograd.grad(kernel.sum(), (a, weight))
    assert all(bool(torch.isfinite(torch.view_as_real(gradient)).all()) for gradient in gradients)
    slow = 2 * torch.exp(a[2].detach().to(torch.complex128) * torch.arange(1, 3000)).real
    torch.testing.assert_close(kernel[0, 1:].double(), slow, rtol=0, atol=1e-6)


def test_leading_dimensions_broadcast() -> None:
    a, weight = exponents(3, 4), torch.randn(5, 1, 2, 4, dtype=torch.complex128)
    got = vandermonde(a, weight, 9)
    assert got.shape == (5, 3, 2, 9)
    torch.testing.assert_close(got[4, 2], vandermonde(a[2], weight[4, 0], 9))


def test_nothing_of_order_times_length_is_made(largest_tensor) -> None:
    a, weight, length = exponents(2, 32), torch.randn(2, 1, 32, dtype=torch.complex128), 65536
    grad = torch.randn(2, 1, length, dtype=torch.float64)
    assert largest_tensor(cpu.vandermonde_forward, a, weight, length) <= 2 * length
    assert largest_tensor(cpu.vandermonde_backward, grad, a, weight, length) <= 2 * length
