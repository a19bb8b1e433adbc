"""A task through Lightning's trainer: quiet, with nothing written, and with Ctrl-C left to the caller."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from lightning.pytorch.strategies import Strategy

from seqkit.batch import Batch
from seqkit.runs.inference import pick_device
from seqkit.tasks.task import SequenceTask

__all__ = ["fit_task"]


def fit_task(
    task: SequenceTask,
    *,
    epochs: int,
    callbacks: Sequence[L.Callback],
    datamodule: L.LightningDataModule | None = None,
    train: Iterable[Batch] | None = None,
    validation: Iterable[Batch] | None = None,
    device: str = "auto",
    precision: str = "32",
    gradient_clip: float | None = 1.0,
    root: Path | None = None,
    resume_from: Path | None = None,
    strategy: str | Strategy = "auto",
    processes: int = 1,
) -> None:
    """Trains a task; its model is left with the weights of the last step, on the device it was trained on.

    Args:
        task: The task.
        epochs: Passes over the training batches at most.
        callbacks: What watches, records and stops; nothing else does.
        datamodule: Batches of both parts; or else `train` and `validation`.
        train: Training batches, where there is no data module.
        validation: Validation batches, if any.
        device: "auto", "cpu" or "cuda".
        precision: As in `TrainingConfig`.
        gradient_clip: Largest norm of the gradient; None for no limit.
        root: Folder that Lightning takes as its own; the working folder if None. Nothing is written there.
        resume_from: Checkpoint to go on from.
        strategy: Lightning's, where several processes train together.
        processes: How many; each of them calls this.

    Raises:
        KeyboardInterrupt: the user stopped it.
        FloatingPointError: the training diverged.
    """
    on_gpu = pick_device(device, precision).type == "cuda"
    with _quiet_lightning():
        trainer = L.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=processes,
            strategy=strategy,
            use_distributed_sampler=False,
            max_epochs=epochs,
            precision=precision,  # type: ignore[arg-type]
            gradient_clip_val=gradient_clip,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=root,
        )
        in_main_thread = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGINT)
        checkpoint = None if resume_from is None else str(resume_from)
        try:
            trainer.fit(task, train, validation, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as stop:
            # Lightning turns Ctrl-C into an exit of the whole process and leaves the signal ignored.
            raise KeyboardInterrupt("" if root is None else str(root)) from stop
        finally:
            if in_main_thread:
                signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Holds back words on hardware, loader workers and logging steps: decided here, not the user's to act on."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        logger.setLevel(level)
