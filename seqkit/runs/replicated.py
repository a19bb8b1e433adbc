"""The training of a run by copies that share each batch, through Lightning's DDP."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from seqkit.batch import Batch
from seqkit.datasets.module import SeriesDataModule
from seqkit.distributed import Compression, EFGradHook, World
from seqkit.distributed.lightning_task import CompressGradients
from seqkit.models import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.fitting import fit_task
from seqkit.runs.loss_share import count_targets
from seqkit.runs.parallel_config import ParallelConfig
from seqkit.runs.resume import read_checkpoint
from seqkit.tasks.callbacks import Checkpoint, History, Progress, SeededSteps
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.run_folder import RunFolder
from seqkit.tasks.task import SequenceTask

__all__ = ["ReplicaTask", "train_replicated"]


class ReplicaTask(SequenceTask):
    """A task of which each process trains on every `ranks`-th series of a batch.

    Gradients are averaged over the processes; each loss is weighted so that the average is the gradient of the whole
    batch's loss, whatever the batch.

    Args:
        model: As in `SequenceTask`.
        rank: Number of this process.
        ranks: Number of processes.
        options: As in `SequenceTask`.
    """

    def __init__(self, model: SequenceModel, *, rank: int, ranks: int, **options: Any) -> None:
        super().__init__(model, **options)
        self.rank, self.ranks = rank, ranks

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on this process's part of the batch."""
        info = self.model.info
        # A batch with fewer series than processes leaves some with a row that weighs nothing.
        empty = self.rank >= len(batch.lengths)
        rows = slice(0, 1) if empty else slice(self.rank, None, self.ranks)
        mine = Batch(*(cast("Tensor", None if one is None else one[rows]) for one in batch))
        share = 0.0 if empty else self.ranks * count_targets(info, mine.lengths) / count_targets(info, batch.lengths)
        return share * super().training_step(mine, batch_idx)


def train_replicated(
    config: RunConfig,
    parallel: ParallelConfig,
    model: SequenceModel,
    module: SeriesDataModule,
    world: World,
    folder: RunFolder,
    line: ProgressLine,
) -> tuple[SequenceModel, History, dict[str, Any]]:
    """Trains on this rank, from the last checkpoint if there is one.

    Returns:
        The model with the weights that the run keeps, its epochs, and what the messages took.
    """
    training = config.training
    task = ReplicaTask(
        model,
        rank=world.rank,
        ranks=world.size,
        learning_rate=training.learning_rate,
        ssm_learning_rate=training.ssm_learning_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        label_smoothing=training.label_smoothing,
        input_noise=training.input_noise,
    )
    hook = None
    if parallel.compress is not None:
        wanted = Compression.parse(parallel.compress)
        hook = EFGradHook(wanted.gradients, wanted.group)
    strategy = DDPStrategy(process_group_backend=torch.distributed.get_backend())
    history = History(training.patience)
    checkpoint = read_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else None
    if checkpoint is not None:
        history.load_state_dict(checkpoint["callbacks"][history.state_key])
    if not history.stopped and len(history.rows) < training.epochs:
        write = (lambda h: folder.write_metrics(h.rows)) if world.rank == 0 else None
        callbacks = [
            *([] if hook is None else [CompressGradients(hook)]),
            SeededSteps(config.seed * world.size + world.rank),
            history,
            Checkpoint(folder.checkpoint, history, on_epoch=write, every=training.checkpoint_steps),
            Progress(history, line),
        ]
        with world.watch.during("the training"):
            fit_task(
                task,
                epochs=training.epochs,
                callbacks=callbacks,
                datamodule=module,
                device=training.device,
                precision=training.precision,
                gradient_clip=training.gradient_clip,
                root=folder.path,
                resume_from=folder.checkpoint if checkpoint is not None else None,
                strategy=strategy,
                processes=world.size,
            )
    elif checkpoint is not None:
        task.load_state_dict(checkpoint["state_dict"])
    if training.keep == "best":
        task.model.load_state_dict(history.best_weights)
    sent = {} if hook is None else {"gradient_bytes": hook.meter.bytes}
    return task.model, history, {**parallel.to_dict(), **sent}
