"""The normal-plus-low-rank form against the matrices it came from, and the diagonal starts against published values."""

import math

import numpy as np
import pytest
import torch

from seqkit.hippo import LagT, LegT, diagonal_start, impulse_response, nplr, transition

MEASURES = ["legs", "legt", "lagt", "fourier", LagT(beta=0.3), LegT(2.0)]


def rms(value, reference):
    return float(((value - reference).abs() ** 2).mean().sqrt() / (reference.abs() ** 2).mean().sqrt())


@pytest.mark.parametrize("order", [2, 4, 16, 64, 128])
@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_reconstruction(measure, order):
    A, B = transition(measure, order)
    form = nplr(measure, order)
    W = torch.cat([form.V, form.V.conj()], dim=1)
    Lambda = torch.cat([form.Lambda, form.Lambda.conj()])
    P = torch.cat([form.P, form.P.conj()], dim=1)
    dense = W @ (torch.diag(Lambda) - P.mT @ P.conj()) @ W.mH
    assert (dense - A).abs().max() <= 1e-11
    assert (W.mH @ W - torch.eye(order)).abs().max() <= 1e-11
    assert (2 * (form.V @ form.B).real - B).abs().max() <= 1e-11


@pytest.mark.parametrize(
    ("measure", "real", "rank"), [("legs", -0.5, 1), ("legt", 0, 2), ("lagt", 0, 1), ("fourier", 0, 1)]
)
def test_shape_order_and_phase(measure, real, rank):
    form = nplr(measure, 32)
    assert form.Lambda.shape == form.B.shape == (16,)
    assert form.P.shape == (rank, 16)
    assert form.V.shape == (32, 16)
    assert torch.equal(form.Lambda.real, torch.full((16,), float(real), dtype=torch.float64))
    assert (form.Lambda.imag.diff() > 0).all()
    assert form.Lambda.imag[0] >= 0
    assert (form.B.real > 0).all()
    assert (form.B.imag == 0).all()
    torch.testing.assert_close(form.V.mH @ transition(measure, 32)[1].to(form.V.dtype), form.B, rtol=1e-12, atol=1e-12)


def test_largest_frequencies():
    """Published sizes of the spectra: they set the smallest step that still resolves a mode."""
    for measure, order, largest in [("legs", 16, 81), ("legs", 64, 1303), ("legs", 128, 5215), ("lagt", 64, 20)]:
        assert nplr(measure, order).Lambda.imag[-1] == pytest.approx(largest, abs=0.6)
    assert nplr(LegT(2.0), 64).Lambda.imag[-1] == pytest.approx(663, abs=0.6)


def test_fourier_keeps_its_zero_pair_exact():
    form = nplr("fourier", 8)
    torch.testing.assert_close(
        form.Lambda.imag, 2 * math.pi * torch.arange(4, dtype=torch.float64), rtol=1e-13, atol=0.0
    )


@pytest.mark.parametrize("measure", ["legs", "legt", "fourier"])
def test_half_state_runs_like_the_whole(measure):
    """z' = Λ z - p 2 Re(p* z) + B u, x = 2 Re(V z), stepped by forward Euler like the dense system."""
    order, dt = 8, 1e-3
    A, B = transition(measure, order)
    form = nplr(measure, order)
    x, z = torch.zeros(order, dtype=torch.float64), torch.zeros(order // 2, dtype=torch.complex128)
    for u in torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        feedback = 2 * (form.P.conj() @ z).real.to(z.dtype) @ form.P
        z = z + dt * (form.Lambda * z - feedback + form.B * u)
        x = x + dt * (A @ x + B * u)
    assert rms(2 * (form.V @ z).real, x) < 1e-12


def test_diagonal_legs_has_the_states_of_legs_on_what_it_can_reconstruct():
    """A smooth bump at lag 1 leaves the same states, ever closer with order; an impulse does not, nor does an input
    that is not halved."""
    nodes, weights = np.polynomial.legendre.leggauss(30)
    pieces, reach = 200, 4.2
    lags = torch.from_numpy((reach / pieces * (np.arange(pieces)[:, None] + (nodes + 1) / 2)).ravel())
    weights = torch.from_numpy(np.tile(weights * reach / pieces / 2, pieces))
    bump = weights * torch.exp(-((lags - 1) ** 2) / (2 * 0.35**2))
    for order, limit in [(16, 5e-3), (32, 2e-6), (64, 1e-11)]:
        legs = impulse_response("legs", order, lags)
        Lambda, B = diagonal_start("legs", order)
        diagonal = 2 * ((torch.exp(lags[:, None] * Lambda) * B) @ nplr("legs", order).V.mT).real
        assert rms(bump @ diagonal, bump @ legs) < limit
        assert rms(bump @ (2 * diagonal), bump @ legs) > 0.9
        assert rms(diagonal, legs) > 0.3


def test_diagonal_legs_is_the_dense_normal_system_with_half_the_input():
    A, B = transition("legs", 16)
    P = torch.sqrt(torch.arange(16, dtype=torch.float64) + 0.5)
    times = torch.linspace(0, 2, 9, dtype=torch.float64)
    dense = torch.linalg.matrix_exp(times[:, None, None] * (A + torch.outer(P, P))) @ (B / 2)
    Lambda, B_half = diagonal_start("legs", 16)
    V = nplr("legs", 16).V
    assert rms(2 * ((torch.exp(times[:, None] * Lambda) * B_half) @ V.mT).real, dense) < 1e-11


def test_lin_and_inv():
    order = 256
    legs, lin, inv = (diagonal_start(kind, order)[0] for kind in ("legs", "lin", "inv"))
    for Lambda in (legs, lin, inv):
        assert Lambda.shape == (128,)
        assert torch.equal(Lambda.real, torch.full((128,), -0.5, dtype=torch.float64))
        assert (Lambda.imag.diff() > 0).all()
        assert Lambda.imag[0] >= 0
    torch.testing.assert_close(lin.imag.diff(), torch.full((127,), math.pi, dtype=torch.float64))
    ratio = (inv.imag / legs.imag).flip(0)
    assert ratio[:2].tolist() == pytest.approx([0.996, 0.989], abs=1e-3)
    assert legs.imag[:3].tolist() == pytest.approx([0.21, 0.69, 1.25], abs=6e-3)
    assert inv.imag[:3].tolist() == pytest.approx([0.32, 0.97, 1.62], abs=6e-3)
    assert torch.equal(diagonal_start("lin", 8)[1], torch.ones(4, dtype=torch.complex128))


def test_the_result_is_the_same_every_time_and_in_single_precision_rounded():
    first, second = nplr("legs", 64), nplr("legs", 64)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    single = nplr("legs", 64, torch.complex64)
    assert all(torch.equal(a.to(torch.complex64), b) for a, b in zip(first, single, strict=True))


def test_refusals():
    with pytest.raises(ValueError, match="`order` must be even, because half of each conjugate pair is kept, got 7"):
        nplr("legs", 7)
    with pytest.raises(ValueError, match="`order` must be even"):
        diagonal_start("lin", 7)
    with pytest.raises(ValueError, match=r"`alpha` must be 0 for a normal-plus-low-rank form of lagt, got 0.3"):
        nplr(LagT(alpha=0.3, beta=0.1), 8)
    with pytest.raises(ValueError, match="`normalization` must be orthonormal for a normal-plus-low-rank form"):
        nplr(LegT(normalization="lmu"), 8)
    with pytest.raises(ValueError, match=r"`dtype` must be a complex type, got torch.float32"):
        nplr("legs", 8, torch.float32)
    with pytest.raises(ValueError, match="`kind` must be one of legs, lin, inv, got 'line'; did you mean"):
        diagonal_start("line", 8)
