"""What a training or an evaluation gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqkit.models import SequenceModel, load_model

__all__ = ["Evaluation", "TrainResult"]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a run on one part of its data or on a file.

    Args:
        run: Folder of the run.
        data: Data set or file.
        split: "train", "val", "test" or "all".
        metrics: By name: accuracy and loss, or rmse, mae and loss.
        n_series: Number of series.
        sample_rate: Samples per second that the model was told, or None for the training one.
        notes: What a reader should know, one sentence each.

    Example:
        >>> Evaluation("runs/vowels", "japanese_vowels", "test", {"accuracy": 0.99}, 370).metrics["accuracy"]
        0.99
    """

    run: str
    data: str
    split: str
    metrics: dict[str, float]
    n_series: int
    sample_rate: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Args:
        path: Its folder.
        metrics: Test metrics, or validation ones where the data have no test part.
        split: The part they were measured on.
        summary: Everything in summary.json.

    Example:
        >>> TrainResult(Path("runs/vowels"), {"accuracy": 0.99}, "test", {}).split
        'test'
    """

    path: Path
    metrics: dict[str, float]
    split: str
    summary: dict[str, Any] = field(repr=False)

    @property
    def model(self) -> SequenceModel:
        """The trained model, read from the folder."""
        return load_model(self.path)
