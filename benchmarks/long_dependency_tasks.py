"""The tasks of `benchmarks/long_dependency.py`, and what of a mixer has to span a series for it to see the question."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from seqkit.models.config import PRESETS, model_options

SAMPLES = 16 * 1024
"""Samples of a batch, so that a step costs about as much at every length: 16 series of 1,024, or one of 16,384."""


class Task(NamedTuple):
    """A set with its options, what is measured, what needs no memory at all, and how a model is made and trained."""

    data: str
    options: dict[str, Any]
    measure: str
    chance: float
    batch: int = 32
    pool: str | None = None
    spans: bool = False
    parameters: int = 50_000
    seconds: float = 120.0

    @property
    def length(self) -> int:
        """Samples of a series."""
        return 1024 if self.data == "pathfinder" else int(self.options["length"])


def _recall(length: int, size: int) -> Task:
    options = {"length": length, "shown": 1, "symbols": 2, "held": length // 64, "size": size, "test_size": 100}
    return Task("delayed_recall", options, "accuracy, %", 50.0, max(1, SAMPLES // length), "last", True, 5_000, 40.0)


def _adding(length: int, size: int, batch: int) -> Task:
    options = {"length": length, "size": size, "test_size": 200}
    return Task("adding", options, "root mean squared error", 0.408, batch, "last", True, 15_000, 40.0)


_SIZES = {1024: 2000, 4096: 1000, 16384: 400, 65536: 200}
"""Series to learn from, fewer where they are longer: validation and test then cost little beside the training."""

TASKS = {
    "short copying": Task(
        "copying",
        {"length": 24, "tokens": 2, "symbols": 4, "test_size": 300},
        "accuracy of repeated symbols, %",
        25.0,
        spans=True,
        parameters=15_000,
        seconds=40.0,
    ),
    "short adding": _adding(64, 4000, 32),
    **{f"recall, {length:,}": _recall(length, size) for length, size in _SIZES.items()},
    **{f"adding, {length:,}": _adding(length, size, max(1, SAMPLES // length)) for length, size in _SIZES.items()},
    "copying": Task("copying", {"length": 64, "tokens": 4}, "accuracy of repeated symbols, %", 12.5),
    "copying from the start": Task(
        "copying", {"length": 64, "tokens": 4, "selective": False}, "accuracy of repeated symbols, %", 12.5
    ),
    "adding": Task("adding", {"length": 200}, "root mean squared error", 0.408),
    "delayed recall": Task("delayed_recall", {"length": 1024}, "accuracy, %", 12.5, pool="last", spans=True),
    "pathfinder": Task("pathfinder", {"size": 2000, "test_size": 500}, "accuracy, %", 50.0),
}

SUITE = ["short copying", "short adding", *(f"recall, {length:,}" for length in _SIZES)]
"""What is measured for every mixer and drawn, each with its own seconds of training."""

MIXERS = list({preset.mixer: name for name, preset in reversed(PRESETS.items()) if preset.mixer}.values())[::-1]
"""The first preset of each mixer of the registry."""

RATES = {"attention": 0.003, "block_sparse": 0.003, "performer": 0.003, "lsh": 0.003, "scatterbrain": 0.003}
OTHER_RATE = 0.01
"""Peak learning rates: of s4d, gru and attention on short copying with seed 0, attention learned nothing at 0.01."""


def reach(mixer: str, length: int) -> dict[str, Any]:
    """Options with which one layer of a mixer reads all of a series: windows, or dilations that double far enough."""
    options = model_options(mixer)
    if "window" in options and options.get("measure") != "legs":  # which remembers all of the past
        return {"window": length if isinstance(options["window"], int) else float(length)}
    if "n_levels" in options:
        taps = options["kernel_size"] - 1
        return {"n_levels": max(options["n_levels"], math.ceil(math.log2(length / taps + 1)))}
    return {}
