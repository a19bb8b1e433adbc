"""Linear time-invariant memories against scipy, against the Krylov function, and at the edge of stability."""

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor

from seqkit.kernels.krylov import krylov
from seqkit.kernels.lti_memory import cpu, lti_memory, scan, stretches, tables


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def system(*shape: int, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Transition matrices of spectral radius exp(-decay), and inputs."""
    noise = random(*shape, shape[-1]) * 0.2
    identity = torch.eye(shape[-1], dtype=torch.float64)
    return torch.linalg.matrix_exp(noise - noise.mT - decay * identity), random(*shape)


def states_of_scipy(A: Tensor, B: Tensor, u: Tensor) -> np.ndarray:
    """All states after each sample: scipy's x_{k+1} = A x_k + B u_k, so one more sample than given."""
    order = len(B)
    model = signal.dlti(A.numpy(), B[:, None].numpy(), np.eye(order), np.zeros((order, 1)), dt=1)
    _, _, x = signal.dlsim(model, np.append(u.numpy(), 0.0))
    return x[1:]


@pytest.mark.parametrize("every", [1, 3, 64, 300, 1000])
def test_states_of_scipy(every: int) -> None:
    A, B = system(7)
    u = random(2000)
    want = states_of_scipy(A, B, u)[every - 1 :: every]
    np.testing.assert_allclose(lti_memory(u, A, B, every=every), want, rtol=0, atol=1e-11)
    np.testing.assert_allclose(lti_memory(u[:every], A, B), want[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", ["legt", "fourier"])
def test_bilinear_hippo_memories_of_scipy(shape: str) -> None:
    order = 16
    n = np.arange(order)
    if shape == "legt":
        scale = np.sqrt(2 * n + 1)
        A = -np.outer(scale, scale) * np.where(n[:, None] >= n, 1, (-1.0) ** (n[:, None] - n))
        B = scale
    else:
        B = np.where(n == 0, 1, np.sqrt(2)) * (n % 2 == 0)
        A = -np.outer(B, B)
        for j in range(2, order - 1, 2):
            A[j, j + 1] += np.pi * j
            A[j + 1, j] -= np.pi * j
    discrete = signal.cont2discrete((A, B[:, None], np.eye(order), np.zeros((order, 1))), 1 / 200, "bilinear")
    A_bar, B_bar = torch.from_numpy(discrete[0]), torch.from_numpy(discrete[1][:, 0])
    u = random(3000)
    np.testing.assert_allclose(
        lti_memory(u, A_bar, B_bar, every=50), states_of_scipy(A_bar, B_bar, u)[49::50], rtol=0, atol=1e-11
    )


def test_impulse_is_the_krylov_function() -> None:
    A, B = system(6)
    pulse = torch.zeros(500, dtype=torch.float64)
    pulse[0] = 1
    want = krylov(A, B, torch.eye(6, dtype=torch.float64), 500).mT
    torch.testing.assert_close(lti_memory(pulse, A, B, every=1), want, rtol=0, atol=1e-13)
    torch.testing.assert_close(lti_memory(pulse, A, B), want[-1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("parts", [[1, 1199], [600, 600], [5, 700, 495]])
@pytest.mark.parametrize("n_series", [1, 40])
def test_chunks_with_carry_equal_the_whole(parts: list[int], n_series: int) -> None:
    A, B = system(9)
    u, c, place = random(n_series, 1200), None, 0
    for count in parts:
        c = lti_memory(u[:, place : place + count], A, B, c)
        place += count
    torch.testing.assert_close(c, lti_memory(u, A, B), rtol=0, atol=1e-12)


def test_linear_in_samples_state_and_input() -> None:
    A, B = system(5)
    u, v, c, d = random(90), random(90), random(5), random(5)
    both = lti_memory(2 * u + v, A, B, 2 * c + d)
    torch.testing.assert_close(both, 2 * lti_memory(u, A, B, c) + lti_memory(v, A, B, d), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lti_memory(u, A, 3 * B), 3 * lti_memory(u, A, B), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("u", "A_bar", "B_bar", "state"),
    [
        ((50,), (4,), (4,), (4,)),
        ((2, 3, 50), (4,), (4,), (4,)),
        ((2, 3, 50), (3, 4), (4,), (2, 1, 4)),
        ((2, 3, 50), (2, 1, 4), (3, 4), None),
        ((5, 2, 3, 50), (2, 1, 4), (2, 1, 4), (3, 4)),
        ((50,), (3, 4), (4,), None),
        ((1, 50), (4,), (4,), (6, 4)),
    ],
)
@pytest.mark.parametrize("every", [None, 20])
def test_leading_dimensions_broadcast(u, A_bar, B_bar, state, every: int | None) -> None:
    A, _ = system(*A_bar)
    samples, B, c = random(*u), random(*B_bar), None if state is None else random(*state)
    got = lti_memory(samples, A, B, c, every=every)
    leading = torch.broadcast_shapes(u[:-1], A_bar[:-1], B_bar[:-1], () if state is None else state[:-1])
    assert got.shape == (*leading, *([] if every is None else [2]), 4)
    full = samples.expand(*leading, 50), A.expand(*leading, 4, 4), B.expand(*leading, 4)
    start = torch.zeros(*leading, 4, dtype=torch.float64) if c is None else c.expand(*leading, 4)
    for index in np.ndindex(*leading):
        one = lti_memory(*(value[index] for value in full), start[index], every=every, backend="reference")
        torch.testing.assert_close(got[index], one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("carry", [False, True])
def test_lengths_stop_the_memory(backend: str, carry: bool) -> None:
    A, B = system(2, 5)
    u, lengths = random(4, 2, 60).requires_grad_(), torch.tensor([60, 1, 31, 30])
    state = random(4, 2, 5).requires_grad_() if carry else None
    final = lti_memory(u, A, B, state, lengths=lengths, backend=backend)
    rows = lti_memory(u, A, B, state, lengths=lengths, every=10, backend=backend)
    for i, length in enumerate(lengths.tolist()):
        start = None if state is None else state[i]
        alone = lti_memory(u[i, :, :length], A, B, start, backend="reference")
        torch.testing.assert_close(final[i], alone, rtol=0, atol=1e-12)
        for row in range(6):
            count = min(length, 10 * (row + 1))
            want = lti_memory(u[i, :, :count], A, B, start, backend="reference")
            torch.testing.assert_close(rows[i, :, row], want, rtol=0, atol=1e-12)
    (grad,) = torch.autograd.grad(final.sum() + rows.sum(), u)
    for i, length in enumerate(lengths.tolist()):
        assert grad[i, :, :length].abs().min() > 0
        assert torch.equal(grad[i, :, length:], torch.zeros(2, 60 - length).double())
    spoiled = u.detach().clone()
    spoiled[1, :, 1:] = 1e300
    torch.testing.assert_close(lti_memory(spoiled, A, B, state, lengths=lengths, backend=backend), final)


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize(("length", "every"), [(90, 90), (90, 31), (61, 1), (64, 16)])
@pytest.mark.parametrize("n_series", [1, 33])
def test_every_level_of_the_cpu_path(
    monkeypatch: pytest.MonkeyPatch, carry: bool, length: int, every: int, n_series: int
) -> None:
    """With short chunks and groups, small inputs climb through all levels; gradients by autograd of the reference."""
    monkeypatch.setattr(stretches, "SHORTEST", 2)
    for module in (stretches, scan, cpu):
        monkeypatch.setattr(module, "GROUP", 3)
    A, B = (value.unsqueeze(0) for value in system(2))
    leaves = [value.requires_grad_() for value in (random(1, n_series, length), A, B, random(1, n_series, 2))]
    names = {"u": leaves[0][0], "A_bar": A[0], "B_bar": B[0], "state": leaves[3][0] if carry else None}
    want = lti_memory(**names, every=every, backend="reference")
    got = lti_memory(**names, every=every)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    direction = torch.randn_like(want)
    inputs = leaves if carry else leaves[:3]
    for one, other in zip(
        torch.autograd.grad(got, inputs, direction), torch.autograd.grad(want, inputs, direction), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("count", [1, 2, 3, 12, 37, 64])
def test_tables_and_their_gradients(count: int) -> None:
    A, B = (value.unsqueeze(0).requires_grad_() for value in system(4))
    powers = [torch.linalg.matrix_power(A, k) for k in range(count + 1)]
    V = torch.stack([(power @ B.unsqueeze(-1)).squeeze(-1) for power in reversed(powers[:-1])], dim=-1)
    chain = tables.Chain(A.detach(), B.detach(), count)
    torch.testing.assert_close(chain.power, powers[-1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(chain.inputs, V, rtol=1e-12, atol=1e-12)
    d_power, d_V = torch.randn_like(powers[-1]), torch.randn_like(V)
    want = torch.autograd.grad([powers[-1], V], [A, B], [d_power, d_V])
    for got, other in zip(chain.backward(d_power, d_V), want, strict=True):
        torch.testing.assert_close(got, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("distance", [0.0, 1e-7, 1e-3])
def test_a_million_samples_at_the_edge_of_stability(distance: float) -> None:
    """A rotation is solved in closed form; powers of its float32 rounding must not grow over 10^6 samples."""
    angle, length = 0.1, 1_000_000
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * (1 - distance)
    A, B = torch.from_numpy(turn), torch.tensor([1.0, 0.5], dtype=torch.float64)
    pole = (1 - distance) * np.exp(1j * angle)
    want = (1 + 0.5j) * (1 - pole**length) / (1 - pole)
    got = lti_memory(torch.ones(length, dtype=torch.float64), A, B)
    assert abs(complex(got[0], got[1]) - want) < 1e-8 * abs(want)
    single = lti_memory(torch.ones(length), A.float(), B.float(), every=100_000)
    rounded = lti_memory(torch.ones(length, dtype=torch.float64), A.float().double(), B, every=100_000)
    assert float((single - rounded).norm() / rounded.norm()) < 1e-4


def test_float32_keeps_six_digits_over_16384_samples() -> None:
    A, B = system(64, decay=1e-3)
    A, B, u = A.float(), B.float(), random(16384).float()
    want = lti_memory(u.double(), A.double(), B.double(), every=64, backend="reference")
    assert float((lti_memory(u, A, B, every=64) - want).norm() / want.norm()) < 3e-6
    assert float((lti_memory(u, A, B) - want[-1]).norm() / want[-1].norm()) < 3e-6


def test_nothing_of_order_times_length_is_made(largest_tensor) -> None:
    A, B = (value.unsqueeze(0) for value in system(64))
    u, state = random(1, 3, 20_000), random(1, 3, 64)
    for carry in (False, True):
        args = u, A, B, state, carry, 20_000
        assert largest_tensor(cpu.lti_memory_forward, *args) <= u.numel()
        assert largest_tensor(cpu.lti_memory_backward, random(1, 3, 1, 64), *args) <= u.numel()


def test_empty_batches_and_rows_pass() -> None:
    A, B = system(3)
    u = torch.zeros(0, 20, dtype=torch.float64, requires_grad=True)
    out = lti_memory(u, A.requires_grad_(), B, every=5)
    assert out.shape == (0, 4, 3)
    out.sum().backward()
    assert torch.equal(A.grad, torch.zeros(3, 3).double())
    assert lti_memory(random(2, 4), A, B, every=5).shape == (2, 0, 3)


@pytest.mark.parametrize("order", [1, 33])
def test_orders_beside_the_tiles_of_triton(order: int) -> None:
    pytest.importorskip("triton")
    A, B = system(order)
    u, state = random(17, 50), random(17, order)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    leaves = [value.float().to(device).requires_grad_() for value in (u, A, B, state)]
    got = lti_memory(*leaves, every=25, backend="triton")
    want = lti_memory(*leaves, every=25, backend="cpu")
    assert float((got - want).detach().norm() / want.detach().norm()) < 2e-6
    direction = torch.randn_like(want)
    pairs = zip(torch.autograd.grad(got, leaves, direction), torch.autograd.grad(want, leaves, direction), strict=True)
    for one, other in pairs:
        assert float((one - other).norm() / other.norm()) < 5e-6


BAD = [
    ({"u": torch.zeros(())}, r"`u` must have shape \(..., L\) with at least 1 sample, got \(\)"),
    ({"u": torch.zeros(2, 0)}, r"`u` must have shape \(..., L\) with at least 1 sample, got \(2, 0\)"),
    ({"A_bar": torch.zeros(4, 3)}, r"`A_bar` must have shape \(..., N, N\), got \(4, 3\)"),
    ({"B_bar": torch.zeros(5)}, r"`B_bar` must have shape \(..., 4\) to fit `A_bar`, got \(5,\)"),
    ({"state": torch.zeros(())}, r"`state` must have shape \(..., 4\) to fit `A_bar`, got \(\)"),
    ({"state": torch.zeros(3, 4)}, "leading dimensions must broadcast"),
    ({"every": -1}, "`every` must be a whole number of at least 1"),
    ({"lengths": torch.tensor([6, 7])}, r"lengths\[1\] is 7; the batch holds 6 samples"),
    ({"lengths": torch.tensor([6, 0])}, r"lengths\[1\] is 0; every series needs at least one sample"),
    ({"lengths": torch.tensor([6])}, r"`lengths` must have shape \(2,\), one per series, got \(1,\)"),
    ({"u": torch.zeros(6), "lengths": torch.tensor([6])}, r"`lengths` must come with `u` of shape \(batch, ..., L\)"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_arguments_are_named(change: dict[str, Tensor], words: str) -> None:
    arguments = {"u": torch.zeros(2, 6), "A_bar": torch.eye(4), "B_bar": torch.zeros(4), **change}
    with pytest.raises(ValueError, match=words):
        lti_memory(**arguments)
