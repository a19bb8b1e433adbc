"""Long series: what the paper approximates, gradients that do not vanish, and rounding over millions of steps."""

import numpy as np
import pytest
import torch

from seqkit.hippo import HiPPOMemory


def band_limited_noise(draws, length, seconds, band, rms):
    """White noise of given rms in [0, band] Hz, (draws, L), by the inverse Fourier transform of random coefficients."""
    spectrum = torch.zeros(draws, length // 2 + 1, dtype=torch.complex128)
    count = int(band * seconds)
    generator = torch.Generator().manual_seed(0)
    spectrum[:, 1 : count + 1] = torch.randn(draws, count, dtype=torch.complex128, generator=generator)
    noise = torch.fft.irfft(spectrum, n=length)
    return noise * rms / noise.square().mean(dim=1, keepdim=True).sqrt()


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["midpoint", "reciprocal", "exact"])
def test_million_samples_are_approximated_as_well_as_polynomials_can(rule):
    """100 s of noise of 1 Hz in 256 coefficients: of its power of 0.25 the best polynomial leaves 0.015 to 0.020.

    That is the mean over draws; single ones leave 0.01 to 0.03, which depends on how much lies in the highest tenth of
    the band.
    """
    pytest.importorskip("numba")
    length = 1_000_000
    u = band_limited_noise(12, length, 100.0, 1.0, 0.5).unsqueeze(-1)
    memory = HiPPOMemory(256, rule=rule)
    c, state = memory.scan(u, memory.initial_state(12, 1, dtype=u.dtype), rate=1e-4)
    middles = (torch.arange(length, dtype=torch.float64) + 0.5) * 1e-4
    errors = (memory.reconstruct(c, middles, elapsed=100.0) - u).square().mean(dim=(1, 2))
    assert 0.015 <= float(errors.mean()) <= 0.020
    torch.testing.assert_close(state.elapsed, torch.full((12,), 100.0).double())
    # No polynomial of this degree does better: fitted by least squares to every hundredth sample.
    basis = np.polynomial.legendre.legvander(2 * middles[50::100].numpy() / 100 - 1, 255)
    sparse = u[:, 50::100, 0].numpy()
    left = sparse.T - basis @ np.linalg.lstsq(basis, sparse.T, rcond=None)[0]
    np.testing.assert_allclose(errors, (left**2).mean(axis=0), rtol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["midpoint", "reciprocal", "exact"])
def test_no_drift_in_ten_million_steps(rule):
    """float64 ends at the projection; float32 is off by what the rounding of steps of 10^-7 adds up to."""
    pytest.importorskip("numba")
    length = 10_000_000
    wave = torch.sin(9 * torch.arange(length, dtype=torch.float64) / length)
    u = (wave + torch.randn(length)).float()[None, :, None]
    memory = HiPPOMemory(8, rule=rule)
    double = memory.project(u.double())
    want = HiPPOMemory(8, rule="exact").project(u.double())
    assert (double - want).norm() < (1e-5 if rule == "reciprocal" else 1e-9) * want.norm()
    early, late = memory.project(u, at=[length // 100, length]).unbind(1)
    assert (late - double).norm() < (2e-7 if rule == "exact" else 3e-4) * double.norm()
    assert (early - memory.project(u[:, : length // 100].double())).norm() < 1e-4 * early.norm()


@pytest.mark.parametrize("rule", ["midpoint", "reciprocal", "exact"])
def test_gradients_stay_bounded_over_ten_thousand_steps(rule):
    """|dc/du_j| is about the sample's share of time, wherever it lies: it neither vanishes nor explodes."""
    length, order = 10_000, 16
    memory = HiPPOMemory(order, rule=rule)
    u = torch.randn(1, length, 1, dtype=torch.float64, requires_grad=True)
    c = memory.project(u)[0, 0]
    rows = torch.stack([torch.autograd.grad(c[n], u, retain_graph=True)[0][0, :, 0] for n in range(order)])
    influence = length * rows.norm(dim=0)
    inside = influence[length // 10 : -length // 10]
    assert float(inside.min()) > 1
    assert float(inside.max()) < order
    # At the ends polynomials reach further: sqrt(sum of 2n + 1) = order.
    assert float(influence.max()) < 2 * order


@pytest.mark.parametrize("measure", ["legt", "lagt", "fourier"])
def test_gradients_of_windows_stay_bounded(measure):
    memory = HiPPOMemory(16, measure, window=100.0)
    u = torch.randn(1, 10_000, 1, dtype=torch.float64, requires_grad=True)
    c = memory.project(u, every=100)
    (grad,) = torch.autograd.grad(c.square().sum(), u)
    assert bool(grad.isfinite().all())
    assert float(c.detach().square().sum(-1).max()) < 32 * float(u.detach().square().max())
    (early,) = torch.autograd.grad(memory.project(u).sum(), u)
    assert float(early[:, :1000].abs().max()) < 1e-3 * float(early.abs().max())


def test_even_coefficients_of_noise_have_their_share_of_energy():
    """Held white noise of variance 1 on [0, 1]: each coefficient has variance 1 / L under the exact rule."""
    u = torch.randn(400, 500, 1, dtype=torch.float64)
    c = HiPPOMemory(8, rule="exact").project(u)[:, 0]
    np.testing.assert_allclose(500 * c.square().mean(0), 1.0, atol=0.35)
