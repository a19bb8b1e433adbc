"""Bases against scipy's polynomials, the exponential of the system, and signals that they span."""

import math

import numpy as np
import pytest
import scipy.special
import torch

from seqkit.hippo import (
    Fourier,
    LagT,
    LegS,
    LegT,
    discretize,
    evaluate_basis,
    impulse_response,
    reconstruct,
    transition,
)


def rms(value, reference):
    value, reference = torch.as_tensor(value), torch.as_tensor(reference)
    return float((value - reference).square().mean().sqrt() / reference.square().mean().sqrt())


def gauss(low, high, pieces, points=40):
    nodes, weights = np.polynomial.legendre.leggauss(points)
    width = (high - low) / pieces
    starts = low + width * np.arange(pieces)[:, None]
    return (
        torch.from_numpy((starts + width * (nodes + 1) / 2).ravel()),
        torch.from_numpy(np.tile(weights * width / 2, pieces)),
    )


@pytest.mark.parametrize("measure", ["legs", "lagt", LagT(0.3, 0.5), LagT(-0.4, 1.0)], ids=str)
def test_impulse_response_is_the_exponential_of_the_system(measure):
    A, B = transition(measure, 16)
    times = torch.linspace(0, 3, 13, dtype=torch.float64)
    exact = torch.linalg.matrix_exp(times[:, None, None] * A) @ B
    assert rms(impulse_response(measure, 16, times), exact) < 1e-12


@pytest.mark.parametrize("measure", ["legt", LegT(2.0), LegT(1.0, "lmu"), "fourier", Fourier(2.0)], ids=str)
def test_impulse_response_of_a_window_is_approached_with_order(measure):
    window = getattr(measure, "window", 1.0)
    times = window * torch.linspace(0.1, 0.9, 33, dtype=torch.float64)
    errors = []
    for order in (32, 256):
        A, B = transition(measure, order)
        exact = torch.linalg.matrix_exp(times[:, None, None] * A) @ B
        errors.append(rms(exact[:, :8], impulse_response(measure, order, times)[:, :8]))
    assert errors[1] < 0.1
    assert errors[1] < errors[0] / 2


def test_a_window_forgets_what_has_left_it():
    """|x| after an impulse at lags .5, 1, 1.05, 1.1, 1.25 of the window, relative to its start."""
    A, B = transition("legt", 64)
    lags = torch.tensor([0.5, 1, 1.05, 1.1, 1.25], dtype=torch.float64)
    left = (torch.linalg.matrix_exp(lags[:, None, None] * A) @ B).norm(dim=-1) / B.norm()
    torch.testing.assert_close(
        left, torch.tensor([0.10, 0.065, 0.008, 0.003, 5e-4], dtype=left.dtype), rtol=0.2, atol=0
    )
    assert impulse_response("legt", 4, torch.tensor([1.01])).abs().max() == 0


def test_bases_against_scipy_at_high_order():
    n, lags = np.arange(256), torch.linspace(0, 1, 41, dtype=torch.float64)
    legendre = np.sqrt(2 * n + 1) * scipy.special.eval_legendre(n, 1 - 2 * lags.numpy()[:, None])
    assert rms(evaluate_basis("legt", 256, lags), legendre) < 1e-12
    assert rms(evaluate_basis("legs", 256, 3 * lags, elapsed=3.0), legendre) < 1e-11
    assert rms(evaluate_basis(LegT(3.0), 256, 3 * lags), legendre) < 1e-12
    lags = torch.linspace(0.1, 60, 41, dtype=torch.float64)
    x = lags.numpy()[:, None]
    for alpha, beta in [(0.0, 0.0), (0.3, 0.5)]:
        n = np.arange(64)
        norms = np.sqrt(scipy.special.gamma(n + alpha + 1) / scipy.special.factorial(n))
        mass = scipy.special.gamma(1 - alpha) * beta ** (alpha - 1) if beta else 1.0
        laguerre = scipy.special.eval_genlaguerre(n, alpha, x) * x**alpha * np.exp((beta - 1) * x / 2) / norms
        assert rms(evaluate_basis(LagT(alpha, beta), 64, lags), np.sqrt(mass) * laguerre) < 1e-11


def test_laguerre_functions_survive_where_the_polynomials_overflow():
    values = evaluate_basis("lagt", 300, torch.tensor([1000.0, 4000.0], dtype=torch.float64))
    assert torch.isfinite(values).all()
    assert values[0].abs().max() > 0.01


@pytest.mark.parametrize(
    ("measure", "reach"),
    [("legs", 60), ("legt", 1), (LegT(1.0, "lmu"), 1), (LegT(2.5), 2.5), ("lagt", 200), (LagT(0.0, 0.5), 200),
     ("fourier", 1), (Fourier(2.5), 2.5)],
    ids=str,
)  # fmt: skip
def test_projecting_a_basis_function_gives_its_coefficient(measure, reach):
    """∫ k_m g_n is the identity (fourier: but for the sine of frequency 0, which is no function)."""
    order = 12
    lags, weights = gauss(0, reach, pieces=60)
    gram = impulse_response(measure, order, lags).mT @ (weights[:, None] * evaluate_basis(measure, order, lags))
    expected = torch.eye(order, dtype=torch.float64)
    if measure == "fourier" or isinstance(measure, Fourier):
        expected[1, 1] = 0
    assert rms(gram, expected) < 1e-11


def test_legs_reconstructs_a_polynomial_of_the_whole_past():
    elapsed, coefficients = 4.0, np.array([0.3, -1.0, 0.5, 0.2])
    x = torch.linspace(0, elapsed, 17, dtype=torch.float64)
    truth = np.polynomial.polynomial.polyval(x.numpy(), coefficients)
    series = np.polynomial.Polynomial(coefficients).convert(kind=np.polynomial.Legendre, domain=[0, elapsed]).coef
    state = torch.zeros(6, dtype=torch.float64)
    state[:4] = torch.from_numpy(series / np.sqrt(2 * np.arange(4) + 1))
    assert rms(reconstruct("legs", state, elapsed - x, elapsed=elapsed), truth) < 1e-12
    # The time-invariant reading is the same function of x / t = exp(-lag).
    assert rms(reconstruct(LegS(), state, -torch.log(x[1:] / elapsed)), truth[1:]) < 1e-12


@pytest.mark.parametrize("measure", ["legs", "legt"])
def test_the_newest_value_is_read_by_the_input_vector(measure):
    state = torch.randn(3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    newest = reconstruct(measure, state, torch.zeros(1, dtype=torch.float64))[:, 0]
    assert rms(newest, state @ transition(measure, 32)[1]) < 1e-12


def test_lmu_reads_with_shifted_legendre_polynomials():
    """u(t - θ + θ v) = Σ c_n P_n(1 - 2v)."""
    state = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = np.linspace(0, 1, 11)
    expected = scipy.special.eval_legendre(np.arange(9), 1 - 2 * v[:, None]) @ state.numpy()
    lags = 2 * (1 - torch.from_numpy(v))
    assert rms(reconstruct(LegT(2.0, "lmu"), state, lags), expected) < 1e-12


def test_a_running_window_memory_is_read_back():
    """A sine through fine bilinear steps comes back from the state of order 16."""
    steps = 2000
    A_bar, B_bar = discretize(*transition("legt", 16), 1 / steps)
    x = torch.zeros(16, dtype=torch.float64)
    for k in range(2 * steps):
        x = A_bar @ x + B_bar * math.sin(5 * (k + 0.5) / steps)
    lags = torch.linspace(0, 1, 21, dtype=torch.float64)
    assert rms(reconstruct("legt", x, lags), torch.sin(5 * (2 - lags))) < 1e-4


def test_refusals():
    lags = torch.tensor([0.5])
    with pytest.raises(ValueError, match="`lags` must be at least 0"):
        evaluate_basis("legs", 4, -lags)
    with pytest.raises(ValueError, match="got a negative or NaN lag"):
        impulse_response("legs", 4, lags * math.nan)
    with pytest.raises(ValueError, match=r"`elapsed` is for the measure legs alone, got 2.0 with legt"):
        evaluate_basis("legt", 4, lags, elapsed=2.0)
    with pytest.raises(ValueError, match=r"`lags` must not exceed `window` = 1, got 1.5"):
        evaluate_basis("legt", 4, 3 * lags)
    with pytest.raises(ValueError, match=r"`lags` must not exceed `elapsed` = 0.25, got 0.5"):
        evaluate_basis("legs", 4, lags, elapsed=0.25)
    with pytest.raises(ValueError, match=r"`lags` must be real floating point, got dtype torch.int64"):
        evaluate_basis("legs", 4, torch.arange(3))
    with pytest.raises(ValueError, match=r"`lags` must have shape \(L,\), got \(1, 1\)"):
        reconstruct("legs", torch.zeros(4), lags[None])
    with pytest.raises(ValueError, match="`coefficients` must be real floating point"):
        reconstruct("legs", torch.zeros(4, dtype=torch.complex64), lags)
    with pytest.raises(ValueError, match="`order` must be even for the measure fourier"):
        evaluate_basis("fourier", 3, lags)
