"""Losses: closed forms against automatic differentiation, orders of orthogonality, and what sizes do not change."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seqkit.distill import annealed, annealed_correction, brier, soft_cross_entropy, squared_error


def draw(n=20, k=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    f = torch.randn(n, k, generator=random, dtype=torch.float64)
    p = torch.rand(n, k, generator=random, dtype=torch.float64) + 0.05
    y = F.one_hot(torch.randint(k, (n,), generator=random), k).double()
    return f, p / p.sum(1, keepdim=True), y


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_the_correction_is_the_derivative_by_the_teacher_times_its_error(temperature):
    f, p, y = draw()
    p.requires_grad_()
    (slope,) = torch.autograd.grad(soft_cross_entropy(f, p, temperature=temperature), p)
    p = p.detach()
    wanted = (slope * (y - p)).sum()
    found = annealed_correction(f, p, y, temperature=temperature)
    assert abs(float(found - wanted)) < 1e-10 * max(1.0, abs(float(wanted)))


def test_a_weight_scales_the_correction_of_each_sample():
    f, p, y = draw()
    weight = torch.rand(20, 1, dtype=torch.float64)
    each = [annealed_correction(f[i : i + 1], p[i : i + 1], y[i : i + 1], temperature=2.0) for i in range(20)]
    found = annealed_correction(f, p, y, temperature=2.0, weight=weight)
    assert torch.allclose(found, (torch.stack(each) * weight[:, 0]).mean())


def test_at_temperature_one_the_corrected_loss_is_the_label_loss_whatever_the_teacher():
    f, p, y = draw()
    f.requires_grad_()
    (label,) = torch.autograd.grad(F.cross_entropy(f, y), f)
    for teacher in (p, F.one_hot(p.argmin(1), 4).double(), p.flip(1)):
        (mine,) = torch.autograd.grad(soft_cross_entropy(f, teacher) + annealed_correction(f, teacher, y), f)
        assert float((mine - label).abs().max()) < 1e-15


def gradient(f, p, p0, temperature, corrected):
    """Population gradient by the scores: the mean over labels drawn from p0."""
    f = f.clone().requires_grad_()
    loss = soft_cross_entropy(f, p, temperature=temperature)
    if corrected:  # linear in y, so the mean over labels is the label's mean
        loss = loss + annealed_correction(f, p, p0, temperature=temperature)
    return torch.autograd.grad(loss, f)[0]


@pytest.mark.parametrize("temperature", [2.0, 4.0])
def test_a_teachers_error_counts_to_first_order_and_corrected_to_second(temperature):
    f, p0, _ = draw(200)
    bump = torch.randn(p0.shape, dtype=torch.float64)
    bump -= bump.mean(1, keepdim=True)
    exact = gradient(f, p0, p0, temperature, corrected=False)
    sizes, found = np.array([0.004, 0.002, 0.001, 0.0005]), {True: [], False: []}
    for eps in sizes:
        for corrected in (False, True):
            moved = gradient(f, p0 + eps * bump * p0.min(), p0, temperature, corrected)
            found[corrected].append(float((moved - exact).norm()))
    for corrected, slope, limit in ((False, 1, 0.05), (True, 2, 0.1)):
        measured = np.polyfit(np.log(sizes), np.log(found[corrected]), 1)[0]
        assert abs(measured - slope) < limit


@pytest.mark.parametrize("link", ["log", "logit"])
def test_squared_error_on_corrected_targets_is_orthogonal_too(link):
    from seqkit.distill import CorrectedTarget
    from seqkit.distill.links import get_link

    p0 = torch.rand(300, 1, dtype=torch.float64) * 0.6 + 0.2
    bump = torch.randn(p0.shape, dtype=torch.float64) * 0.1
    sizes, found = np.array([0.2, 0.1, 0.05, 0.025]), {"none": [], "orthogonal": []}
    for gamma, list_ in found.items():
        target = CorrectedTarget(link, gamma)
        for eps in sizes:
            p = p0 + eps * bump
            mean = p0 * target(p, torch.ones_like(p)) + (1 - p0) * target(p, torch.zeros_like(p))
            list_.append(float((mean - get_link(link).value(p0)).norm()))
    assert abs(np.polyfit(np.log(sizes), np.log(found["none"]), 1)[0] - 1) < 0.05
    assert abs(np.polyfit(np.log(sizes), np.log(found["orthogonal"]), 1)[0] - 2) < 0.1


def test_the_loss_does_not_depend_on_the_number_of_classes_and_numel_would():
    p2, f2 = torch.tensor([[0.8, 0.2]]).double(), torch.tensor([[0.3, 0.1]]).double()
    p200, f200 = torch.zeros(1, 200).double(), torch.full((1, 200), -60.0).double()
    p200[:, :2], f200[:, :2] = p2, f2
    small, large = soft_cross_entropy(f2, p2), soft_cross_entropy(f200, p200)
    assert abs(float(small - large)) < 1e-12
    entropy = -(p2 * p2.log()).sum()
    kl = F.kl_div(f2.log_softmax(1), p2, reduction="batchmean")
    assert float(small - entropy - kl) == pytest.approx(0, abs=1e-12)
    numel = F.kl_div(f2.log_softmax(1), p2, reduction="none").mean()
    assert float(numel) == pytest.approx(float(kl) / 2)  # what dividing by all elements does


def test_the_square_of_the_temperature_keeps_gradients_of_one_size():
    f, p, _ = draw(2000)
    f = f * 0.1
    f.requires_grad_()
    near = (0.1 * p.log()).softmax(1)  # all scores small: there the two are equal to first order
    sizes = [
        float(torch.autograd.grad(soft_cross_entropy(f, near, temperature=t), f)[0].norm()) for t in (1.0, 4.0, 16.0)
    ]
    assert max(sizes) / min(sizes) < 1.05


def test_temperature_of_probabilities_is_that_of_their_logits():
    _, p, _ = draw()
    assert torch.allclose(annealed(p, 3.0), (p.log() / 3 + 1.7).softmax(1))


def test_brier_and_squared_error_are_sums_over_classes_and_means_over_samples():
    f, p, _ = draw()
    assert torch.allclose(brier(f, p), ((f.softmax(1) - p) ** 2).sum() / 20)
    assert torch.allclose(squared_error(f, p), ((f - p) ** 2).sum() / 40)


@pytest.mark.parametrize("loss", [soft_cross_entropy, squared_error, brier])
def test_shapes_that_differ_are_refused(loss):
    with pytest.raises(ValueError, match="targets must have the shape of the student's outputs"):
        loss(torch.zeros(2, 3), torch.zeros(2, 2))


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="`temperature` must be a finite number above 0"):
        soft_cross_entropy(torch.zeros(2, 2), torch.full((2, 2), 0.5), temperature=0.0)
