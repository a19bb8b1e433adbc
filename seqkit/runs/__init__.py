"""Runs: data, model and training joined from one configuration, with evaluation and prediction."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seqkit.checks import missing_extra
from seqkit.runs.config import DataConfig, RunConfig
from seqkit.runs.settings import parse_settings

if TYPE_CHECKING:
    from seqkit.runs.comparison.comparing import Comparison, compare
    from seqkit.runs.distill_run import train_distilled
    from seqkit.runs.evaluation import evaluate
    from seqkit.runs.prediction import predict
    from seqkit.runs.result import Evaluation, TrainResult
    from seqkit.runs.training import train
    from seqkit.runs.tuning.tuning import Tuned, tune

__all__ = [
    "Comparison",
    "DataConfig",
    "Evaluation",
    "RunConfig",
    "TrainResult",
    "Tuned",
    "compare",
    "evaluate",
    "parse_settings",
    "predict",
    "train",
    "train_distilled",
    "tune",
]

_HOMES = {
    "Comparison": "comparison.comparing",
    "Evaluation": "result",
    "TrainResult": "result",
    "Tuned": "tuning.tuning",
    "compare": "comparison.comparing",
    "evaluate": "evaluation",
    "predict": "prediction",
    "train": "training",
    "train_distilled": "distill_run",
    "tune": "tuning.tuning",
}


def __getattr__(name: str) -> Any:
    """Imports what needs Lightning on first use; configurations do not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("lightning", "torchmetrics"):
            raise
        raise missing_extra("lightning", "train", f"`{name}`") from error
    globals()[name] = value
    return value
