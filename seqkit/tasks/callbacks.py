"""Lightning callbacks of a run: seeded steps, history with best weights and early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from seqkit.files import write_whole
from seqkit.tasks.progress import ProgressLine

__all__ = ["Checkpoint", "History", "Progress", "SeededSteps"]


class SeededSteps(L.Callback):
    """Makes dropout a function of (seed, step) and leaves the global generators as they were.

    Each training step runs with generators seeded for that step; so a resumed run draws what an unbroken one would
    have drawn, and nothing else in the process notices.

    Args:
        seed: Seed of the run.

    Example:
        >>> callbacks = [SeededSteps(seed=0), History(patience=10)]
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._outside: tuple[Tensor, Tensor | None] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keeps the global state and seeds this step."""
        # The batch counts too: with accumulated gradients several batches make one step.
        seed = ((self.seed * 1_000_003 + trainer.global_step) * 1_000_003 + batch_idx) % 2**63
        cpu, cuda = torch.get_rng_state(), None
        # Not torch.manual_seed, which would seed every accelerator while only this one is put back.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            cuda = torch.cuda.get_rng_state(pl_module.device)
            with torch.cuda.device(pl_module.device):
                torch.cuda.manual_seed(seed)
        self._outside = (cpu, cuda)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Puts the global state back."""
        self._restore(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Puts the global state back when a step breaks off."""
        self._restore(pl_module)

    def _restore(self, pl_module: L.LightningModule) -> None:
        if self._outside is not None:
            cpu, cuda = self._outside
            torch.set_rng_state(cpu)
            if cuda is not None:
                torch.cuda.set_rng_state(cuda, pl_module.device)
            self._outside = None


class History(L.Callback):
    """Keeps the metrics of every epoch and the best weights, and stops when nothing improves.

    All of it travels in the checkpoint, so that a resumed run goes on exactly where the last one stood.

    Args:
        patience: Epochs without a better validation loss after which training stops; None for never. Without a
            validation part the training loss counts.

    Example:
        >>> history = History(patience=10)
        >>> history.stopped, len(history.rows)
        (False, 0)
    """

    _KEPT = ("rows", "best_loss", "best_epoch", "best_weights", "stopped")

    def __init__(self, patience: int | None = None) -> None:
        self.patience = patience
        self.rows: list[dict[str, float]] = []
        self.best_loss = math.inf
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}
        self.stopped = False
        self._started = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock of an epoch that is resumed in its middle, which has no start of its own."""
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the epoch's clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Adds the epoch's row; keeps the weights if its validation loss is the lowest."""
        metrics = {key: float(value) for key, value in sorted(trainer.callback_metrics.items())}
        epoch = trainer.current_epoch
        rates = {f"lr_{group['name'].replace(' ', '_')}": group["lr"] for group in trainer.optimizers[0].param_groups}
        self.rows.append({"epoch": epoch, **metrics, **rates, "seconds": time.monotonic() - self._started})
        loss = metrics.get("val_loss", metrics.get("train_loss", math.inf))
        if not self.best_weights or loss < self.best_loss:
            # The first epoch counts whatever its loss, so that there always are best weights.
            self.best_loss, self.best_epoch = (loss if math.isfinite(loss) else math.inf), epoch
            self.best_weights = self.weights_of(pl_module.get_submodule("model"))
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.stopped = trainer.should_stop = True

    def weights_of(self, model: nn.Module) -> dict[str, Tensor]:
        """A copy of a model's weights in memory."""
        return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}

    def forget_best(self) -> None:
        """Lets the next epoch be the best whatever its loss: the model has changed, and older weights do not fit it."""
        self.best_loss, self.best_weights = math.inf, {}

    def state_dict(self) -> dict[str, Any]:
        """Everything above, as plain values and tensors."""
        return {key: getattr(self, key) for key in self._KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        for key in self._KEPT:
            setattr(self, key, state_dict[key])


class Checkpoint(L.Callback):
    """Writes a checkpoint after every epoch, and within epochs where asked to, whole or not at all.

    Args:
        path: The checkpoint; the one before is replaced.
        history: The callback that keeps the metrics; it must come before this one.
        on_epoch: Called with the history after the checkpoint of an epoch, to write what belongs to it.
        every: Steps after which a checkpoint is written within an epoch too; None for never.

    Example:
        >>> history = History()
        >>> callbacks = [history, Checkpoint(Path("run/last.ckpt"), history)]
    """

    def __init__(
        self,
        path: Path,
        history: History,
        on_epoch: Callable[[History], object] | None = None,
        every: int | None = None,
    ) -> None:
        self.path = path
        self.history = history
        self.on_epoch = on_epoch
        self.every = every

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes a checkpoint within the epoch; its last batch leaves that to the end of the epoch."""
        if self.every is not None and trainer.global_step % self.every == 0 and not trainer.is_last_batch:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the checkpoint."""
        self._write(trainer)
        if self.on_epoch is not None:
            self.on_epoch(self.history)

    def _write(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            write_whole(self.path, lambda path: trainer.save_checkpoint(path))
        else:
            trainer.save_checkpoint(self.path)  # takes part, and leaves the writing to the first process


class Progress(L.Callback):
    """Shows one line that moves on a terminal, and one line per epoch elsewhere.

    Args:
        history: The callback that keeps the metrics; it must come before this one.
        line: Where and how to show it.

    Example:
        >>> history = History()
        >>> callbacks = [history, Progress(history, ProgressLine(None))]
    """

    def __init__(self, history: History, line: ProgressLine) -> None:
        self.history = history
        self.line = line

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the line."""
        self.line.start(epochs=trainer.max_epochs or 1, done=trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the line."""
        batches = trainer.num_training_batches
        self.line.move(trainer.current_epoch + (batch_idx + 1) / max(1, batches))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Shows the epoch's metrics."""
        self.line.epoch(trainer.current_epoch, self.history.rows[-1])

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends the line."""
        self.line.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Ends the line so that the message stands alone."""
        self.line.stop()
