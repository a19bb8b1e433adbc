"""A Lightning callback that lets operations be trained after a warm-up."""

from __future__ import annotations

import lightning as L

from seqkit.checks import check_not_negative
from seqkit.structured.xd import freeze_operations, operation_layers, release_operations

__all__ = ["OperationSchedule"]


class OperationSchedule(L.Callback):
    """Keeps K, L and M of XD-operations frozen for some epochs, then trains them with the weights on the same loss.

    They are in the optimizer from the start, and its schedule goes on. While they are frozen and where they started,
    the network is computed as the convolutional one that it is.

    Args:
        warmup_epochs: Epochs with frozen operations.

    Raises:
        ValueError: a negative number, or, when training starts, a model without operations.

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798).

    Example:
        >>> callbacks = [OperationSchedule(warmup_epochs=2)]
    """

    def __init__(self, warmup_epochs: int = 0) -> None:
        check_not_negative("warmup_epochs", warmup_epochs)
        self.warmup_epochs = warmup_epochs

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Releases the operations, so that the optimizer about to be made takes them."""
        if stage == "fit":
            if not operation_layers(pl_module):
                raise ValueError(
                    "the model must hold operations for OperationSchedule, got none; "
                    "seqkit.structured.xd.patch_convolutions puts them in place of convolutions"
                )
            release_operations(pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sets what the epoch wants that a training begins or resumes in."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Freezes or releases."""
        if trainer.current_epoch < self.warmup_epochs:
            freeze_operations(pl_module)
        else:
            release_operations(pl_module)
