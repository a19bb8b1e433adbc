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


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.complex64, 1e-7), (torch.complex128, 1e-14)])
def test_powers_are_those_of_numpy_also_of_conjugates_and_views(
    dtype: torch.dtype, bound: float, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled and not cpu.HAS_NUMBA:
        pytest.skip("needs numba")
    monkeypatch.setattr(cpu, "HAS_NUMBA", compiled)
    a = exponents(6, 5).to(dtype).T.conj()[::2, :4]
    got = cpu.exponentials(a, 40, 3).resolve_conj()
    want = np.exp(3 * np.arange(40)[:, None] * a.resolve_conj().to(torch.complex128).numpy()[:, None])
    assert got.dtype == dtype
    assert got.shape == want.shape
    assert np.sqrt(np.mean(abs(got.numpy() - want) ** 2) / np.mean(abs(want) ** 2)) < bound


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


@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
def test_no_channels_at_all(backend: str) -> None:
    device = device_of(backend)
    a = torch.zeros(0, 3, dtype=torch.complex64, device=device).requires_grad_()
    weight = torch.zeros(0, 2, 3, dtype=torch.complex64, device=device).requires_grad_()
    kernel = vandermonde(a, weight, 70, backend=backend)
    assert kernel.shape == (0, 2, 70)
    gradients = torch.autograd.grad(kernel.sum(), (a, weight))
    assert [gradient.shape for gradient in gradients] == [a.shape, weight.shape]


@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_one_mode_of_one_channel(backend: str) -> None:
    device = device_of(backend)
    a, weight = torch.tensor([-0.01 + 2j], device=device), torch.tensor([[0.5 - 1j]], device=device)
    got = vandermonde(a, weight, 65, backend=backend).cpu()
    want = 2 * ((0.5 - 1j) * np.exp(np.arange(65) * a.cpu().numpy().astype(complex))).real
    np.testing.assert_allclose(got[0], want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("backend", ["cpu", "triton"])
@pytest.mark.parametrize("dt", [1e-6, 1e-3, 0.1, 10.0])
def test_extreme_steps_against_numpy(dt: float, backend: str) -> None:
    """Frequencies like those of HiPPO-LegS, up to N^2; at dt = 10 a phase of 1e8 radians."""
    device = device_of(backend)
    frequency = torch.linspace(0, 70, 40, dtype=torch.float64) ** 2
    a = (dt * torch.complex(torch.full_like(frequency, -0.5), frequency)).to(torch.complex64)
    weight = torch.randn(2, 40, dtype=torch.complex64)
    got = vandermonde(a.to(device), weight.to(device), 5000, backend=backend).cpu().double()
    powers = np.exp(a.numpy().astype(complex)[:, None] * np.arange(5000))
    want = torch.from_numpy(2 * (weight.numpy().astype(complex) @ powers).real)
    assert float((got - want).pow(2).mean().sqrt() / want.pow(2).mean().sqrt()) < 1e-6


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_a_million_samples_of_modulus_almost_one(dtype: torch.dtype) -> None:
    a = torch.complex(torch.tensor([-1e-7, -1e-9, 0.0]).double(), torch.tensor([3.0, 0.5, 1e-3]).double()).to(dtype)
    weight = torch.randn(1, 3, dtype=torch.complex128).to(dtype)
    got = vandermonde(a, weight, 1 << 20)[0].double().numpy()
    powers = np.exp(a.numpy().astype(complex)[:, None] * np.arange(1 << 20))
    want = 2 * (weight.numpy().astype(complex) @ powers)[0].real
    limit = 1e-6 if dtype == torch.complex64 else 1e-9
    assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < limit


def test_triton_over_many_tiles_and_outputs() -> None:
    device = device_of("triton")
    a, weight = exponents(1, 40).to(torch.complex64), torch.randn(1, 2, 40, dtype=torch.complex64)
    leaves = [value.to(device).requires_grad_() for value in (a, weight)]
    wide = [value.to(torch.complex128).requires_grad_() for value in (a, weight)]
    got, want = vandermonde(*leaves, 9000, backend="triton"), vandermonde(*wide, 9000, backend="reference")
    direction = torch.randn(1, 2, 9000, dtype=torch.float64)
    pairs = [(got, want)]
    pairs += zip(
        torch.autograd.grad(got, leaves, direction.float().to(device)),
        torch.autograd.grad(want, wide, direction),
        strict=True,
    )
    for one, other in pairs:
        one, other = one.detach().cpu(), other.detach()
        assert float((one - other).abs().pow(2).mean().sqrt() / other.abs().pow(2).mean().sqrt()) < 1e-6


def test_triton_kernels_write_nothing_but_the_result(largest_tensor) -> None:
    pytest.importorskip("triton")
    from seqkit.kernels.vandermonde import triton

    device = device_of("triton")
    a, weight = exponents(1, 32).to(torch.complex64).to(device), torch.randn(1, 1, 32, dtype=torch.complex64).to(device)
    length = 32768
    grad = torch.randn(1, 1, length, device=device)
    assert (
        largest_tensor(triton.vandermonde_forward, a, weight, length) <= 4 * length
    )  # in bytes: the interpreter copies arguments as such
    assert largest_tensor(triton.vandermonde_backward, grad, a, weight, length) <= 4 * length


def test_triton_reads_strided_and_conjugated_inputs() -> None:
    device = device_of("triton")
    a, weight = exponents(2, 6).to(torch.complex64), torch.randn(6, 1, 2, dtype=torch.complex64)
    want = vandermonde(a.conj().resolve_conj(), weight.permute(2, 1, 0).contiguous(), 70, backend="reference")
    got = vandermonde(a.to(device).mT.contiguous().mT.conj(), weight.to(device).permute(2, 1, 0), 70, backend="triton")
    np.testing.assert_allclose(got.cpu(), want, rtol=0, atol=2e-5)


def device_of(backend: str) -> str:
    if backend != "triton":
        return "cpu"
    pytest.importorskip("triton")
    return "cuda" if torch.cuda.is_available() else "cpu"  # without a device, under the interpreter
