"""Discretisation against scipy, against the exact flow, and by the laws that it must keep."""

import math

import mpmath
import numpy as np
import pytest
import scipy.signal
import torch

from seqkit.hippo import METHODS, LagT, discretize, discretize_diagonal, transition

MEASURES = ["legs", "legt", "lagt", "fourier", LagT(beta=0.2)]
SCIPY = {
    "forward_euler": "euler",
    "backward_euler": "backward_diff",
    "bilinear": "bilinear",
    "generalized_bilinear": "gbt",
    "zero_order_hold": "zoh",
}


def rms(value, reference):
    return float(((value - reference).abs() ** 2).mean().sqrt() / (reference.abs() ** 2).mean().sqrt())


def options(method, alpha=0.3):
    return {"method": method, "alpha": alpha} if method == "generalized_bilinear" else {"method": method}


@pytest.mark.parametrize("measure", MEASURES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_scipy(measure, method):
    A, B = transition(measure, 12)
    for dt in (1e-3, 0.1):
        alpha = 0.3 if method == "generalized_bilinear" else None
        system = (A.numpy(), B.numpy()[:, None], np.eye(12), np.zeros((12, 1)))
        A_ref, B_ref, *_ = scipy.signal.cont2discrete(system, dt, method=SCIPY[method], alpha=alpha)
        A_bar, B_bar = discretize(A, B, dt, **options(method))
        assert rms(A_bar, torch.from_numpy(A_ref)) < 1e-12
        assert rms(B_bar, torch.from_numpy(B_ref[:, 0])) < 1e-12


@pytest.mark.parametrize(("method", "alpha", "order"), [
    ("forward_euler", 0.5, 1),
    ("backward_euler", 0.5, 1),
    ("bilinear", 0.5, 2),
    ("generalized_bilinear", 0.75, 1),
    ("generalized_bilinear", 0.5, 2),
])  # fmt: skip
def test_convergence_order_to_the_exact_flow(method, alpha, order):
    A, B = transition("legs", 6)
    exact = torch.linalg.matrix_exp(A)
    errors = []
    for steps in (512, 1024):
        A_bar, _ = discretize(A, B, 1 / steps, method, alpha)
        errors.append(rms(torch.linalg.matrix_power(A_bar, steps), exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_zero_order_hold_is_the_exact_flow():
    A, B = transition("legs", 6)
    A_bar, _ = discretize(A, B, 1 / 64, "zero_order_hold")
    assert rms(torch.linalg.matrix_power(A_bar, 64), torch.linalg.matrix_exp(A)) < 1e-12


@pytest.mark.parametrize("measure", MEASURES, ids=str)
@pytest.mark.parametrize("dt", [1e-5, 1e-2, 1.0, 10.0])
def test_contraction(measure, dt):
    A, B = transition(measure, 32)
    for method, alpha in [("generalized_bilinear", a) for a in (0.5, 0.75, 1.0)] + [("bilinear", 0.5)]:
        A_bar, _ = discretize(A, B, dt, method, alpha)
        assert torch.linalg.matrix_norm(A_bar, 2) <= 1 + 1e-12
    if dt <= 1:
        A_bar, _ = discretize(A, B, dt, "zero_order_hold")
        assert torch.linalg.matrix_norm(A_bar, 2) <= 1 + 1e-12


def test_forward_euler_and_the_lmu_scaling_are_no_contractions():
    for measure in ("legs", "legt", "lagt"):
        A_bar, _ = discretize(*transition(measure, 32), 0.1, "forward_euler")
        assert torch.linalg.matrix_norm(A_bar, 2) > 1.01
    A_bar, _ = discretize(*transition("legt", 32, normalization="lmu"), 0.01)
    assert torch.linalg.matrix_norm(torch.linalg.matrix_power(A_bar, 20), 2) > 1.01


@pytest.mark.parametrize("method", METHODS)
def test_constant_gain_is_kept(method):
    """A constant input settles at -A^-1 B, which for LegS is the first unit vector: the mean."""
    for measure in ("legs", "legt", "lagt"):
        A, B = transition(measure, 16)
        A_bar, B_bar = discretize(A, B, 0.02, **options(method))
        settled = torch.linalg.solve(torch.eye(16, dtype=A.dtype) - A_bar, B_bar)
        assert rms(settled, torch.linalg.solve(-A, B)) < 1e-12
        if measure == "legs":
            assert rms(settled, torch.eye(16, dtype=A.dtype)[0]) < 1e-12


def run(A_bar, B_bar, u):
    x, states = torch.zeros_like(B_bar), []
    for value in u:
        x = A_bar @ x + B_bar * value
        states.append(x)
    return torch.stack(states)


@pytest.mark.parametrize(("method", "holds"), [("zero_order_hold", True), ("bilinear", False)])
def test_held_samples_may_be_repeated_at_half_the_step(method, holds):
    A, B = transition("legs", 16)
    u = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coarse = run(*discretize(A, B, 0.1, method), u)
    fine = run(*discretize(A, B, 0.05, method), u.repeat_interleave(2))[1::2]
    assert rms(fine, coarse) < 1e-12 if holds else rms(fine, coarse) > 1e-2


def test_backward_euler_of_a_leak_is_the_sigmoid_gate():
    z = torch.linspace(-6, 6, 25, dtype=torch.float64)
    A, B = -torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    A_bar, B_bar = discretize(A, B, z.exp(), "backward_euler")
    torch.testing.assert_close(B_bar[:, 0], torch.sigmoid(z), rtol=1e-14, atol=0)
    torch.testing.assert_close(A_bar[:, 0, 0], 1 - torch.sigmoid(z), rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_singular_system_is_served(method):
    """An integrator: x' = u."""
    A, B = torch.zeros(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    A_bar, B_bar = discretize(A, B, 0.25, method)
    assert torch.equal(A_bar, torch.eye(2, dtype=torch.float64))
    assert torch.equal(B_bar, 0.25 * B)


@pytest.mark.parametrize("method", METHODS)
def test_leading_dimensions_broadcast(method):
    generator = torch.Generator().manual_seed(1)
    A, _ = transition("legs", 5)
    B = torch.randn(3, 1, 5, dtype=torch.float64, generator=generator)
    dt = torch.rand(4, dtype=torch.float64, generator=generator) / 10 + 0.01
    A_bar, B_bar = discretize(A, B, dt, **options(method))
    assert A_bar.shape == (3, 4, 5, 5)
    assert B_bar.shape == (3, 4, 5)
    for i in range(3):
        for j in range(4):
            A_one, B_one = discretize(A, B[i, 0], float(dt[j]), **options(method))
            torch.testing.assert_close(A_bar[i, j], A_one, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(B_bar[i, j], B_one, rtol=1e-12, atol=1e-14)


def test_order_one_with_one_row_is_not_taken_for_a_batch():
    A_bar, B_bar = discretize(-torch.ones(1, 1, 1), torch.ones(1, 1), torch.ones(1))
    assert A_bar.shape == (1, 1, 1)
    assert B_bar.shape == (1, 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients(method, dtype):
    generator = torch.Generator().manual_seed(2)
    A = (transition("legs", 3)[0] + 0.1 * torch.randn(3, 3, dtype=dtype, generator=generator)).requires_grad_()
    B = torch.randn(2, 3, dtype=dtype, generator=generator).requires_grad_()
    dt = torch.tensor([0.1, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: discretize(*x, **options(method)), (A, B, dt))
    Lambda = (
        -torch.rand(2, 3, dtype=torch.float64, generator=generator) + torch.zeros((), dtype=dtype)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: discretize_diagonal(*x, **options(method)), (Lambda, B, dt))


@pytest.mark.parametrize("method", METHODS)
def test_diagonal_equals_dense(method):
    generator = torch.Generator().manual_seed(3)
    Lambda = torch.randn(4, 6, dtype=torch.complex128, generator=generator) * 10
    Lambda = torch.complex(-Lambda.real.abs(), Lambda.imag)
    B = torch.randn(4, 6, dtype=torch.complex128, generator=generator)
    dt = torch.logspace(-4, 0, 4, dtype=torch.float64)
    A_bar, B_bar = discretize_diagonal(Lambda, B, dt, **options(method))
    A_dense, B_dense = discretize(torch.diag_embed(Lambda), B, dt, **options(method))
    assert rms(A_bar, torch.diagonal(A_dense, dim1=-2, dim2=-1)) < 1e-12
    assert rms(B_bar, B_dense) < 1e-12


@pytest.mark.parametrize(("dtype", "limit"), [(torch.complex64, 1e-6), (torch.complex128, 2e-15)])
def test_held_input_is_accurate_near_zero(dtype, limit):
    """(e^z - 1) / z and its derivative, against 50 digits, where the bare quotient loses everything."""
    phases = torch.exp(1j * torch.linspace(math.pi / 2, math.pi, 5, dtype=torch.float64))
    sizes = torch.logspace(-12, 0.5, 26, dtype=torch.float64)
    Lambda = (sizes[:, None] * phases).flatten().to(dtype).requires_grad_()
    _, B_bar = discretize_diagonal(Lambda, torch.ones_like(Lambda), 1.0, "zero_order_hold")
    B_bar.real.sum().backward()
    with mpmath.workdps(50):
        z = [mpmath.mpc(value) for value in Lambda.detach().to(torch.complex128).tolist()]
        value = torch.tensor([complex(mpmath.expm1(a) / a) for a in z], dtype=torch.complex128)
        slope = torch.tensor([complex((a * mpmath.exp(a) - mpmath.expm1(a)) / a**2) for a in z], dtype=torch.complex128)
    assert ((B_bar.detach() - value).abs() / value.abs()).max() < limit
    assert ((Lambda.grad.conj() - slope).abs() / slope.abs()).max() < 4 * limit


@pytest.mark.parametrize("value", [0.0, -1e4, -1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_no_nan_at_extreme_eigenvalues(value, dtype):
    Lambda = torch.full((2,), value, dtype=dtype, requires_grad=True)
    dt = torch.tensor(0.5, requires_grad=True)
    A_bar, B_bar = discretize_diagonal(Lambda, torch.ones(2, dtype=dtype), dt, "zero_order_hold")
    (A_bar.abs().sum() + B_bar.abs().sum()).backward()
    assert torch.isfinite(torch.view_as_real(Lambda.grad) if dtype.is_complex else Lambda.grad).all()
    assert torch.isfinite(dt.grad)
    if value == 0:
        torch.testing.assert_close(B_bar.detach(), torch.full((2,), 0.5, dtype=dtype), rtol=0, atol=0)


@pytest.mark.parametrize("measure", MEASURES, ids=str)
@pytest.mark.parametrize("method", ["backward_euler", "bilinear", "zero_order_hold"])
def test_single_precision(measure, method):
    """Also where a step leaps over the whole memory, which float32 squarings of an exponential do not survive."""
    A, B = transition(measure, 64)
    for dt in (1e-3, 1e-1, 10.0):
        singles = discretize(A.float(), B.float(), dt, method)
        for single, double in zip(singles, discretize(A, B, dt, method), strict=True):
            assert (single - double).norm() < 1e-5 * double.norm() + 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_traces_whole(method):
    """torch.compile takes both functions in one graph; a layer that calls them in its forward depends on it."""
    torch._dynamo.reset()  # its limit on recompilations counts the other methods of this test
    A, B = transition("legs", 4, torch.float32)
    Lambda = torch.complex(-torch.ones(4), torch.arange(4.0))
    for function, system in [(discretize, A), (discretize_diagonal, Lambda)]:

        def call(dt, function=function, system=system):
            return function(system, B, dt, **options(method))

        dt = torch.tensor([0.1, 0.2])
        compiled = torch.compile(call, backend="eager", fullgraph=True)
        for value, expected in zip(compiled(dt), call(dt), strict=True):
            torch.testing.assert_close(value, expected)


def test_a_number_or_scalar_step_keeps_the_precision_of_the_system():
    A, B = transition("legs", 4, torch.float32)
    for dt in (0.1, 1, torch.tensor(0.1, dtype=torch.float64)):
        assert discretize(A, B, dt)[0].dtype == torch.float32
    assert discretize_diagonal(torch.zeros(3, dtype=torch.complex64), torch.ones(3), 0.1)[1].dtype == torch.complex64


def test_refusals():
    A, B = transition("legs", 4)
    with pytest.raises(ValueError, match=r"`method` must be one of .* got 'bilinar'; did you mean bilinear"):
        discretize(A, B, 0.1, "bilinar")
    with pytest.raises(ValueError, match=r"`alpha` is for the method generalized_bilinear, got 0.7 with bilinear"):
        discretize(A, B, 0.1, "bilinear", 0.7)
    with pytest.raises(ValueError, match=r"`alpha` must lie between 0 and 1, got 1.5"):
        discretize(A, B, 0.1, "generalized_bilinear", 1.5)
    with pytest.raises(ValueError, match=r"`A` must have shape \(..., N, N\), got \(4, 3\)"):
        discretize(A[:, :3], B, 0.1)
    with pytest.raises(ValueError, match=r"`B` must have shape \(..., N\) with N = 4, got \(3,\)"):
        discretize(A, B[:3], 0.1)
    with pytest.raises(ValueError, match=r"`dt` must be a finite number above 0, got -0.1"):
        discretize(A, B, -0.1)
    with pytest.raises(ValueError, match=r"`dt` must be real floating point, got dtype torch.int64"):
        discretize(A, B, torch.tensor(1))
    with pytest.raises(ValueError, match=r"must broadcast together, got A \(\), B \(2,\), dt \(3,\)"):
        discretize(A, B.expand(2, 4), torch.ones(3))
    with pytest.raises(ValueError, match=r"`A` and `B` must be floating point or complex, got torch.int64"):
        discretize(A.long(), B.long(), 0.1)
    with pytest.raises(ValueError, match=r"`Lambda` must have shape \(..., N\), got \(\)"):
        discretize_diagonal(torch.zeros(()), B, 0.1)
