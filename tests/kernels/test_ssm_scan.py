"""The scan against SciPy, dense loops and its convolution; in pieces, at rates, at its limits; its memory."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from seqkit.hippo import discretize_diagonal
from seqkit.kernels.explain import explain
from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.ssm_scan import cpu, ssm_scan
from seqkit.kernels.ssm_scan.uneven import cpu as uneven
from seqkit.kernels.vandermonde import vandermonde
from seqkit.nn.mixer import sample_steps, scan_by_step
from seqkit.ssm import S4D
from seqkit.ssm.diagonal import real_to_pairs

RULES = ("zero_order_hold", "bilinear", "backward_euler")


def system(n_channels: int = 3, n_pairs: int = 4, outputs: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """Continuous A, B and C in float64: the usual diagonal start at steps from 0.001 to 0.1."""
    dt = torch.logspace(-3, -1, n_channels, dtype=torch.float64)[:, None]
    A = dt * torch.complex(torch.tensor(-0.5).double(), torch.pi * torch.arange(n_pairs, dtype=torch.float64))
    B = dt * torch.randn(n_channels, n_pairs, dtype=torch.complex128)
    return A, B, torch.randn(*outputs, n_channels, n_pairs, dtype=torch.complex128)


def single(*values: Tensor) -> tuple[Tensor, ...]:
    return tuple(value.to(torch.complex64 if value.is_complex() else torch.float32) for value in values)


def error(got: Tensor, want: Tensor) -> float:
    got, want = got.detach().to(want.dtype), want.detach()
    return float((got - want).abs().pow(2).mean().sqrt() / want.abs().pow(2).mean().sqrt())


@pytest.fixture(params=[True, False], ids=["loops", "torch"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways of the CPU path: compiled loops where numba is installed, and torch alone."""
    if request.param:
        pytest.importorskip("numba")
    monkeypatch.setattr(cpu, "LOOPS", request.param)
    monkeypatch.setattr(uneven, "LOOPS", request.param)
    return request.param


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 500])
def test_dlsim_of_scipy(length: int, loops: bool) -> None:
    """SciPy runs dense real matrices: each pair is a rotation of two real states."""
    A, B, C = system(1, 3)
    A_bar, B_bar = A.exp()[0].numpy(), B[0].numpy()
    blocks = [np.array([[a.real, -a.imag], [a.imag, a.real]]) for a in A_bar]
    dense = scipy.linalg.block_diag(*blocks)
    drive = np.array([[b.real, b.imag] for b in B_bar]).reshape(-1, 1)
    read = 2 * np.array([[c.real, -c.imag] for c in C[0].numpy()]).reshape(1, -1)
    u = np.random.default_rng(0).normal(size=length)
    # dlsim gives y_k = C x_k + D u_k, x_{k+1} = A x_k + B u_k: our y_k is its output with C A and C B.
    _, want, _ = scipy.signal.dlsim((dense, drive, read @ dense, read @ drive, 1.0), u)
    y, _ = ssm_scan(torch.tensor(u)[None, None], A.exp(), B, C)
    np.testing.assert_allclose(y[0, 0], want[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_dense_loop_of_numpy_with_a_step_per_sample(rule: str, loops: bool) -> None:
    A, B, C = system(2, 3)
    A[0, 0] = 0
    u, steps = torch.randn(2, 2, 150, dtype=torch.float64), 0.1 + 3 * torch.rand(2, 150, dtype=torch.float64)
    start = torch.randn(2, 2, 3, dtype=torch.complex128)
    y, final = ssm_scan(u, A, B, C, start, steps=steps, discretization=rule)
    for series in range(2):
        x = start[series].numpy()
        for k in range(150):
            r = float(steps[series, k])
            bars = [scipy_rule(rule, complex(a), complex(b), r) for a, b in zip(A.view(-1), B.view(-1), strict=True)]
            A_bar, B_bar = (np.array([bar[i] for bar in bars]).reshape(2, 3) for i in (0, 1))
            x = A_bar * x + B_bar * u[series, :, k, None].numpy()
            np.testing.assert_allclose(y[series, :, k], 2 * (C.numpy() * x).sum(-1).real, rtol=0, atol=1e-12)
        np.testing.assert_allclose(final[series], x, rtol=0, atol=1e-12)


def scipy_rule(rule: str, a: complex, b: complex, r: float) -> tuple[complex, complex]:
    if rule == "zero_order_hold":
        return np.exp(r * a), (np.exp(r * a) - 1) / a * b if a else r * b
    weight = 0.5 if rule == "bilinear" else 1.0
    return (1 + (1 - weight) * r * a) / (1 - weight * r * a), r * b / (1 - weight * r * a)


@pytest.mark.parametrize("rule", RULES)
def test_even_and_uneven_steps_follow_the_rules_of_hippo(rule: str, loops: bool) -> None:
    A, B, C = system()
    A[0, 0], A[1, 1] = 0, 1e-7j
    u = torch.randn(2, 3, 40, dtype=torch.float64)
    for rate in (1.0, 2.0, 0.3):
        A_bar, B_bar = discretize_diagonal(A, B, rate, rule)
        want, want_state = ssm_scan(u, A_bar, B_bar, C, backend="reference")
        steps = torch.full((2, 40), rate, dtype=torch.float64)
        for values in ((A, B, steps), (rate * A, rate * B, None)):  # the unit of time is the caller's
            y, state = ssm_scan(u, *values[:2], C, steps=values[2], discretization=rule)
            assert error(y, want) < 1e-13
            assert error(state, want_state) < 1e-13


@pytest.mark.parametrize("outputs", [(), (2,)])
@pytest.mark.parametrize("length", [1, 100, 1025])
def test_the_other_form_of_the_layer_is_a_convolution(length: int, outputs: tuple[int, ...]) -> None:
    A, B, C = system(5, 32, outputs)
    u = torch.randn(3, 5, length, dtype=torch.float64)
    weight = (C * B).unsqueeze(0) if not outputs else C * B
    kernel = vandermonde(A, weight.transpose(0, 1), length).transpose(0, 1)
    want = long_conv(u, kernel if outputs else kernel[0])
    got, _ = ssm_scan(u, A.exp(), B, C)
    assert error(got, want) < 1e-12
    low_u, low_A, low_B, low_C = single(u, A, B, C)
    held, _ = ssm_scan(low_u, low_A, low_B, low_C, discretization="zero_order_hold")
    A_bar, B_bar = discretize_diagonal(*(v.to(torch.complex128) for v in (low_A, low_B)), 1.0, "zero_order_hold")
    assert error(held, ssm_scan(low_u.double(), A_bar, B_bar, low_C.to(torch.complex128))[0]) < 1e-6


@pytest.mark.parametrize("cuts", [(1,), (32,), (50, 51), (7, 64, 99)])
@pytest.mark.parametrize("rule", ["none", "bilinear"])
def test_blocks_with_carried_state_are_the_whole(cuts: tuple[int, ...], rule: str, loops: bool) -> None:
    A, B, C = system(outputs=(2,))
    A = A.exp() if rule == "none" else A
    u = torch.randn(2, 3, 100, dtype=torch.float64)
    steps = None if rule == "none" else 0.2 + torch.rand(2, 100, dtype=torch.float64)
    whole, final = ssm_scan(u, A, B, C, steps=steps, discretization=rule)
    state, parts = None, []
    for first, last in zip((0, *cuts), (*cuts, 100), strict=True):
        some = None if steps is None else steps[:, first:last]
        y, state = ssm_scan(u[..., first:last], A, B, C, state, steps=some, discretization=rule)
        parts.append(y)
    assert error(torch.cat(parts, -1), whole) < 1e-13
    assert error(state, final) < 1e-13


@pytest.mark.usefixtures("where_backend_runs")
@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("uneven_steps", [False, True])
def test_what_lies_past_the_end_changes_nothing(backend: str, uneven_steps: bool) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    A, B, C = single(*system(1, 2))
    lengths = torch.tensor([5, 1, 3])
    u, start = torch.randn(3, 1, 5), torch.randn(3, 1, 2, dtype=torch.complex64)
    steps = 0.5 + torch.rand(3, 5) if uneven_steps else None
    spoiled, spoiled_steps = u.clone(), None if steps is None else steps.clone()
    for series, length in enumerate(lengths):
        spoiled[series, :, length:] = float("nan")
        if spoiled_steps is not None:
            spoiled_steps[series, length:] = float("nan")
    options = {"discretization": "bilinear", "backend": backend}
    spoiled.requires_grad_()
    y, final = ssm_scan(spoiled, A, B, C, start, steps=spoiled_steps, lengths=lengths, **options)
    (gradient,) = torch.autograd.grad(y.sum() + final.real.sum(), spoiled)
    for series, length in enumerate(lengths):
        one = slice(series, series + 1)
        some = None if steps is None else steps[one, :length]
        alone, state = ssm_scan(u[one, :, :length], A, B, C, start[one], steps=some, **options)
        assert error(y[one, :, :length], alone) < 1e-6
        assert error(final[one], state) < 1e-6
        assert bool((y[one, :, length:] == 0).all())
        assert bool((gradient[one, :, length:] == 0).all())
        assert bool((gradient[one, :, :length] != 0).all())


@pytest.mark.parametrize("rule", RULES)
def test_layer_stepped_with_timestamps(rule: str) -> None:
    """The layer walks step by step through uneven times; the scan takes them at once."""
    layer = S4D(3, order=8, channels=2, discretization=rule).double().requires_grad_(False)
    u = torch.randn(2, 20, 3, dtype=torch.float64)
    steps = sample_steps((0.3 + 2 * torch.rand(2, 20, dtype=torch.float64)).cumsum(-1), 1.0)
    want, want_state = scan_by_step(layer, u, layer.initial_state(2), steps=steps)
    dt = layer.log_dt.exp()[:, None]
    A, B, C = layer._lambda() * dt, real_to_pairs(layer.B) * dt, real_to_pairs(layer.C).transpose(0, 1)
    y, state = ssm_scan(u.mT, A, B, C, steps=steps, discretization=rule)
    assert error(layer._merge(y + layer.D.T[:, :, None] * u.mT.unsqueeze(1)), want) < 1e-12
    assert error(torch.cat([state.real, state.imag], -1), want_state[0]) < 1e-12


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("uneven_steps", [False, True])
def test_smallest_and_largest_steps(scale: float, rule: str, uneven_steps: bool, loops: bool) -> None:
    dt, u = torch.tensor([scale, 0.3 * scale])[:, None], torch.randn(2, 2, 300)
    A = dt * torch.complex(torch.tensor(-0.5), torch.pi * torch.arange(32.0))
    B, C = dt * torch.ones(2, 32, dtype=torch.complex64), torch.randn(2, 32, dtype=torch.complex64)
    steps = 0.5 + torch.rand(2, 300) if uneven_steps else None
    leaves = [value.requires_grad_() for value in (u, A, B, C)]
    y, final = ssm_scan(*leaves, steps=steps, discretization=rule)
    gradients = torch.autograd.grad(y.square().sum() + final.abs().square().sum(), leaves)
    wide = [value.detach().to(torch.complex128 if value.is_complex() else torch.float64) for value in leaves]
    wide = [value.requires_grad_() for value in wide]
    wide_steps = None if steps is None else steps.double()
    want, want_final = ssm_scan(*wide, steps=wide_steps, discretization=rule, backend="reference")
    want_gradients = torch.autograd.grad(want.square().sum() + want_final.abs().square().sum(), wide)
    assert error(y, want) < 2e-6
    assert error(final, want_final) < 2e-6
    for got, other in zip(gradients, want_gradients, strict=True):
        assert error(got, other) < 1e-5


def test_nearly_marginal_modes_over_a_million_samples() -> None:
    """|A| within 1e-7 of 1: a float32 recurrence drifts by the rounding of every sample, chunks by that of a few."""
    length = 1_000_000
    A = torch.polar(torch.tensor([[1 - 1e-7, 1.0, 1 - 1e-4]]), torch.tensor([[0.01, 2.5, 0.0]]))
    A = A / A.abs().clamp_min(1.0)  # rounding may have made a modulus larger than 1
    B, C = torch.ones(1, 3, dtype=torch.complex64), torch.randn(1, 3, dtype=torch.complex64)
    u = torch.randn(1, 1, length)
    y, final = ssm_scan(u, A, B, C)
    samples, a = u[0, 0].double().numpy(), A[0].to(torch.complex128).numpy()
    states = np.stack([scipy.signal.lfilter([1.0], [1.0, -pole], samples) for pole in a])
    want = 2 * (C[0].to(torch.complex128).numpy()[:, None] * states).sum(0).real
    assert error(y[0, 0], torch.tensor(want)) < 2e-6
    assert error(final[0, 0], torch.tensor(states[:, -1])) < 2e-6


def test_modes_that_forget_at_once_and_silence() -> None:
    A = torch.tensor([[0.0, 1e-30, 0.5 + 0.5j, -1.0]]).to(torch.complex64).requires_grad_()
    B = torch.ones(1, 4, dtype=torch.complex64)
    u = torch.zeros(1, 1, 5000)
    u[..., 0] = 1
    y, final = ssm_scan(u, A, B, B)
    (gradient,) = torch.autograd.grad(y.sum() + final.real.sum(), A)
    assert bool(torch.view_as_real(gradient).isfinite().all())
    want = 2 * sum(a**k for a in (0.5 + 0.5j, -1.0) for k in (3,)).real
    y = y.detach()
    assert abs(float(y[0, 0, 3]) - want) < 1e-6
    assert abs(float(y[0, 0, -1]) + 2) < 1e-6


@pytest.mark.usefixtures("where_backend_runs")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("uneven_steps", [False, True])
def test_half_precision_input_with_single_parameters(dtype: torch.dtype, backend: str, uneven_steps: bool) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    A, B, C = single(*system(2, 2))
    u = torch.randn(1, 2, 6).to(dtype).requires_grad_()
    options = {"steps": torch.ones(1, 6) if uneven_steps else None, "discretization": "bilinear"}
    y, final = ssm_scan(u, A, B, C, **options, backend=backend)
    assert y.dtype == dtype
    assert final.dtype == torch.complex64
    want, want_final = ssm_scan(u.detach().float(), A, B, C, **options, backend="reference")
    assert error(y, want) < 4e-3  # the rounding of y
    assert error(final, want_final) < 1e-6
    (gradient,) = torch.autograd.grad(y.float().sum(), u)
    assert gradient.dtype == dtype


@pytest.mark.usefixtures("where_backend_runs")
@pytest.mark.parametrize("backend", ["cpu", "triton"])
@pytest.mark.parametrize("uneven_steps", [False, True])
def test_empty_batch(backend: str, uneven_steps: bool, loops: bool) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    leaves = [value.requires_grad_() for value in (torch.randn(0, 3, 7), *single(*system(outputs=(2,))))]
    steps = torch.ones(0, 7) if uneven_steps else None
    y, final = ssm_scan(*leaves, steps=steps, discretization="bilinear", backend=backend)
    assert y.shape == (0, 2, 3, 7)
    assert final.shape == (0, 3, 4)
    gradients = torch.autograd.grad(y.sum() + final.abs().sum(), leaves)
    assert all(bool((gradient == 0).all()) for gradient in gradients)


@pytest.mark.usefixtures("where_backend_runs")
@pytest.mark.parametrize("rule", RULES)
def test_triton_scan_over_several_tiles(rule: str) -> None:
    """One series and channel: under the interpreter a parallel scan takes a millisecond a number."""
    pytest.importorskip("triton")
    A, B, C = single(*system(1, 2))
    u, steps = torch.randn(1, 1, 150), 0.5 + 2 * torch.rand(1, 150)
    leaves = [value.requires_grad_() for value in (u, A, B, C)]
    y, final = ssm_scan(*leaves, steps=steps, discretization=rule, backend="triton")
    got = torch.autograd.grad(y.sin().sum() + final.abs().sum(), leaves)
    want, want_final = ssm_scan(*leaves, steps=steps, discretization=rule, backend="reference")
    other = torch.autograd.grad(want.sin().sum() + want_final.abs().sum(), leaves)
    assert error(y, want) < 1e-6
    assert max(error(one, two) for one, two in zip(got, other, strict=True)) < 1e-5


@pytest.mark.usefixtures("where_backend_runs")
def test_triton_holds_so_many_pairs() -> None:
    pytest.importorskip("triton")
    A, B, C = single(*system(1, 130))
    with pytest.raises(ValueError, match="its kernels hold at most 128 pairs a channel, and `A` has 130"):
        ssm_scan(torch.randn(1, 1, 3), A.exp(), B, C, backend="triton")


def test_torch_fallback_has_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    A, B, C = system(outputs=(2,))
    leaves = [value.requires_grad_() for value in (torch.randn(2, 3, 150, dtype=torch.float64), A, B, C)]
    steps = 0.5 + torch.rand(2, 150, dtype=torch.float64)
    for rule, given in ((rule, given) for rule in RULES for given in (None, steps)):
        found = []
        for switch in (True, False):
            monkeypatch.setattr(cpu, "LOOPS", switch)
            monkeypatch.setattr(uneven, "LOOPS", switch)
            y, final = ssm_scan(*leaves, steps=given, discretization=rule)
            found.append(torch.autograd.grad(y.sin().sum() + final.abs().square().sum(), leaves))
        assert all(error(one, other) < 1e-12 for one, other in zip(*found, strict=True))


def test_nothing_of_order_times_length_is_made(largest_tensor, loops: bool) -> None:
    length, A, B, C = 8192, *(value.detach() for value in system(2, 32))
    u, state, ends = (
        torch.randn(2, 2, length, dtype=torch.float64),
        torch.zeros(2, 2, 32) + 0j,
        torch.full((2,), length),
    )
    grad, steps = torch.randn(2, 1, 2, length, dtype=torch.float64), torch.ones(2, length, dtype=torch.float64)
    even = (u, A.exp(), B, C.unsqueeze(0), state.to(A.dtype))
    pairs_times_length = u.numel() * 32
    assert largest_tensor(cpu.ssm_scan_forward, *even, ends) < pairs_times_length / 7
    assert largest_tensor(cpu.ssm_scan_backward, grad, even[4], *even, ends) < pairs_times_length / 7
    if loops:
        given = (u, A, B, C.unsqueeze(0), state.to(A.dtype), steps, ends, "bilinear")
        assert largest_tensor(uneven.ssm_scan_steps_forward, *given) <= u.numel()
        assert largest_tensor(uneven.ssm_scan_steps_backward, grad, even[4], *given) <= u.numel()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": torch.ones(2, 7)}, r'`steps` must be None with discretization="none", got shape \(2, 7\)'),
        ({"steps": torch.ones(2, 6), "discretization": "bilinear"}, r"`steps` must have shape \(2, 7\), got \(2, 6\)"),
        ({"steps": torch.ones(2, 7).requires_grad_(), "discretization": "bilinear"}, "must not require a gradient"),
        ({"steps": torch.zeros(2, 7), "discretization": "bilinear"}, r"`steps` must be above 0, got 0.0 at \(0, 0\)"),
        ({"steps": torch.full((2, 7), torch.inf), "discretization": "bilinear"}, "`steps` has 14 NaN or infinite"),
        ({"discretization": "bilinar"}, "`discretization` must be one of none, .* did you mean bilinear"),
        ({"lengths": torch.tensor([8, 1])}, r"lengths\[0\] is 8; the batch holds 7 samples"),
        ({"lengths": torch.tensor([7])}, r"`lengths` must have shape \(2\), got \(1,\)"),
        ({"lengths": torch.tensor([7.0, 1.0])}, "`lengths` must be whole numbers"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, object], words: str) -> None:
    A, B, C = single(*system())
    with pytest.raises(ValueError, match=words):
        ssm_scan(torch.randn(2, 3, 7), A, B, C, **change)


def test_half_precision_beside_double_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match="`A` must be complex64 beside `u` in torch"):
        ssm_scan(torch.randn(2, 3, 7).bfloat16(), *system())


def test_explain_names_the_path() -> None:
    A, B, C = single(*system())
    assert explain("ssm_scan", torch.randn(2, 3, 7), A, B, C).backend == "cpu"
    assert explain(ssm_scan, torch.randn(2, 3, 7), A, B, C, backend="reference").backend == "reference"
