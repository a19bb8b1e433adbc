"""Data of a student: the series of a run with what teachers say of them, and folds that fit the series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from seqkit.batch import Batch, DataInfo
from seqkit.datasets.batching import SeriesDataset
from seqkit.datasets.module import SeriesDataModule
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.targets import encode_targets
from seqkit.datasets.windows import Windows
from seqkit.distill import Folds, OutOfFoldTargets, group_folds, k_folds, time_folds

__all__ = ["TaughtDataModule", "goals_of", "series_folds", "series_ids", "truth_of"]


class TaughtDataModule(SeriesDataModule):
    """A data module whose training batches carry what a student learns from, once `teach` has said what.

    The target of a training batch is then (B, 3, k): the teacher's value, the label as 0 and 1 (or the true value), and
    the variance of the label, as `seqkit.distill.CorrectedTarget` takes them. All other batches are as before.

    Args:
        source: As `SeriesDataModule`, and so are all options.

    Example:
        >>> from seqkit.datasets import get_source
        >>> module = TaughtDataModule(get_source("japanese_vowels"))
        >>> module.setup()
        >>> module.teach(torch.zeros(216, 3, 9))
        >>> next(iter(module.train_dataloader())).target.shape
        torch.Size([32, 3, 9])
    """

    _goals: Tensor | None = None

    def teach(self, goals: Tensor) -> None:
        """Sets what the training series teach.

        Args:
            goals: Teacher's value, truth and variance of each training series, (n, 3, k).
        """
        self._goals = goals.float()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training part, with the goals as targets."""
        batches = super().train_dataloader()
        if self._goals is not None:
            dataset = batches.dataset
            assert isinstance(dataset, SeriesDataset)  # what the loader is made of
            dataset.target = self._goals
        return batches


def truth_of(series: SeriesSet, info: DataInfo) -> Array:
    """Labels as 0 and 1, or values, (n, k), float32.

    Raises:
        ValueError: one target per sample, which no fold teacher can label as a whole.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> truth_of(SeriesSet([np.zeros((2, 1))] * 2, ["b", "a"]), info).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    target = encode_targets(series, info)
    if not isinstance(target, Tensor):
        raise ValueError(
            f"{series.origin} has a target per sample, and distillation takes one per series; choose other data"
        )
    if info.classes:
        target = torch.nn.functional.one_hot(target, len(info.classes))
    return target.float().numpy()


def series_ids(series: SeriesSet) -> list[str]:
    """A name for each series: its own, or its place where names occur twice.

    Example:
        >>> series_ids(SeriesSet([np.zeros((2, 1))] * 2, names=["x", "x"]))
        ['0', '1']
    """
    return list(series.names) if len(set(series.names)) == len(series) else [str(i) for i in range(len(series))]


def series_folds(series: SeriesSet, n_folds: int, *, seed: int = 0, groups: Mapping[str, str] | None = None) -> Folds:
    """Folds that suit the series: blocks of time with an embargo for windows, groups where given, classes otherwise.

    Args:
        series: Training series.
        n_folds: Number of folds.
        seed: Seed of the draw.
        groups: Group of each series by its name, such as the subject; a group is never on both sides.

    Raises:
        ValueError: groups that lack a series, or too few series.

    Example:
        >>> series = SeriesSet([np.zeros((2, 1))] * 6, list("ababab"))
        >>> len(series_folds(series, 3).members(0))
        2
    """
    rows = series.values
    if groups is not None:
        missing = [name for name in series.names if name not in groups]
        if missing:
            raise ValueError(f"`groups` must name the group of every training series, got none for {missing[0]!r}")
        return group_folds([groups[name] for name in series.names], n_folds, seed=seed)
    if isinstance(rows, Windows):
        return time_folds(rows.start, n_folds, lookback=rows.size, horizon=rows.horizon, series=rows.owner)
    labels: Any = series.target if series.kind == "classification" else None
    return k_folds(series_ids(series), n_folds, labels=labels, seed=seed)


def goals_of(said: OutOfFoldTargets, truth: Array, info: DataInfo) -> Tensor:
    """What a student of these teachers learns from, (n, 3, k); a series without a teacher gets its own truth.

    Args:
        said: What the teachers said.
        truth: Labels as 0 and 1, or values, (n, k), in the order of `info.classes`.
        info: What the data are.

    Example:
        >>> from seqkit.distill import in_sample_fold
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> said = OutOfFoldTargets(("s",), in_sample_fold(1), np.array([[0.25, 0.75]], np.float32), ("b", "a"))
        >>> goals_of(said, np.array([[1.0, 0.0]]), info)[0, 0].tolist()
        [0.75, 0.25]
    """
    values = said.values
    if info.classes:
        values = values[:, [said.classes.index(label) for label in info.classes]]
    values = np.where(said.taught[:, None], values, truth)
    v = values * (1 - values) if said.v is None else said.v
    return torch.from_numpy(np.stack([values, truth, v], axis=1).astype(np.float32))
