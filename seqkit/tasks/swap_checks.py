"""What stands between a Lightning training and layers that are replaced in it: checkpoints, and averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L

__all__ = ["CheckpointFollower", "check_averaging"]

AVERAGING = {"StochasticWeightAveraging", "WeightAveraging"}
"""Callbacks that copy the model when training starts and average each weight with that of the copy."""

HOOK = "on_load_checkpoint"


class CheckpointFollower:
    """Stands before a module's own `on_load_checkpoint`, the last that runs before weights are loaded, for one call.

    A module that is copied or pickled meanwhile takes along its own hook alone.

    Args:
        module: The module.
        follow: Takes the module and a checkpoint, and gives the layers the form that they have in it.
        load: What stood there before; the module's own hook if None.

    Example:
        >>> module = L.LightningModule()
        >>> CheckpointFollower.attach(module, lambda module, checkpoint: print("seen"))
        >>> module.on_load_checkpoint({})
        seen
        >>> module.on_load_checkpoint({})
    """

    def __init__(
        self,
        module: L.LightningModule,
        follow: Callable[[L.LightningModule, dict[str, Any]], None] | None = None,
        load: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.module, self.follow, self.load = module, follow, load

    @classmethod
    def attach(cls, module: L.LightningModule, follow: Callable[[L.LightningModule, dict[str, Any]], None]) -> None:
        """Puts one before what is there."""
        object.__setattr__(module, HOOK, cls(module, follow, module.on_load_checkpoint))

    @staticmethod
    def detach(module: L.LightningModule) -> None:
        """Takes away all that stand there."""
        module.__dict__.pop(HOOK, None)

    def __call__(self, checkpoint: dict[str, Any]) -> None:
        """Follows, then loads."""
        self.detach(self.module)
        if self.follow is not None:
            self.follow(self.module, checkpoint)
        (self.load or self.module.on_load_checkpoint)(checkpoint)

    def __reduce__(self) -> tuple[type[CheckpointFollower], tuple[L.LightningModule]]:
        """A copy knows its module alone."""
        return type(self), (self.module,)


def check_averaging(trainer: L.Trainer, callback: L.Callback, *, at_start: bool, in_setup: bool) -> None:
    """Refuses callbacks that would average the weights of a layer with those of another that it replaced.

    Args:
        trainer: The trainer.
        callback: The one that replaces layers.
        at_start: Whether it does so before training alone.
        in_setup: Whether it replaces layers in its `setup`, where others copy the model.

    Raises:
        ValueError: one that averages, with a replacement in training, or before the callback.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for place, other in enumerate(callbacks):
        if AVERAGING.isdisjoint(one.__name__ for one in type(other).__mro__):
            continue
        name, mine = type(other).__name__, type(callback).__name__
        if not at_start:
            raise ValueError(
                f"`callbacks` must not hold {name} where {mine} replaces layers in training, as it averages over "
                "weights from before; leave one of them out"
            )
        if in_setup and place < callbacks.index(callback):
            raise ValueError(f"`callbacks` must hold {mine} before {name}, which copies the model; change their order")
