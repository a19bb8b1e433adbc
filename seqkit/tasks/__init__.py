"""Training: the Lightning task and callbacks, parameter groups, settings and the run folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seqkit.checks import missing_extra
from seqkit.tasks.config import TrainingConfig
from seqkit.tasks.param_groups import param_groups
from seqkit.tasks.run_folder import RunFolder

if TYPE_CHECKING:
    from seqkit.tasks.monarch_schedule import MonarchSchedule
    from seqkit.tasks.operation_schedule import OperationSchedule
    from seqkit.tasks.task import SequenceTask

__all__ = ["MonarchSchedule", "OperationSchedule", "RunFolder", "SequenceTask", "TrainingConfig", "param_groups"]

LATE = {
    "MonarchSchedule": "seqkit.tasks.monarch_schedule",
    "OperationSchedule": "seqkit.tasks.operation_schedule",
    "SequenceTask": "seqkit.tasks.task",
}


def __getattr__(name: str) -> Any:
    """Imports what needs Lightning on first use; parameter groups and run folders do not."""
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(LATE[name]), name)
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "lightning", "train", "Training") from error
