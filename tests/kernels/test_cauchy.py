"""The normal-plus-low-rank kernel: both fast ways against the recurrence, and against the published Cauchy sums."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seqkit.kernels.cauchy import cauchy
from seqkit.kernels.cauchy.dense import as_complex, as_real, dense_kernel, discretise, stride
from seqkit.kernels.cauchy.feedback import feedback_kernel, series_inverse
from seqkit.kernels.cauchy.nodes import nodes, nodes_kernel
from seqkit.kernels.cauchy.op import cauchy_sums_op
from seqkit.kernels.cauchy.reference import cauchy_reference
from seqkit.kernels.cauchy.strides import strides_op
from seqkit.kernels.cauchy.sums import cauchy_sums_reference


def nodes_way(*inputs) -> Tensor:
    return nodes_kernel(*inputs, "cpu")


WAYS = [dense_kernel, feedback_kernel]
ALL_WAYS = [*WAYS, nodes_way]
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


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 33, 100])
def test_sums_over_nodes_equal_the_recurrence(rank: int, length: int) -> None:
    inputs = [value.requires_grad_() for value in random_system(5, 2, rank)]
    want = cauchy_reference(*inputs, length)
    direction = torch.randn_like(want)
    want_gradients = torch.autograd.grad(want, inputs, direction)
    got = nodes_kernel(*inputs, length, "cpu")
    assert error(got, want) < 1e-12
    for name, gradient, expected in zip(
        NAMES, torch.autograd.grad(got, inputs, direction), want_gradients, strict=True
    ):
        assert (gradient - expected).abs().max() < 1e-11 * (1 + expected.abs().max()), name


def test_no_node_meets_a_pole() -> None:
    """Every node lies right of the imaginary axis, so eigenvalues on it give numbers; the middle node is finite."""
    for length in (1, 2, 3, 64, 101, 1 << 20):
        z = nodes(length, torch.device("cpu"))
        assert len(z) == length // 2 + 1
        assert bool(z.real.min() > 0)
        assert bool(torch.view_as_real(z).isfinite().all())
        w = 0.5 ** (1 / length) * np.exp(-2j * np.pi * np.arange(len(z)) / length)
        np.testing.assert_allclose(z, 2 * (1 - w) / (1 + w), rtol=1e-8)  # the plain form cancels


def sums_inputs(n_sums: int, n_pairs: int, n_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    Lambda = torch.complex(-torch.rand(2, n_pairs).double(), 3 * torch.randn(2, n_pairs).double())
    z = torch.complex(0.1 + torch.rand(n_nodes).double(), 3 * torch.rand(n_nodes).double())
    return torch.randn(2, n_sums, n_pairs, dtype=torch.complex128), Lambda, z


@pytest.mark.parametrize("path", ["cpu", "triton"])
@pytest.mark.parametrize(("n_sums", "n_pairs", "n_nodes"), [(1, 1, 1), (4, 5, 130), (6, 9, 70), (9, 3, 20)])
def test_cauchy_sums_against_numpy(path: str, n_sums: int, n_pairs: int, n_nodes: int) -> None:
    device = device_of(path)
    v, Lambda, z = sums_inputs(n_sums, n_pairs, n_nodes)
    leaves = [value.detach().to(device).clone().requires_grad_() for value in (v, Lambda)]
    got = cauchy_sums_op(*leaves, z.to(device), path)
    poles, nodes_ = Lambda.numpy()[:, None, :, None], z.numpy()
    both = v.numpy()[..., None] / (nodes_ - poles) + v.numpy().conj()[..., None] / (nodes_ - poles.conj())
    assert error(got.detach().cpu(), torch.from_numpy(both.sum(2))) < 1e-13
    direction = torch.randn(2, n_sums, n_nodes, dtype=torch.complex128)
    gradients = torch.autograd.grad(got, leaves, direction.to(device))
    wide = [v.clone().requires_grad_(), Lambda.clone().requires_grad_()]
    want = torch.autograd.grad(cauchy_sums_reference(*wide, z), wide, direction)
    for gradient, expected in zip(gradients, want, strict=True):
        assert error(gradient.cpu(), expected) < 1e-12


def test_cauchy_sums_are_a_good_operator() -> None:
    v, Lambda, z = sums_inputs(4, 5, 7)
    leaves = (v.requires_grad_(), Lambda.requires_grad_())
    torch.library.opcheck(torch.ops.seqkit.cauchy_sums.default, (*leaves, z, "cpu"))
    assert torch.autograd.gradcheck(lambda *x: cauchy_sums_op(*x, z, "cpu"), leaves)
    assert torch.autograd.gradgradcheck(lambda *x: cauchy_sums_op(*x, z, "cpu"), leaves)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_strides_are_a_good_operator(dtype: torch.dtype) -> None:
    S = torch.linalg.qr(torch.randn(2, 4, 4, dtype=torch.float64))[0] * 0.9
    X, C = torch.randn(2, 3, 4, dtype=torch.float64).to(dtype), torch.randn(2, 2, 4, dtype=torch.float64).to(dtype)
    leaves = (S.requires_grad_(), X.requires_grad_(), C.requires_grad_())
    torch.library.opcheck(torch.ops.seqkit.cauchy_strides.default, (*leaves, 31, "cpu"))
    got = strides_op(*leaves, 31, "cpu")
    assert got.dtype == dtype
    powers = [torch.linalg.matrix_power(S, i) for i in range(11)]
    want = torch.cat([C.double() @ power @ X.double().mT for power in powers], dim=-1)[..., :31]
    assert error(got, want) < (1e-14 if dtype == torch.float64 else 1e-6)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(lambda *x: strides_op(*x, 31, "cpu"), leaves)
        assert torch.autograd.gradgradcheck(lambda *x: strides_op(*x, 31, "cpu"), leaves)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("doublings", [0, 1, 4])
def test_stride_is_a_power_of_the_dense_step(rank: int, doublings: int) -> None:
    Lambda, P, B, _, dt = random_system(5, 1, rank)
    states, matrix = stride(discretise(Lambda, P, B, dt), doublings)
    full = [torch.cat([half, half.conj()], dim=-1) for half in (Lambda, P, B)]
    A = torch.diag_embed(full[0]) - full[1].mT @ full[1].conj()
    step, eye = dt[:, None, None] / 2 * A, torch.eye(10)
    A_bar = torch.linalg.solve(eye - step, eye + step)
    state = torch.linalg.solve(eye - step, dt[:, None] * full[2])
    x = torch.randn(3, 5, dtype=torch.complex128)
    moved = torch.linalg.matrix_power(A_bar, 2**doublings) @ torch.cat([x, x.conj()], dim=-1).unsqueeze(-1)
    assert error(as_complex((matrix @ as_real(x).unsqueeze(-1)).squeeze(-1)), moved[:, :5, 0]) < 1e-13
    for j in range(2**doublings):
        assert error(as_complex(states[:, j]), state[:, :5]) < 1e-12
        state = (A_bar @ state.unsqueeze(-1)).squeeze(-1)


def test_triton_keeps_the_accuracy_of_float64_through_the_loop() -> None:
    """HiPPO-LegS closes its loop with 5 digits lost; float32 sums would leave two."""
    half, *_ = legs(64, 0.1)
    single = [value.to(torch.complex64 if value.is_complex() else torch.float32) for value in half]
    exact = [value.to(torch.complex128 if value.is_complex() else torch.float64) for value in single]
    device = device_of("triton")
    got = cauchy(*(value.to(device) for value in single), 400, backend="triton").cpu()
    assert error(got, cauchy_reference(*exact, 400)) < 2e-7


@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("n_pairs", [2, 40])
def test_no_systems_at_all(backend: str, n_pairs: int) -> None:
    device = device_of(backend)
    shapes = {"Lambda": (0, n_pairs), "P": (0, n_pairs), "B": (0, n_pairs), "C": (0, 2, n_pairs), "dt": (0,)}
    dtypes = [torch.float32 if name == "dt" else torch.complex64 for name in shapes]
    inputs = [
        torch.zeros(shape, dtype=dtype, device=device, requires_grad=True)
        for shape, dtype in zip(shapes.values(), dtypes, strict=True)
    ]
    kernel = cauchy(*inputs, 70, backend=backend)
    assert kernel.shape == (0, 2, 70)
    gradients = torch.autograd.grad(kernel.sum(), inputs)
    assert [gradient.shape for gradient in gradients] == [value.shape for value in inputs]


@pytest.mark.parametrize("backend", ["cpu", "triton"])
@pytest.mark.parametrize("length", [1, 33])
def test_one_pair_of_one_channel(backend: str, length: int) -> None:
    device = device_of(backend)
    one = torch.ones(1, 1, dtype=torch.complex64, device=device)
    got = cauchy(-one, 0 * one, one, one[None], torch.ones(1, device=device), length, backend=backend).cpu()
    want = 4 / 3 * (1 / 3) ** np.arange(length)  # 2 dt / (1 + 1/2), (1 - 1/2) / (1 + 1/2)
    np.testing.assert_allclose(got[0, 0], want, rtol=0, atol=1e-7)


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("dt", [1e-6, 1e-3, 0.1, 10.0])
def test_legs_at_extreme_steps(way, dt: float) -> None:
    half, A, B, C = legs(64, dt)
    matrix, eye = A.numpy(), np.eye(64)
    state = np.linalg.solve(eye - dt / 2 * matrix, dt * B.numpy())
    A_bar = np.linalg.solve(eye - dt / 2 * matrix, eye + dt / 2 * matrix)
    samples = np.empty(2000)
    for step in range(2000):
        samples[step] = C.numpy() @ state
        state = A_bar @ state
    leaves = [value.requires_grad_() for value in half]
    got = way(*leaves, 2000)
    assert error(got[0, 0], torch.from_numpy(samples)) < 1e-9
    gradients = torch.autograd.grad(got.sum(), leaves)
    assert all(bool(gradient.abs().isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("way", ALL_WAYS)
def test_a_million_samples_of_modulus_almost_one(way) -> None:
    """Against numpy's eigenvalues of the dense matrix; the slowest mode loses 1e-7 a sample, another nothing at all."""
    length = 1 << 20
    half = random_system(3, 1, 1)
    half = [value[:1] for value in half]
    half[0] = torch.complex(torch.tensor([[-4e-6, -1e-3, 0.0]]).double(), torch.tensor([[1.0, 4.0, 9.0]]).double())
    half[1] = half[1] * torch.tensor([1e-4, 1e-2, 1e-4])
    full = [np.concatenate([value.numpy(), value.numpy().conj()], axis=-1)[0] for value in half[:4]]
    dt = float(half[4])
    A = np.diag(full[0]) - full[1].T @ full[1].conj()
    values, vectors = np.linalg.eig(A)
    weight = (full[3] @ vectors)[0] * np.linalg.solve(vectors, full[2]) * dt / (1 - dt / 2 * values)
    logarithm = np.log((1 + dt / 2 * values) / (1 - dt / 2 * values))
    assert 0 < -logarithm.real.max() < 1e-7
    want = (weight[:, None] * np.exp(logarithm[:, None] * np.arange(length))).sum(0).real
    assert error(way(*half, length)[0, 0], torch.from_numpy(want)) < 1e-7


def test_triton_kernels_write_nothing_but_the_sums(largest_tensor) -> None:
    pytest.importorskip("triton")
    from seqkit.kernels.cauchy import triton

    device = device_of("triton")
    v, Lambda, z = (value.to(device) for value in sums_inputs(2, 32, 300))
    grad = torch.randn(2, 2, 300, dtype=torch.complex128, device=device)
    in_bytes = 16 * grad.numel()  # the interpreter copies arguments as bytes
    assert largest_tensor(triton.cauchy_sums_forward, v, Lambda, z) <= in_bytes
    assert largest_tensor(triton.cauchy_sums_backward, grad, v, Lambda, z) <= in_bytes


def test_nothing_of_modes_times_length_is_made(largest_tensor) -> None:
    length, n_pairs = 4096, 32
    half, *_ = legs(2 * n_pairs, 1e-2)
    made = {way.__name__: largest_tensor(way, *half, length) for way in WAYS}
    made["nodes"] = largest_tensor(nodes_way, *half, length)
    assert all(numel <= 8 * length for numel in made.values()), made  # 4 spectra, complex


def test_triton_reads_strided_and_conjugated_inputs() -> None:
    device = device_of("triton")
    wide = random_system(5, 2, 1)
    single = [value.to(torch.complex64 if value.is_complex() else torch.float32) for value in wide]
    strided = [torch.stack([value, value], -1).to(device)[..., 0] for value in single]
    strided[2] = strided[2].conj()
    exact = [value.to(torch.complex128 if value.is_complex() else torch.float64) for value in single]
    exact[2] = exact[2].conj()
    assert error(cauchy(*strided, 40, backend="triton").cpu(), cauchy_reference(*exact, 40)) < 2e-7


def device_of(path: str) -> str:
    if path != "triton":
        return "cpu"
    pytest.importorskip("triton")
    return "cuda" if torch.cuda.is_available() else "cpu"  # without a device, under the interpreter
