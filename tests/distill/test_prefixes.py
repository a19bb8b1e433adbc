"""Answers after every sample, and the task of a student that learns from them."""

import math

import pytest
import torch
from torch.nn import functional as F

from seqkit.batch import Batch, DataInfo
from seqkit.distill import prefix_scores
from seqkit.models import ModelConfig, SequenceModel
from seqkit.runs.distill_task import DistillTask
from seqkit.tasks import SequenceTask

INFO = DataInfo("toy", "classification", n_channels=2, classes=("a", "b", "c"))
VALUES = DataInfo("toy", "regression", n_channels=2, n_targets=2)


def student(pool="mean", info=INFO, mixer="s4d", **options):
    sizes = {"d_model": 4, "n_layers": 1, "order": 4} if mixer == "s4d" else {"d_model": 4, "n_layers": 1}
    model = SequenceModel.from_config(ModelConfig.preset(mixer, pool=pool, **sizes, **options), info, seed=0)
    return model.double().eval()


def draw(n=3, length=9, width=3, info=INFO):
    lengths = torch.tensor([9, 5, 1])
    p = torch.rand(n, width, dtype=torch.float64).softmax(1)
    y = F.one_hot(torch.arange(n) % width, width).double()
    values = torch.randn(n, length, info.n_channels, dtype=torch.float64)
    return Batch(values, torch.stack([p, y, p * (1 - p)], 1), lengths), p, y


@pytest.mark.parametrize("pool", ["mean", "last", "max"])
@pytest.mark.parametrize("mixer", ["s4d", "gru"])
def test_they_are_what_the_stream_says(pool, mixer):
    model, (batch, _, _) = student(pool, mixer=mixer), draw()
    scores, inside = prefix_scores(model, batch)
    assert inside.sum(1).tolist() == [9, 5, 1]
    for i, length in enumerate(batch.lengths.tolist()):
        state = model.initial_state(1)
        for t in range(length):
            wanted, state = model.step(batch.values[i : i + 1, t], state)
            assert torch.allclose(scores[i, t], wanted[0], rtol=1e-9, atol=1e-12)


def test_what_lies_past_the_end_changes_nothing():
    model, (batch, _, _) = student("max"), draw()
    other = batch.values.clone()
    other[1, 5:] = torch.nan
    one, inside = prefix_scores(model, batch)
    two, _ = prefix_scores(model, batch._replace(values=other))
    assert torch.equal(one[inside], two[inside])


def test_a_pooling_that_does_not_answer_in_between_is_refused():
    model = SequenceModel.from_config(ModelConfig.preset("hippo_legs"), INFO)
    with pytest.raises(ValueError, match="answers after each sample need pool mean, max or last, got legs"):
        prefix_scores(model, draw()[0])
    with pytest.raises(ValueError, match="`steps` must be last for pool legs"):
        DistillTask(model, steps="all")
    assert not DistillTask(model).every_step


def test_the_default_loss_is_cross_entropy_with_the_corrected_target_at_every_sample():
    model, (batch, p, y) = student(), draw()
    for c in (0.0, 0.2, math.inf):
        loss = DistillTask(model, c=c).loss(batch)[0]
        v = (p * (1 - p)).sum(1) / 2
        gamma = torch.ones_like(v) if c == math.inf else c / (c + v)
        scores, inside = prefix_scores(model, batch)
        total = 0.0
        for i in range(3):
            t = (1 - gamma[i]) * p[i] + gamma[i] * y[i]
            total = total - (t * scores[i, inside[i]].log_softmax(1)).sum()
        assert torch.allclose(loss, total / inside.sum())


def test_an_infinite_weight_is_the_label_and_at_the_end_the_tasks_own_loss():
    model, (batch, _, y) = student(), draw()
    full = DistillTask(model, c=math.inf, steps="last").loss(batch)[0]
    label = SequenceTask(model).loss(batch._replace(target=y.argmax(1)))[0]
    assert torch.allclose(full, label)


def test_labels_are_measured_as_ever():
    model, (batch, _, y) = student(), draw()
    labelled = batch._replace(target=y.argmax(1))
    assert torch.equal(DistillTask(model, c=0.1).loss(labelled)[0], SequenceTask(model).loss(labelled)[0])


@pytest.mark.parametrize("loss", ["brier", "logits"])
def test_other_losses_by_hand(loss):
    model, (batch, p, y) = student(), draw()
    c, scores = 0.2, model(batch.values, batch.lengths)
    found = DistillTask(model, c=c, loss=loss, steps="last").loss(batch)[0]
    if loss == "brier":
        gamma = (c / (c + (p * (1 - p)).sum(1) / 2))[:, None]
        wanted = ((scores.softmax(1) - ((1 - gamma) * p + gamma * y)) ** 2).sum(1).mean()
    else:
        wanted = 0.5 * ((scores - p.log() - c / (c + p * (1 - p)) / p * (y - p)) ** 2).sum(1).mean()
    assert torch.allclose(found, wanted)


def test_at_temperature_one_the_annealed_correction_is_the_same_as_mixing():
    model, (batch, p, y) = student(), draw()
    from seqkit.distill import annealed_correction, soft_cross_entropy

    scores = model(batch.values, batch.lengths)
    gamma = 0.2 / (0.2 + (p * (1 - p)).sum(1, keepdim=True) / 2)
    split = soft_cross_entropy(scores, p) + annealed_correction(scores, p, y, weight=gamma)
    assert torch.allclose(DistillTask(model, c=0.2, steps="last").loss(batch)[0], split)
    warm = DistillTask(model, c=0.2, temperature=2.0).loss(batch)[0]
    wanted = soft_cross_entropy(scores, p, temperature=2.0)
    wanted = wanted + annealed_correction(scores, p, y, temperature=2.0, weight=gamma)
    assert torch.allclose(warm, wanted)


def test_smoothing_spreads_a_share_over_all_classes():
    model, (batch, p, _) = student(dropout=0.0), draw()
    model.train()
    found = DistillTask(model, label_smoothing=0.3, steps="last").loss(batch)[0]
    spread = 0.7 * p + 0.1
    assert torch.allclose(found, -(spread * model(batch.values, batch.lengths).log_softmax(1)).sum(1).mean())


def test_values_are_learned_in_units_of_their_deviation():
    model, (batch, m, _) = student(info=VALUES), draw(width=2, info=VALUES)
    model.head.set_statistics(torch.zeros(2).double(), torch.tensor([2.0, 5.0]).double())
    y, v = torch.randn(3, 2).double(), torch.full((3, 2), 0.5).double()
    found = DistillTask(model, c=0.25).loss(batch._replace(target=torch.stack([m, y, v], 1)))[0]
    t = m + 0.25 / 0.75 * (y - m)
    wanted = (((model(batch.values, batch.lengths) - t) / torch.tensor([2.0, 5.0])) ** 2).mean()
    assert torch.allclose(found, wanted)


def test_no_teacher_is_part_of_a_task():
    model = student()
    assert {id(p) for p in DistillTask(model).parameters()} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": "kl"}, "`loss` must be one of cross_entropy, brier, logits"),
        ({"steps": "every"}, "`steps` must be one of auto, all, last"),
        ({"c": -1.0}, "`c` must be a number"),
        ({"temperature": 0.0}, "`temperature` must be a finite number above 0"),
        ({"temperature": 2.0, "loss": "brier"}, "`temperature` must be 1 for brier"),
        ({"temperature": 2.0, "steps": "all"}, "`steps` must be last for a loss that is not linear"),
        ({"loss": "logits", "steps": "all"}, "`steps` must be last for a loss that is not linear"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        DistillTask(student(), **change)


def test_values_take_the_default_loss_only():
    with pytest.raises(ValueError, match="`loss` must be cross_entropy"):
        DistillTask(student(info=VALUES), loss="brier")
