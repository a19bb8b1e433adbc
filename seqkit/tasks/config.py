"""Settings of a training as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from seqkit.checks import check_choice, check_not_negative, check_positive, check_positive_int, check_unit_interval

__all__ = ["PRECISIONS", "TrainingConfig"]

PRECISIONS = ("32", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        epochs: Passes over the training part.
        learning_rate: Peak learning rate of AdamW.
        ssm_learning_rate: Peak learning rate of A, B and dt; `min(learning_rate, 0.001)` if None.
        weight_decay: Decay of matrices outside the state-space parameters.
        warmup: Share of all steps over which the learning rate rises from 0; it then falls along a cosine.
        gradient_clip: Largest norm of the gradient; None for no limit.
        label_smoothing: Share of a class target spread over all classes, in [0, 1).
        input_noise: Standard deviation of Gaussian noise added to training samples, in units of each channel's own.
        patience: Epochs without a better validation loss after which training stops; None to run them all.
        checkpoint_steps: Steps after which a checkpoint is written within an epoch too, to resume from there; None for
            after each epoch only.
        keep: Weights kept at the end: of the "best" epoch by validation loss, or of the "last" one.
        precision: "32", "bf16-mixed" or "16-mixed"; state-space parameters and states stay in float32.
        device: "auto", "cpu" or "cuda".

    Raises:
        ValueError: a value out of range; the sentence names it.

    Example:
        >>> TrainingConfig(epochs=5).keep
        'best'
    """

    epochs: int = 50
    learning_rate: float = 0.004
    ssm_learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.1
    gradient_clip: float | None = 1.0
    label_smoothing: float = 0.0
    input_noise: float = 0.0
    patience: int | None = 20
    checkpoint_steps: int | None = None
    keep: str = "best"
    precision: str = "32"
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuses values out of range, each with its name."""
        check_positive_int("epochs", self.epochs)
        check_positive("learning_rate", self.learning_rate)
        if self.ssm_learning_rate is not None:
            check_positive("ssm_learning_rate", self.ssm_learning_rate)
        check_not_negative("weight_decay", self.weight_decay)
        check_unit_interval("warmup", self.warmup)
        if self.gradient_clip is not None:
            check_positive("gradient_clip", self.gradient_clip)
        check_unit_interval("label_smoothing", self.label_smoothing)
        check_not_negative("input_noise", self.input_noise)
        if self.patience is not None:
            check_positive_int("patience", self.patience)
        if self.checkpoint_steps is not None:
            check_positive_int("checkpoint_steps", self.checkpoint_steps)
        check_choice("keep", self.keep, ("best", "last"))
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
