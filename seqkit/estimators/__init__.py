"""Estimators of sktime over the models: fit, predict, stream.

Names are imported on first use, so that what needs no sktime does not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seqkit.checks import missing_extra

if TYPE_CHECKING:
    from seqkit.estimators.classifier import LSSLClassifier
    from seqkit.estimators.feature_engine import FeatureStream
    from seqkit.estimators.features import HiPPOFeaturesClassifier, HiPPOFeaturesRegressor
    from seqkit.estimators.forecast_engine import ForecastStream
    from seqkit.estimators.forecaster import LSSLForecaster
    from seqkit.estimators.panel import panel_to_series
    from seqkit.estimators.regressor import LSSLRegressor
    from seqkit.estimators.saved import load_estimator
    from seqkit.estimators.transformer import HiPPOTransformer

__all__ = [
    "FeatureStream",
    "ForecastStream",
    "HiPPOFeaturesClassifier",
    "HiPPOFeaturesRegressor",
    "HiPPOTransformer",
    "LSSLClassifier",
    "LSSLForecaster",
    "LSSLRegressor",
    "load_estimator",
    "panel_to_series",
]

_HOMES = {
    "FeatureStream": "feature_engine",
    "ForecastStream": "forecast_engine",
    "HiPPOFeaturesClassifier": "features",
    "HiPPOFeaturesRegressor": "features",
    "HiPPOTransformer": "transformer",
    "LSSLClassifier": "classifier",
    "LSSLForecaster": "forecaster",
    "LSSLRegressor": "regressor",
    "load_estimator": "saved",
    "panel_to_series": "panel",
}


def __getattr__(name: str) -> Any:
    """Imports a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in ("sktime", "sklearn", "skbase", "pandas", "lightning", "torchmetrics"):
            raise
        extra = "train" if missing in ("lightning", "torchmetrics") else "sktime"
        raise missing_extra(missing, extra, f"`{name}`") from error
    globals()[name] = value
    return value
