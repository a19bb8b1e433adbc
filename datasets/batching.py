"""Batches of padded series in an order that depends on the seed and the epoch only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from seqkit.batch import Batch, DataInfo
from seqkit.checks import check_positive_int, nearest
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.targets import encode_targets

__all__ = ["EpochSampler", "SeriesDataset", "fit_channels", "loader"]


class SeriesDataset(Dataset[Batch]):
    """Series as a torch data set that gives whole batches, for one copy of each sample and no more.

    Args:
        series: The series.
        info: What the model was trained on; targets are numbered by it.
        with_target: Whether batches carry targets.
    """

    def __init__(self, series: SeriesSet, info: DataInfo, *, with_target: bool = True) -> None:
        self.series = fit_channels(series, info)
        self.target = encode_targets(self.series, info) if with_target else None

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of the series at these places."""
        chosen = [torch.from_numpy(np.ascontiguousarray(self.series.values[i])) for i in indices]
        target = self.target[list(indices)] if isinstance(self.target, Tensor) else None
        if isinstance(self.target, list):
            target = _padded([self.target[i] for i in indices])
        lengths = torch.tensor([len(one) for one in chosen], dtype=torch.int64)
        return Batch(_padded(chosen), target, lengths, self._timestamps(indices))

    def _timestamps(self, indices: Sequence[int]) -> Tensor | None:
        """Seconds since each series' first sample: float32 cannot tell the milliseconds of a date apart."""
        if self.series.timestamps is None:
            return None
        times = [self.series.timestamps[i] for i in indices]
        longest = max(len(one) for one in times)
        since = [np.pad(one - one[0], (0, longest - len(one)), mode="edge") for one in times]
        return torch.from_numpy(np.stack(since).astype(np.float32))


class EpochSampler(Sampler[int]):
    """A new order in every epoch, the same one for the same seed and epoch, whatever else draws random numbers.

    Lightning calls `set_epoch` by itself; a plain loop calls `loader.sampler.set_epoch(epoch)`.

    Args:
        data: What to order.
        seed: Seed of the run.

    Example:
        >>> sampler = EpochSampler(range(5), seed=0)
        >>> first = list(sampler)
        >>> sampler.set_epoch(1)
        >>> list(sampler) != first
        True
    """

    def __init__(self, data: Sized, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        yield from torch.randperm(len(self), generator=generator).tolist()


def loader(
    series: SeriesSet,
    info: DataInfo,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    with_target: bool = True,
    num_workers: int = 0,
) -> DataLoader[Batch]:
    """Batches of series, padded with zeros to the longest of the batch; the last one may be smaller.

    Args:
        series: The series.
        info: What the model was or will be trained on.
        batch_size: Series in a batch.
        seed: Seed of the order, new in each epoch; None for the order of the series.
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
    data = SeriesDataset(series, info, with_target=with_target)
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=None if seed is None else EpochSampler(data, seed),
        num_workers=num_workers,
        collate_fn=_as_is,
        generator=torch.Generator(),  # otherwise each pass draws from torch's global generator
    )


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


def _padded(rows: list[Tensor]) -> Tensor:
    longest = max(len(row) for row in rows)
    if all(len(row) == longest for row in rows):
        return torch.stack(rows)
    out = rows[0].new_zeros(len(rows), longest, *rows[0].shape[1:])
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def _as_is(batch: Any) -> Any:
    return batch
