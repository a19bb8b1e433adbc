"""What a training would take: one batch forward and backward, measured."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module, describe_data, keep_windows
from seqkit.runs.inference import pick_device, to_device
from seqkit.runs.steps import fit_step_sizes
from seqkit.runs.training import build_model
from seqkit.tasks.task import SequenceTask

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """What a configuration would take.

    Args:
        config: Resolved configuration.
        data: What the data hold, in words.
        n_parameters: Trained parameters.
        n_series: Series of each part.
        steps: Optimiser steps of the whole training.
        seconds_per_step: Median time of a forward and backward pass.
        seconds: Time of all steps; evaluation comes on top.
        memory_mib: Weights, gradients, optimiser state and what the backward pass keeps of one batch, MiB.
        device: Where it was measured.
    """

    config: RunConfig
    data: str
    n_parameters: int
    n_series: dict[str, int]
    steps: int
    seconds_per_step: float
    seconds: float
    memory_mib: float
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "config": self.config.to_dict()}


def estimate(config: RunConfig, *, offline: bool = False) -> Estimate:
    """Measures three steps on a batch of the longest training series and extrapolates; nothing is written.

    Args:
        config: What to run.
        offline: Fetch nothing.

    Raises:
        FileNotFoundError: the data are not there.
        ValueError: unusable data or settings.
    """
    module = build_data_module(config, offline=offline)
    config = fit_step_sizes(keep_windows(config, module), module)
    device = pick_device(config.training.device, config.training.precision)
    task = SequenceTask(build_model(config, module)).to(device)
    train = module.sets["train"]
    longest = sorted(range(len(train)), key=lambda i: -int(train.lengths[i]))
    batch = to_device(next(iter(module.loader(train.select(longest[: config.data.batch_size])))), device)
    kept: dict[tuple[int, int], int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr(), storage.nbytes()] = storage.nbytes()
        return tensor

    times = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(3):
            kept.clear()  # a later step lies in the same memory
            began = time.perf_counter()
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = task.loss(batch)[0]
            torch.autograd.backward(loss)
            if device.type == "cuda":  # otherwise only the queueing would be timed
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
    n_parameters = task.model.n_parameters
    steps = config.training.epochs * len(module.train_dataloader())
    seconds_per_step = sorted(times)[1]
    return Estimate(
        config=config,
        data=describe_data(module),
        n_parameters=n_parameters,
        n_series={part: len(series) for part, series in module.sets.items()},
        steps=steps,
        seconds_per_step=seconds_per_step,
        seconds=steps * seconds_per_step,
        memory_mib=(16 * n_parameters + sum(kept.values())) / 2**20,
        device=str(device),
    )
