"""What sets have in common that are made from a seed, not read."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.datasets.draws import Draws
from seqkit.datasets.rows import Array, LazyRows
from seqkit.datasets.series import SeriesSet, Target
from seqkit.datasets.source import Source

__all__ = ["Generated"]

_PARTS = ("train", "test")
_LARGEST = 2**64 - 1


class Generated(Source):
    """A set that is made from a seed: nothing is fetched, and series i of a part is always the same.

    Args:
        size: Series in the training part; validation is cut from it.
        test_size: Series in the test part, which are the same for every `size`.
        data_seed: Seed of the series; another seed gives another set of the same kind.

    Raises:
        ValueError: a size below 1, or a seed out of range.
    """

    title: str
    lengths: str
    citation: str

    def __init__(self, size: int, test_size: int, data_seed: int) -> None:
        self.size = check_positive_int("size", size)
        self.test_size = check_positive_int("test_size", test_size)
        if isinstance(data_seed, bool) or not isinstance(data_seed, int) or not 0 <= data_seed <= _LARGEST:
            raise ValueError(f"`data_seed` must be a whole number from 0 to 2^64 - 1, got {data_seed!r}")
        self.data_seed = data_seed

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {
            "title": self.title,
            "task": self.info().task,
            "series": {"train": self.size, "test": self.test_size},
            "lengths": self.lengths,
            "licence": "none: it is made here",
            "citation": self.citation,
            "origin": f"made from the seed {self.data_seed}",
            "files": None,
        }

    def prepare(self, *, offline: bool = False) -> None:
        """There is nothing to fetch, so `offline` makes no difference."""

    def files(self) -> list[Path]:
        """None: what is made at once is not prepared."""
        return []

    def load(self) -> dict[str, SeriesSet]:
        """Training and test part, each made from the seed."""
        return {part: self.make(part, n) for part, n in zip(_PARTS, (self.size, self.test_size), strict=True)}

    def make(self, part: str, n: int) -> SeriesSet:
        """The first n series of a part; their samples are made when asked for."""
        info = self.info()
        assert info.max_length is not None
        lengths = np.full(n, info.max_length)
        return SeriesSet(
            LazyRows(lengths, info.n_channels, _Samples(self, part), origin=self.name),
            self.targets(part, n),
            names=[f"{part}-{place}" for place in range(n)],
            channels=info.channels,
            origin=self.name,
            targets=info.targets,
        )

    @abstractmethod
    def targets(self, part: str, n: int) -> Target:
        """Targets of the first n series of a part."""

    @abstractmethod
    def samples(self, part: str, place: int) -> Array:
        """Samples of one series, (L, C), float32."""

    def draws(self, part: str, place: int) -> Draws:
        """The random numbers of a series."""
        return Draws(self.data_seed, _PARTS.index(part), place)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """Series of such a kind in any file or folder that `seqkit train --data PATH` takes."""
        from seqkit.datasets.folder import Folder  # noqa: PLC0415 - making a set needs no reader of tables

        if not Path(path).exists():
            raise FileNotFoundError(f"there is no file or folder {path}")
        return Folder(path).read(path, split)


class _Samples:
    """A class, not a function within one: workers that start anew need to pickle it."""

    def __init__(self, source: Generated, part: str) -> None:
        self.source, self.part = source, part

    def __call__(self, i: int) -> Array:
        return self.source.samples(self.part, i)
