"""The normal-plus-low-rank kernel: both fast ways against the recurrence, and against the published Cauchy sums."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seqkit.kernels.cauchy import cauchy
from seqkit.kernels.cauchy.dense import dense_kernel
from seqkit.kernels.cauchy.feedback import feedback_kernel, series_inverse
from seqkit.kernels.cauchy.reference import cauchy_reference

WAYS = [dense_kernel, feedback_kernel]
NAMES = ["Lambda", "P", "B", "C", "dt"]


def error(got: Tensor, want: Tensor) -> float:
    return float(((got - want).abs().pow(2).mean().sqrt() / want.abs().pow(2).mean().sqrt()).detach())


def random_system(n_pairs: int, n_outputs: int, rank: int) -> list[Tensor]:
    wide = torch.complex128
    Lambda = torch.complex(-0.5 * torch.rand(3, n_pairs).double(), 5 * torch.randn(3, n_pairs).double())
    Lambda[0, 0] = 0
    P, B = 0.5 * torch.randn(3, rank, n_pairs, dtype=wide), torch.randn(3, n_pairs, dtype=wide)
    return [Lambda, P, B, torch.randn(3, n_outputs, n_pairs, dtype=wide), 0.05 * (1 + torch.rand(3).double())]


def legs(order: int, dt: float) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """HiPPO-LegS as halves of its normal-plus-low-rank form, and as the dense A, B and C it came from."""
    n = torch.arange(order, dtype=torch.float64)
    A = -torch.sqrt(torch.outer(2 * n + 1, 2 * n + 1)).tril(-1) - torch.diag(n + 1)
    B, C, p = (2 * n + 1).sqrt(), torch.randn(order).double(), (n + 0.5).sqrt()
    skew = A + torch.outer(p, p) + 0.5 * torch.eye(order)
    imag, V = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    keep = imag > 0
    P_half, B_half = ((V.mH @ vector.to(V.dtype))[keep] for vector in (p, B))
    C_half = (C.to(V.dtype) @ V)[keep].unsqueeze(0)
    half = [-0.5 + 1j * imag[keep], P_half.unsqueeze(0), B_half, C_half, torch.tensor(dt, dtype=torch.float64)]
    return [value.unsqueeze(0) for value in half], A, B, C


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 32, 33, 100, 257])
def test_each_way_equals_the_recurrence(way, rank: int, length: int) -> None:
    inputs = [value.requires_grad_() for value in random_system(5, 2, rank)]
    want = cauchy_reference(*inputs, length)
    direction = torch.randn_like(want)
    want_gradients = torch.autograd.grad(want, inputs, direction)
    got = way(*inputs, length)
    assert error(got, want) < 1e-12
    for name, gradient, expected in zip(
        NAMES, torch.autograd.grad(got, inputs, direction), want_gradients, strict=True
    ):
        assert error(gradient, expected) < 1e-11, name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dt", [1e-3, 1e-1])
@pytest.mark.parametrize("order", [16, 64, 128])
def test_hippo_legs_equals_its_dense_matrix(way, order: int, dt: float) -> None:
    half, A, B, C = legs(order, dt)
    eye = torch.eye(order, dtype=torch.float64)
    state = torch.linalg.solve(eye - dt / 2 * A, dt * B)
    A_bar = torch.linalg.solve(eye - dt / 2 * A, eye + dt / 2 * A)
    samples = []
    for _ in range(500):
        samples.append(C @ state)
        state = A_bar @ state
    assert error(way(*half, 500)[0, 0], torch.stack(samples)) < 1e-10


@pytest.mark.parametrize("length", [64, 101])
def test_published_cauchy_sums_over_roots_of_unity(length: int) -> None:
    Lambda, P, B, C, dt = (value[1].numpy() for value in random_system(5, 1, 1))
    full = [np.concatenate([half, half.conj()], axis=-1) for half in (Lambda, P[0], B, C[0])]
    lam, p, b, c = full
    A = np.diag(lam) - np.outer(p, p.conj())
    A_bar = np.linalg.solve(np.eye(10) - dt / 2 * A, np.eye(10) + dt / 2 * A)
    corrected = c @ (np.eye(10) - np.linalg.matrix_power(A_bar, length))
    j = np.arange((length + 1) // 2)  # without the node where z is infinite
    z = 2j * np.tan(np.pi * j / length)

    def sums(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return dt * ((left * right) / (z[:, None] - dt * lam)).sum(-1)

    low_rank = sums(corrected, p) * sums(p.conj(), b) / (1 + sums(p.conj(), p))
    spectrum = (1 + z / 2) * (sums(corrected, b) - low_rank)
    kernel = cauchy(*(torch.tensor(value) for value in (Lambda, P[0], B, C, dt)), length)[0]
    np.testing.assert_allclose(np.fft.rfft(kernel.numpy())[: len(j)], spectrum, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", WAYS)
def test_longer_kernel_begins_with_the_shorter(way) -> None:
    inputs = random_system(5, 2, 1)
    assert error(way(*inputs, 300)[..., :70], way(*inputs, 70)) < 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_all_zero_eigenvalues_give_numbers(way) -> None:
    inputs = random_system(5, 1, 1)
    inputs[0] = torch.zeros_like(inputs[0])
    inputs = [value.requires_grad_() for value in inputs]
    got = way(*inputs, 100)
    assert error(got, cauchy_reference(*inputs, 100)) < 1e-11
    gradients = torch.autograd.grad(got.sum(), inputs)
    assert all(bool(torch.isfinite(gradient.abs()).all()) for gradient in gradients)


@pytest.mark.parametrize("way", WAYS)
def test_mode_that_one_step_extinguishes(way) -> None:
    inputs = random_system(5, 1, 1)
    inputs[0] = torch.where(
        torch.arange(5) == 2, -2 / inputs[4][:, None], inputs[0]
    )  # Abar = 0, its logarithm infinite
    assert error(way(*inputs, 50), cauchy_reference(*inputs, 50)) < 1e-12


def test_rank_axis_and_broadcasting() -> None:
    Lambda, P, B, C, dt = random_system(5, 2, 1)
    plain = cauchy(Lambda, P[:, 0], B, C, dt, 40)
    torch.testing.assert_close(plain, cauchy(Lambda, P, B, C, dt, 40))
    shared = cauchy(Lambda[1], P[1, 0], B[1], C, dt, 40)
    torch.testing.assert_close(shared[1], plain[1])


def test_float32_is_as_good_as_its_inputs() -> None:
    half, *_ = legs(64, 1e-3)
    single = [value.to(torch.complex64 if value.is_complex() else torch.float32) for value in half]
    exact = [value.to(torch.complex128 if value.is_complex() else torch.float64) for value in single]
    assert error(cauchy(*single, 4096), cauchy_reference(*exact, 4096)) < 2e-7


def test_series_inverse_convolves_to_one() -> None:
    series = torch.randn(3, 200, dtype=torch.float64) * 0.9 ** torch.arange(200)
    series[:, 0] = 3
    inverse = series_inverse(series)
    for row, back in zip(series.numpy(), inverse.numpy(), strict=True):
        product = np.convolve(row, back)[:200]
        np.testing.assert_allclose(product, np.eye(1, 200)[0], rtol=0, atol=1e-12)
