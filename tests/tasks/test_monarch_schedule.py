"""Layers change their form within a training, and optimizers, schedules, checkpoints and best weights follow."""

from __future__ import annotations

import copy
import pickle

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import nn
from torch.utils.data import DataLoader

from seqkit.structured import StructuredLinear
from seqkit.tasks import MonarchSchedule, SequenceTask
from seqkit.tasks.callbacks import Checkpoint, History
from seqkit.tasks.optimizer_swap import adopt_parameters, optimizers_of

N = 16


class Plain(L.LightningModule):
    """A module as anyone might write it: two groups, a schedule, momentum."""

    def __init__(self, optimizer="adam"):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(N, N), nn.Tanh(), nn.Linear(N, N), nn.Tanh(), nn.Linear(N, 1))
        self.optimizer = optimizer
        self.losses = []

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch) - batch.sum(-1, keepdim=True)).square().mean()
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self):
        late = list(self.net[4].parameters())
        early = [p for name, p in self.net.named_parameters() if not name.startswith("4")]
        groups = [{"params": early, "lr": 0.02, "name": "early"}, {"params": late, "lr": 0.01, "name": "late"}]
        kinds = {
            "adam": torch.optim.Adam,
            "sgd": lambda g: torch.optim.SGD(g, momentum=0.9),
            "lbfgs": lambda g: torch.optim.LBFGS(g[1]["params"]),
        }
        one = kinds[self.optimizer](groups)
        return [one], [torch.optim.lr_scheduler.StepLR(one, 1, gamma=0.9)]


def rows(dtype=torch.float32):
    return DataLoader(torch.randn(24, N, generator=torch.Generator().manual_seed(1)).to(dtype), batch_size=4)


class Watch(L.Callback):
    """Looks at the optimizer after each batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        optimizer = trainer.optimizers[0]
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.seen.append(
            {
                "structured": sum(isinstance(m, StructuredLinear) for m in module.modules()),
                "all held": held == {id(p) for p in module.parameters()},
                "no strangers": {id(p) for p in optimizer.state} <= held,
                "steps": {name: float(optimizer.state[p].get("step", 0)) for name, p in module.named_parameters()},
                "lr": [group["lr"] for group in optimizer.param_groups],
                "weights": {name: p.detach().clone() for name, p in module.named_parameters()},
            }
        )


def test_dense_to_structured_in_the_middle(make_trainer):
    module, watch = Plain(), Watch()
    make_trainer(max_epochs=2, callbacks=[MonarchSchedule("structured", at=0.5), watch]).fit(module, rows())
    assert [seen["structured"] for seen in watch.seen] == [0] * 6 + [2] * 6
    assert all(seen["all held"] and seen["no strangers"] for seen in watch.seen)
    last = watch.seen[-1]["steps"]
    assert last["net.0.bias"] == 12  # what stays keeps its memory
    assert last["net.0.matrix.factors.0"] == 6  # what is new begins
    assert watch.seen[-1]["lr"] == pytest.approx([0.0162, 0.0081])  # the schedule goes on over both groups
    change = [
        watch.seen[-1]["weights"][f"net.0.matrix.factors.{i}"] - watch.seen[6]["weights"][f"net.0.matrix.factors.{i}"]
        for i in (0, 1)
    ]
    assert all(float(one.abs().max()) > 1e-3 for one in change)


def test_data_keep_the_loss_at_the_replacement(make_trainer):
    class Called(Plain):
        def forward(self, batch):
            return self.net(batch[:, :3].repeat(1, 6)[:, :N])

        def training_step(self, batch, batch_idx):
            loss = (self(batch) - batch.sum(-1, keepdim=True)).square().mean()
            self.losses.append(float(loss.detach()))
            return loss

    def jump(**options):
        module = Called()
        before = Called()
        schedule = MonarchSchedule("structured", slice_rank=1, **options)
        make_trainer(max_steps=1, callbacks=[schedule]).fit(module, rows())
        make_trainer(max_steps=1).fit(before, rows())
        assert module.training
        return abs(module.losses[0] - before.losses[0])

    assert jump(data=rows()) < 0.05 * jump()
    with pytest.raises(ValueError, match='`data` must be None with to="dense"'):
        MonarchSchedule("dense", at=0.5, data=rows())


def test_reverse_sparsification(make_trainer):
    module, watch = Plain(), Watch()
    make_trainer(max_epochs=2, callbacks=[MonarchSchedule("dense", at=9), watch]).fit(module, rows())
    assert [seen["structured"] for seen in watch.seen] == [2] * 9 + [0] * 3
    assert all(seen["all held"] and seen["no strangers"] for seen in watch.seen)
    assert watch.seen[-1]["steps"]["net.0.weight"] == 3
    assert watch.seen[-1]["steps"]["net.0.bias"] == 12
    # The layers as they were before the step, multiplied out, are where the dense steps began.
    assert module.losses[9] < 3 * module.losses[8]


def test_replacement_changes_nothing_that_the_model_computes(make_trainer):
    class Outputs(L.Callback):
        def __init__(self):
            self.before, self.after = [], []

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            self.after.append(module.net(batch).detach())

    module, before, after = Plain().double(), Outputs(), Outputs()
    schedule = MonarchSchedule("dense", at=3)
    make_trainer(callbacks=[before, schedule, after], precision="64-true").fit(module, rows(torch.float64))
    for one, other in zip(before.after, after.after, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    assert schedule.replaced == ["net.0", "net.2"]


def test_projection_at_the_start_is_the_nearest(make_trainer):
    module = Plain()
    dense = module.net[0].weight.detach().clone()

    def first(name, layer):
        return name == "net.0"

    make_trainer(callbacks=[MonarchSchedule("structured", slice_rank=4, select=first)], max_steps=1).fit(module, rows())
    assert isinstance(module.net[0], StructuredLinear)
    # Rank 4 slices hold every matrix, so one step of Adam away from the old weights.
    assert 0 < float((module.net[0].weight.detach() - dense).abs().max()) < 0.2


@pytest.mark.parametrize("to", ["structured", "dense"])
def test_resumes_on_either_side_of_the_replacement(to, make_trainer, tmp_path):
    class Keep(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    def schedule():
        return MonarchSchedule(to, at=0.5)

    whole = Plain()
    make_trainer(max_epochs=4, callbacks=[schedule(), Keep()]).fit(whole, rows())
    for epoch in (0, 1, 2):  # before, at, and after the replacement
        module = Plain()
        with torch.no_grad():
            module.net[0].weight.fill_(1.0)
        make_trainer(max_epochs=4, callbacks=[schedule()]).fit(module, rows(), ckpt_path=tmp_path / f"{epoch}.ckpt")
        assert module.losses == whole.losses[6 * (epoch + 1) :]
        for name, value in whole.state_dict().items():
            assert torch.equal(module.state_dict()[name], value), (epoch, name)


@pytest.mark.parametrize("to", ["structured", "dense"])
def test_a_checkpoint_is_tested_in_its_own_form(to, make_trainer, tmp_path):
    class Tested(Plain):
        def test_step(self, batch, batch_idx):
            self.log("loss", self.net(batch).square().mean())

    def losses(module, **options):
        trainer = make_trainer(callbacks=[MonarchSchedule(to, at=3)], enable_progress_bar=False)
        return trainer.test(module, rows(), verbose=False, **options)

    module = Tested()
    trainer = make_trainer(callbacks=[MonarchSchedule(to, at=3)])
    trainer.fit(module, rows())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert losses(Tested(), ckpt_path=tmp_path / "last.ckpt") == losses(module)
    assert losses(Tested()) != losses(module)  # without a checkpoint nothing is replaced


@pytest.mark.filterwarnings("ignore:training ended at step")
def test_goes_back_to_a_checkpoint_from_before(make_trainer, tmp_path):
    module, schedule = Plain(), MonarchSchedule("structured", at=4)
    trainer = make_trainer(max_steps=2, callbacks=[schedule])
    trainer.fit(module, rows())
    trainer.save_checkpoint(tmp_path / "early.ckpt")
    make_trainer(max_epochs=1, callbacks=[schedule]).fit(module, rows())
    assert schedule.replaced
    make_trainer(max_steps=3, callbacks=[schedule]).fit(module, rows(), ckpt_path=tmp_path / "early.ckpt")
    assert schedule.replaced == []
    assert type(module.net[0]) is nn.Linear


def test_sequence_models_keep_their_groups_and_best_weights(make_loader, make_model, make_trainer, tmp_path):
    task = SequenceTask(make_model(d_model=16), learning_rate=0.01, ssm_learning_rate=0.001)
    history, watch = History(), Watch()
    path = tmp_path / "last.ckpt"
    schedule = MonarchSchedule("structured", at=0.5)
    callbacks = [schedule, history, Checkpoint(path, history), watch]
    make_trainer(max_epochs=4, callbacks=callbacks).fit(task, make_loader(), make_loader())
    assert schedule.replaced
    assert watch.seen[-1]["structured"] > 0
    assert all(seen["all held"] for seen in watch.seen)
    assert history.best_epoch >= 2
    task.model.load_state_dict(history.best_weights)
    names = [group["name"] for group in task.trainer.optimizers[0].param_groups]
    assert names == ["matrices", "vectors", "state space"]
    matrices = {id(p) for p in task.trainer.optimizers[0].param_groups[0]["params"]}
    factors = [p for name, p in task.named_parameters() if "factors" in name]
    assert factors
    assert all(id(p) in matrices for p in factors)
    again = SequenceTask(make_model(d_model=16), learning_rate=0.01, ssm_learning_rate=0.001)
    same = MonarchSchedule("structured", at=0.5)
    make_trainer(max_epochs=5, callbacks=[same, History()]).fit(again, make_loader(), make_loader(), ckpt_path=path)
    assert same.replaced == schedule.replaced


def test_accumulated_gradients_are_not_cut(make_trainer):
    module, watch = Plain("sgd"), Watch()
    schedule = MonarchSchedule("structured", at=1)
    make_trainer(accumulate_grad_batches=3, callbacks=[schedule, watch]).fit(module, rows())
    assert [seen["structured"] for seen in watch.seen] == [0, 0, 0, 2, 2, 2]
    assert all(seen["no strangers"] for seen in watch.seen)


@pytest.mark.parametrize(("to", "at"), [("structured", 0), ("structured", 3), ("dense", 3)])
def test_another_model_is_replaced_too(to, at, make_trainer, tmp_path):
    schedule, modules = MonarchSchedule(to, at=at), [Plain(), Plain()]
    for module in modules:
        trainer = make_trainer(max_epochs=1, callbacks=[schedule])
        trainer.fit(module, rows())
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert type(modules[0].net[0]) is (StructuredLinear if to == "structured" else nn.Linear)
    assert type(modules[1].net[0]) is type(modules[0].net[0])
    other, checkpoint = Plain(), torch.load(tmp_path / "last.ckpt", weights_only=True)
    schedule.follow(other, checkpoint)
    other.load_state_dict(checkpoint["state_dict"])


def test_a_module_can_be_saved_and_copied_in_training_and_after_it_broke_off(make_trainer):
    class Hooked(Plain):
        def on_load_checkpoint(self, checkpoint):
            checkpoint["seen"] = True

    globals()["Hooked"] = Hooked  # where pickle looks for it
    Hooked.__qualname__ = "Hooked"

    class Break(L.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            for other in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
                checkpoint = {"callbacks": {schedule.state_key: {"replaced": ["net.0"]}}}
                other.on_load_checkpoint(checkpoint)
                assert checkpoint["seen"]
                assert type(other.net[0]) is nn.Linear
            raise KeyError("broken off")

    module, schedule = Hooked(), MonarchSchedule("structured", at=1)
    with pytest.raises(KeyError):
        make_trainer(callbacks=[schedule, Break()]).fit(module, rows())
    assert "on_load_checkpoint" not in vars(module)
    assert pickle.loads(pickle.dumps(schedule)).replaced == []


def test_the_last_share_still_replaces(make_trainer):
    module = Plain()
    make_trainer(max_epochs=1, callbacks=[MonarchSchedule("dense", at=0.99)]).fit(module, rows())
    assert type(module.net[0]) is nn.Linear
    with pytest.raises(UserWarning, match="ended at step 6, and no layer has become dense, which was to be at step 7"):
        make_trainer(max_epochs=1, callbacks=[MonarchSchedule("dense", at=7)]).fit(Plain(), rows())


@pytest.mark.parametrize("average", [StochasticWeightAveraging(0.1), WeightAveraging()])
def test_weights_are_not_averaged_over_a_replacement(average, make_trainer):
    with pytest.raises(ValueError, match=f"must not hold {type(average).__name__} where MonarchSchedule replaces"):
        make_trainer(callbacks=[average, MonarchSchedule("dense", at=2)]).fit(Plain(), rows())
    with pytest.raises(ValueError, match=f"must hold MonarchSchedule before {type(average).__name__}"):
        make_trainer(callbacks=[average, MonarchSchedule("structured")]).fit(Plain(), rows())
    make_trainer(max_epochs=2, callbacks=[MonarchSchedule("structured"), average]).fit(Plain(), rows())


def test_what_cannot_be_is_said(make_trainer):
    with pytest.raises(ValueError, match="`to` must be one of structured, dense, got 'sparse'"):
        MonarchSchedule("sparse")
    for at in (1.0, -1, -0.1, True, float("nan"), "0.5"):
        with pytest.raises(ValueError, match="`at` must be a share from 0 to below 1 or a whole number of steps"):
            MonarchSchedule("structured", at=at)
    with pytest.raises(ValueError, match='`at` must be above 0 with to="dense"'):
        MonarchSchedule("dense")
    with pytest.raises(ValueError, match=r"`at` must be a number of steps where training has no end, got 0.5"):
        make_trainer(max_epochs=-1, callbacks=[MonarchSchedule("structured", at=0.5)]).fit(Plain(), rows())
    with pytest.raises(ValueError, match=r"`at` must be 0 under DDPStrategy, got 0.5"):
        MonarchSchedule("structured", at=0.5).on_train_start(make_trainer(strategy="ddp", devices=1), Plain())
    with pytest.raises(ValueError, match="has no key 'blocks'"):
        make_trainer(callbacks=[MonarchSchedule("structured", blocks=3)]).fit(Plain(), rows())


def test_optimizers_that_cannot_follow_are_refused():
    old, new = (torch.zeros(2, requires_grad=True) for _ in range(2))
    sgd = torch.optim.SGD([{"params": [old], "name": "a"}], lr=0.1)
    with pytest.raises(ValueError, match=r"same parameter groups after layers were replaced, got \[2\] groups"):
        adopt_parameters([sgd], [torch.optim.SGD([{"params": [old]}, {"params": [new]}], lr=0.1)])
    with pytest.raises(ValueError, match="got 'b' in place of 'a'"):
        adopt_parameters([sgd], [torch.optim.SGD([{"params": [new], "name": "b"}], lr=0.1)])
    with pytest.raises(ValueError, match="must not be LBFGS"):
        adopt_parameters([torch.optim.LBFGS([old])], [torch.optim.LBFGS([new])])
    assert sgd.param_groups[0]["params"][0] is old
    assert optimizers_of(None) == []
    assert optimizers_of([sgd]) == optimizers_of([{"optimizer": sgd}]) == optimizers_of(([sgd], [])) == [sgd]
