"""The contract of a data set: what it says of itself, how it is fetched, and how its files are read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import check_choice
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.splits import cut_series

__all__ = ["PARTS", "Source", "cache_root", "data_root", "file_or_folder", "first_file", "pick_part"]

PARTS = ("train", "val", "test")
"""Names of the parts of a data set, in the order in which they are joined."""


class Source(ABC):
    """A data set: the same questions and answers for every one.

    Example:
        >>> from seqkit.datasets import get_source
        >>> get_source("japanese_vowels").info().n_channels
        12
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in the registry, or the file or folder of a user's own data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of their numbers, where that is not the sorted order; else empty."""
        return ()

    @abstractmethod
    def info(self) -> DataInfo:
        """What the set holds; known without loading, but for a user's own files, which are looked at."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain facts: title, task, licence, origin, sizes."""

    @abstractmethod
    def prepare(self, *, offline: bool = False) -> None:
        """Makes the files be there, fetching them if needed.

        Args:
            offline: Only look for them.

        Raises:
            FileNotFoundError: they are not there and cannot be fetched; the sentence says where to put them.
        """

    def files(self) -> list[Path]:
        """The files that `load` reads, where they lie as `describe` says; when they change, the set is prepared anew.

        Returns:
            Paths in a fixed order; none where they are not known, and then nothing is prepared.
        """
        place = Path(str(self.describe().get("files") or "/dev/null"))
        if place.is_file():
            return [place]
        found = (path for path in place.rglob("*") if path.relative_to(place).parts[0] != "prepared")
        return sorted(path for path in found if path.is_file()) if place.is_dir() else []

    @abstractmethod
    def load(self) -> dict[str, SeriesSet]:
        """The series by part: "train" and "test", with "val" where the set has one; "all" without official parts.

        Raises:
            FileNotFoundError: the files are not there; `prepare` fetches them.
            ValueError: a file is damaged or not what it should be.
        """

    def cut(self, sets: dict[str, SeriesSet], *, validation: float, test: float, seed: int) -> dict[str, SeriesSet]:
        """The parts to train, validate and test on: official ones as they are, others cut off by series.

        Args:
            sets: What `load` gave.
            validation: Share of the training part kept for validation where the set has no such part; 0 keeps none.
            test: Share of all series kept for testing where the set has no such part.
            seed: Seed of the cuts.

        Returns:
            "train" and, where there are any, "val" and "test".

        Raises:
            ValueError: fewer series than parts.
        """
        validates = "val" not in sets and validation > 0
        whole = "all" if "all" in sets else "train"
        needed = 1 + validates + (whole == "all")
        if len(sets[whole]) < needed:
            raise ValueError(
                f"{sets[whole].origin} has {len(sets[whole])} series to train on; at least {needed} are needed, since "
                "validation and testing take one each"
            )
        if "all" in sets:
            rest, last = cut_series(sets["all"], test, [seed, 0])
            sets = {"train": rest, "test": last}
        if validates:
            train, val = cut_series(sets["train"], validation, [seed, 1])
            sets = {**sets, "train": train, "val": val}
        return sets

    def to_predict(self, part: str, series: SeriesSet) -> SeriesSet:
        """What of the series of a file a prediction is made from: as `transform` says, but the last for forecasts.

        Args:
            part: "train", "val" or "test".
            series: What `read` gave; targets may be missing.

        Returns:
            The series to give to the model.
        """
        return self.transform(part, series)

    def transform(self, part: str, series: SeriesSet) -> SeriesSet:
        """What the options of the set make of a part: the hook for what differs between training and testing.

        The data module calls it after cutting, so a set without official parts can still change one part and not the
        other; a file that is read for testing or prediction goes through it as "test" does. Targets stay.

        Args:
            part: "train", "val" or "test".
            series: The part as it was read and cut.

        Returns:
            The series to use; `series` itself here.
        """
        return series

    @abstractmethod
    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """Any file or folder in this set's layout; targets may be missing.

        Args:
            path: File or folder.
            split: "train", "val" or "test" where the layout has parts, or "all".

        Raises:
            FileNotFoundError: there is nothing at `path`.
            ValueError: the file is damaged, not in this layout, or has no such part.
        """

    def read_inputs(self, path: str | Path, split: str = "all") -> SeriesSet:
        """As `read`, for a prediction: what the file says of targets is not used, so some or all may be missing."""
        return self.read(path, split)


def data_root(root: str | Path | None = None) -> Path:
    """Folder of downloaded data: `root`, else the environment variable SEQKIT_DATA, else the user's cache.

    Example:
        >>> data_root("/data")
        PosixPath('/data')
    """
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get("SEQKIT_DATA"):
        return Path(os.environ["SEQKIT_DATA"]).expanduser()
    return cache_root()


def cache_root() -> Path:
    """The toolkit's folder in the user's cache.

    Example:
        >>> cache_root().name
        'seqkit'
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "seqkit"


def first_file(folders: list[Path], names: list[str]) -> Path | None:
    """First of the files `names` found in one of `folders`, or None.

    Example:
        >>> first_file([Path("/nowhere")], ["a.mat"]) is None
        True
    """
    places = (folder / name for folder in folders for name in names)
    return next((place for place in places if place.is_file()), None)


def file_or_folder(path: str | Path) -> Path:
    """What a user wants to be read.

    Raises:
        FileNotFoundError: it is neither a file nor a folder.
    """
    path = Path(path)
    if not (path.is_file() or path.is_dir()):
        raise FileNotFoundError(f"there is no file or folder {path}")
    return path


def pick_part(parts: Mapping[str, SeriesSet], split: str, origin: str) -> SeriesSet:
    """The part of a file or folder that was asked for; "all" joins whatever is there.

    Raises:
        ValueError: no such part; the sentence names those that exist.
    """
    check_choice("split", split, (*PARTS, "all"))
    if split in parts:
        return parts[split]
    if split == "all":
        return SeriesSet.join([parts[name] for name in PARTS if name in parts])
    there = [name for name in PARTS if name in parts]
    if not there:
        raise ValueError(f"{origin} has no parts, so it has no part {split!r}; use split 'all'")
    raise ValueError(f"{origin} has no part {split!r}; choose one of {', '.join(there)}, all")
