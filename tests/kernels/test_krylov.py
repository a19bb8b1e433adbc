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


def test_complex_system_has_no_triton_kernels() -> None:
    A = torch.eye(2, dtype=torch.complex64)
    with pytest.raises(
        ValueError, match='`backend` must not be "triton" here: its kernels are for real systems, and `A`'
    ):
        krylov(A, A[0], A[:1], 4, backend="triton")


@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("shared", [False, True])
def test_no_systems_at_all(backend: str, shared: bool) -> None:
    device = device_of(backend)
    A = torch.eye(3, device=device) if shared else torch.zeros(0, 3, 3, device=device)
    inputs = [A, torch.zeros(0, 3, device=device), torch.zeros(0, 2, 3, device=device)]
    inputs = [value.requires_grad_() for value in inputs]
    kernel = krylov(*inputs, 70, backend=backend)
    assert kernel.shape == (0, 2, 70)
    gradients = torch.autograd.grad(kernel.sum(), inputs, materialize_grads=True)
    assert [gradient.shape for gradient in gradients] == [value.shape for value in inputs]
    assert not gradients[0].any()


@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_order_one_is_a_power(backend: str) -> None:
    device = device_of(backend)
    A = torch.tensor([[[0.99]], [[-0.5]]], device=device)
    got = krylov(A, torch.ones(2, 1, device=device), torch.ones(2, 1, 1, device=device), 65, backend=backend).cpu()
    want = A.cpu().double().flatten()[:, None].numpy() ** np.arange(65)
    np.testing.assert_allclose(got[:, 0], want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_odd_orders_and_lengths_against_numpy(backend: str) -> None:
    device = device_of(backend)
    A, B, C = (value.float() for value in system(1, 37))
    C = torch.randn(1, 3, 37)
    got = krylov(A.to(device), B.to(device), C.to(device), 997, backend=backend).cpu()
    want = recurrence(A[0], B[0], C[0], 997)
    assert float((got[0] - want).pow(2).mean().sqrt() / want.pow(2).mean().sqrt()) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dt", [1e-6, 1e-3, 0.1, 10.0])
def test_legs_at_extreme_steps(dt: float, dtype: torch.dtype) -> None:
    n = torch.arange(32, dtype=torch.float64)
    A = -torch.sqrt(torch.outer(2 * n + 1, 2 * n + 1)).tril(-1) - torch.diag(n + 1)
    eye = torch.eye(32, dtype=torch.float64)
    A_bar = torch.linalg.solve(eye - dt / 2 * A, eye + dt / 2 * A).to(dtype).requires_grad_()
    B, C = (2 * n + 1).sqrt().to(dtype).requires_grad_(), torch.randn(1, 32).to(dtype).requires_grad_()
    got = krylov(A_bar, B, C, 4000)
    want = recurrence(A_bar, B, C, 4000)
    limit = 1e-5 if dtype == torch.float32 else 1e-12
    assert float((got - want).detach().pow(2).mean().sqrt() / want.pow(2).mean().sqrt()) < limit
    gradients = torch.autograd.grad(got.sum(), (A_bar, B, C))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize(("dtype", "length", "limit"), [(torch.float64, 1 << 20, 1e-9), (torch.float32, 1 << 14, 1e-3)])
def test_modulus_within_a_ten_millionth_of_one(dtype: torch.dtype, length: int, limit: float) -> None:
    """A float32 matrix of modulus 1 turns away from its powers by about a rounding error, 6e-8, a sample."""
    angle = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    values = ((1 - 1e-7) * torch.polar(torch.ones_like(angle), angle)).to(dtype.to_complex())
    A = torch.block_diag(
        *(torch.stack([torch.stack([v.real, -v.imag]), torch.stack([v.imag, v.real])]) for v in values)
    )
    x = torch.randn(6, dtype=torch.float64).to(dtype)
    got = krylov(A, x, x[None], length)[0].double().numpy()
    energy = torch.view_as_complex(x.view(3, 2)).abs().pow(2).double().numpy()
    want = (energy[:, None] * np.exp(np.log(values.numpy().astype(complex))[:, None] * np.arange(length))).sum(0).real
    assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < limit


def test_triton_kernels_make_nothing_of_order_times_length(largest_tensor) -> None:
    pytest.importorskip("triton")
    from seqkit.kernels.krylov import triton

    device = device_of("triton")
    A, B, C = (value.float().to(device) for value in system(1, 16))
    length = 8191
    grad = torch.randn(1, 1, length, device=device)
    assert (
        largest_tensor(triton.krylov_forward, A, B, C, length) <= 4 * length
    )  # in bytes: the interpreter copies arguments as such
    assert largest_tensor(triton.krylov_backward, grad, A, B, C, length) <= 4 * length


def test_triton_reads_strided_inputs() -> None:
    device = device_of("triton")
    given = [torch.stack([value.float().to(device)] * 2, -1)[..., 0] for value in system(2, 5)]
    assert not any(value.is_contiguous() for value in given)
    got = krylov(given[0].mT.contiguous().mT, *given[1:], 70, backend="triton").cpu()
    for one, A, B, C in zip(got, *(value.cpu() for value in given), strict=True):
        np.testing.assert_allclose(one, recurrence(A, B, C, 70), rtol=0, atol=1e-5)


def device_of(backend: str) -> str:
    if backend != "triton":
        return "cpu"
    pytest.importorskip("triton")
    return "cuda" if torch.cuda.is_available() else "cpu"  # without a device, under the interpreter


def recurrence(A: torch.Tensor, B: torch.Tensor, C: torch.Tensor, length: int) -> torch.Tensor:
    """The definition in numpy, in float64 whatever the inputs are."""
    matrix, state, rows = (value.detach().double().numpy() for value in (A, B, C))
    samples = np.empty((len(rows), length))
    for step in range(length):
        samples[:, step] = rows @ state
        state = matrix @ state
    return torch.from_numpy(samples)


def test_complex_system_compiles() -> None:
    """The gradient conjugates its factors, and lazy conjugates can go unseen inside an op that is traced."""
    A = (0.5 * torch.randn(2, 4, 4, dtype=torch.complex128)).requires_grad_()
    x = torch.randn(2, 4, dtype=A.dtype, requires_grad=True)

    def call(A: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return krylov(A, x, x[:, None], 20)

    torch._dynamo.reset()
    results = []
    for function in (call, torch.compile(call, backend="aot_eager", fullgraph=True)):
        kernel = function(A, x)
        results.append((kernel, *torch.autograd.grad(kernel.abs().sum(), (A, x))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
