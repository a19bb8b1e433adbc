"""The Lightning task: loss, metrics and optimiser around any `SequenceModel`."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanMetric, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from seqkit.batch import Batch
from seqkit.checks import NotFiniteError, check_not_negative, check_positive, check_shape, check_unit_interval
from seqkit.models import SequenceModel
from seqkit.nn import ValueHead
from seqkit.tasks.param_groups import param_groups

__all__ = ["SequenceTask", "warmup_cosine"]


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """Factor on the learning rate: a line from 0 to 1 over the warm-up, then half a cosine down to 0.

        (s + 1) / w for s < w = floor(warmup * total),   (1 + cos(pi (s - w) / (total - w))) / 2 from then on

    Args:
        step: Number s of steps done.
        total: Number of steps of the whole training.
        warmup: Share of `total` spent rising, in [0, 1).

    Returns:
        Factor in [0, 1].

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
    deviation for values. Logged: `train_loss`, and for validation and test `loss` with `accuracy`, or with `rmse` and
    `mae` in the target's units, each a mean over the targets, whatever the batches.

    Any `Trainer` and any loader of `Batch`es will do; a script of your own sets the statistics of the inputs and
    targets first (`model.input_norm.set_statistics`, `model.head.set_statistics`). Without an end to the training
    (`max_epochs=-1`) the learning rates stay as they are given.

    Args:
        model: The model; its `info` says what the target is.
        learning_rate: Peak learning rate.
        ssm_learning_rate: Peak learning rate of A, B and dt; see `param_groups`.
        operation_learning_rate: Peak learning rate of K, L and M of XD-operations; `learning_rate` if None.
        weight_decay: Decay of matrices outside the state-space parameters.
        warmup: Share of all steps spent rising to the peak.
        label_smoothing: Share of a class target spread over all classes, in training only.
        input_noise: Standard deviation of Gaussian noise added to training samples, in units of each channel's own.
        class_weight: Weight of each class in the loss, in the order of `info.classes`; None for equal ones.
        front_end: What makes series of fewer, wider samples before the model, such as frames of sound
            (`seqkit.structured.KaleidoscopeFrontEnd`): called with values (B, L, C) and lengths, and with a method
            `output_lengths`. It learns with the model, at the learning rate of A, B and dt and without decay.

    Raises:
        ValueError: a setting out of range, weights that do not fit the classes, or a front end with input noise or
            before a model with a target for each sample.

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
        operation_learning_rate: float | None = None,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        label_smoothing: float = 0.0,
        input_noise: float = 0.0,
        class_weight: list[float] | None = None,
        front_end: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_positive("learning_rate", learning_rate)
        if ssm_learning_rate is not None:
            check_positive("ssm_learning_rate", ssm_learning_rate)
        if operation_learning_rate is not None:
            check_not_negative("operation_learning_rate", operation_learning_rate)
        check_not_negative("weight_decay", weight_decay)
        check_unit_interval("warmup", warmup)
        check_unit_interval("label_smoothing", label_smoothing)
        check_not_negative("input_noise", input_noise)
        if class_weight is not None:
            _check_class_weight(class_weight, len(model.info.classes))
        if front_end is not None and (model.pool is None or input_noise > 0):
            raise ValueError(
                "`front_end` must stand before a model with one target for a series and without input_noise, got "
                f"pool={model.config.pool if model.pool else None} and input_noise={input_noise}; change what it reads "
                "in the data instead"
            )
        self.save_hyperparameters(ignore=["model", "front_end"])
        self.model = model
        self.front_end: Any = front_end
        self.learning_rate = learning_rate
        self.ssm_learning_rate = ssm_learning_rate
        self.operation_learning_rate = operation_learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.label_smoothing = label_smoothing
        self.input_noise = input_noise
        self.class_weight = class_weight
        self.train_loss = MeanMetric(nan_strategy="disable")  # what stops at NaN is the step, with a sentence
        self.val_metrics = _metrics(model).clone(prefix="val_")
        self.test_metrics = _metrics(model).clone(prefix="test_")

    def forward(self, batch: Batch) -> Tensor:
        """Scores or values for a batch."""
        batch = self._read(batch)
        outputs: Tensor = self.model(batch.values, batch.lengths, timestamps=batch.timestamps, observed=batch.observed)
        return outputs

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of a batch.

        Returns:
            The loss, and the outputs and targets that count: sequence targets lose their padding.

        Raises:
            TypeError: something else than a `Batch`.
            ValueError: no target, or one that does not fit the model.
        """
        target = self._target(batch)
        outputs: Tensor = self(batch)
        if self.model.pool is None:
            inside = torch.arange(outputs.shape[1], device=outputs.device) < batch.lengths[:, None]
            outputs, target = outputs[inside], target[inside]
        if self.model.info.classes:
            smoothing = self.label_smoothing if self.training else 0.0
            weight = None if self.class_weight is None else outputs.new_tensor(self.class_weight)
            return F.cross_entropy(outputs, target, weight, label_smoothing=smoothing), outputs, target
        assert isinstance(self.model.head, ValueHead)  # without classes the builder gives no other head
        target = target.to(outputs.dtype)
        return F.mse_loss(outputs / self.model.head.scale, target / self.model.head.scale), outputs, target

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; see `loss`.

        Raises:
            FloatingPointError: the loss is NaN or infinite.
        """
        if self.input_noise > 0:
            noise = torch.randn_like(batch.values) * self.model.input_norm.std
            batch = batch._replace(values=batch.values + self.input_noise * noise)
        try:
            loss, _, target = self.loss(batch)
        except NotFiniteError as error:  # an operator inside the network met it before the loss did
            raise FloatingPointError(self._explain_divergence()) from error
        # An accelerator is only asked at the end of an epoch, before its checkpoint: asking stalls the queue.
        if (self.device.type == "cpu" or self.trainer.is_last_batch) and not torch.isfinite(loss):
            raise FloatingPointError(self._explain_divergence())
        self.train_loss.update(loss.detach(), len(target))
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_start(self) -> None:
        """Starts from fresh sums; an epoch resumed in its middle goes on with its own."""
        self.train_loss.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the sums of the epoch's loss."""
        checkpoint["train_loss"] = {
            key: torch.as_tensor(value).cpu() for key, value in self.train_loss.metric_state.items()
        }

    def on_validation_epoch_start(self) -> None:
        """Starts from fresh sums: `Trainer.fit` cannot add to those that `Trainer.validate` left in inference mode."""
        self.val_metrics.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs loss and metrics of the validation part.

        Raises:
            FloatingPointError: an operator met NaN or infinite values: the last steps of the epoch diverged.
        """
        try:
            self._evaluate(batch, self.val_metrics, "val")
        except NotFiniteError as error:
            raise FloatingPointError(self._explain_divergence("validation")) from error

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs loss and metrics of the test part."""
        self._evaluate(batch, self.test_metrics, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities, or values in the target's units."""
        batch = self._read(batch)
        return self.model.predict(batch.values, batch.lengths, timestamps=batch.timestamps, observed=batch.observed)

    def configure_optimizers(self) -> Any:
        """AdamW over `param_groups`, with warm-up and cosine decay over the whole training."""
        groups = param_groups(
            self.model,
            learning_rate=self.learning_rate,
            ssm_learning_rate=self.ssm_learning_rate,
            operation_learning_rate=self.operation_learning_rate,
            weight_decay=self.weight_decay,
        )
        if self.front_end is not None and (own := [p for p in self.front_end.parameters() if p.requires_grad]):
            rate = min(self.learning_rate, 1e-3) if self.ssm_learning_rate is None else self.ssm_learning_rate
            groups.append({"name": "front end", "params": own, "lr": rate, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups)
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, int(total), self.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model with a sentence instead of a list of keys."""
        mine = {(name, value.shape) for name, value in self.state_dict().items()}
        theirs = {(name, value.shape) for name, value in checkpoint["state_dict"].items()}
        if mine != theirs:
            odd, _ = min(mine ^ theirs)
            raise ValueError(f"the checkpoint is of another model (it differs in {odd}); resume with its own config")
        for key, value in checkpoint.get("train_loss", {}).items():
            setattr(self.train_loss, key, value.to(self.train_loss.device))

    def _evaluate(self, batch: Batch, metrics: MetricCollection, part: str) -> None:
        loss, outputs, target = self.loss(batch)
        self.log(f"{part}_loss", loss, on_epoch=True, batch_size=len(target))
        metrics.update(outputs.float(), target)
        self.log_dict(dict(metrics.items()), on_epoch=True, batch_size=len(target))

    def _read(self, batch: Batch) -> Batch:
        """What the model reads: the batch as it is, or what the front end makes of it."""
        if self.front_end is None:
            return batch
        if batch.timestamps is not None or batch.observed is not None:
            raise ValueError(
                "a batch for a front end must be evenly spaced and without gaps, got timestamps or `observed`; "
                "resample and fill it first"
            )
        frames = self.front_end(batch.values, batch.lengths)
        return Batch(frames, batch.target, self.front_end.output_lengths(batch.lengths))

    def _target(self, batch: Batch) -> Tensor:
        """Targets as the loss takes them: class numbers int64, or values with one column per predicted one."""
        if not isinstance(batch, Batch):
            raise TypeError(
                f"a loader must give seqkit.Batch(values, target, lengths), got {type(batch).__name__}; "
                "build one in its collate_fn"
            )
        if batch.target is None:
            raise ValueError("the batch has no target, so there is no loss; give data with targets")
        info, target = self.model.info, batch.target
        each = batch.values.shape[:2] if self.model.pool is None else batch.values.shape[:1]
        if not info.classes:
            # One value per series may come without a column of its own.
            target = target[..., None] if info.n_targets == 1 and target.shape == each else target
            check_shape("target", target, (*each, info.n_targets), "one column per predicted value")
            return target
        check_shape("target", target, each, "one class number each")
        if target.is_floating_point():
            raise ValueError(f"`target` must be class numbers, got dtype {target.dtype}; use a regression for values")
        if target.device.type == "cpu":  # elsewhere looking would stall the queue
            self._check_classes(target, batch.lengths)
        return target.long()

    def _check_classes(self, target: Tensor, lengths: Tensor) -> None:
        if target.dim() > 1:
            target = target[torch.arange(target.shape[1]) < lengths[:, None]]
        count = len(self.model.info.classes)
        if bool(((target < 0) | (target >= count)).any()):
            low, high = int(target.min()), int(target.max())
            raise ValueError(f"`target` must be class numbers from 0 to {count - 1}, got values from {low} to {high}")

    def _explain_divergence(self, part: str = "training") -> str:
        names = [name for name, p in self.model.named_parameters() if not bool(torch.isfinite(p).all())]
        where = f"parameter {names[0]} is not finite" if names else "all parameters are still finite"
        return (
            f"the {part} loss became NaN or infinite in epoch {self.current_epoch + 1} ({where}); "
            "lower learning_rate, set gradient_clip, or check the data for extreme values"
        )


def _check_class_weight(weights: list[float], n_classes: int) -> None:
    if len(weights) != n_classes:
        raise ValueError(f"`class_weight` must hold one weight for each of {n_classes} classes, got {len(weights)}")
    for weight in weights:
        check_not_negative("class_weight", weight)
    if n_classes and not any(weights):
        raise ValueError("`class_weight` must hold a weight above 0, got zeros only; leave it out for equal ones")


def _metrics(model: SequenceModel) -> MetricCollection:
    metrics: dict[str, Metric]
    if model.info.classes:
        # Targets are checked in `loss`, in words of this toolkit.
        metrics = {"accuracy": MulticlassAccuracy(len(model.info.classes), average="micro", validate_args=False)}
    else:
        # Several predicted values count as one long row, as in the metrics of a finished run.
        metrics = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()}
    return MetricCollection(metrics)  # type: ignore[arg-type]
