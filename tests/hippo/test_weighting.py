"""The measure's weight: mass 1, nothing where there is no past, and the basis is orthonormal under it."""

import math

import pytest
import torch

from seqkit.hippo import MEASURES, Fourier, HiPPOMemory, LagT, LegS, LegT, density, evaluate_basis
from seqkit.hippo.recalling import weight_at


def nodes(stop, count=400):
    """Gauss-Legendre nodes and weights on (0, stop)."""
    import numpy as np

    z, w = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((z + 1) * stop / 2), torch.from_numpy(w * stop / 2)


REACH = {LegS(): 60.0, LegT(2.5): 2.5, Fourier(0.5): 0.5, LagT(): 60.0, LagT(0.0, 1.0): 60.0, LagT(0.5): 60.0}


@pytest.mark.parametrize("measure", REACH, ids=repr)
def test_mass_is_one(measure):
    tau, w = nodes(REACH[measure])
    tolerance = 1e-4 if getattr(measure, "alpha", 0) else 1e-12  # a root at lag 0 is hard on the quadrature
    assert float(density(measure, tau) @ w) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("measure", [LegS(), LegT(2.5), Fourier(0.5), LagT(0.0, 1.0)], ids=repr)
def test_the_basis_is_orthonormal_under_it(measure):
    tau, w = nodes(REACH[measure])
    kept = [0, *range(2, 6)] if isinstance(measure, Fourier) else list(range(6))  # its sine of frequency 0 is 0
    g = evaluate_basis(measure, 6, tau)[:, kept]
    gram = g.mT @ (g * (density(measure, tau) * w)[:, None])
    assert torch.allclose(gram, torch.eye(len(kept), dtype=torch.float64), atol=1e-10)


def test_legs_in_true_time_is_the_time_invariant_weight_in_log_time():
    times = torch.linspace(0.1, 3.9, 50, dtype=torch.float64)
    # x = t exp(-τ), so a weight w(τ) per τ is w(τ) / x per x.
    assert torch.allclose(density("legs", torch.log(4.0 / times)) / times, density("legs", 4.0 - times, elapsed=4.0))


@pytest.mark.parametrize("name", MEASURES)
def test_there_is_no_weight_on_the_future_and_before_the_start(name):
    legs = name == "legs"
    values = density(name, torch.tensor([-1.0, -1e-6, 0.5]), elapsed=1.0 if legs else None)
    assert values[:2].tolist() == [0, 0]
    assert values[2] > 0
    if legs:
        assert density(name, torch.tensor([1.5]), elapsed=1.0).tolist() == [0]


def test_a_window_stretches_the_weight_of_lagt():
    times = torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64)
    found = weight_at(HiPPOMemory(4, "lagt", window=2.0), times, 4.0)
    assert found.tolist() == pytest.approx([math.exp(-0.5) / 2, 0.5, 0])


def test_elapsed_is_for_legs_alone():
    with pytest.raises(ValueError, match="`elapsed` is for the measure legs alone"):
        density("legt", torch.zeros(1), elapsed=1.0)
    with pytest.raises(ValueError, match="`elapsed` must be a finite number above 0"):
        density("legs", torch.zeros(1), elapsed=0.0)
