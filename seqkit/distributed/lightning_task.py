"""A pipeline in Lightning's trainer: one trainer with one device on each rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqkit.checks import check_positive
from seqkit.distributed.gradient_hook import EFGradHook
from seqkit.distributed.pipeline import Pipeline

__all__ = ["CompressGradients", "PipelineTask"]


class PipelineTask(L.LightningModule):
    """Trains a `Pipeline` with Lightning, which drives epochs, callbacks, logging and checkpoints on each rank.

    Every rank runs a trainer of its own with the same batches in the same order; optimisation is manual, since a
    pipeline's schedule runs forward and backward itself. The loss is logged on the last stage's rank. A checkpoint is
    of one rank, so give each a folder of its own; message buffers are saved by `save_checkpoint`.

    Args:
        pipeline: This rank's part.
        loss: Called with outputs and target of some rows and the number of rows of the batch; gives these rows' share
            of the batch's loss.
        make_optimizer: Makes an optimiser of parameters.
        gradient_clip: Largest norm of the whole model's gradient; None for no limit.

    Raises:
        ValueError: `gradient_clip` is not positive.

    Example:
        >>> task = PipelineTask(pipeline, share, torch.optim.AdamW)  # doctest: +SKIP
        >>> L.Trainer(devices=1, max_epochs=3).fit(task, batches)  # of (inputs, target, ids)  # doctest: +SKIP
    """

    def __init__(
        self,
        pipeline: Pipeline,
        loss: Callable[[Tensor, Tensor, int], Tensor],
        make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        *,
        gradient_clip: float | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.pipeline = pipeline
        self.stages = nn.ModuleList(pipeline.modules)
        self.share = loss
        self.make_optimizer = make_optimizer
        self.gradient_clip = None if gradient_clip is None else check_positive("gradient_clip", gradient_clip)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        """One step of the pipeline and of the optimiser."""
        inputs, target, ids = batch
        loss = self.pipeline.step(
            inputs, loss=lambda out, rows: self.share(out, target[rows], len(ids)), ids=ids.to("cpu", torch.int64)
        )
        if self.gradient_clip is not None:
            self.pipeline.clip_gradients(self.gradient_clip)
        optimizer: Any = self.optimizers()
        optimizer.step()
        optimizer.zero_grad()
        if loss is not None:
            self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(ids))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of this rank's parameters."""
        return self.make_optimizer(self.pipeline.parameters())


class CompressGradients(L.Callback):
    """Lets the copies of Lightning's `DDPStrategy` exchange gradients in a few bits.

    The strategy has an argument for such hooks, which it ignores without CUDA; this serves gloo as well. What coding
    lost on each process is part of Lightning's checkpoints, so that a resumed training goes on bit for bit; for that
    each process must take part in `Trainer.save_checkpoint`, as Lightning asks for.

    Args:
        hook: How gradients are coded.

    Raises:
        TypeError: at the start of the training, for another strategy.

    Example:
        >>> L.Trainer(strategy="ddp", devices=2, callbacks=[CompressGradients(EFGradHook(8))])  # doctest: +SKIP
    """

    def __init__(self, hook: EFGradHook) -> None:
        self.hook = hook

    def state_dict(self) -> dict[str, Any]:
        """What coding lost so far on each process, in their order."""
        ranks: list[Any] = [self.hook.state_dict()]
        if dist.is_initialized():
            mine, ranks = ranks[0], [None] * dist.get_world_size()
            dist.all_gather_object(ranks, mine)
        return {"ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes this process's part of what `state_dict` gave.

        Raises:
            ValueError: another number of processes wrote it.
        """
        ranks = state_dict["ranks"]
        size, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        if len(ranks) != size:
            raise ValueError(
                f"the checkpoint must be of as many processes as train now, {size}, got one of {len(ranks)}; what "
                "coding lost on each belongs to it"
            )
        self.hook.load_state_dict(ranks[rank])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the hook into the copies' reduction."""
        model = trainer.strategy.model
        if not isinstance(model, DistributedDataParallel):
            raise TypeError(
                f"gradients are exchanged by DDP, and the model is {type(model).__name__}; use strategy='ddp'"
            )
        self.hook.register(model)
