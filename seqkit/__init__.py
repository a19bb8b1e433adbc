"""seqkit: time series and sequences with HiPPO memory and linear state-space layers.

Names are imported on first use, so that `import seqkit` is quick and needs no optional package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqkit.batch import Batch, DataInfo
    from seqkit.estimators import (
        HiPPOFeaturesClassifier,
        HiPPOFeaturesRegressor,
        HiPPOTransformer,
        LSSLClassifier,
        LSSLForecaster,
        LSSLRegressor,
    )
    from seqkit.hippo import HiPPOMemory
    from seqkit.models import ModelConfig, SequenceModel
    from seqkit.models import load_model as load
    from seqkit.runs import RunConfig, compare, evaluate, predict, train
    from seqkit.ssm import LMU, LSSL, S4, S4D, HiPPORNN
    from seqkit.streaming import Stream, StreamPool
    from seqkit.tasks import TrainingConfig, param_groups
    from seqkit.tune import tune_cpu

from seqkit.version import __version__

__all__ = [
    "LMU",
    "LSSL",
    "S4",
    "S4D",
    "Batch",
    "DataInfo",
    "HiPPOFeaturesClassifier",
    "HiPPOFeaturesRegressor",
    "HiPPOMemory",
    "HiPPORNN",
    "HiPPOTransformer",
    "LSSLClassifier",
    "LSSLForecaster",
    "LSSLRegressor",
    "ModelConfig",
    "RunConfig",
    "SequenceModel",
    "Stream",
    "StreamPool",
    "TrainingConfig",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "param_groups",
    "predict",
    "train",
    "tune_cpu",
]

_HOMES = {
    "HiPPORNN": ("seqkit.ssm", "HiPPORNN"),
    "LMU": ("seqkit.ssm", "LMU"),
    "LSSL": ("seqkit.ssm", "LSSL"),
    "S4": ("seqkit.ssm", "S4"),
    "S4D": ("seqkit.ssm", "S4D"),
    "Batch": ("seqkit.batch", "Batch"),
    "DataInfo": ("seqkit.batch", "DataInfo"),
    "HiPPOFeaturesClassifier": ("seqkit.estimators", "HiPPOFeaturesClassifier"),
    "HiPPOFeaturesRegressor": ("seqkit.estimators", "HiPPOFeaturesRegressor"),
    "HiPPOMemory": ("seqkit.hippo", "HiPPOMemory"),
    "HiPPOTransformer": ("seqkit.estimators", "HiPPOTransformer"),
    "LSSLClassifier": ("seqkit.estimators", "LSSLClassifier"),
    "LSSLForecaster": ("seqkit.estimators", "LSSLForecaster"),
    "LSSLRegressor": ("seqkit.estimators", "LSSLRegressor"),
    "ModelConfig": ("seqkit.models", "ModelConfig"),
    "RunConfig": ("seqkit.runs", "RunConfig"),
    "SequenceModel": ("seqkit.models", "SequenceModel"),
    "Stream": ("seqkit.streaming", "Stream"),
    "StreamPool": ("seqkit.streaming", "StreamPool"),
    "TrainingConfig": ("seqkit.tasks", "TrainingConfig"),
    "compare": ("seqkit.runs", "compare"),
    "evaluate": ("seqkit.runs", "evaluate"),
    "load": ("seqkit.models", "load_model"),
    "param_groups": ("seqkit.tasks", "param_groups"),
    "predict": ("seqkit.runs", "predict"),
    "train": ("seqkit.runs", "train"),
    "tune_cpu": ("seqkit.tune", "tune_cpu"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqkit' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names."""
    return sorted(__all__)
