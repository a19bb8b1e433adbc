"""What travels between data, models and tasks: a batch of series, and what a data set says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # for the types only: what a data set says of itself must not wait for torch
    from torch import Tensor

__all__ = ["Batch", "DataInfo", "TaskKind"]

TaskKind = Literal["classification", "regression", "sequence"]


class Batch(NamedTuple):
    """A padded batch of series.

    Args:
        values: Samples, (B, L, C), float32. What lies past a series' length is padding and means nothing.
        target: Class numbers (B,) int64 for classification, values (B, T) for regression, or one value per
            sample, (B, L, T) floats or (B, L) class numbers, for sequence targets. None when predicting.
        lengths: Number of samples of each series, (B,), int64, at least 1.
        timestamps: Time of each sample in seconds, (B, L), or None for evenly spaced samples.
        observed: Which values were observed, bool, (B, L, C), False past the end; None where the set has no gaps.
            `values` is 0 where nothing was observed.

    Example:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 5, 1), torch.tensor([0, 1]), torch.tensor([5, 3]))
        >>> batch.timestamps is None
        True
    """

    values: Tensor
    target: Tensor | None
    lengths: Tensor
    timestamps: Tensor | None = None
    observed: Tensor | None = None


@dataclass(frozen=True)
class DataInfo:
    """What a data set holds, known without loading it.

    Args:
        name: Name in the registry, or the file or folder it came from.
        task: Kind of target: one class per series, values per series, or one target per sample.
        n_channels: Channels C of a sample.
        classes: Class labels in the order of their numbers; empty when the target is a number.
        n_targets: Number of predicted values T; 1 unless a regression has several.
        sample_rate: Samples per second (Hz), or None where the set has no unit of time.
        max_length: Longest series in samples, where known.
        channels: Names of the channels, where they have names.
        missing: Whether training series have missing values.
        targets: Names of the predicted values, where they have names.

    Example:
        >>> DataInfo("pulse", "classification", n_channels=1, classes=("rest", "run")).n_outputs
        2
    """

    name: str
    task: TaskKind
    n_channels: int
    classes: tuple[str, ...] = ()
    n_targets: int = 1
    sample_rate: float | None = None
    max_length: int | None = None
    channels: tuple[str, ...] = ()
    missing: bool = False
    targets: tuple[str, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Width of a model's output: one score per class, or one number per predicted value."""
        return len(self.classes) if self.classes else self.n_targets
