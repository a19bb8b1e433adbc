"""What the ranks of the pipeline tests do; a file of its own, since ranks are processes that import it."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.batch import DataInfo
from seqkit.distributed.checkpoint import load_checkpoint, save_checkpoint
from seqkit.distributed.compression import Compression
from seqkit.distributed.launch import World
from seqkit.distributed.mesh import make_mesh
from seqkit.distributed.pipeline import Pipeline
from seqkit.distributed.split import join_states, split_model
from seqkit.models import ModelConfig, SequenceModel

N, LENGTH, CHANNELS, CLASSES, WIDTH = 14, 10, 2, 3, 16
BATCHES = (range(8), range(8, 14))  # the second one is smaller, and no multiple of the micro-batches


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Series, classes and lengths."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, LENGTH, CHANNELS, generator=generator)
    y = torch.randint(0, CLASSES, (N,), generator=generator)
    return x, y, torch.randint(3, LENGTH + 1, (N,), generator=generator)


def model(name: str = "gru", n_layers: int = 4) -> SequenceModel:
    """The same small model on every rank."""
    info = DataInfo("toy", "classification", n_channels=CHANNELS, classes=("a", "b", "c"), sample_rate=2.0)
    config = ModelConfig.preset(name, d_model=WIDTH, n_layers=n_layers, dropout=0.0)
    return SequenceModel.from_config(config, info, seed=0)


class Trained:
    """A pipeline of the model with an optimiser, that trains on the data epoch by epoch."""

    def __init__(
        self,
        world: World,
        compression: str | None = None,
        schedule: str = "1f1b",
        n_stages: int = 2,
        learning_rate: float = 0.2,
        **options: Any,
    ) -> None:
        split = split_model(model(), n_stages, length=LENGTH)
        self.pipeline = Pipeline(
            split.stages,
            split.shapes,
            world,
            batch_size=8,
            micro_batches=4,
            schedule=schedule,
            compression=None if compression is None else Compression.parse(compression),
            **options,
        )
        self.optimizer = torch.optim.SGD(self.pipeline.parameters(), lr=learning_rate)
        self.world = world

    def step(self, places: range | list[int]) -> float | None:
        x, y, lengths = data()
        ids = torch.tensor(list(places))
        target = y[ids]
        found = self.pipeline.step(
            x[ids],
            loss=lambda out, rows: F.cross_entropy(out, target[rows], reduction="sum") / len(target),
            ids=ids,
            lengths=lengths[ids],
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return found

    def look(self) -> None:
        """An evaluation, which leaves everything as it was."""
        x, _, lengths = data()
        self.pipeline.train(False)
        with torch.inference_mode():
            self.pipeline.evaluate(x[:5], 5, lengths=lengths[:5])
        self.pipeline.train()

    def epoch(self) -> list[float | None]:
        return [self.step(batch) for batch in BATCHES]

    def weights(self) -> dict[str, Tensor]:
        """All weights, on every rank."""
        mine = [{key: value.clone() for key, value in one.state_dict().items()} for one in self.pipeline.modules]
        found: list[Any] = [None] * self.world.size
        dist.all_gather_object(found, mine)
        return join_states([state for states in found for state in states])

    def digests(self) -> list[tuple[int, str]]:
        """Number of the cut and digest of the buffer, of all ends on all ranks."""
        mine = [(end.number, end.store.digest()) for end in self.pipeline.ends if end.store is not None]
        found: list[Any] = [None] * self.world.size
        dist.all_gather_object(found, mine)
        return [one for ends in found for one in ends]


def alone(epochs: int, learning_rate: float = 0.2) -> tuple[list[float], dict[str, Tensor]]:
    """The same training in one process, without any of this."""
    whole, (x, y, lengths), losses = model(), data(), []
    optimizer = torch.optim.SGD(whole.parameters(), lr=learning_rate)
    for _ in range(epochs):
        for batch in BATCHES:
            ids = torch.tensor(list(batch))
            loss = F.cross_entropy(whole(x[ids], lengths[ids]), y[ids])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    return losses, whole.state_dict()


def _known(call: Any) -> str:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def train(world: World, schedule: str, n_stages: int) -> dict[str, Any]:
    """Two epochs without compression, and two with changes in 4 bits and gradients as they are."""
    plain, coded = (Trained(world, compression, schedule, n_stages) for compression in (None, "fw=4,bw=32"))
    for one in (plain, coded):
        one.look()
    losses = plain.epoch()
    coded.epoch()
    first = plain.weights(), coded.weights()
    losses += plain.epoch()
    coded.epoch()
    return {"losses": losses, "weights": plain.weights(), "first epoch": first, "digests": coded.digests()}


def properties(world: World) -> dict[str, Any]:
    """What holds of a pipeline of two ranks whatever the schedule and the bits."""
    found: dict[str, Any] = {}

    # Both ends of a cut hold the same after each epoch; the schedule changes nothing.
    for name, compression in (("4/8", "fw=4,bw=8"), ("2/4 bfloat16", "fw=2,bw=4,group=32,store=bfloat16")):
        for schedule in ("gpipe", "1f1b"):
            one = Trained(world, compression, schedule)
            if schedule == "gpipe":
                one.look()  # which changes nothing
            losses = [loss for _ in range(3) for loss in one.epoch()]
            found[f"{schedule} {name}"] = {"losses": losses, "digests": one.digests(), "weights": one.weights()}

    # Evaluation leaves the buffers as they were.
    x, _, lengths = data()
    before = one.digests()
    one.pipeline.train(False)
    outputs = one.pipeline.evaluate(x[:5], 5, lengths=lengths[:5])
    found["evaluated"] = {"before": before, "after": one.digests(), "outputs": outputs, "weights": one.weights()}

    # Weights that do not move: no change at the second visit, and the same loss.
    still = Trained(world, "fw=2,bw=4,group=32", learning_rate=0.0)
    first = still.epoch()
    meters = [end.sender.meter for end in still.pipeline.ends if end.sender is not None]
    for meter in meters:
        meter.reset()
    found["still"] = first, still.epoch(), [(meter.change, meter.error, meter.full_rows) for meter in meters]

    # Bytes on the wire: what the formula says, for both directions of the second epoch.
    counted = Trained(world, "fw=4,bw=8")
    counted.epoch()
    start = counted.pipeline.bytes_sent
    counted.epoch()
    found["bytes"] = start, counted.pipeline.bytes_sent - start
    return found


def straight_through(world: World) -> dict[str, Any]:
    """Gradients of a second visit, and those of autograd with the received activation put in place of the true one."""
    found = {}
    for bits in (32, 8):
        trained = Trained(world, f"fw=2,bw={bits},group=32")
        trained.epoch()
        weights = trained.weights()
        trained.optimizer.param_groups[0]["lr"] = 0.0
        trained.optimizer.zero_grad = lambda: None  # type: ignore[method-assign]
        trained.step(BATCHES[0])
        gradients: list[Any] = [None] * world.size
        dist.all_gather_object(
            gradients, [{n: p.grad for n, p in one.named_parameters()} for one in trained.pipeline.modules]
        )
        store = trained.pipeline.ends[0].store
        assert store is not None
        x, y, lengths = data()
        ids = torch.tensor(list(BATCHES[0]))
        reference = model()
        reference.load_state_dict(weights)
        stages = split_model(reference, 2, length=LENGTH).stages
        sent = stages[0](x[ids], lengths[ids])
        received = sent + (store.read(ids) - sent).detach()
        F.cross_entropy(stages[1](received, lengths[ids]), y[ids]).backward()
        true = [{n: p.grad for n, p in one.named_parameters()} for one in stages]
        found[bits] = (
            [one[0] for one in gradients],
            true,
            float((received - sent).detach().norm() / sent.detach().norm()),
        )
    return found


class Counting(nn.Module):
    """A stage with a batch norm that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.calls = nn.Linear(6, 6), nn.BatchNorm1d(6), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.norm(self.linear(x))


class Noted(Pipeline):
    """A pipeline that notes which hooks of its stages torch's schedule calls."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: list[str] = []
        for name in ("get_fwd_recv_ops", "get_fwd_send_ops", "get_bwd_recv_ops", "get_bwd_send_ops"):
            self._note(name)
        for name in ("_retrieve_recv_activations", "_retrieve_recv_grads"):
            self._note(name)

    def _note(self, name: str) -> None:
        stage, method = self.stages[0], getattr(self.stages[0], name)

        def noted(chunk: int) -> Any:
            self.calls.append(f"{name.removeprefix('get_').strip('_')} {chunk}")
            return method(chunk)

        setattr(stage, name, noted)


def contract(world: World) -> dict[str, Any]:
    """Calls and statistics of stages that are plain modules, by schedule."""
    found: dict[str, Any] = {}
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for schedule in ("gpipe", "1f1b"):
        torch.manual_seed(0)
        stages = [Counting(), Counting()]
        pipeline = Noted(
            stages,
            [(6,), (6,), (6,)],
            world,
            batch_size=4,
            micro_batches=2,
            schedule=schedule,
            compression=Compression.parse("fw=8,bw=8"),
        )
        pipeline.step(x, loss=lambda out, rows: out.square().sum(), ids=torch.arange(4))
        module = stages[world.rank]
        found[schedule] = {
            "hooks": pipeline.calls,
            "calls": module.calls,
            "tracked": int(module.norm.num_batches_tracked),
            "finite": bool(torch.isfinite(module.norm.running_var).all()),
        }
    return found


def refusals(world: World) -> dict[str, str]:
    """What all ranks refuse together; the group can be used afterwards."""
    found = {
        "bits": _known(lambda: Trained(world, "fw=4,bw=8" if world.rank == 0 else "fw=2,bw=8")),
        "micro-batches": _known(lambda: Trained(world, schedule="1f1b", n_stages=4)),
    }
    trained = Trained(world, "fw=4,bw=8")
    trained.epoch()
    found["other ids"] = _known(lambda: trained.step([0, 1, 2, 3, 4, 5, 6, 7 + world.rank]))
    found["an id twice"] = _known(lambda: trained.step([0, 1, 2, 3, 4, 5, 6, 6]))
    found["a new id"] = _known(lambda: trained.step([0, 1, 2, 13, 4, 5, 6, 7]))
    if world.rank == 1:
        trained.pipeline.ends[0].forget()
    found["one end forgot"] = _known(lambda: trained.step(BATCHES[0]))
    return found


def broken(world: World, how: str) -> Any:
    """A step in which rank 1 fails in some way; the others must hear of it."""
    trained = Trained(world, "fw=4,bw=8")
    trained.epoch()
    if world.rank == 1:
        stage = trained.pipeline.stages[0]
        if how == "dies":
            stage.submod.register_forward_pre_hook(lambda *_: os._exit(3))
        elif how == "is slow":
            stage.submod.register_forward_pre_hook(lambda *_: time.sleep(60))
        elif how == "raises":
            stage.submod.register_forward_pre_hook(lambda *_: 1 / 0)
        else:
            read = stage._read

            def spoil(receiver: Any, chunk: int, blob: Tensor, buffer: Tensor) -> None:
                blob[len(blob) // 2] ^= 64
                read(receiver, chunk, blob, buffer)

            stage._read = spoil  # type: ignore[method-assign]
    return trained.epoch()


def resumed(world: World, folder: str) -> dict[str, Any]:
    """Four epochs in one go, and two, a checkpoint, and two more by fresh objects."""
    compression = "fw=4,bw=4,rounding=stochastic"
    whole = Trained(world, compression)
    losses = [loss for _ in range(4) for loss in whole.epoch()]
    begun = Trained(world, compression)
    for _ in range(2):
        begun.epoch()
    save_checkpoint(folder, begun.pipeline, {"optimizer": begun.optimizer.state_dict(), "epoch": 2})
    found: dict[str, Any] = {"whole": (losses[4:], whole.weights(), whole.digests())}
    for name in ("resumed", "without buffers"):
        if name == "without buffers" and world.rank == 1:
            for path in Path(folder).glob("step-*/rank1/cut0-receiver/*"):
                path.unlink()
        later = Trained(world, compression)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state = load_checkpoint(folder, later.pipeline)
        later.optimizer.load_state_dict(state["optimizer"])
        seen = [bool(end.store.seen([0])[0]) for end in later.pipeline.ends if end.store is not None]
        again = [loss for _ in range(2) for loss in later.epoch()]
        found[name] = (again, later.weights(), later.digests())
        found[f"{name}, seen"] = seen
        found[f"{name}, words"] = [str(one.message) for one in caught]
    found["epoch"] = state["epoch"]
    return found


def reviewed(world: World, folder: str) -> dict[str, Any]:
    """Two bits that are too few, raised after an epoch, and the same by objects that begin from a checkpoint."""
    found: dict[str, Any] = {}
    trained = Trained(world, "fw=2,bw=8,group=32,max_error=0.3")
    reports = []
    for epoch in range(3):
        if epoch == 2:
            save_checkpoint(folder, trained.pipeline, {})
        trained.epoch()
        reports.append([report._asdict() for report in trained.pipeline.review()])
    found["reports"], found["digests"], found["weights"] = reports, trained.digests(), trained.weights()
    again = Trained(world, "fw=2,bw=8,group=32,max_error=0.3")
    load_checkpoint(folder, again.pipeline)
    found["bits"] = [end.bits for end in again.pipeline.ends]
    again.epoch()
    found["again"] = [report._asdict() for report in again.pipeline.review()], again.weights()
    plain = Trained(world)
    found["without codecs"] = plain.pipeline.review()
    return found


def read_ahead(world: World, folder: str) -> dict[str, Any]:
    """Three epochs with buffers on disk, each batch's rows asked for before the step of the batch before."""
    trained = Trained(world, "fw=4,bw=8", folder=str(Path(folder) / f"rank{world.rank}"))
    (end,) = trained.pipeline.ends
    assert end.store is not None
    losses, counts = [], []
    for _ in range(3):
        for batch, coming in zip(BATCHES, (BATCHES[1], BATCHES[0]), strict=True):
            trained.pipeline.prefetch(torch.tensor(list(coming)))
            losses.append(trained.step(batch))
        counts.append((end.store.ahead.taken, end.store.ahead.missed))
    file = Path(folder) / f"rank{world.rank}" / f"cut0-{'sender' if end.sends else 'receiver'}" / "messages.rows"
    found = {"losses": losses, "counts": counts, "sizes": (file.stat().st_size, end.nbytes)}
    end.store.close()
    return {**found, "weights": trained.weights()}


def grid(world: World, compression: str | None) -> dict[str, Any]:
    """Two pipelines of two stages, each on half of every batch."""
    mesh = make_mesh(world, 2)
    split = split_model(model(), 2, length=LENGTH)
    pipeline = Pipeline(
        split.stages,
        split.shapes,
        world,
        batch_size=4,
        micro_batches=2,
        group=mesh.group,
        replicas=mesh.replicas,
        compression=None if compression is None else Compression.parse(compression),
    )
    optimizer = torch.optim.SGD(pipeline.parameters(), lr=0.2)
    x, y, lengths = data()
    for _ in range(4):
        ids = torch.arange(8)[mesh.replica :: 2]
        target = y[ids]
        pipeline.step(
            x[ids],
            loss=lambda out, rows, target=target: F.cross_entropy(out, target[rows], reduction="sum") / 4,
            ids=ids,
            lengths=lengths[ids],
        )
        optimizer.step()
        optimizer.zero_grad()
    mine = [{key: value.clone() for key, value in one.state_dict().items()} for one in pipeline.modules]
    found: list[Any] = [None] * world.size
    dist.all_gather_object(found, mine)
    halves = [join_states([state for states in found[k : k + 2] for state in states]) for k in (0, 2)]
    return {"halves": halves, "bytes": pipeline.gradient_bytes_sent}


def two_ranks(world: World, folder: str) -> dict[str, Any]:
    """All that two ranks show, in one process group, since starting them is what takes time."""
    from lightning_ranks import copies_in_lightning, in_lightning  # imported here alone: it takes seconds

    return {
        "gpipe": train(world, "gpipe", 2),
        "interleaved": train(world, "interleaved", 4),
        "properties": properties(world),
        "straight through": straight_through(world),
        "contract": contract(world),
        "refusals": refusals(world),
        "resumed": resumed(world, f"{folder}/resumed"),
        "reviewed": reviewed(world, f"{folder}/reviewed"),
        "read ahead": read_ahead(world, f"{folder}/buffers"),
        "copies": copies_in_lightning(world, folder),
        "in lightning": in_lightning(world),  # the last, since its trainer takes the process group for its own
    }


def four_ranks(world: World) -> dict[str, Any]:
    """All that four ranks show."""
    return {"1f1b": train(world, "1f1b", 4), "plain": grid(world, None), "coded": grid(world, "fw=32,bw=32,dp=8")}
