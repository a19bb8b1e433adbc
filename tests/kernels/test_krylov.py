"""The Krylov function against scipy, and what the baby and giant steps promise about memory."""

import numpy as np
import pytest
import torch
from scipy import signal

from seqkit.kernels.krylov import cpu, krylov


def system(n_systems: int, order: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noise = torch.randn(n_systems, order, order, dtype=torch.float64) * 0.2
    A = torch.linalg.matrix_exp(noise - noise.mT - 0.01 * torch.eye(order, dtype=torch.float64))
    return A, torch.randn(n_systems, order).double(), torch.randn(n_systems, 1, order).double()


@pytest.mark.parametrize("length", [1, 5, 64, 129, 2000])
def test_impulse_response_of_scipy(length: int) -> None:
    A, B, C = system(1, 7)
    _, (response,) = signal.dimpulse((A[0], B[0, :, None], C[0], np.zeros((1, 1)), 1), n=length + 1)
    np.testing.assert_allclose(krylov(A[0], B[0], C[0], length)[0], response[1:, 0], rtol=0, atol=1e-12)


def test_linear_in_input_and_output() -> None:
    A, B, C = system(2, 5)
    double = krylov(A, 3 * B, 2 * C, 50)
    torch.testing.assert_close(double, 6 * krylov(A, B, C, 50), rtol=1e-13, atol=1e-13)


def test_leading_dimensions_broadcast() -> None:
    A, B, C = system(3, 4)
    got = krylov(A[:, None], B[0], C[:1].expand(5, 1, 4), 9)
    assert got.shape == (3, 5, 1, 9)
    torch.testing.assert_close(got[2, 4], krylov(A[2], B[0], C[0], 9))


def test_complex_system() -> None:
    A = 0.5 * torch.randn(2, 4, 4, dtype=torch.complex128, requires_grad=True)
    B, C = torch.randn(2, 4, dtype=A.dtype, requires_grad=True), torch.randn(2, 1, 4, dtype=A.dtype, requires_grad=True)
    torch.testing.assert_close(krylov(A, B, C, 20), krylov(A, B, C, 20, backend="reference"))
    assert torch.autograd.gradcheck(lambda *x: krylov(*x, 9), (A, B, C))


def test_float32_keeps_six_digits_over_16384_samples() -> None:
    A, B, C = system(2, 64)
    exact = krylov(A.float().double(), B, C, 16384, backend="reference")
    got = krylov(A.float(), B.float(), C.float(), 16384)
    assert float((got - exact).pow(2).mean().sqrt() / exact.pow(2).mean().sqrt()) < 5e-6


def test_nothing_of_order_times_length_is_made(largest_tensor) -> None:
    A, B, C = system(2, 16)
    length = 8192
    grad = torch.randn(2, 1, length, dtype=torch.float64)
    assert largest_tensor(cpu.krylov_forward, A, B, C, length) <= 2 * length
    assert largest_tensor(cpu.krylov_backward, grad, A, B, C, length) <= 2 * length
