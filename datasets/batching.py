"""Batches of padded series, with a loader over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seqkit.batch import Batch, DataInfo
from seqkit.checks import check_positive_int, nearest
from seqkit.datasets.loading import WORKER_START, TrainingLoader, as_is, seeded
from seqkit.datasets.order import Draw, EpochBatches
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.targets import encode_targets
from seqkit.datasets.variation import Variation

__all__ = ["SeriesDataset", "fit_channels", "loader", "training_loader"]


class SeriesDataset(Dataset[Batch]):
    """Series as a torch data set that gives whole batches, for one copy of each sample and no more.

    Args:
        series: The series.
        info: What the model was trained on; targets are numbered by it.
        with_target: Whether batches carry targets.
        vary: How series differ each time a draw of the sampler asks for them; asked for by number they never do.
        frame: Samples in each step of the series, which vary one by one.
    """

    def __init__(
        self,
        series: SeriesSet,
        info: DataInfo,
        *,
        with_target: bool = True,
        vary: Variation | None = None,
        frame: int = 1,
    ) -> None:
        if vary is not None:
            vary.check(series)
        self.series = fit_channels(series, info)
        self.target = encode_targets(self.series, info) if with_target else None
        self.vary, self.frame = vary, frame

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int | Draw) -> Batch:
        if isinstance(index, Draw):
            with seeded(index.key):
                rows = self._rows(index.places)
            if self.vary is None:
                return self._batch(rows, index.places)
            drawn = np.random.default_rng(index.key)
            rows = [self.vary.apply(row, drawn, frame=self.frame) for row in rows]
            there = [self.vary.kept(len(row), drawn) for row in rows] if self.vary.drop else None
            return self._batch(rows, index.places, there)
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of the series at these places."""
        return self._batch(self._rows(indices), indices)

    def _rows(self, indices: Sequence[int]) -> list[Array]:
        return [np.asarray(self.series.values[i]) for i in indices]

    def _batch(self, rows: list[Array], indices: Sequence[int], there: list[Array] | None = None) -> Batch:
        """Rows as a batch; of those steps that are there, where it is said which."""
        times = None if self.series.timestamps is None else [self.series.timestamps[i] for i in indices]
        if there is not None and times is not None:
            rows, times = ([one[kept] for one, kept in zip(each, there, strict=True)] for each in (rows, times))
        elif there is not None:
            rows = [np.where(kept[:, None], row, np.float32(np.nan)) for row, kept in zip(rows, there, strict=True)]
        gaps = self.series.has_missing or (there is not None and times is None)
        observed = [torch.from_numpy(~np.isnan(row)) for row in rows] if gaps else None
        chosen = [torch.from_numpy(_filled(row) if observed else np.ascontiguousarray(row)) for row in rows]
        target = self.target[list(indices)] if isinstance(self.target, Tensor) else None
        if isinstance(self.target, list):
            target = _padded([self.target[i] for i in indices])
        lengths = torch.tensor([len(one) for one in chosen], dtype=torch.int64)
        seen = None if observed is None else _padded(observed)
        return Batch(_padded(chosen), target, lengths, None if times is None else _since_start(times), seen)


def loader(
    series: SeriesSet,
    info: DataInfo,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    bucket: bool = True,
    with_target: bool = True,
    num_workers: int = 0,
) -> DataLoader[Batch]:
    """Batches of series, padded with zeros to the longest of the batch; the last one may be smaller.

    Args:
        series: The series.
        info: What the model was or will be trained on.
        batch_size: Series in a batch.
        seed: Seed of the order, new in each epoch; None for the order of the series.
        bucket: Whether series of similar length make a batch; only with a seed, see `EpochBatches`.
        with_target: Whether batches carry targets, where the series have them.
        num_workers: Processes that make batches.

    Raises:
        ValueError: series that do not fit `info`: other channels, unknown labels.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> series = SeriesSet([np.ones((5, 1)), np.ones((3, 1))], ["b", "a"])
        >>> batch = next(iter(loader(series, info)))
        >>> tuple(batch.values.shape), batch.target.tolist(), batch.lengths.tolist()
        ((2, 5, 1), [1, 0], [5, 3])
    """
    check_positive_int("batch_size", batch_size)
    if seed is not None:
        return training_loader(
            series,
            info,
            batch_size=batch_size,
            seed=seed,
            bucket=bucket,
            with_target=with_target,
            num_workers=num_workers,
        )
    data = SeriesDataset(series, info, with_target=with_target)
    return DataLoader(data, batch_size=batch_size, **_options(num_workers))


def training_loader(
    series: SeriesSet,
    info: DataInfo,
    *,
    batch_size: int,
    seed: int,
    bucket: bool = True,
    with_target: bool = True,
    num_workers: int = 0,
    vary: Variation | None = None,
    frame: int = 1,
) -> TrainingLoader:
    """What `loader` gives with a seed: batches in a new order in each epoch, and a place within it to go on from.

    Args:
        series: The series.
        info: What the model was or will be trained on.
        batch_size: Series in a batch.
        seed: Seed of the order.
        bucket: Whether series of similar length make a batch; see `EpochBatches`.
        with_target: Whether batches carry targets, where the series have them.
        num_workers: Processes that make batches.
        vary: How series differ each time they are read; None for not at all.
        frame: Samples in each step of the series, which vary one by one.

    Raises:
        ValueError: series that do not fit `info` (other channels, unknown labels), or that may not vary.

    Example:
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> series = SeriesSet([np.ones((5, 1)), np.ones((3, 1))], ["b", "a"])
        >>> training_loader(series, info, batch_size=1, seed=0).state_dict()
        {'epoch': 0, 'given': 0, 'batches': 2, 'seed': 0}
    """
    data = SeriesDataset(series, info, with_target=with_target, vary=vary, frame=frame)
    batches = EpochBatches(data.series.lengths, batch_size, seed, bucket=bucket)
    return TrainingLoader(data, sampler=batches, batch_size=None, **_options(num_workers))


def _options(num_workers: int) -> dict[str, Any]:
    # Without a generator of its own each pass would draw from torch's global one.
    options: dict[str, Any] = {"num_workers": num_workers, "collate_fn": as_is, "generator": torch.Generator()}
    if num_workers:
        options |= {"persistent_workers": True, "multiprocessing_context": WORKER_START}
    return options


def fit_channels(series: SeriesSet, info: DataInfo) -> SeriesSet:
    """The series with the channels that the model was trained on, by name where both have names.

    Raises:
        ValueError: a channel is missing, or their number differs.

    Example:
        >>> info = DataInfo("toy", "regression", n_channels=1, channels=("x",))
        >>> fit_channels(SeriesSet([np.zeros((2, 2))], channels=("y", "x")), info).channels
        ('x',)
    """
    if info.channels and series.channels and info.channels != series.channels:
        for name in info.channels:
            if name not in series.channels:
                raise ValueError(
                    f"{series.origin} has no channel {name!r}, which the model was trained on; "
                    f"{nearest(name, series.channels)}"
                )
        places = [series.channels.index(name) for name in info.channels]
        return series.with_channels(places)
    if series.n_channels != info.n_channels:
        raise ValueError(
            f"the model was trained on {info.n_channels} channels, {series.origin} has {series.n_channels}"
        )
    return series


def _since_start(times: list[Array]) -> Tensor:
    """Seconds since each series' first sample: float32 cannot tell the milliseconds of a date apart."""
    longest = max(len(one) for one in times)
    since = [np.pad(one - one[0], (0, longest - len(one)), mode="edge") for one in times]
    return torch.from_numpy(np.stack(since).astype(np.float32))


def _filled(row: Array) -> Array:
    return np.where(np.isnan(row), np.zeros((), row.dtype), row)


def _padded(rows: list[Tensor]) -> Tensor:
    longest = max(len(row) for row in rows)
    if all(len(row) == longest for row in rows):
        return torch.stack(rows)
    out = rows[0].new_zeros(len(rows), longest, *rows[0].shape[1:])
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out
