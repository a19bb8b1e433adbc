"""The task of a student: it learns from teachers in training and is measured on labels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from seqkit.batch import Batch
from seqkit.checks import check_choice, check_positive
from seqkit.distill import (
    CorrectedTarget,
    annealed_correction,
    brier,
    prefix_scores,
    soft_cross_entropy,
    squared_error,
)
from seqkit.distill.prefixes import answers_after_each_sample
from seqkit.models import SequenceModel
from seqkit.nn import ValueHead
from seqkit.tasks.task import SequenceTask

__all__ = ["LOSSES", "STEPS", "DistillTask"]

LOSSES = ("cross_entropy", "brier", "logits")
STEPS = ("auto", "all", "last")


class DistillTask(SequenceTask):
    """Trains a student on goals (B, 3, k), a teacher's value, the truth and its variance, as `TaughtDataModule` gives.

    With t = (1 - gamma) p + gamma y, gamma = c / (c + v), the loss of a class is

        cross_entropy   the cross-entropy with t; at another temperature that with p and its orthogonal correction
        brier           the squared error of the probabilities against t
        logits          the squared error of the scores against log p + gamma (y - p) / p, for whole series only

    and of values the squared error against t in units of the target's deviation. Validation and test are those of
    `SequenceTask`: labels at the end of a series. No teacher is part of the task; what they said is in the data.

    Args:
        model: The student.
        c: Weight of the correction; 0 for the teacher alone, infinity for the label alone (or the orthogonal target).
        loss: One of the three; values have one of their own and take "cross_entropy" for it.
        temperature: T of the cross-entropy.
        steps: "all" learns from the answer after every sample, which a stream gives; "last" from the end of the series.
            "auto" takes "all" where the loss is right for every prefix and the model's pooling has such answers.
        settings: Settings of `SequenceTask`.

    Raises:
        ValueError: an unknown name, a temperature of a loss that has none, or "all" with a loss or a pooling that is
            not right for a part of a series.

    Source:
        Dao et al. 2021 (arXiv:2104.09732); that only losses linear in the target suit every prefix, when the teacher
        saw the whole series, is the tower property.

    Example:
        >>> import torch
        >>> from seqkit.batch import DataInfo
        >>> from seqkit.models import ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4), info)
        >>> task = DistillTask(model, c=0.1)
        >>> goals = torch.tensor([[[0.7, 0.3], [1.0, 0.0], [0.2, 0.2]]])
        >>> bool(task.loss(Batch(torch.zeros(1, 8, 1), goals, torch.tensor([8])))[0] > 0)
        True
    """

    def __init__(
        self,
        model: SequenceModel,
        *,
        c: float = 0.0,
        loss: str = "cross_entropy",
        temperature: float = 1.0,
        steps: str = "auto",
        **settings: Any,
    ) -> None:
        super().__init__(model, **settings)
        check_choice("loss", loss, LOSSES)
        check_choice("steps", steps, STEPS)
        check_positive("temperature", temperature)
        classes = bool(model.info.classes)
        if temperature != 1 and (loss != "cross_entropy" or not classes):
            raise ValueError(f"`temperature` must be 1 for {loss if classes else 'values'}, got {temperature!r}")
        if loss != "cross_entropy" and not classes:
            raise ValueError(f"`loss` must be cross_entropy (the default) where values are learned, got {loss!r}")
        linear = loss != "logits" and temperature == 1
        if steps == "all" and not linear:
            raise ValueError(
                "`steps` must be last for a loss that is not linear in the target, for what a teacher says of a whole "
                "series is then wrong for a part of it; use cross_entropy at temperature 1, or brier"
            )
        every = linear and classes and answers_after_each_sample(model) if steps == "auto" else steps == "all"
        if every and not answers_after_each_sample(model):
            raise ValueError(f"`steps` must be last for pool {model.config.pool}; its models do not answer in between")
        self.goal = loss
        self.temperature = temperature
        self.every_step = every
        link = "log" if loss == "logits" else "identity"
        self.target_of = CorrectedTarget(link, "scalar" if classes and link == "identity" else "fast", c=c)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of a batch: against its goals where it has them, (B, 3, k), as in training, and labels otherwise."""
        goals = batch.target
        if goals is None or goals.dim() != 3 or self.model.pool is None:
            return super().loss(batch)
        if self.every_step:
            scores, inside = prefix_scores(self.model, batch)
            goals = goals[:, None].expand(-1, scores.shape[1], -1, -1)[inside]
            scores = scores[inside]
        else:
            scores = self(batch)
        p, y, v = goals.unbind(dim=-2)
        if not self.model.info.classes:
            assert isinstance(self.model.head, ValueHead)  # without classes the builder gives no other head
            scale = self.model.head.scale
            return 2 * squared_error(scores / scale, self.target_of(p, y, v) / scale) / p.shape[-1], scores, y
        if self.label_smoothing > 0:
            p, y = (one + self.label_smoothing * (1 / p.shape[-1] - one) for one in (p, y))
        return self._classes(scores, p, y), scores, y

    def _classes(self, scores: Tensor, p: Tensor, y: Tensor) -> Tensor:
        if self.goal == "logits":
            return squared_error(scores, self.target_of(p, y))
        if self.goal == "brier":
            return brier(scores, self.target_of(p, y))
        if self.temperature == 1:
            return soft_cross_entropy(scores, self.target_of(p, y))
        found = soft_cross_entropy(scores, p, temperature=self.temperature)
        if self.target_of.corrects:
            weight = self.target_of.weight(p)[..., :1]
            found = found + annealed_correction(scores, p, y, temperature=self.temperature, weight=weight)
        return found
