"""The step of diagonal systems against scipy and numpy, its shapes, writing in place, and what it does at extremes."""

import numpy as np
import pytest
import scipy.signal
import torch

from seqkit.kernels import explain
from seqkit.kernels.ssm_step import cpu, layout, paths, ssm_step
from seqkit.kernels.ssm_step.op import ssm_step_op
from seqkit.kernels.vandermonde import vandermonde

BACKENDS = ["reference", "cpu", "torch", "triton"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend's name; "torch" is the CPU path without numba."""
    if request.param == "triton":
        pytest.importorskip("triton")
        if torch.cuda.is_available():
            pytest.skip("the contract suite runs the kernels on the device")
    if request.param == "torch":
        monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    return "cpu" if request.param == "torch" else request.param


def modes(*shape: int, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128).to(dtype)


def discrete(*shape: int, dtype: torch.dtype = torch.complex64, slowest: float = 0.01) -> torch.Tensor:
    """Stable eigenvalues of discrete systems."""
    decay = slowest + torch.rand(*shape, dtype=torch.float64)
    return torch.polar((-decay).exp(), 3 * torch.randn(*shape, dtype=torch.float64)).to(dtype)


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    got, want = got.detach().to(torch.complex128), want.detach().to(torch.complex128)
    return float((got - want).abs().pow(2).mean().sqrt() / want.abs().pow(2).mean().sqrt())


def stream(u: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor, state: torch.Tensor, **options):
    """Steps through u (L, ..., H); returns the outputs and the last state."""
    outputs = []
    for now in u:
        y, state = ssm_step(now, A, B, C, state, **options)
        outputs.append(y)
    return torch.stack(outputs), state


def test_a_series_equals_scipy(backend: str) -> None:
    if backend == "triton":
        pytest.skip("has no float64")
    A, B, C, D = discrete(1, 3), modes(1, 3), modes(1, 2, 3), torch.randn(1, 2)
    A, B, C, D = (value.to(torch.complex128 if value.is_complex() else torch.float64) for value in (A, B, C, D))
    u = torch.randn(40, 1, dtype=torch.float64)
    got, _ = stream(u, A, B, C, torch.zeros(1, 3, dtype=torch.complex128), D=D, backend=backend)

    def real(matrix: torch.Tensor) -> np.ndarray:
        """A complex matrix on (Re, Im) of each mode."""
        z = matrix.numpy()
        return np.block([[z.real, -z.imag], [z.imag, z.real]])

    # Their y_k is C x_k + D u_k with x before the sample; ours is of the state after it: C A x + (C B + D) u.
    a, b = real(torch.diag(A[0])), np.concatenate([B[0].real, B[0].imag])[:, None]
    c = 2 * np.concatenate([C[0].real, -C[0].imag], axis=1)
    system = (a, b, c @ a, c @ b + D[0].numpy()[:, None], 1.0)
    _, want, _ = scipy.signal.dlsim(system, u.numpy())
    np.testing.assert_allclose(got[:, 0].numpy(), want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n_pairs", [1, 7, 8, 9, 32, 37])
@pytest.mark.parametrize("n_streams", [1, 5, 18])
def test_rows_of_any_width_equal_numpy(backend: str, n_pairs: int, n_streams: int) -> None:
    if backend == "triton" and (n_streams, n_pairs) not in {(5, 9), (18, 8), (1, 1)}:
        pytest.skip("takes too long under the interpreter")
    A, B, C = discrete(3, n_pairs), modes(3, n_pairs), modes(3, n_pairs)
    state, u, D = modes(n_streams, 3, n_pairs), torch.randn(n_streams, 3), torch.randn(3)
    y, new = ssm_step(u, A, B, C, state, D, backend=backend)
    a, b, c, x, v, d = (value.numpy().astype(np.complex128) for value in (A, B, C, state, u, D))
    want = a * x + b * v[..., None]
    assert relative(new, torch.tensor(want)) < 3e-7
    assert relative(y, torch.tensor(2 * (c * want).sum(-1).real + (d * v).real)) < 2e-6


def test_an_impulse_gives_the_convolution_kernel() -> None:
    Lambda = torch.complex(torch.full((4, 6), -0.05, dtype=torch.float64), torch.arange(6.0, dtype=torch.float64) / 3)
    B, C = modes(4, 6, dtype=torch.complex128), modes(4, 6, dtype=torch.complex128)
    u = torch.zeros(50, 4, dtype=torch.float64)
    u[0] = 1
    got, _ = stream(u, Lambda.exp(), B, C, torch.zeros_like(B))
    want = vandermonde(Lambda, (C * B).unsqueeze(1), 50)[:, 0].T
    torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


def test_layers_equal_a_loop_over_layers(backend: str) -> None:
    A, B, C = discrete(3, 1, 4, 5), modes(3, 1, 4, 5), modes(3, 1, 4, 5)
    u, state, D = torch.randn(3, 6, 4), modes(3, 6, 4, 5), torch.randn(3, 1, 4)
    y, new = ssm_step(u, A, B, C, state, D, backend=backend)
    for layer in range(3):
        want = ssm_step(u[layer], A[layer, 0], B[layer, 0], C[layer, 0], state[layer], D[layer, 0], backend="reference")
        assert relative(y[layer], want[0]) < 2e-6
        assert relative(new[layer], want[1]) < 1e-6


SHAPES = {  # u, A, B, C, state, D
    "one head": ((1,), (1, 3), (1, 3), (1, 3), (1, 3), (1,)),
    "coefficients shared by heads": ((4, 3), (1, 5), (1, 5), (1, 5), (4, 3, 5), (1,)),
    "one input for all heads": ((4, 1), (3, 5), (3, 5), (3, 5), (4, 3, 5), None),
    "a step size a stream": ((4, 3), (4, 3, 5), (4, 1, 5), (4, 3, 5), (4, 3, 5), (3,)),
    "one state for all streams": ((4, 3), (3, 5), (3, 5), (3, 5), (3, 5), None),
    "outputs of each stream alone": ((3,), (1, 3, 5), (3, 5), (4, 3, 2, 5), (3, 5), (3, 2)),
    "more loops than three": (
        (2, 1, 3, 1, 2),
        (1, 2, 1, 2, 2, 3),
        (2, 3),
        (1, 2, 3, 1, 2, 3),
        (2, 2, 3, 1, 2, 3),
        None,
    ),
    "no streams": ((0, 3), (3, 5), (3, 5), (3, 5), (0, 3, 5), (3,)),
    "no outputs": ((4, 3), (3, 5), (3, 5), (3, 0, 5), (4, 3, 5), (3, 0)),
    "no modes": ((4, 3), (3, 0), (3, 0), (3, 0), (4, 3, 0), (3,)),
}


def tensors(name: str) -> list[torch.Tensor | None]:
    u, A, B, C, state, D = SHAPES[name]
    skip = None if D is None else torch.randn(D)
    return [torch.randn(u), discrete(*A), modes(*B), modes(*C), modes(*state), skip]


def gradients(given: list[torch.Tensor | None], backend: str) -> list[torch.Tensor]:
    leaves = [None if value is None else value.clone().requires_grad_() for value in given]
    outputs = ssm_step(*leaves, backend=backend)
    directions = [torch.linspace(-1, 1, value.numel()).reshape(value.shape).to(value.dtype) for value in outputs]
    wanted = [leaf for leaf in leaves if leaf is not None]
    return list(torch.autograd.grad(outputs, wanted, directions))


@pytest.mark.parametrize("name", SHAPES)
def test_what_broadcasts(backend: str, name: str) -> None:
    given = tensors(name)
    before = [None if value is None else value.clone() for value in given]
    wide = [None if v is None else v.to(torch.complex128 if v.is_complex() else torch.float64) for v in given]
    want = ssm_step(*wide, backend="reference")
    got, through_op = ssm_step(*given, backend=backend), ssm_step(*[keep(value) for value in given], backend=backend)
    for outputs in (got, through_op):
        for one, other in zip(outputs, want, strict=True):
            assert one.shape == other.shape
            assert not one.numel() or relative(one, other) < 2e-6 or float(other.abs().max()) == 0
    for one, other, like in zip(
        gradients(given, backend), gradients(wide, "reference"), [v for v in given if v is not None], strict=True
    ):
        assert one.shape == like.shape
        assert not one.numel() or float(other.abs().max()) == 0 or relative(one, other) < 1e-5
    assert all(value is None or torch.equal(value, old) for value, old in zip(given, before, strict=True))


def keep(value: torch.Tensor | None) -> torch.Tensor | None:
    """The same values, recorded by autograd."""
    return None if value is None else value.clone().requires_grad_()


def test_conjugated_strided_and_expanded_operands(backend: str) -> None:
    A, B, C = discrete(3, 5), modes(3, 5), modes(3, 5)
    state, u = modes(4, 3, 5), torch.randn(4, 3)
    turned = modes(4, 3).imag  # a view with a step, and below with a sign still to be applied
    for given in (
        (u, A.conj(), B.conj(), C.conj(), state.conj()),
        (turned, A.T.contiguous().T, B, C, state.transpose(0, 2).contiguous().transpose(0, 2)),
        (
            modes(4, 3).conj().imag,
            A.expand(4, 3, 5),
            B.expand(4, 3, 5),
            C.expand(4, 3, 5),
            state[:, :1].expand(4, 3, 5),
        ),
    ):
        y, new = ssm_step(*given, backend=backend)
        plain = [value.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format) for value in given]
        want_y, want = ssm_step(*plain, backend="reference")
        assert relative(y, want_y) < 2e-6
        assert relative(new, want) < 1e-6
        shapes = [value.shape for value in given]
        assert [one.shape for one in gradients([*given, None], backend)] == shapes
        for one, other in zip(gradients([*given, None], backend), gradients([*plain, None], "reference"), strict=True):
            assert relative(one, other) < 1e-5


@pytest.mark.parametrize("compiled", [False, True])
def test_in_place_equals_out_of_place(backend: str, compiled: bool) -> None:
    if compiled and backend == "triton":
        pytest.skip("kernels under the interpreter are not for compiling")
    A, B, C, D = discrete(3, 5), modes(3, 5), modes(3, 2, 5), torch.randn(3, 2)
    state, u = modes(6, 3, 5), torch.randn(6, 3)
    want = ssm_step(u, A, B, C, state, D, backend=backend)
    version = state._version

    def step(u: torch.Tensor, state: torch.Tensor):
        return ssm_step(u, A, B, C, state, D, inplace=True, backend=backend)

    torch._dynamo.reset()
    y, new = (torch.compile(step, backend="aot_eager", fullgraph=True) if compiled else step)(u, state)
    assert new is state or new.data_ptr() == state.data_ptr()
    assert state._version > version  # autograd notices if it kept the old values
    assert relative(y, want[0]) < 1e-6
    assert relative(state, want[1]) < 1e-6


def test_in_place_is_refused_where_it_cannot_be(backend: str) -> None:
    A, B, C, state, u = discrete(3, 5), modes(3, 5), modes(3, 5), modes(4, 3, 5), torch.randn(4, 3)
    with pytest.raises(ValueError, match="`inplace` must be False where gradients are recorded"):
        ssm_step(u, A.requires_grad_(), B, C, state, inplace=True, backend=backend)
    with torch.no_grad():
        ssm_step(u, A, B, C, state, inplace=True, backend=backend)
    A = A.detach()
    for wrong in (
        state[:1],
        state.transpose(0, 1).contiguous().transpose(0, 1),
        state.conj(),
        state[0].expand(4, 3, 5),
    ):
        with pytest.raises(ValueError, match=r"`state` must be contiguous and of shape \(4, 3, 5\) for `inplace`"):
            ssm_step(u, A, B, C, wrong, inplace=True, backend=backend)


def test_a_bad_input_does_not_spoil_the_state(backend: str) -> None:
    if backend == "triton" and torch.cuda.is_available():
        pytest.skip("values are not looked at on a device")
    A, B, C, state, u = discrete(3, 5), modes(3, 5), modes(3, 5), modes(4, 3, 5), torch.randn(4, 3)
    before, u[3, 1] = state.clone(), float("nan")
    with pytest.raises(ValueError, match=r"`u` has 1 NaN or infinite values, the first at \(3, 1\)"):
        ssm_step(u, A, B, C, state, inplace=True, backend=backend)
    assert torch.equal(state, before)


def test_overflow_is_not_called_a_bad_input() -> None:
    A, B, C = torch.full((1, 1), 1e30 + 0j), modes(1, 1), torch.full((1, 1), 1 + 0j)
    y, new = ssm_step(torch.ones(1), A, B, C, torch.full((1, 1), 1e30 + 0j))
    assert not bool(y.isfinite().all())
    with pytest.raises(ValueError, match="`state` has 1 NaN or infinite"):
        ssm_step(torch.ones(1), A, B, C, new)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_inputs(backend: str, half: torch.dtype) -> None:
    A, B, C, state, D = discrete(3, 5), modes(3, 5), modes(3, 5), modes(4, 3, 5), torch.randn(3)
    u = torch.randn(4, 3).to(half)
    y, new = ssm_step(u, A, B, C, state, D, backend=backend)
    want_y, want = ssm_step(u.float(), A, B, C, state, D, backend="reference")
    assert (y.dtype, new.dtype) == (half, torch.complex64)
    assert relative(new, want) < 1e-6
    assert relative(y, want_y.to(half)) < (1e-3 if half == torch.float16 else 8e-3)
    found = gradients([u, A, B, C, state, D], backend)
    assert found[0].dtype == half
    assert relative(found[1], gradients([u.float(), A, B, C, state, D], "reference")[1]) < 1e-2
    with pytest.raises(TypeError, match="`A` must have the precision of `u`"):
        ssm_step(u, *(value.to(torch.complex128) for value in (A, B, C, state)), backend=backend)


def test_the_plain_call_equals_the_operator(backend: str) -> None:
    if backend == "reference":
        pytest.skip("is not an operator's path")
    A, B, C, D = discrete(3, 5), modes(3, 5), modes(3, 2, 5), torch.randn(3, 2)
    state, u = modes(4, 3, 5), torch.randn(4, 3)
    got, want = ssm_step(u, A, B, C, state, D, backend=backend), ssm_step_op(u, A, B, C, state, D, backend)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_only_unwatched_calls_pass_the_dispatcher_by() -> None:
    plain, leaf = torch.zeros(1), torch.zeros(1, requires_grad=True)
    assert paths.untracked([plain, torch.nn.Parameter(plain, requires_grad=False)])
    assert not paths.untracked([plain, leaf])
    with torch.no_grad():
        assert paths.untracked([plain, leaf])
    with torch.autograd.forward_ad.dual_level():
        assert not paths.untracked([plain])
    seen = []
    torch.func.vmap(lambda value: seen.append(paths.untracked([value])) or value)(plain)
    with torch._subclasses.FakeTensorMode():
        seen.append(paths.untracked([plain]))
    assert seen == [False, False]


def test_more_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "WORTH", 64)
    monkeypatch.setattr(cpu, "CHUNK", 4)
    given = [torch.randn(23, 3), discrete(3, 5), modes(3, 5), modes(3, 5), modes(23, 3, 5), torch.randn(3)]
    want, want_gradients = ssm_step(*given, backend="reference"), gradients(given, "reference")
    layout.cached_shapes.cache_clear()
    torch.set_num_threads(3)
    try:
        got, found = ssm_step(*given), gradients(given, "cpu")
        bad = given[0].clone()
        bad[22, 2] = float("inf")
        with pytest.raises(ValueError, match="`u` has 1 NaN"):
            ssm_step(bad, *given[1:4], given[4].clone(), inplace=True)
    finally:
        torch.set_num_threads(1)
        layout.cached_shapes.cache_clear()
    assert all(relative(one, other) < 2e-6 for one, other in zip(got, want, strict=True))
    assert all(relative(one, other) < 1e-5 for one, other in zip(found, want_gradients, strict=True))


def test_gradients_of_thousands_of_streams_keep_their_digits() -> None:
    given = [1 + torch.rand(20000, 1), discrete(1, 2), modes(1, 2), modes(1, 2), modes(20000, 1, 2) + 1, None]
    wide = [None if v is None else v.to(torch.complex128 if v.is_complex() else torch.float64) for v in given]

    def found(values: list[torch.Tensor | None], backend: str) -> list[torch.Tensor]:
        leaves = [None if value is None else value.clone().requires_grad_() for value in values]
        outputs = ssm_step(*leaves, backend=backend)
        return list(torch.autograd.grad(outputs, leaves[1:4], [torch.ones_like(value) for value in outputs]))

    for one, other in zip(found(given, "cpu"), found(wide, "reference"), strict=True):
        assert relative(one, other) < 2e-6


def test_explain_names_the_path() -> None:
    given = (torch.randn(4, 3), discrete(3, 5), modes(3, 5), modes(3, 5), modes(4, 3, 5))
    state = given[4].clone()
    assert explain("ssm_step", *given, inplace=True).backend == "cpu"
    assert torch.equal(state, given[4])  # asking computes nothing
    assert explain("ssm_step", *given, backend="reference").backend == "reference"


def test_marginal_modes_stay_bounded() -> None:
    """|A| = 1 - 1e-7, undriven: after 20000 steps of float32 the state has its first size within the rounding."""
    angle = torch.linspace(0.001, 3.1, 64, dtype=torch.float64)
    A = torch.polar(torch.full_like(angle, 1 - 1e-7), angle).to(torch.complex64)[None]
    state, zero = torch.ones_like(A), torch.zeros(1)
    for _ in range(20000):
        y, state = ssm_step(zero, A, A, A, state, inplace=True)
    assert bool(y.isfinite().all())
    assert 0.99 < float(state.abs().min()) <= float(state.abs().max()) < 1.01


@pytest.mark.slow
def test_marginal_modes_stay_bounded_for_a_million_steps() -> None:
    angle = torch.linspace(0.001, 3.1, 64, dtype=torch.float64)
    A = torch.polar(torch.full_like(angle, 1 - 1e-7), angle).to(torch.complex64)[None]
    state, u = torch.ones_like(A), torch.ones(1)
    for _ in range(1_000_000):
        y, state = ssm_step(u, A, A, A, state, inplace=True)
    assert bool(y.isfinite().all())
    bound = 1.1 + 2 / (1 - A.to(torch.complex128)).abs()  # the size it starts with, and that of driven oscillations
    assert bool((state.abs() < bound).all())


def test_decayed_states_are_zero_and_take_no_longer(backend: str) -> None:
    """Without this a step on states near 1e-40 takes ten times as long."""
    if backend in ("reference", "triton"):
        pytest.skip("only loops on the CPU meet slow denormal numbers")
    A, B, C = torch.full((64, 32), 0.5 + 0.1j), modes(64, 32), modes(64, 32)
    zero = torch.zeros(16, 64)
    tiny = modes(16, 64, 32) * 1e-39
    assert float(tiny.abs().max()) > 0
    _, new = ssm_step(zero, A, B, C, tiny, backend=backend)
    assert float(new.abs().max()) == 0

    ssm_step(zero, A, B, C, tiny, inplace=True, backend=backend)
    assert float(tiny.abs().max()) == 0  # so that a stream meets them once


def test_nothing_but_the_results_is_allocated(largest_tensor) -> None:
    A, B, C = discrete(8, 16), modes(8, 16), modes(8, 16)
    state, u = modes(50, 8, 16), torch.randn(50, 8)
    place = torch.Size((50, 8))
    found, ready = layout.find_layout(place, (u, A, B, C.unsqueeze(1), state, torch.zeros(1)))
    y, new = torch.empty(50, 8), torch.empty_like(state)
    assert largest_tensor(cpu.advance, found, ready[:5], None, y, new) <= u.numel()
    assert largest_tensor(cpu.differentiate, found, ready[:5], y.unsqueeze(-1), new) <= state.numel()
