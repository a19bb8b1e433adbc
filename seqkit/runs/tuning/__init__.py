"""Search of settings: trainings one after the other, each chosen by what the earlier ones gave."""

from __future__ import annotations

from seqkit.runs.tuning.space import Choice, Range, parse_space
from seqkit.runs.tuning.tuning import Tuned, tune

__all__ = ["Choice", "Range", "Tuned", "parse_space", "tune"]
