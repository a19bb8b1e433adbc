"""The Lightning task: loss, metrics and optimiser around any `SequenceModel`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from seqkit.batch import Batch
from seqkit.models import SequenceModel
from seqkit.nn import ValueHead
from seqkit.tasks.param_groups import param_groups

__all__ = ["SequenceTask", "warmup_cosine"]


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """Factor on the learning rate: a line from 0 to 1 over the warm-up, then half a cosine down to 0.

    Args:
        step: Number of steps done.
        total: Number of steps of the whole training.
        warmup: Share of `total` spent rising.

    Example:
        >>> [round(warmup_cosine(s, total=10, warmup=0.2), 2) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = int(warmup * total)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))


class SequenceTask(L.LightningModule):
    """Trains a `SequenceModel` with Lightning: classification, regression or sequence targets.

    The loss is cross-entropy for classes and the mean squared error in units of the target's training standard
    deviation for values. Logged: `train_loss`, and for each other part `loss` with `accuracy`, or with `rmse` and
    `mae` in the target's units.

    Args:
        model: The model; its `info` says what the target is.
        learning_rate: Peak learning rate.
        ssm_learning_rate: Peak learning rate of A, B and dt; see `param_groups`.
        weight_decay: Decay of matrices outside the state-space parameters.
        warmup: Share of all steps spent rising to the peak.
        label_smoothing: Share of a class target spread over all classes.
        input_noise: Standard deviation of Gaussian noise added to training samples, in units of each channel's own.

    Example:
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4), info)
        >>> task = SequenceTask(model)
        >>> batch = Batch(torch.zeros(2, 8, 1), torch.tensor([0, 1]), torch.tensor([8, 5]))
        >>> bool(task.loss(batch)[0] > 0)
        True
    """

    def __init__(
        self,
        model: SequenceModel,
        *,
        learning_rate: float = 0.004,
        ssm_learning_rate: float | None = None,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        label_smoothing: float = 0.0,
        input_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["model"])
        self.model = model
        self.learning_rate = learning_rate
        self.ssm_learning_rate = ssm_learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.label_smoothing = label_smoothing
        self.input_noise = input_noise
        self.val_metrics = _metrics(model).clone(prefix="val_")
        self.test_metrics = _metrics(model).clone(prefix="test_")

    def forward(self, batch: Batch) -> Tensor:
        """Scores or values for a batch."""
        outputs: Tensor = self.model(batch.values, batch.lengths, timestamps=batch.timestamps)
        return outputs

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of a batch, with the outputs and targets that count (sequence targets lose their padding)."""
        if batch.target is None:
            raise ValueError("the batch has no target, so there is no loss; give data with targets")
        outputs, target = self(batch), batch.target
        if self.model.pool is None:
            inside = torch.arange(outputs.shape[1], device=outputs.device) < batch.lengths[:, None]
            outputs, target = outputs[inside], target[inside]
        if self.model.info.classes:
            return F.cross_entropy(outputs, target, label_smoothing=self.label_smoothing), outputs, target
        assert isinstance(self.model.head, ValueHead)  # without classes the builder gives no other head
        target = target.to(outputs.dtype).reshape(outputs.shape)
        return F.mse_loss(outputs / self.model.head.scale, target / self.model.head.scale), outputs, target

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; see `loss`."""
        if self.input_noise > 0:
            noise = torch.randn_like(batch.values) * self.model.input_norm.std
            batch = batch._replace(values=batch.values + self.input_noise * noise)
        loss, _, _ = self.loss(batch)
        if self.device.type == "cpu" and not torch.isfinite(loss):
            raise FloatingPointError(self._explain_divergence())
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.values))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs loss and metrics of the validation part."""
        self._evaluate(batch, self.val_metrics, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs loss and metrics of the test part."""
        self._evaluate(batch, self.test_metrics, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities, or values in the target's units."""
        outputs = self(batch)
        return outputs.softmax(dim=-1) if self.model.info.classes else outputs

    def on_train_epoch_end(self) -> None:
        """On an accelerator a loss that is not finite is only looked for once an epoch: looking stalls the queue."""
        loss = self.trainer.callback_metrics.get("train_loss")
        if loss is not None and not torch.isfinite(loss):
            raise FloatingPointError(self._explain_divergence())

    def configure_optimizers(self) -> Any:
        """AdamW over `param_groups`, with warm-up and cosine decay over the whole training."""
        groups = param_groups(
            self.model,
            learning_rate=self.learning_rate,
            ssm_learning_rate=self.ssm_learning_rate,
            weight_decay=self.weight_decay,
        )
        optimizer = torch.optim.AdamW(groups)
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, int(total), self.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuses a checkpoint of another model with a sentence instead of a list of missing keys."""
        mine, theirs = set(self.state_dict()), set(checkpoint["state_dict"])
        if mine != theirs:
            odd = sorted(mine ^ theirs)[0]
            raise ValueError(f"the checkpoint is of another model (it differs in {odd}); resume with its own config")

    def _evaluate(self, batch: Batch, metrics: MetricCollection, part: str) -> None:
        loss, outputs, target = self.loss(batch)
        self.log(f"{part}_loss", loss, on_epoch=True, batch_size=len(batch.values))
        metrics.update(outputs.float(), target)
        self.log_dict(dict(metrics.items()), on_epoch=True, batch_size=len(batch.values))

    def _explain_divergence(self) -> str:
        names = [name for name, p in self.model.named_parameters() if not bool(torch.isfinite(p).all())]
        where = f"parameter {names[0]} is not finite" if names else "all parameters are still finite"
        return (
            f"the training loss became NaN or infinite in epoch {self.current_epoch} ({where}); "
            "lower learning_rate, set gradient_clip, or check the data for extreme values"
        )


def _metrics(model: SequenceModel) -> MetricCollection:
    metrics: dict[str, Metric]
    if model.info.classes:
        metrics = {"accuracy": MulticlassAccuracy(len(model.info.classes), average="micro")}
    else:
        n = model.info.n_targets
        metrics = {"rmse": MeanSquaredError(squared=False, num_outputs=n), "mae": MeanAbsoluteError(num_outputs=n)}
        if n == 1:
            metrics = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()}
    return MetricCollection(metrics)  # type: ignore[arg-type]
