"""Copies of which each holds a part of the weights, by torch's fully sharded data parallelism under Lightning."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from seqkit.runs.replica_task import ReplicaTask
from seqkit.tasks.callbacks import History

__all__ = ["ShardedHistory", "ShardedTask", "sharded_strategy", "whole_weights"]


class ShardedTask(ReplicaTask):
    """A `ReplicaTask` whose weights, gradients and optimiser are spread over the processes.

    A block's weights are gathered for the time that it computes; the others' parts are let go again.

    Args:
        model: As in `SequenceTask`.
        rank: Number of this process.
        ranks: Number of processes.
        options: As in `SequenceTask`.
    """

    def configure_model(self) -> None:
        """Spreads the weights, each block's by themselves; Lightning calls it before the optimiser is made."""
        if any(isinstance(parameter, DTensor) for parameter in self.model.parameters()):
            return
        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        for module in (*self.model.backbone.blocks, self.model):
            spread: Any = fully_shard(module, mesh=mesh)
            if dist.get_backend() == "gloo":  # which has no reduction to the mean
                spread.set_force_sum_reduction_for_comms(True)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes what is no weight: Lightning has put those in their places and taken them out."""
        super().on_load_checkpoint({"state_dict": self.state_dict(), **checkpoint})


class ShardedHistory(History):
    """A history whose best weights are whole, and lie in the first process; the others keep their names alone."""

    @property
    def state_key(self) -> str:
        """Its name in a checkpoint: that of any run's history."""
        return History.__qualname__

    def weights_of(self, model: nn.Module) -> dict[str, Tensor]:
        """A copy of the weights; every process must call it."""
        whole = whole_weights(model)
        return whole if dist.get_rank() == 0 else {name: value[:0].clone() for name, value in whole.items()}


def sharded_strategy(ranks: int) -> ModelParallelStrategy:
    """Lightning's strategy for so many processes, with one file for a checkpoint."""
    return ModelParallelStrategy(
        data_parallel_size=ranks,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,
        process_group_backend=dist.get_backend(),
    )


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a model that is spread, gathered in memory; every process must call it."""
    found = {}
    for name, value in model.state_dict().items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        found[name] = whole.detach().cpu().clone()
    return found
