"""Callbacks of a fit: the time limit, plain functions of an epoch's metrics, and why a training stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning as L

from seqkit.estimators.base import is_true
from seqkit.tasks.callbacks import History
from seqkit.tasks.task import warmup_cosine

__all__ = ["CallFunctions", "TimeLimit"]

LATE = 0.25
"""Share of the time after which a training that is behind follows the clock: what happens before may be warming up."""

FAR_LATE = 3.0
"""How many times as much time as planned the first steps take where the training follows the clock at once."""


class TimeLimit(L.Callback):
    """Ends a training in time, with a learning rate that has come down by then.

    A training that is behind its schedule takes the learning rate of the time that has passed instead of that of the
    steps that are done. One step is always done.

    Args:
        seconds: Time for the training; infinite for no limit.
        warmup: Share of the schedule spent rising, as in the task.

    Example:
        >>> TimeLimit(60.0).reached
        False
    """

    def __init__(self, seconds: float, warmup: float = 0.1) -> None:
        self.seconds = seconds
        self.warmup = warmup
        self.reached = False
        self._began = self._step_began = time.monotonic()
        self._longest_check = 0.0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Lowers the learning rate to that of the time that has passed."""
        self._step_began = time.monotonic()
        self._follow_the_clock(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stops where one more step, and the look at the validation part after it, would take too long."""
        now = time.monotonic()
        if now - self._began + (now - self._step_began) + self._longest_check > self.seconds:
            done = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
            self.reached = not done
            trainer.should_stop = True
        self._follow_the_clock(trainer)

    def _follow_the_clock(self, trainer: L.Trainer) -> None:
        """Takes the learning rate of the time that has passed, where fewer steps are done than that."""
        total = trainer.estimated_stepping_batches
        passed, done = (time.monotonic() - self._began) / self.seconds, trainer.global_step / total
        far = trainer.global_step >= 10 and passed > FAR_LATE * done
        if passed > done and (passed > LATE or far):
            factor = warmup_cosine(int(min(1.0, passed) * total), int(total), self.warmup)
            for group in trainer.optimizers[0].param_groups:
                group["lr"] = group["initial_lr"] * factor

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock of the validation."""
        self._check_began = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remembers how long it takes."""
        self._longest_check = max(self._longest_check, time.monotonic() - self._check_began)


class CallFunctions(L.Callback):
    """Calls plain functions with each epoch's metrics.

    Args:
        functions: Each takes a dictionary of numbers, such as `epoch`, `train_loss` and `seconds`; True ends the
            training.
        history: The callback that keeps the metrics; it must come before this one.

    Example:
        >>> CallFunctions([print], History()).stopped
        False
    """

    def __init__(self, functions: list[Callable[[dict[str, float]], object]], history: History) -> None:
        self.functions = functions
        self.history = history
        self.stopped = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Calls them all."""
        for function in self.functions:
            if is_true(function(dict(self.history.rows[-1]))):
                self.stopped = trainer.should_stop = True
