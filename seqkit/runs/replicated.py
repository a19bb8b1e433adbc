"""The training of a run by processes that share each batch, through Lightning: copies, or parts of one model."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor

from seqkit.datasets.module import SeriesDataModule
from seqkit.distributed import Compression, EFGradHook, World
from seqkit.distributed.lightning_task import CompressGradients
from seqkit.models import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.fitting import fit_task
from seqkit.runs.parallel_config import ParallelConfig
from seqkit.runs.replica_task import ReplicaTask
from seqkit.runs.resume import read_checkpoint
from seqkit.runs.sharded import ShardedHistory, ShardedTask, sharded_strategy, whole_weights
from seqkit.tasks.callbacks import Checkpoint, History, Progress, SeededSteps
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.run_folder import RunFolder

__all__ = ["train_replicated"]


def train_replicated(
    config: RunConfig,
    parallel: ParallelConfig,
    model: SequenceModel,
    module: SeriesDataModule,
    world: World,
    folder: RunFolder,
    line: ProgressLine,
) -> tuple[dict[str, Tensor], History, dict[str, Any]]:
    """Trains on this rank, from the last checkpoint if there is one.

    Returns:
        The weights that the run keeps, which count on rank 0, its epochs, and what the messages took.
    """
    training = config.training
    sharded = parallel.fsdp > 1
    task = (ShardedTask if sharded else ReplicaTask)(
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
    strategy: Strategy = DDPStrategy(process_group_backend=torch.distributed.get_backend())
    if sharded:
        strategy = sharded_strategy(world.size)
    history = (ShardedHistory if sharded else History)(training.patience)
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
    weights = history.best_weights if training.keep == "best" else whole_weights(task.model)
    sent = {} if hook is None else {"gradient_bytes": hook.meter.bytes}
    return weights, history, {**parallel.to_dict(), **sent}
