"""The transition matrices against the projections that define them, computed by quadrature."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

from seqkit.hippo import Fourier, LagT, LegS, LegT, as_measure, transition


def rms(value, reference):
    value, reference = np.asarray(value), np.asarray(reference)
    return np.sqrt(np.mean(np.abs(value - reference) ** 2)) / np.sqrt(np.mean(np.abs(reference) ** 2))


def signal(x):
    return np.sin(1.3 * x) + 0.4 * np.cos(3.1 * x + 0.3)


def gauss(low, high, pieces=1, points=80):
    """Nodes and weights of a composite Gauss-Legendre rule."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    width = (high - low) / pieces
    starts = low + width * np.arange(pieces)[:, None]
    return (starts + width * (nodes + 1) / 2).ravel(), np.tile(weights * width / 2, pieces)


def derivative(projection, t, h=1e-3):
    """Central difference of fourth order."""
    c = [projection(t + k * h) for k in (-2, -1, 1, 2)]
    return (c[0] - 8 * c[1] + 8 * c[2] - c[3]) / (12 * h)


def residual(measure, order, projection, t, speed=1.0):
    """How far x' is from speed (A x + B u), relative to x'."""
    A, B = (m.numpy() for m in transition(measure, order))
    return rms(speed * (A @ projection(t) + B * signal(t)), derivative(projection, t))


def test_legs_is_the_projection_on_the_whole_past():
    order, n = 12, np.arange(12)

    def projection(t):
        x, w = gauss(0, t)
        basis = np.sqrt(2 * n + 1) * scipy.special.eval_legendre(n, 2 * x[:, None] / t - 1)
        return (w * signal(x)) @ basis / t

    assert residual("legs", order, projection, 2.7, speed=1 / 2.7) < 1e-9


@pytest.mark.parametrize("window", [1.0, 2.5])
@pytest.mark.parametrize("normalization", ["orthonormal", "lmu"])
def test_legt_is_the_projection_on_a_sliding_window(window, normalization):
    order, n = 24, np.arange(24)
    scale = np.sqrt(2 * n + 1) if normalization == "orthonormal" else (-1.0) ** n * (2 * n + 1)

    def projection(t):
        x, w = gauss(t - window, t)
        return (w * signal(x)) @ (scale * scipy.special.eval_legendre(n, 2 * (x[:, None] - t) / window + 1)) / window

    assert residual(LegT(window, normalization), order, projection, 2.7) < 1e-8


@pytest.mark.parametrize(("alpha", "beta"), [(0, 1), (0, 0.5), (0, 0.01), (0.3, 0.5), (-0.4, 1), (0, 0)])
def test_lagt_is_the_tilted_projection(alpha, beta):
    order, n = 6, np.arange(6)
    lags, w = gauss(0, 160, pieces=40, points=40)
    norms = np.sqrt(scipy.special.gamma(n + alpha + 1) / scipy.special.factorial(n))
    polynomials = scipy.special.eval_genlaguerre(n, alpha, lags[:, None]) / norms
    # c_n = ζ^(-1/2) ∫ f p_n w / χ with w = τ^α e^-τ and χ = τ^α e^(-(1 - β) τ/2); the powers of τ cancel.
    weight_over_tilt = np.exp(-lags + (1 - beta) * lags / 2)
    mass = 1.0 if beta == 0 else scipy.special.gamma(1 - alpha) * beta ** (alpha - 1)

    def projection(t):
        return (w * signal(t - lags) * weight_over_tilt) @ polynomials / np.sqrt(mass)

    assert residual(LagT(alpha, beta), order, projection, 2.7) < 1e-8


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.5), (-0.4, 1)])
def test_lagt_mass_is_the_integral_of_its_tilted_weight(alpha, beta):
    # w / χ² = τ^-α e^(-β τ), whose power of τ is the quadrature's own weight near 0.
    near, _ = scipy.integrate.quad(lambda lag: np.exp(-beta * lag), 0, 1, weight="alg", wvar=(-alpha, 0))
    far, _ = scipy.integrate.quad(lambda lag: lag**-alpha * np.exp(-beta * lag), 1, np.inf)
    assert LagT(alpha, beta).mass == pytest.approx(near + far, rel=1e-8)


@pytest.mark.parametrize("window", [1.0, 2.5])
def test_fourier_is_the_projection_on_a_sliding_window(window):
    """The leaving sample is replaced by 2 b·c - u; with the true one put back the derivative is exact."""
    order, t = 16, 2.7
    lags, w = gauss(0, window)
    edge = np.array([1.0, 0.0] + [math.sqrt(2), 0.0] * (order // 2 - 1))

    def projection(time):
        j = np.arange(1, order // 2)
        angle = 2 * np.pi * j * lags[:, None] / window
        basis = np.zeros((len(lags), order))
        basis[:, 0], basis[:, 2::2], basis[:, 3::2] = 1, math.sqrt(2) * np.cos(angle), math.sqrt(2) * np.sin(angle)
        return (w * signal(time - lags)) @ basis / window

    A, B = (m.numpy() for m in transition(Fourier(window), order))
    c = projection(t)
    leaving_error = signal(t) + signal(t - window) - 2 * edge @ c
    assert rms(A @ c + B * signal(t) - edge * leaving_error / window, derivative(projection, t)) < 1e-8


def test_fourier_reads_the_leaving_sample_better_with_order():
    lags, w = gauss(0, 1, pieces=4)
    errors = []
    for order in (16, 64):
        j = np.arange(1, order // 2)
        basis = np.sqrt(2) * np.cos(2 * np.pi * j * lags[:, None])
        series = (w * signal(2.7 - lags)).sum() + np.sqrt(2) * ((w * signal(2.7 - lags)) @ basis).sum()
        errors.append(abs(signal(2.7) + signal(1.7) - 2 * series))
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("order", [1, 2, 5, 64, 256])
def test_symmetric_parts(order):
    identity = np.eye(order)
    A, B = (m.numpy() for m in transition("legs", order))
    assert rms(A + A.T, -(identity + np.outer(B, B))) < 1e-12
    A, B = (m.numpy() for m in transition("legt", order))
    g = (-1.0) ** np.arange(order) * np.sqrt(2 * np.arange(order) + 1)
    assert rms(A + A.T, -(np.outer(B, B) + np.outer(g, g))) < 1e-12
    A, B = (m.numpy() for m in transition("lagt", order))
    assert rms(A + A.T, -np.ones((order, order))) < 1e-12
    A, _ = (m.numpy() for m in transition(LagT(beta=0.3), order))
    assert rms(A + A.T, -(np.ones((order, order)) + 0.3 * identity)) < 1e-12
    if order % 2 == 0:
        A, B = (m.numpy() for m in transition("fourier", order))
        assert rms(A + A.T, -np.outer(B, B)) < 1e-12


def test_symmetric_part_of_the_lmu_scaling_is_not_dissipative():
    A, _ = transition("legt", 16, normalization="lmu")
    assert torch.linalg.eigvalsh(A + A.mT).max() > 1


def test_legs_eigenvalues_and_first_column():
    A, B = transition("legs", 64)
    assert torch.equal(torch.triu(A, 1), torch.zeros_like(A))
    assert torch.equal(torch.diagonal(A), -torch.arange(1, 65, dtype=torch.float64))
    assert torch.equal(A[:, 1], torch.cat([torch.zeros(1), -math.sqrt(3) * B[1:]]).index_fill(0, torch.tensor(1), -2.0))
    torch.testing.assert_close(A[:, 0], -B, rtol=1e-15, atol=0)


def test_lmu_is_a_similarity_of_legt_and_the_published_matrix():
    order = 32
    A, B = (m.numpy() for m in transition("legt", order))
    A_lmu, B_lmu = (m.numpy() for m in transition("legt", order, normalization="lmu"))
    n = np.arange(order)
    scale = (-1.0) ** n * np.sqrt(2 * n + 1)
    assert rms(A_lmu, scale[:, None] * A / scale) < 1e-12
    # Voelker 2019: a_ij = (2i + 1) (-1 if i < j else (-1)^(i - j + 1)), b_i = (2i + 1) (-1)^i.
    i, j = n[:, None], n[None]
    assert rms(A_lmu, (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))) < 1e-12
    assert rms(B_lmu, (2 * n + 1) * (-1.0) ** n) < 1e-12
    assert rms(scale * B, B_lmu) < 1e-12


def test_lagt_default_is_the_limit_of_small_beta():
    A, B = transition("lagt", 12)
    ones = torch.ones(12, 12, dtype=torch.float64)
    torch.testing.assert_close(A, -(torch.tril(ones) - torch.eye(12) / 2), rtol=0, atol=0)
    torch.testing.assert_close(B, torch.ones(12, dtype=torch.float64), rtol=0, atol=0)
    A_small, B_small = transition(LagT(beta=1e-12), 12)
    torch.testing.assert_close(A_small, A, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(B_small / 1e-6, B, rtol=1e-11, atol=0)


@pytest.mark.parametrize(("measure", "nests"), [("legs", True), ("lagt", True), ("legt", False), ("fourier", False)])
def test_nesting(measure, nests):
    """Lower coefficients of a triangular system do not depend on the order; those of a window do."""

    def response(order):
        A, B = transition(measure, order)
        return torch.linalg.matrix_exp(0.7 * A) @ B

    same = rms(response(20)[:8], response(8))
    assert same < 1e-12 if nests else same > 1e-3


@pytest.mark.parametrize("window", [0.5, 4.0])
def test_window_is_a_scale_of_time(window):
    for kind in (LegT, Fourier):
        A, B = transition(kind(window), 8)
        A_unit, B_unit = transition(kind(), 8)
        torch.testing.assert_close(window * A, A_unit, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(window * B, B_unit, rtol=1e-14, atol=1e-14)


def test_dtype_rounds_the_double_result():
    A, B = transition("legs", 9, torch.float32)
    assert A.dtype == B.dtype == torch.float32
    assert torch.equal(A, transition("legs", 9)[0].float())


def test_refusals():
    with pytest.raises(
        ValueError, match=r"`measure` must be one of legs, legt, lagt, fourier, got 'leggs'; did you mean"
    ):
        transition("leggs", 4)
    with pytest.raises(TypeError, match="or a Measure, got 3"):
        as_measure(3)
    with pytest.raises(ValueError, match="`normalization of legs` must be one of orthonormal, got 'lmu'"):
        transition("legs", 4, normalization="lmu")
    with pytest.raises(ValueError, match="`normalization` must be one of orthonormal, lmu"):
        LegT(normalization="monic")
    with pytest.raises(ValueError, match="`order` must be a whole number of at least 1, got 0"):
        transition("legs", 0)
    with pytest.raises(ValueError, match=r"`order` must be at most 16384, got 100000; the matrix .* takes over 2 GiB"):
        transition("legs", 100_000)
    with pytest.raises(ValueError, match=r"`order` must be even for the measure fourier.*got 5"):
        transition("fourier", 5)
    with pytest.raises(ValueError, match="`window` must be a finite number above 0"):
        LegT(window=0.0)
    with pytest.raises(ValueError, match="`alpha` must lie between -1 and 1"):
        LagT(alpha=1.0)
    with pytest.raises(ValueError, match="`beta` must be a finite number of at least 0"):
        LagT(beta=-0.1)
    with pytest.raises(ValueError, match=r"`dtype` must be a real floating type, got torch.complex64"):
        transition("legs", 4, torch.complex64)
    assert transition(LegS(), 3, normalization="orthonormal")[0].shape == (3, 3)
