"""What only an accelerator shows: its generators, its queue, its precision."""

import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.tasks import SequenceTask
from seqkit.tasks.callbacks import Checkpoint, History, SeededSteps

pytestmark = pytest.mark.gpu
GPU = {"accelerator": "gpu", "devices": 1}


def test_building_a_model_leaves_the_gpu_generators_alone():
    before = torch.cuda.get_rng_state_all()
    info = DataInfo("toy", "regression", n_channels=1)
    config = ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4)
    first = SequenceModel.from_config(config, info, seed=3)
    with torch.device("cuda"):
        second = SequenceModel.from_config(config, info, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(torch.cuda.get_rng_state_all(), before, strict=True))
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))


def test_seeded_steps_on_the_gpu(make_loader, make_model, make_trainer):
    def losses(noise):
        torch.cuda.manual_seed(noise)
        before = torch.cuda.get_rng_state()
        history = History()
        trainer = make_trainer(**GPU, max_epochs=2, callbacks=[SeededSteps(3), history])
        trainer.fit(SequenceTask(make_model(dropout=0.5)), make_loader())
        assert torch.equal(torch.cuda.get_rng_state(), before)
        return [row["train_loss"] for row in history.rows]

    assert losses(1) == pytest.approx(losses(2), rel=1e-5)


def test_divergence_is_said_before_a_checkpoint_is_written(make_loader, make_model, make_trainer, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.head.linear.weight.fill_(torch.nan)
    history = History()
    callbacks = [history, Checkpoint(tmp_path / "last.ckpt", history)]
    with pytest.raises(FloatingPointError, match="NaN or infinite in epoch 1"):
        make_trainer(**GPU, callbacks=callbacks).fit(SequenceTask(model), make_loader())
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("name", ["lssl", "s4", "s4d", "gru"])
def test_every_mixer_trains_on_the_gpu(make_loader, make_model, make_trainer, name, precision):
    model, loader = make_model(name=name), make_loader()
    trainer = make_trainer(**GPU, max_epochs=12, precision=precision)
    trainer.fit(SequenceTask(model, learning_rate=0.02), loader, loader)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert trainer.callback_metrics["val_accuracy"] > 0.9


@pytest.mark.parametrize("name", ["lssl", "s4", "s4d", "gru", "lstm"])
def test_forms_agree_between_cpu_and_gpu(make_model, name):
    model = make_model(name=name).eval()
    values, lengths = torch.randn(3, 40, 1), torch.tensor([40, 17, 1])
    expected = model(values, lengths)
    model.cuda()
    values, lengths = values.cuda(), lengths.cuda()
    _, state = model.scan(values[:, :5], model.initial_state(3), lengths.clamp(max=5))
    assert torch.allclose(model(values, lengths).cpu(), expected, rtol=1e-3, atol=1e-3)
    assert torch.allclose(model.predict(values, lengths).cpu(), expected.softmax(-1), rtol=1e-3, atol=1e-3)
    for k in range(5, 40):
        out, state = model.step(values[:, k], state)
    assert torch.allclose(out[0].cpu(), expected[0], rtol=1e-3, atol=1e-3)
