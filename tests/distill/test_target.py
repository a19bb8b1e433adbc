"""Targets: limits, orthogonality, what the correction costs, and its closed forms against searches."""

import itertools
import math

import numpy as np
import pytest
import torch

from seqkit.distill import CorrectedTarget
from seqkit.distill.links import get_link, link_names

LINKS = link_names()


def probabilities(n=50, k=3, seed=0):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(k), size=n)
    y = np.eye(k)[random.integers(k, size=n)]
    return p, y


@pytest.mark.parametrize("link", LINKS)
def test_without_correction_the_target_is_the_teacher_to_the_last_bit(link):
    p, y = probabilities()
    clipped = get_link(link).clipped(torch.from_numpy(p), 1e-3)
    for target in (CorrectedTarget(link), CorrectedTarget(link, "fast", c=0.0), CorrectedTarget(link, "slow", c=0.0)):
        assert np.array_equal(target(p, y), get_link(link).value(clipped).numpy())
        assert not target.corrects


def test_gamma_one_on_the_identity_link_is_the_label_to_the_last_bit():
    p, y = probabilities()
    values = np.random.default_rng(1).normal(size=p.shape)
    for target in (CorrectedTarget(gamma="orthogonal"), CorrectedTarget(gamma="fast", c=math.inf)):
        assert np.array_equal(target(p, y), y)
        assert np.array_equal(target(p, values, np.ones_like(p)), values)


@pytest.mark.parametrize("link", LINKS)
def test_slope_is_the_derivative_and_inverse_the_inverse(link):
    p = torch.linspace(0.05, 0.9, 12, dtype=torch.float64, requires_grad=True)
    h = get_link(link)
    (grad,) = torch.autograd.grad(h.value(p).sum(), p)
    assert torch.allclose(h.slope(p), grad, rtol=1e-12)
    assert torch.allclose(h.inverse(h.value(p)), p, rtol=1e-12)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("gamma", ["fast", "slow", "orthogonal"])
def test_the_correction_is_a_shift_of_the_squared_errors_target(link, gamma):
    p, y = (torch.from_numpy(one) for one in probabilities())
    target = CorrectedTarget(link, gamma, c=0.3)
    weight = target.weight(p)
    h = get_link(link)
    teacher = h.clipped(p, target.clip)
    f = torch.randn(p.shape, dtype=torch.float64, requires_grad=True)
    loss = 0.5 * (f - h.value(teacher)).square() - weight * (y - teacher) * f
    (grad,) = torch.autograd.grad(loss.sum(), f)
    assert float((grad - (f.detach() - target(p, y))).abs().max()) < 1e-12 * float(weight.max().clamp(min=1))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("gamma", "power"), [("fast", 2), ("slow", 4)])
def test_closed_forms_minimise_what_they_say(link, gamma, power):
    p = np.array([[0.03], [0.2], [0.5], [0.85]])
    h = get_link(link)
    slope, v = h.slope(torch.from_numpy(p)).numpy(), p * (1 - p)
    share = np.linspace(0, 1, 20001)
    for c in (0.01, 0.3, 5.0):
        tried = share * slope
        best = tried[np.arange(4), (tried**2 * v + c * (tried - slope) ** power).argmin(axis=1)]
        found = CorrectedTarget(link, gamma, c=c).weight(p)[:, 0]
        assert np.allclose(found, best, atol=1e-3 * slope[:, 0].max())


@pytest.mark.parametrize("gamma", ["fast", "slow"])
def test_gamma_grows_with_c_from_none_to_orthogonal(gamma):
    p, _ = probabilities()
    weights = [CorrectedTarget("log", gamma, c=c).weight(p) for c in (0, 1e-30, 0.01, 0.1, 1, 10, 1e12, math.inf)]
    for less, more in itertools.pairwise(weights):
        assert (more >= less).all()
    slope = 1 / p.clip(1e-3)
    assert np.allclose(weights[1], 0, atol=1e-2)
    assert np.allclose(weights[-2], slope, rtol=1e-3)
    assert np.array_equal(weights[-1], slope)


def shift(proxy, p, c):
    """Mean over the label of the log target of a perfect teacher, less log p."""
    target = CorrectedTarget("log", "fast", c=c, proxy=proxy)
    at = np.array([[p]])
    one, zero = target(at, np.ones((1, 1))), target(at, np.zeros((1, 1)))
    return float(p * one[0, 0] + (1 - p) * zero[0, 0] - np.log(p))


def test_the_predictable_proxy_moves_a_perfect_teacher_nowhere_and_the_residual_one_does():
    for p in (0.05, 0.5, 0.8):
        assert abs(shift("predictable", p, 0.1)) < 1e-14
    assert shift("residual", 0.05, 0.1) == pytest.approx(-0.83, abs=0.01)
    assert shift("residual", 0.05, 1.0) == pytest.approx(-0.45, abs=0.01)
    assert shift("residual", 0.8, 0.1) == pytest.approx(0.12, abs=0.01)


@pytest.mark.parametrize(
    ("link", "second"), [("log", lambda p: -1 / p**2), ("logit", lambda p: (2 * p - 1) / (p * (1 - p)) ** 2)]
)
def test_what_is_left_after_orthogonal_correction_is_half_the_second_derivative(link, second):
    target, h = CorrectedTarget(link, "orthogonal"), get_link(link)
    for p0 in (0.1, 0.3, 0.7):
        for delta in (-0.004, 0.004, 0.001):
            p = p0 * (1 + delta)
            at = np.array([[p]])
            mean = p0 * target(at, np.ones((1, 1))) + (1 - p0) * target(at, np.zeros((1, 1)))
            left = float(mean[0, 0] - h.value(torch.tensor(p0, dtype=torch.float64)))
            told = -0.5 * second(p0) * (p - p0) ** 2
            assert left == pytest.approx(told, rel=0.03)
            if link == "log":
                assert left >= 0
                assert left == pytest.approx(delta**2 / 2, rel=0.01)
            else:
                assert np.sign(left) == np.sign(0.5 - p0)


def test_one_gamma_a_sample_keeps_probabilities_and_one_a_class_does_not():
    p, y = probabilities(400, 4)
    for c in (0.01, 0.2, 3.0):
        t = CorrectedTarget(gamma="scalar", c=c)(p, y)
        assert t.min() >= 0
        assert np.abs(t.sum(axis=1) - 1).max() < 1e-6
    t = CorrectedTarget(gamma="fast", c=0.2)(p, y)
    assert np.abs(t.sum(axis=1) - 1).max() > 0.3


def test_of_two_classes_both_forms_are_one():
    p, y = probabilities(100, 2)
    assert np.allclose(CorrectedTarget(gamma="scalar", c=0.2)(p, y), CorrectedTarget(gamma="fast", c=0.2)(p, y))


def test_clipping_bounds_targets():
    p, y = np.array([[0.0, 1.0], [1e-9, 1 - 1e-9]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    for clip in (1e-3, 1e-2):
        target = CorrectedTarget("log", "orthogonal", clip=clip)
        assert np.abs(target(p, y)).max() <= abs(math.log(clip)) + 1 / clip + 1e-9


def test_relabelling_classes_permutes_targets_only():
    p, y = probabilities()
    order = np.array([2, 0, 1])
    for gamma in ("scalar", "fast", "slow"):
        target = CorrectedTarget(gamma=gamma, c=0.2)
        assert np.allclose(target(p, y)[:, order], target(p[:, order], y[:, order]), atol=1e-15)


def test_tensors_give_tensors_and_arrays_arrays():
    p, y = probabilities()
    target = CorrectedTarget("logit", "fast", c=0.1)
    out = target(torch.from_numpy(p), torch.from_numpy(y))
    assert isinstance(out, torch.Tensor)
    assert np.array_equal(out.numpy(), target(p, y))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"link": "probit"}, "`link` must be one of identity, log, logit"),
        ({"gamma": "quick"}, "`gamma` must be one of"),
        ({"proxy": "none"}, "`proxy` must be one of"),
        ({"c": -1.0}, "`c` must be a number, 0 or above"),
        ({"c": math.nan}, "`c` must be a number, 0 or above"),
        ({"clip": 0.5}, "`clip` must be below 0.5"),
    ],
)
def test_what_makes_no_target_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        CorrectedTarget(**change)


def test_values_that_are_no_probabilities_are_refused():
    wide, y = np.array([[2.0]]), np.array([[1.0]])
    with pytest.raises(ValueError, match="`p` must lie within 0 and 1 for the log link"):
        CorrectedTarget("log")(wide, y)
    with pytest.raises(ValueError, match="`v` must be given where `p` are no probabilities"):
        CorrectedTarget(gamma="fast")(wide, y)
    with pytest.raises(ValueError, match=r"must both have shape \(n, k\)"):
        CorrectedTarget()(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="`y` must be given for the proxy 'residual'"):
        CorrectedTarget(gamma="fast", proxy="residual").weight(np.array([[0.5]]))
