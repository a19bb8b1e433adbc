"""A user's own series: one file, or a folder with a file for each part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from seqkit.batch import DataInfo, TaskKind
from seqkit.checks import check_choice, check_positive
from seqkit.datasets.npz import read_npz
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS, Source, pick_part
from seqkit.datasets.table import Columns, read_columns, series_of_columns
from seqkit.datasets.targets import alike, as_task, info_of
from seqkit.datasets.ts import read_ts, ts_parts

__all__ = ["Folder"]

ENDINGS = (".csv", ".parquet", ".npz", ".ts")


class Folder(Source):
    r"""A user's own data: .csv, .parquet, .npz or .ts, as one file or as train, val and test files of a folder.

    Args:
        path: The file or folder.
        id: Table column with the name of the series that a row belongs to.
        time: Table column with the time of each row, seconds or ISO 8601 dates; "time" where there is one if None.
        target: Table column with the target, or several; "target" where there is one if None.
        channels: Table columns with the samples; every other column of numbers if None.
        task: "classification", "regression" or "sequence"; what the targets look like if None: text and at most 20
            whole numbers are classes, and a target that changes within a series is one per sample.
        sample_rate: Samples per second (Hz), where the files do not say.

    Raises:
        ValueError: an unknown task, or a sample rate that is not above 0.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pulse.csv"
        >>> rows = ["series,time,pulse,target", "a,0,1,rest", "a,0.5,2,rest", "b,0,4,run", "b,0.5,5,run"]
        >>> _ = path.write_text("\n".join(rows))
        >>> info = Folder(path).info()
        >>> info.classes, info.sample_rate, info.channels
        (('rest', 'run'), 2.0, ('pulse',))
    """

    def __init__(
        self,
        path: str | Path,
        *,
        id: str = "series",
        time: str | None = None,
        target: str | Sequence[str] | None = None,
        channels: str | Sequence[str] | None = None,
        task: TaskKind | None = None,
        sample_rate: float | None = None,
    ) -> None:
        if task is not None:
            check_choice("task", task, get_args(TaskKind))
        if sample_rate is not None:
            check_positive("sample_rate", sample_rate)
        self.path = Path(path).expanduser()
        self.columns = Columns(str(id), time, _names(target), _names(channels))
        self.task = task
        self.sample_rate = sample_rate

    @property
    def name(self) -> str:
        """The file or folder."""
        return str(self.path)

    def info(self) -> DataInfo:
        """What the files hold, after reading them."""
        return info_of(self.name, self.load())

    def describe(self) -> dict[str, Any]:
        """Plain facts; the files are read."""
        sets = self.load()
        lengths = [int(length) for series in sets.values() for length in series.lengths]
        return {
            "title": f"your own data, {self.path}",
            "task": info_of(self.name, sets).task,
            "series": {part: len(series) for part, series in sets.items()},
            "lengths": f"{min(lengths)} to {max(lengths)} samples",
            "files": self.name,
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Looks for the files; there is nothing to fetch, so `offline` makes no difference."""
        _files(self.path)

    def load(self) -> dict[str, SeriesSet]:
        """The parts that are there; "all" for a file without parts and where nothing lies beside the training file."""
        sets = self._read(self.path, need_target=True)
        if "all" in sets:
            return sets
        if "train" not in sets:
            raise ValueError(f"{self.path} has no training part, only {', '.join(sets)}; name a file train")
        return {"all": sets["train"]} if len(sets) == 1 else sets

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """Any file or folder that the same options fit; targets may be missing."""
        path = Path(path).expanduser()
        return pick_part(self._read(path, need_target=False), split, str(path))

    def _read(self, path: Path, *, need_target: bool) -> dict[str, SeriesSet]:
        files = _files(path)
        if list(files) == ["all"] and files["all"].suffix == ".npz":
            parts = read_npz(files["all"], self.task)
        else:
            parts = {part: self._series(file, need_target=need_target) for part, file in files.items()}
        for series in parts.values():
            self._tell_rate(series)
        if self.task is not None:
            parts = {part: as_task(series, self.task) for part, series in parts.items()}
        return alike(parts)

    def _series(self, path: Path, *, need_target: bool) -> SeriesSet:
        if path.suffix == ".ts":
            return read_ts(path)
        if path.suffix == ".npz":
            return pick_part(read_npz(path, self.task), "all", str(path))
        return series_of_columns(
            read_columns(path, [self.columns.id]), self.columns, str(path), need_target=need_target
        )

    def _tell_rate(self, series: SeriesSet) -> None:
        given = self.sample_rate
        if given is None:
            return
        if series.sample_rate is not None and abs(series.sample_rate / given - 1) > 0.01:
            raise ValueError(
                f"`sample_rate` is {given:g} Hz, but the times in {series.origin} say {series.sample_rate:g} Hz; "
                "leave sample_rate out or correct it"
            )
        series.sample_rate = given


def _files(path: Path) -> dict[str, Path]:
    """Files by part; one file of its own is "all"."""
    if path.is_file():
        if path.suffix not in ENDINGS:
            raise ValueError(f"{path} must end in one of {', '.join(ENDINGS)}; convert it, for example to CSV")
        return {"all": path}
    if not path.is_dir():
        raise FileNotFoundError(f"there is no file or folder {path}")
    usable = sorted(file for file in path.iterdir() if file.is_file() and file.suffix in ENDINGS)
    if not usable:
        raise FileNotFoundError(f"{path} has no file that ends in one of {', '.join(ENDINGS)}")
    parts = {**ts_parts(path)}
    for file in usable:
        if file.stem in PARTS:
            if parts.get(file.stem, file) != file:
                raise ValueError(f"{path} has two {file.stem} files, {parts[file.stem].name} and {file.name}; keep one")
            parts[file.stem] = file
    if parts:
        return {part: parts[part] for part in PARTS if part in parts}
    if len(usable) > 1:
        raise ValueError(
            f"{path} has {len(usable)} files and none is named train: {', '.join(file.name for file in usable[:5])}; "
            "name them train, val and test, or give one file"
        )
    return {"all": usable[0]}


def _names(columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    names = columns.split(",") if isinstance(columns, str) else columns
    return tuple(str(name).strip() for name in names)
