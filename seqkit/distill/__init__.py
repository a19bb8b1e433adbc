"""Distillation as semiparametric inference: teachers do not label what they saw, and labels correct what they say."""

from __future__ import annotations

from seqkit.distill.artifact import FoldStore, FoldValues, OutOfFoldTargets, fingerprint
from seqkit.distill.choose import C_GRID, smallest_within_one_error
from seqkit.distill.estimators import average_probabilities
from seqkit.distill.folds import Folds, group_folds, in_sample_fold, k_folds, time_folds
from seqkit.distill.losses import annealed, annealed_correction, brier, soft_cross_entropy, squared_error
from seqkit.distill.prefixes import prefix_scores
from seqkit.distill.student import METHODS, Distilled, distill
from seqkit.distill.target import CorrectedTarget
from seqkit.distill.teacher import CrossFitTeacher

__all__ = [
    "C_GRID",
    "METHODS",
    "CorrectedTarget",
    "CrossFitTeacher",
    "Distilled",
    "FoldStore",
    "FoldValues",
    "Folds",
    "OutOfFoldTargets",
    "annealed",
    "annealed_correction",
    "average_probabilities",
    "brier",
    "distill",
    "fingerprint",
    "group_folds",
    "in_sample_fold",
    "k_folds",
    "prefix_scores",
    "smallest_within_one_error",
    "soft_cross_entropy",
    "squared_error",
    "time_folds",
]
