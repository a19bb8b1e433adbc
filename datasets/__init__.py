"""Readers of data sets and of people's own files, and the Lightning data modules over them."""

from __future__ import annotations

if __name__ != "seqkit.datasets":
    raise ImportError(f"this folder is the package seqkit.datasets, not {__name__}; write `import seqkit.datasets`")

import importlib
from typing import TYPE_CHECKING, Any

from seqkit.checks import missing_extra
from seqkit.datasets.registry import get_source, register_source, source_names, source_options
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source

if TYPE_CHECKING:
    from seqkit.datasets.batching import loader
    from seqkit.datasets.module import SeriesDataModule
    from seqkit.datasets.order import EpochBatches
    from seqkit.datasets.targets import encode_targets

__all__ = [
    "EpochBatches",
    "SeriesDataModule",
    "SeriesSet",
    "Source",
    "encode_targets",
    "get_source",
    "loader",
    "register_source",
    "source_names",
    "source_options",
]

# Listing data sets must not wait for torch or Lightning.
_HOMES = {
    "EpochBatches": "seqkit.datasets.order",
    "SeriesDataModule": "seqkit.datasets.module",
    "encode_targets": "seqkit.datasets.targets",
    "loader": "seqkit.datasets.batching",
}


def __getattr__(name: str) -> Any:
    """Imports what needs torch or Lightning on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "lightning":
            raise
        raise missing_extra("lightning", "train", "SeriesDataModule") from error
