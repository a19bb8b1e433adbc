"""Comparisons: several models on several data sets under the same rules and the same budget."""

from __future__ import annotations

from seqkit.runs.comparison.comparing import Comparison, compare
from seqkit.runs.comparison.row import Row

__all__ = ["Comparison", "Row", "compare"]
