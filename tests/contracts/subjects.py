"""Everything that streams, with the offline form to hold it against; loaded by the suites beside this file."""

import importlib.util
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqkit import DataInfo, HiPPOMemory, ModelConfig
from seqkit.models import SequenceModel, model_names
from seqkit.models.config import takes_length
from seqkit.nn import pool_names

_spec = importlib.util.spec_from_file_location("seqkit_contract_cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

LABELS = ("low", "mid", "high")
RATE = 4.0
HASHED = {"n_buckets": 4, "bucket_size": 2}
SMALL = {
    "attention": {"window": 12},
    "block_sparse": {"block_size": 3, "n_factors": 2},
    "performer": {"n_features": 8},
    "lsh": HASHED,
    "scatterbrain": {"n_features": 8, "n_local": 6, **HASHED},
}
"""Options of models whose state would be large."""


@dataclass
class Subject:
    """What is streamed.

    Args:
        what: What `Stream` takes.
        channels: Channels C.
        whole: Outputs of the offline form, (L, ...) or (...), from (u, dtype, rate, seconds): u (L, C) with NaN where
            a value is missing, rate the step between samples without a time, seconds (L,) or None.
        dtypes: Dtypes that it has.
        unit: Training samples per second.
        timed: Whether it has a notion of time.
        gaps: Whether values may be missing.
        limit: Relative error allowed, by dtype.
        options: Further options of `Stream`.
    """

    what: Any
    channels: int
    whole: Any
    dtypes: tuple[str, ...] = ("float32", "float64")
    unit: float = 1.0
    timed: bool = True
    gaps: bool = True
    limit: dict[str, float] = field(default_factory=lambda: {"float32": 1e-4, "float64": 1e-9})
    options: dict[str, Any] = field(default_factory=dict)


def of_mixer(case):
    mixer = cases.build(case, torch.float32).requires_grad_(False)

    def whole(u, dtype, rate, seconds):
        own = cases.build(case, torch.float32).requires_grad_(False).to(dtype).eval()
        times = None if seconds is None else torch.from_numpy(seconds)[None]
        return own(torch.from_numpy(u)[None].to(dtype), rate=rate, timestamps=times)[0].numpy()

    return Subject(mixer, cases.D, whole, timed=mixer.uses_rate, gaps=False)


def of_model(name, task="classification", missing=False, **sizes):
    classes = LABELS if task != "regression" else ()
    info = DataInfo(
        "toy", task, n_channels=2, classes=classes, sample_rate=RATE, missing=missing,
        n_targets=2 if task == "regression" else 1,
    )  # fmt: skip
    small = {"d_model": 6, "n_layers": 2, **SMALL.get(name, {}), **sizes}
    config = ModelConfig.preset(name, **small)
    if "order" in config.options:
        config = ModelConfig.preset(name, **{"order": 6, **small})
    if config.options.get("measure", "legt") != "legs" and takes_length(name):
        sized = {"order": 6} if "order" in config.options else {}
        config = ModelConfig.preset(name, **{**sized, "window": 12.0, **small})

    def build():
        model = SequenceModel.from_config(config, info, seed=1)
        model.input_norm.set_statistics(torch.tensor([0.3, -0.2]), torch.tensor([1.5, 0.7]))
        return model.requires_grad_(False).eval()

    def whole(u, dtype, rate, seconds):
        own = build().to(dtype)
        seen = None if not np.isnan(u).any() and not missing else torch.from_numpy(~np.isnan(u))[None]
        given = torch.from_numpy(np.nan_to_num(u))[None].to(dtype)
        times = None if seconds is None else torch.from_numpy(seconds)[None]
        return own.predict(
            given, sample_rate=None if rate == 1 else RATE / rate, timestamps=times, observed=seen
        )[0].numpy()  # fmt: skip

    model = build()
    return Subject(model, 2, whole, unit=RATE, timed=model.uses_rate)


def of_memory(**options):
    memory = HiPPOMemory(6, **options)

    def whole(u, dtype, rate, seconds):
        times = None if seconds is None else torch.from_numpy(seconds - seconds[0] + 1.0)
        rows = []
        for one in u.T:
            seen = torch.from_numpy(~np.isnan(one))[None]
            given = torch.from_numpy(np.nan_to_num(one))[None, :, None].to(dtype)
            rows.append(memory.project(given, times, observed=None if seen.all() else seen, rate=rate)[0, 0])
        return torch.stack(rows).numpy()

    counts = memory.rule == "reciprocal"
    return Subject(memory, 2, whole, timed=not counts, gaps=not counts, options={"n_channels": 2})


MIXERS = {f"mixer {case}": lambda case=case: of_mixer(case) for case in cases.CASES if case not in cases.CANNOT_STREAM}
MODELS = {f"model {name}": lambda name=name: of_model(name) for name in model_names()}
MODELS |= {f"pool {name}": lambda name=name: of_model("s4d", pool=name) for name in pool_names()}
MODELS |= {
    "sequence": lambda: of_model("s4d", "sequence"),
    "sequence gru": lambda: of_model("gru", "sequence"),
    "values": lambda: of_model("s4d", "regression"),
    "values hippo_legs": lambda: of_model("hippo_legs", "regression"),
    "reads missing": lambda: of_model("s4d", missing=True),
    "reads missing lstm": lambda: of_model("lstm", missing=True),
}
MEMORIES = {
    f"memory {' '.join(str(value) for value in options.values())}": lambda options=options: of_memory(**options)
    for options in (
        *({"measure": "legs", "rule": rule} for rule in ("midpoint", "reciprocal", "exact")),
        *(
            {"measure": measure, "window": 9.0, "discretization": rule}
            for measure in ("legt", "fourier", "lagt")
            for rule in ("zero_order_hold", "bilinear", "backward_euler")
        ),
    )
}


def frame(u, seconds=None):
    import pandas as pd

    index = None if seconds is None else pd.to_timedelta((seconds * 1e9).round().astype(np.int64), unit="ns")
    return pd.DataFrame(u, index=index)


def panel(n=12, length=20, channels=2):
    generator = np.random.default_rng(0)
    pace = np.where(np.arange(n) % 2 == 0, 2.0, 5.0)
    X = np.sin(np.arange(length) / pace[:, None, None] + generator.uniform(0, 6, size=(n, channels, 1)))
    return X, np.where(pace < 3, 1.0, -1.0)


def of_estimator(name, **settings):
    from seqkit import estimators

    X, y = panel()
    fitted = getattr(estimators, name)(random_state=0, n_jobs=1, **settings)
    classifier = name.endswith("Classifier")
    fitted.fit(X, np.where(y > 0, 7, 3) if classifier else y)

    def whole(u, dtype, rate, seconds):
        given = [frame(u, seconds)]
        told = {} if seconds is not None else {"sample_rate": 1 / rate}
        return fitted.predict_proba(given, **told)[0] if classifier else np.atleast_1d(fitted.predict(given, **told))

    limit = {"float32": 2e-4}
    return Subject(fitted, 2, whole, dtypes=("float32",), limit=limit)


def of_transformer(measure):
    from seqkit.estimators import HiPPOTransformer

    fitted = HiPPOTransformer(5, measure).fit(panel()[0])

    def whole(u, dtype, rate, seconds):
        index = np.arange(len(u)) * rate if seconds is None and rate != 1 else seconds
        return fitted.transform([frame(u, index)]).to_numpy().reshape(2, 5)

    return Subject(fitted, 2, whole, dtypes=("float64",), limit={"float64": 1e-5})


ESTIMATORS = {
    "LSSLClassifier": lambda: of_estimator("LSSLClassifier", mixer="s4d", d_model=6, n_layers=1, order=4, epochs=1),
    "LSSLRegressor": lambda: of_estimator("LSSLRegressor", mixer="lssl", d_model=6, n_layers=1, order=4, epochs=1),
    "HiPPOFeaturesClassifier": lambda: of_estimator("HiPPOFeaturesClassifier", n_filters=20),
    "HiPPOFeaturesRegressor": lambda: of_estimator("HiPPOFeaturesRegressor", n_filters=20),
    "HiPPOTransformer": lambda: of_transformer("legs"),
    "HiPPOTransformer legt": lambda: of_transformer("legt"),
}
SUBJECTS = {**MIXERS, **MODELS, **MEMORIES, **ESTIMATORS}


@cache
def subject(name):
    """The subject of a name, made once."""
    return SUBJECTS[name]()
