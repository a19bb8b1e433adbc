"""Callbacks of a run: random numbers per step, best weights, patience, and a checkpoint to go on from exactly."""

import errno
import math
import os

import lightning as L
import pytest
import torch

from seqkit.tasks import SequenceTask
from seqkit.tasks.callbacks import Checkpoint, History, Progress, SeededSteps
from seqkit.tasks.progress import ProgressLine


class Recorder(L.Callback):
    """Draws a number within each step, as dropout would."""

    def __init__(self):
        self.draws = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.draws.append(torch.rand(()).item())


class StopAfter(L.Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch + 1 == self.epochs:
            trainer.should_stop = True


def test_seeded_steps_leave_the_global_generator_alone(make_loader, make_model, make_trainer):
    states = []

    class Watch(L.Callback):  # before SeededSteps starts a step and after it ended one
        def on_train_batch_start(self, *_):
            states.append(torch.get_rng_state())

    class After(L.Callback):
        def on_train_batch_end(self, *_):
            states.append(torch.get_rng_state())

    before = torch.get_rng_state()
    trainer = make_trainer(max_epochs=2, callbacks=[Watch(), SeededSteps(3), After()])
    trainer.fit(SequenceTask(make_model(dropout=0.5)), make_loader())
    assert torch.equal(torch.get_rng_state(), before)
    assert len(states) == 12
    assert all(torch.equal(state, before) for state in states)


def test_draws_are_a_function_of_seed_and_step(make_loader, make_model, make_trainer):
    def draws(seed, noise, **settings):
        recorder = Recorder()
        torch.manual_seed(noise)
        trainer = make_trainer(max_epochs=2, callbacks=[SeededSteps(seed), recorder], **settings)
        trainer.fit(SequenceTask(make_model()), make_loader())
        return recorder.draws

    first = draws(3, noise=1)
    assert first == draws(3, noise=2)
    assert len(set(first)) == len(first) == 6
    assert not set(first) & set(draws(4, noise=1))


def test_accumulated_batches_draw_differently(make_loader, make_model, make_trainer):
    draws = []
    task = SequenceTask(make_model())
    task.on_before_backward = lambda loss: draws.append(torch.rand(()).item())
    make_trainer(callbacks=[SeededSteps(0)], accumulate_grad_batches=3).fit(task, make_loader())
    assert len(set(draws)) == 3


def test_generator_is_put_back_when_a_step_breaks_off(make_loader, make_model, make_trainer):
    model = make_model()
    with torch.no_grad():
        model.head.linear.weight.fill_(torch.nan)
    before = torch.get_rng_state()
    with pytest.raises(FloatingPointError):
        make_trainer(callbacks=[SeededSteps(0)]).fit(SequenceTask(model), make_loader())
    assert torch.equal(torch.get_rng_state(), before)


def fake_epochs(history, losses, model):
    """Runs the callback over epochs with these validation losses; the weights tell the epoch."""
    module = L.LightningModule()
    module.model = model

    class Trainer:
        should_stop = False
        optimizers = (type("Optimizer", (), {"param_groups": [{"name": "state space", "lr": 0.5}]}),)

    trainer = Trainer()
    for epoch, loss in enumerate(losses):
        trainer.current_epoch, trainer.callback_metrics = epoch, {"val_loss": torch.tensor(loss)}
        with torch.no_grad():
            model.weight.fill_(epoch)
        history.on_train_epoch_start(trainer, module)
        history.on_train_epoch_end(trainer, module)
        if trainer.should_stop:
            break
    return epoch


def test_history_keeps_the_best_weights():
    history, model = History(), torch.nn.Linear(1, 1)
    assert fake_epochs(history, [3.0, 1.0, 2.0, 1.0, 5.0], model) == 4
    assert (history.best_epoch, history.best_loss) == (1, 1.0)
    assert history.best_weights["weight"].item() == 1  # a copy, not what the model went on to
    assert [row["epoch"] for row in history.rows] == [0, 1, 2, 3, 4]
    assert [row["val_loss"] for row in history.rows] == [3, 1, 2, 1, 5]
    assert all(row["lr_state_space"] == 0.5 and row["seconds"] >= 0 for row in history.rows)


@pytest.mark.parametrize(("patience", "last"), [(1, 2), (2, 3), (3, 7), (None, 8)])
def test_history_stops_after_as_many_epochs_without_a_better_one(patience, last):
    losses = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.5, 0.5]
    history = History(patience)
    assert fake_epochs(history, losses, torch.nn.Linear(1, 1)) == last
    assert history.stopped == (patience is not None)


def test_history_has_weights_even_when_no_loss_is_finite():
    history = History()
    fake_epochs(history, [math.nan, math.nan], torch.nn.Linear(1, 1))
    assert history.best_epoch == 0
    assert history.best_weights["weight"].item() == 0
    fake_epochs(history, [math.nan, 2.0], torch.nn.Linear(1, 1))
    assert (history.best_loss, history.best_weights["weight"].item()) == (2.0, 1)


def test_history_of_a_real_training(make_loader, make_model, make_trainer):
    history, loader = History(), make_loader()
    task = SequenceTask(make_model(), learning_rate=0.02)
    make_trainer(max_epochs=4, callbacks=[history]).fit(task, loader, loader)
    assert [row["epoch"] for row in history.rows] == [0, 1, 2, 3]
    names = [
        "epoch",
        "train_loss",
        "val_accuracy",
        "val_loss",
        "lr_matrices",
        "lr_vectors",
        "lr_state_space",
        "seconds",
    ]
    assert list(history.rows[0]) == names
    task.model.load_state_dict(history.best_weights)
    logged = make_trainer().validate(task, loader, verbose=False)[0]
    assert logged["val_loss"] == pytest.approx(min(row["val_loss"] for row in history.rows), rel=1e-5)
    bare = History()
    make_trainer(callbacks=[bare]).fit(SequenceTask(make_model()), loader)
    assert bare.best_loss == bare.rows[0]["train_loss"]


def training(make_model, make_trainer, folder, *, stop=None, patience=None, epochs=6, **task):
    """A run's callbacks around a model with dropout; `stop` ends it early, as a broken-off run."""
    history = History(patience)
    tables = []
    checkpoint = Checkpoint(folder / "last.ckpt", history, on_epoch=lambda h: tables.append(len(h.rows)))
    callbacks = [SeededSteps(7), history, checkpoint, Progress(history, ProgressLine(None))]
    callbacks += [StopAfter(stop)] if stop else []
    trainer = make_trainer(max_epochs=epochs, gradient_clip_val=1.0, callbacks=callbacks)
    return trainer, SequenceTask(make_model(dropout=0.3), **{"learning_rate": 0.02, **task}), history, tables


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resumed_training_is_bitwise_the_unbroken_one(make_loader, make_model, make_trainer, tmp_path, stop):
    loader = make_loader()
    settings = {"label_smoothing": 0.1, "input_noise": 0.1}
    trainer, whole, history, tables = training(make_model, make_trainer, tmp_path / "whole", **settings)
    trainer.fit(whole, loader, loader)
    assert tables == [1, 2, 3, 4, 5, 6]
    trainer, broken, _, tables = training(make_model, make_trainer, tmp_path / "broken", stop=stop, **settings)
    trainer.fit(broken, loader, loader)
    assert tables == list(range(1, stop + 1))
    assert not equal(broken.state_dict(), whole.state_dict())
    # A fresh process has other random numbers and other starting weights.
    torch.manual_seed(1234)
    trainer, resumed, again, tables = training(make_model, make_trainer, tmp_path / "broken", **settings)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    trainer.fit(resumed, loader, loader, ckpt_path=tmp_path / "broken" / "last.ckpt", weights_only=True)
    assert tables == list(range(stop + 1, 7))
    assert equal(resumed.state_dict(), whole.state_dict())
    assert equal(again.best_weights, history.best_weights)
    assert (again.best_epoch, again.best_loss) == (history.best_epoch, history.best_loss)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in h.rows] for h in (again, history)]
    assert timeless[0] == timeless[1]


def test_patience_goes_on_counting_after_a_resume(make_loader, make_model, make_trainer, tmp_path):
    loader = make_loader()
    # So large a rate that the first epochs are the best: the stop falls into the resumed part.
    settings = {"learning_rate": 1.0, "ssm_learning_rate": 1e-3, "warmup": 0.0, "patience": 3, "epochs": 40}
    trainer, whole, history, _ = training(make_model, make_trainer, tmp_path / "whole", **settings)
    trainer.fit(whole, loader, loader)
    assert history.stopped
    assert len(history.rows) == history.best_epoch + 4 < 40
    stop = len(history.rows) - 2
    trainer, broken, early, _ = training(make_model, make_trainer, tmp_path / "broken", stop=stop, **settings)
    trainer.fit(broken, loader, loader)
    assert not early.stopped
    trainer, resumed, again, _ = training(make_model, make_trainer, tmp_path / "broken", **settings)
    trainer.fit(resumed, loader, loader, ckpt_path=tmp_path / "broken" / "last.ckpt", weights_only=True)
    assert again.stopped
    assert len(again.rows) == len(history.rows)
    assert equal(resumed.state_dict(), whole.state_dict())


def test_a_full_disk_leaves_the_last_checkpoint(make_loader, make_model, make_trainer, tmp_path, monkeypatch):
    loader = make_loader()
    trainer, task, _, _ = training(make_model, make_trainer, tmp_path, stop=1)
    trainer.fit(task, loader, loader)
    good = (tmp_path / "last.ckpt").read_bytes()

    def full(self, path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(L.Trainer, "save_checkpoint", full)
    trainer, task, _, _ = training(make_model, make_trainer, tmp_path)
    with pytest.raises(OSError, match=r"the disk is full, so last\.ckpt was not written"):
        trainer.fit(task, loader, loader, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == good
