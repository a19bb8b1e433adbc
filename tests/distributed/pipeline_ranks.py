"""What the ranks of the pipeline tests do; a file of its own, since ranks are processes that import it."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.batch import DataInfo
from seqkit.distributed.compression import Compression
from seqkit.distributed.launch import World
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


def train(world: World, epochs: int, compression: str | None, schedule: str, n_stages: int) -> dict[str, Any]:
    trained = Trained(world, compression, schedule, n_stages)
    losses = [loss for _ in range(epochs) for loss in trained.epoch()]
    return {
        "losses": losses,
        "weights": trained.weights(),
        "digests": trained.digests(),
        "bytes": trained.pipeline.bytes_sent,
    }
