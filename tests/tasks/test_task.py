"""The task in anyone's Lightning script: three kinds of targets, what is logged, what is refused."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from seqkit.batch import Batch
from seqkit.nn.mixer import mask_past_end
from seqkit.tasks import SequenceTask
from seqkit.tasks.task import warmup_cosine

KINDS = ("classification", "regression", "two values", "sequence", "tags")


@pytest.fixture
def batch_of(make_loader):
    return lambda kind="classification", **sizes: next(iter(make_loader(kind, **sizes)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_script_learns(make_loader, make_model, make_trainer, kind):
    loader = make_loader(kind)
    task = SequenceTask(make_model(kind), learning_rate=0.02)
    trainer = make_trainer(max_epochs=12)
    before = trainer.validate(task, loader, verbose=False)[0]["val_loss"]
    trainer.fit(task, loader, loader)
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert metrics["val_loss"] < 0.5 * before
    names = {"val_accuracy"} if task.model.info.classes else {"val_rmse", "val_mae"}
    assert set(metrics) == {"train_loss", "val_loss", *names}
    assert trainer.test(task, loader, verbose=False)[0]["test_loss"] == pytest.approx(metrics["val_loss"], rel=1e-5)
    predicted = trainer.predict(task, loader)
    for batch, outputs in zip(loader, predicted, strict=True):
        assert torch.allclose(outputs, task.model.predict(batch.values, batch.lengths), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_logged_numbers_are_means_over_targets_whatever_the_batches(make_loader, make_model, make_trainer, kind):
    model = make_model(kind).eval()
    outputs, targets = [], []
    for batch in make_loader(kind, batch_size=1):  # one series at a time, so without padding
        outputs.append(model(batch.values).detach().reshape(-1, model.info.n_outputs))
        targets.append(batch.target.reshape(-1) if model.info.classes else batch.target.reshape(outputs[-1].shape))
    out, target = torch.cat(outputs), torch.cat(targets)
    if model.info.classes:
        expected = {
            "val_loss": F.cross_entropy(out, target),
            "val_accuracy": (out.argmax(-1) == target).double().mean(),
        }
    else:
        expected = {
            "val_loss": ((out - target) / model.head.scale).square().mean(),
            "val_rmse": (out - target).square().mean().sqrt(),
            "val_mae": (out - target).abs().mean(),
        }
    for batch_size in (48, 7):
        logged = make_trainer().validate(SequenceTask(model), make_loader(kind, batch_size=batch_size), verbose=False)
        assert logged[0] == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_its_gradients_do_not_see_padding(batch_of, make_model, kind):
    task, batch = SequenceTask(make_model(kind)), batch_of(kind)
    loss, outputs, target = task.loss(batch)
    assert len(outputs) == len(target)
    loss.backward()
    first = {name: p.grad.clone() for name, p in task.named_parameters()}
    inside = torch.arange(batch.values.shape[1]) < batch.lengths[:, None]
    values = torch.where(inside[:, :, None], batch.values, torch.nan)
    changed = batch.target.clone()
    if changed.dim() > 1 and changed.shape[:2] == inside.shape:
        changed[~inside] = 99
    task.zero_grad()
    again, _, _ = task.loss(Batch(values, changed, batch.lengths))
    again.backward()
    assert torch.allclose(again, loss, rtol=1e-6)
    assert all(torch.allclose(p.grad, first[name], rtol=1e-5, atol=1e-7) for name, p in task.named_parameters())


def test_regression_takes_targets_with_and_without_a_column(batch_of, make_model):
    task, batch = SequenceTask(make_model("regression")), batch_of("regression")
    bare = task.loss(batch._replace(target=batch.target.reshape(-1)))
    column = task.loss(batch._replace(target=batch.target.reshape(-1, 1)))
    assert torch.equal(bare[0], column[0])
    whole = task.loss(batch._replace(target=batch.target.reshape(-1).long()))[0]
    assert torch.isfinite(whole)


def test_classes_of_any_whole_dtype(batch_of, make_model):
    task, batch = SequenceTask(make_model()), batch_of()
    assert torch.equal(task.loss(batch._replace(target=batch.target.to(torch.uint8)))[0], task.loss(batch)[0])


def test_label_smoothing_is_its_formula(batch_of, make_model):
    model, batch = make_model(), batch_of()
    scores = model(batch.values, batch.lengths).log_softmax(-1)
    own = -scores.gather(1, batch.target[:, None]).mean()
    for share in (0.0, 0.1, 0.4):
        loss, _, _ = SequenceTask(model, label_smoothing=share).loss(batch)
        assert torch.allclose(loss, (1 - share) * own - share * scores.mean(), atol=1e-6)


def test_input_noise_is_of_the_channels_size_and_in_training_only(batch_of, make_model):
    model, batch = make_model(), batch_of()
    model.input_norm.set_statistics(torch.tensor([0.0]), torch.tensor([3.0]))
    seen = []
    model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    task = SequenceTask(model, input_noise=0.5)
    many = batch._replace(values=batch.values.repeat(1, 40, 1))
    task.log = lambda *_, **__: None
    task.training_step(many, 0)
    noise = seen[-1] - many.values
    assert float(noise.std()) == pytest.approx(1.5, rel=0.05)
    task.loss(many)
    assert torch.equal(seen[-1], many.values)


def test_values_of_the_schedule():
    line = [warmup_cosine(s, total=100, warmup=0.1) for s in range(101)]
    assert line[:10] == pytest.approx([0.1 * (s + 1) for s in range(10)])
    assert line[10] == 1.0
    assert line[55] == pytest.approx(0.5)
    assert line[32] == pytest.approx((1 + math.cos(math.pi * 22 / 90)) / 2)
    assert line[100] == pytest.approx(0.0, abs=1e-12)
    assert max(line) == 1.0
    assert warmup_cosine(0, total=100, warmup=0.0) == 1.0
    assert warmup_cosine(120, total=100, warmup=0.1) == pytest.approx(0.0, abs=1e-12)
    assert warmup_cosine(0, total=1, warmup=0.9) == 1.0


def test_trainer_follows_the_schedule_in_each_group(make_loader, make_model, make_trainer):
    task = SequenceTask(make_model(), learning_rate=0.01, ssm_learning_rate=0.002, warmup=0.5)
    rates = []
    task.on_before_optimizer_step = lambda optimizer: rates.append([g["lr"] for g in optimizer.param_groups])
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, make_loader())
    factors = [warmup_cosine(step, total=6, warmup=0.5) for step in range(6)]
    assert [g["name"] for g in trainer.optimizers[0].param_groups] == ["matrices", "vectors", "state space"]
    for seen, factor in zip(rates, factors, strict=True):
        assert seen == pytest.approx([0.01 * factor, 0.01 * factor, 0.002 * factor])


def test_training_without_an_end_keeps_its_learning_rate(make_loader, make_model, make_trainer):
    trainer = make_trainer(max_epochs=-1, max_time={"seconds": 1})
    task = SequenceTask(make_model(), learning_rate=0.01)
    task.on_train_epoch_end = lambda: setattr(trainer, "should_stop", True)
    trainer.fit(task, make_loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.01


def test_diverged_training_says_so(make_loader, make_model, make_trainer):
    model = make_model()
    with torch.no_grad():
        model.head.linear.weight.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match=r"NaN or infinite in epoch 1 \(parameter head\.linear\.weight is not"):
        make_trainer().fit(SequenceTask(model), make_loader())
    loader = make_loader("regression")
    huge = [batch._replace(values=batch.values * 1e38) for batch in loader]
    with pytest.raises(FloatingPointError, match=r"all parameters are still finite\); lower learning_rate"):
        make_trainer().fit(SequenceTask(make_model("regression", norm="none")), DataLoader(huge, batch_size=None))


def test_a_divergence_that_validation_meets_first_is_said_too(make_loader, make_model, make_trainer):
    task = SequenceTask(make_model(), learning_rate=1e20, warmup=0.0)
    loader = make_loader()
    with pytest.raises(FloatingPointError, match="the validation loss became NaN or infinite in epoch 1"):
        make_trainer(limit_train_batches=1).fit(task, loader, loader)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learning_rate", 0.0),
        ("ssm_learning_rate", -1.0),
        ("weight_decay", -0.1),
        ("warmup", 1.0),
        ("label_smoothing", 1.5),
        ("input_noise", -1.0),
    ],
)
def test_wrong_settings_are_refused(make_model, setting, value):
    with pytest.raises(ValueError, match=f"`{setting}` must"):
        SequenceTask(make_model(), **{setting: value})


def test_wrong_batches_are_refused_in_a_sentence(batch_of, make_model, make_loader, make_trainer):
    task, batch = SequenceTask(make_model()), batch_of()
    for target, words in (
        (None, "the batch has no target"),
        (batch.target + 1, "`target` must be class numbers from 0 to 1, got values from 1 to 2"),
        (batch.target - 1, "got values from -1 to 0"),
        (batch.target.float(), "`target` must be class numbers, got dtype torch.float32"),
        (batch.target[:3], r"`target` must have shape \(16\), got \(3,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            task.loss(batch._replace(target=target))
    for kind, shape in (("regression", (16, 2)), ("two values", (16,)), ("sequence", (16, 3))):
        with pytest.raises(ValueError, match="`target` must have shape"):
            SequenceTask(make_model(kind)).loss(batch_of(kind)._replace(target=torch.zeros(shape)))
    pairs = DataLoader(TensorDataset(torch.zeros(4, 9, 1), torch.zeros(4, dtype=torch.int64)), batch_size=2)
    with pytest.raises(TypeError, match=r"must give seqkit\.Batch\(values, target, lengths\), got list"):
        make_trainer().fit(task, pairs)


@pytest.mark.parametrize("name", ["s4d", "s4", "lssl"])
def test_mixed_precision_keeps_the_state_space_in_float32(make_loader, make_model, make_trainer, name):
    model = make_model(name=name)
    linear, states = [], []
    model.head.linear.register_forward_hook(lambda module, arguments, out: linear.append(out.dtype))
    mixer = model.backbone.mixers()[0]
    kernel = mixer._kernel
    mixer._kernel = lambda length, dt: states.append(kernel(length, dt).dtype) or kernel(length, dt)
    trainer, loader = make_trainer(max_epochs=8, precision="bf16-mixed"), make_loader()
    task = SequenceTask(model, learning_rate=0.02)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer.fit(task, loader, loader)
    assert set(linear) == {torch.bfloat16}  # it was on at all
    assert set(states) == {torch.float32}
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert not any(torch.equal(p, before[key]) for key, p in model.named_parameters())
    assert trainer.callback_metrics["val_accuracy"] > 0.9


def test_a_lightning_checkpoint_loads_without_pickle(make_loader, make_model, make_trainer, tmp_path):
    task = SequenceTask(make_model(), learning_rate=0.02, label_smoothing=0.1)
    trainer = make_trainer()
    trainer.fit(task, make_loader())
    trainer.save_checkpoint(tmp_path / "any.ckpt")
    path = tmp_path / "any.ckpt"
    other = make_model()
    loaded = SequenceTask.load_from_checkpoint(path, model=other, weights_only=True)
    assert (loaded.learning_rate, loaded.label_smoothing) == (0.02, 0.1)
    assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), task.parameters(), strict=True))
    for wrong in ({"d_model": 4}, {"n_layers": 2}, {"name": "gru"}):
        with pytest.raises(ValueError, match="the checkpoint is of another model"):
            make_trainer(max_epochs=2).fit(SequenceTask(make_model(**wrong)), make_loader(), ckpt_path=path)


class Sums(nn.Module):
    """Sums of neighbouring pairs, twice over, with one trained factor."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def output_lengths(self, lengths):
        return lengths // 2

    def forward(self, values, lengths):
        pairs = values[:, : 2 * int(lengths.max() // 2)].unfold(1, 2, 2).sum(-1)
        return self.factor * mask_past_end(pairs, self.output_lengths(lengths)).expand(-1, -1, 1)


def test_a_front_end_is_read_through_and_learns(batch_of, make_loader, make_model, make_trainer):
    model, front_end, batch = make_model(), Sums(), batch_of()
    task = SequenceTask(model, front_end=front_end, learning_rate=0.01)
    pairs, lengths = front_end(batch.values, batch.lengths), batch.lengths // 2
    assert torch.equal(task(batch), model(pairs, lengths))
    assert torch.equal(task.predict_step(batch, 0), model.predict(pairs, lengths))
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, make_loader())
    assert front_end.factor != 1
    assert "front_end" not in task.hparams
    assert "front_end.factor" in task.state_dict()
    (group,) = [group for group in trainer.optimizers[0].param_groups if group["name"] == "front end"]
    assert (group["initial_lr"], group["weight_decay"]) == (1e-3, 0.0)
    still = SequenceTask(model, front_end=Sums().requires_grad_(False))
    trainer = make_trainer(max_epochs=1)
    trainer.fit(still, make_loader())
    assert "front end" not in [group["name"] for group in trainer.optimizers[0].param_groups]


def test_what_a_front_end_cannot_read_is_refused(batch_of, make_model):
    with pytest.raises(ValueError, match="`front_end` must stand before a model with one target for a series"):
        SequenceTask(make_model("sequence"), front_end=Sums())
    with pytest.raises(ValueError, match=r"without input_noise, got pool=mean and input_noise=0\.1"):
        SequenceTask(make_model(), front_end=Sums(), input_noise=0.1)
    batch = batch_of()
    with pytest.raises(ValueError, match="a batch for a front end must be evenly spaced and without gaps"):
        SequenceTask(make_model(), front_end=Sums())(batch._replace(observed=torch.ones_like(batch.values).bool()))
