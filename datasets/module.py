"""The Lightning data module over any data set: cut, count, batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from seqkit.batch import Batch, DataInfo
from seqkit.checks import check_positive_int
from seqkit.datasets.batching import loader, training_loader
from seqkit.datasets.frames import frame_series
from seqkit.datasets.loading import TrainingLoader
from seqkit.datasets.prepared import Prepared, load_prepared
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source
from seqkit.datasets.splits import check_share, check_validation, cut_series
from seqkit.datasets.statistics import Statistics, share_missing, statistics_of
from seqkit.datasets.targets import alike, encode_targets, info_of
from seqkit.datasets.variation import Variation
from seqkit.datasets.windows import samples_once

__all__ = ["SeriesDataModule", "Statistics"]


class SeriesDataModule(LightningDataModule):
    """Training, validation and test batches of a data set.

    An official test part is kept. Without one, `test` of all series are cut off, and then `validation` of the rest,
    by class where the target is one. Validation never comes from the test part.

    Args:
        source: The data set.
        batch_size: Series in a batch.
        validation: Share of the training part kept for validation where the set has no such part; 0 keeps none, and
            then there are no validation batches.
        test: Share of all series kept for testing where the set has no such part.
        train_series: Series to train on at most, drawn by class where the target is one; None for all of them. The
            validation and test parts stay whole.
        seed: Seed of the cuts and of the order of training batches.
        num_workers: Processes that make batches.
        bucket: Whether training batches hold series of similar length; see `EpochBatches`.
        prepared: Whether the set is laid down once as one file that later runs open at once; None for large sets.
        offline: Whether nothing is fetched: files that are not there are an error.
        frame: Samples in one step of the series, side by side as channels, in all parts; see `frame_series`.
        vary: How training series differ each time they are read; None for not at all.

    Raises:
        ValueError: an argument out of range; at setup, a channel that no training series has a value of, or series that
            cannot be framed or varied.

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
        bucket: bool = True,
        prepared: bool | None = None,
        offline: bool = False,
        frame: int = 1,
        vary: Variation | None = None,
    ) -> None:
        super().__init__()
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"`seed` must be a whole number of at least 0, got {seed!r}")
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"`num_workers` must be a whole number of at least 0, got {num_workers!r}")
        self.source = source
        self.batch_size = check_positive_int("batch_size", batch_size)
        self.validation = check_validation(validation)
        self.test = check_share("test", test)
        self.train_series = None if train_series is None else check_positive_int("train_series", train_series)
        self.seed = seed
        self.num_workers = num_workers
        self.bucket = bucket
        self.prepared = prepared
        self.offline = offline
        self.frame = check_positive_int("frame", frame)
        self.vary = vary
        self._store: Prepared | None = None
        self._training: TrainingLoader | None = None
        self._resume_at: dict[str, int] | None = None
        self._loaded: tuple[dict[str, SeriesSet], DataInfo] | None = None
        self._missing = 0.0

    def prepare_data(self) -> None:
        """Makes the files be there, fetching them if needed and not `offline`."""
        self.source.prepare(offline=self.offline)

    def setup(self, stage: str | None = None) -> None:
        """Loads and cuts the series, once; every stage needs the same."""
        if self._loaded is not None:
            return
        sets, self._store = load_prepared(self.source, self.prepared)
        sets = self.source.cut(sets, validation=self.validation, test=self.test, seed=self.seed)
        if self.train_series is not None:
            sets = {**sets, "train": _limited(sets["train"], self.train_series, [self.seed, 2])}
        sets = {part: self.source.transform(part, sets[part]) for part in ("train", "val", "test") if part in sets}
        sets = {part: frame_series(series, self.frame) for part, series in alike(sets).items()}
        train = sets["train"]
        if self.vary is not None:
            self.vary.check(train)
        if train.has_missing:
            self._missing = self._kept("missing", lambda: {"share": share_missing(samples_once(train))})["share"]
        info = _ordered(info_of(self.source.name, sets), self.source.classes)
        for series in sets.values():
            encode_targets(series, info)  # a label that training lacks is found now, not after an epoch
        self._loaded = sets, info

    @property
    def sets(self) -> dict[str, SeriesSet]:
        """Series by part: "train", "val" unless `validation` is 0, and "test" unless the user's own files lack it."""
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

        def compute() -> dict[str, Any]:
            # Windows overlap: each sample counts once.
            mean, std = statistics_of(samples_once(train).values, gaps=train.has_missing)
            return {"mean": mean.tolist(), "std": std.tolist()}

        kept = self._kept("statistics", compute)
        return Statistics(torch.tensor(kept["mean"]), torch.tensor(kept["std"]))

    def target_statistics(self) -> Statistics:
        """Mean and deviation of each predicted value over the training part, (T,).

        Raises:
            ValueError: the target is a class.
        """
        target = encode_targets(self.sets["train"], self.info)
        if self.info.classes or target is None:
            raise ValueError("the target is a class, which has no mean; target statistics are for values")
        return statistics_of([one.numpy() for one in ([target] if isinstance(target, Tensor) else target)])

    def loader(self, series: SeriesSet) -> DataLoader[Batch]:
        """Batches of any series in their order, numbered as in training."""
        return loader(series, self.info, batch_size=self.batch_size, num_workers=self.num_workers)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training part, in a new order each epoch; after `load_state_dict` from there on."""
        self._training = training_loader(
            self.sets["train"],
            self.info,
            batch_size=self.batch_size,
            seed=self.seed,
            bucket=self.bucket,
            num_workers=self.num_workers,
            vary=self.vary,
            frame=self.frame,
        )
        if self._resume_at is not None:
            self._training.load_state_dict(self._resume_at)
            self._resume_at = None
        return self._training

    def state_dict(self) -> dict[str, int]:
        """Where the training stands within its epoch, for Lightning's checkpoints.

        Lightning keeps the state of the loader too, and forgets to give it back where the length of the training was
        asked for before, as a schedule of the learning rate does.
        """
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lets the next training loader go on from there; a checkpoint that is only tested changes nothing."""
        if self.trainer is None or self.trainer.state.fn == "fit":
            self._resume_at = dict(state_dict)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Batches of the validation part, in order; an empty list, which Lightning knows, without one."""
        return self.loader(self.sets["val"]) if "val" in self.sets else []

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

    def _kept(self, what: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What depends on the training part only; beside a prepared set it is computed once."""
        if self._store is None:
            return compute()
        cut = {"validation": self.validation, "test": self.test, "train_series": self.train_series, "seed": self.seed}
        cut |= {"frame": self.frame} if self.frame > 1 else {}
        return self._store.remember({"what": what, **cut}, compute)

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
