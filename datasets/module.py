"""The Lightning data module over any data set: cut, count, batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from seqkit.batch import Batch, DataInfo
from seqkit.checks import check_positive_int
from seqkit.datasets.batching import loader
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import Source
from seqkit.datasets.splits import check_share, cut_series
from seqkit.datasets.targets import alike, encode_targets, info_of

__all__ = ["SeriesDataModule", "Statistics"]


class Statistics(NamedTuple):
    """Mean and standard deviation, (C,) or (T,), float32; 1 stands for a deviation of 0."""

    mean: Tensor
    std: Tensor


class SeriesDataModule(LightningDataModule):
    """Training, validation and test batches of a data set.

    An official test part is kept. Without one, `test` of all series are cut off, and then `validation` of the rest,
    by class where the target is one. Validation never comes from the test part.

    Args:
        source: The data set.
        batch_size: Series in a batch.
        validation: Share of the training part kept for validation where the set has no such part.
        test: Share of all series kept for testing where the set has no such part.
        train_series: Series to train on at most, drawn by class where the target is one; None for all of them. The
            validation and test parts stay whole.
        seed: Seed of the cuts and of the order of training batches.
        num_workers: Processes that make batches.

    Raises:
        ValueError: an argument out of range; at setup, a channel that no training series has a value of.

    Example:
        >>> from seqkit.datasets import get_source
        >>> module = SeriesDataModule(get_source("japanese_vowels"))
        >>> module.setup()
        >>> {part: len(series) for part, series in module.sets.items()}
        {'train': 216, 'val': 54, 'test': 370}
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int = 32,
        validation: float = 0.2,
        test: float = 0.2,
        train_series: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"`seed` must be a whole number of at least 0, got {seed!r}")
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"`num_workers` must be a whole number of at least 0, got {num_workers!r}")
        self.source = source
        self.batch_size = check_positive_int("batch_size", batch_size)
        self.validation = check_share("validation", validation)
        self.test = check_share("test", test)
        self.train_series = None if train_series is None else check_positive_int("train_series", train_series)
        self.seed = seed
        self.num_workers = num_workers
        self._loaded: tuple[dict[str, SeriesSet], DataInfo] | None = None
        self._missing = 0.0

    def prepare_data(self) -> None:
        """Makes the files be there."""
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Loads and cuts the series, once; every stage needs the same."""
        if self._loaded is not None:
            return
        sets = self.source.load()
        sets = self.source.cut(sets, validation=self.validation, test=self.test, seed=self.seed)
        if self.train_series is not None:
            sets = {**sets, "train": _limited(sets["train"], self.train_series, [self.seed, 2])}
        sets = {part: self.source.transform(part, sets[part]) for part in ("train", "val", "test") if part in sets}
        sets = alike(sets)
        self._missing = _share_missing(sets["train"]) if sets["train"].has_missing else 0.0
        info = _ordered(info_of(self.source.name, sets), self.source.classes)
        for series in sets.values():
            encode_targets(series, info)  # a label that training lacks is found now, not after an epoch
        self._loaded = sets, info

    @property
    def sets(self) -> dict[str, SeriesSet]:
        """Series by part: "train", "val" and, unless the user's own files lack it, "test"."""
        return self._after_setup()[0]

    @property
    def info(self) -> DataInfo:
        """What the series hold; classes are those of the training part."""
        return self._after_setup()[1]

    @property
    def missing(self) -> float:
        """Share of the training part's values that are missing."""
        self._after_setup()
        return self._missing

    def statistics(self) -> Statistics:
        """Mean and deviation of each channel over all values of the training part that were observed, (C,)."""
        train = self.sets["train"]
        return _statistics(train.values, gaps=train.has_missing)

    def target_statistics(self) -> Statistics:
        """Mean and deviation of each predicted value over the training part, (T,).

        Raises:
            ValueError: the target is a class.
        """
        target = encode_targets(self.sets["train"], self.info)
        if self.info.classes or target is None:
            raise ValueError("the target is a class, which has no mean; target statistics are for values")
        return _statistics([one.numpy() for one in ([target] if isinstance(target, Tensor) else target)])

    def loader(self, series: SeriesSet) -> DataLoader[Batch]:
        """Batches of any series in their order, numbered as in training."""
        return loader(series, self.info, batch_size=self.batch_size, num_workers=self.num_workers)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training part, in a new order each epoch."""
        return loader(
            self.sets["train"], self.info, batch_size=self.batch_size, seed=self.seed, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation part, in order."""
        return self.loader(self.sets["val"])

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test part, in order.

        Raises:
            ValueError: the user's own files have a validation part and no test part.
        """
        return self.loader(self._test_part())

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test part without targets, in order."""
        return loader(
            self._test_part(), self.info, batch_size=self.batch_size, with_target=False, num_workers=self.num_workers
        )

    def _test_part(self) -> SeriesSet:
        if "test" not in self.sets:
            raise ValueError(f"{self.info.name} has no test part; put a test file beside the training file")
        return self.sets["test"]

    def _after_setup(self) -> tuple[dict[str, SeriesSet], DataInfo]:
        if self._loaded is None:
            raise RuntimeError("the data module has not loaded its data; call prepare_data() and setup() first")
        return self._loaded


def _ordered(info: DataInfo, classes: tuple[str, ...]) -> DataInfo:
    """Numbers the classes that training has in the order of the data set, if it has one."""
    known = tuple(label for label in classes if label in info.classes)
    return replace(info, classes=known) if len(known) == len(info.classes) else info


def _statistics(rows: Sequence[Array], *, gaps: bool = False) -> Statistics:
    """Two passes in float64, a few thousand rows at a time so that large sets need no second copy."""
    add = np.nansum if gaps else np.sum
    sums = [(add(block, axis=0), (~np.isnan(block)).sum(axis=0) if gaps else len(block)) for block in _blocks(rows)]
    total, count = (np.sum(column, axis=0) for column in zip(*sums, strict=True))
    mean = total / count
    std = np.sqrt(np.sum([add((block - mean) ** 2, axis=0) for block in _blocks(rows)], axis=0) / count)
    std[std <= 1e-8 * np.abs(mean)] = 1.0  # a constant channel, up to rounding
    return Statistics(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


def _share_missing(train: SeriesSet) -> float:
    """Share of missing values.

    Raises:
        ValueError: a channel was never observed, or a series not at all.
    """
    observed = np.zeros(train.n_channels, dtype=np.int64)
    for name, row in zip(train.names, train.values, strict=True):
        count = np.count_nonzero(~np.isnan(row), axis=0)
        if not count.any():
            raise ValueError(f"series {name!r} of {train.origin} has no value at all; remove it")
        observed += count
    if not observed.all():
        k = int(np.flatnonzero(observed == 0)[0])
        name = repr(train.channels[k]) if train.channels else str(k)
        raise ValueError(
            f"channel {name} of {train.origin} is missing in every training series, so nothing can be learned from it; "
            "leave the channel out"
        )
    return float(1 - observed.sum() / (train.lengths.sum() * train.n_channels))


def _blocks(rows: Sequence[Array]) -> Iterator[Array]:
    for i in range(0, len(rows), 2048):
        yield np.concatenate(rows[i : i + 2048]).astype(np.float64)


def _limited(train: SeriesSet, at_most: int, seed: list[int]) -> SeriesSet:
    """A part of the training series, with one of each class at least."""
    if at_most >= len(train):
        return train
    kept, _ = cut_series(train, 1 - at_most / len(train), seed)
    if len(kept) > at_most:
        raise ValueError(
            f"`train_series` must leave a series of each class, which takes {len(kept)} of {train.origin}, "
            f"got {at_most}"
        )
    return kept
