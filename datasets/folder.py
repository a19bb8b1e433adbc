"""A user's own series: one file, or a folder with a file for each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from seqkit.batch import DataInfo, TaskKind
from seqkit.checks import check_choice, check_positive
from seqkit.datasets.columns import read_columns
from seqkit.datasets.forecast import Forecast
from seqkit.datasets.npz import read_npz
from seqkit.datasets.roles import Columns, nothing_to_learn
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS, Source, pick_part
from seqkit.datasets.table import series_of_columns
from seqkit.datasets.targets import alike, as_task, info_of
from seqkit.datasets.timing import GAPS
from seqkit.datasets.ts import read_ts, ts_parts
from seqkit.datasets.wide import is_wide, series_of_rows

__all__ = ["Folder"]

ENDINGS = (".csv", ".parquet", ".npz", ".ts")
TABLES = (".csv", ".parquet")
FORMS = ("long", "wide")


class Folder(Source):
    r"""A user's own data: .csv, .parquet, .npz or .ts, as one file or as train, val and test files of a folder.

    A table has a row for each sample (long) or for each series (wide). With a `horizon`, and from a table without
    targets, what is learned is to forecast: windows of the series are the input and their next values the target.

    Args:
        path: The file or folder.
        id: Table column with the name of the series that a row belongs to.
        time: Table column with the time of each row, seconds or ISO 8601 dates; if None, "time" where there is one,
            else timestamp, datetime, date or ds, else the only column of dates.
        target: Table column with the target, or several; "target" where there is one if None. With a horizon the
            channels to forecast; all if None.
        channels: Table columns with the samples, or names before the numbers of a wide table; every other column of
            numbers if None.
        task: "classification", "regression" or "sequence"; what the targets look like if None: text and at most 20
            whole numbers are classes, and a target that changes within a series is one per sample.
        sample_rate: Samples per second (Hz), where the files do not say; with gaps="grid" or "line" that of the grid.
        form: Whether tables are "long" or "wide"; what their columns look like if None.
        gaps: Where times are uneven: "keep" each sample's time, lay the samples on an even "grid" with missing values
            between them, draw a straight "line" from each to the next on such a grid, or "ignore" that and count the
            samples as even.
        horizon: Steps to forecast; None where the files have targets.
        window: Samples to forecast from; four times the horizon and at least 32 if None.
        stride: Samples between the starts of windows.
        season: Samples of a season, for the naive forecast that repeats it; what the step suggests if None.
        cut: Parts for validation and testing are cut off at the same "time" in every series, or at the same "share" of
            its samples; "time" where times are dates if None.
        overlap: Whether windows for validation and testing may begin before their part; what they forecast never does.

    Raises:
        ValueError: an unknown task, a number out of range, or an option of forecasts without a horizon.

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
        form: str | None = None,
        gaps: str = "keep",
        horizon: int | None = None,
        window: int | None = None,
        stride: int = 1,
        season: int | None = None,
        cut: str | None = None,
        overlap: bool = False,
    ) -> None:
        if task is not None:
            check_choice("task", task, get_args(TaskKind))
        if sample_rate is not None:
            check_positive("sample_rate", sample_rate)
        if form is not None:
            check_choice("form", form, FORMS)
        check_choice("gaps", gaps, GAPS)
        self.path = Path(path).expanduser()
        self.columns = Columns(str(id), time, _names(target), _names(channels), gaps, sample_rate)
        self.task = task
        self.sample_rate = sample_rate
        self.form = form
        self.forecast: Forecast | None = None
        if horizon is not None:
            if task not in (None, "regression"):
                raise ValueError(f"`task` is {task}, but a horizon makes it a regression of the next values; drop one")
            named = self.columns.target or ()
            self.forecast = Forecast(horizon, window, stride, season, named, cut, overlap, gaps == "ignore")
        else:
            _refuse_without_horizon(window=window, stride=stride, season=season, cut=cut, overlap=overlap)

    @property
    def name(self) -> str:
        """The file or folder."""
        return str(self.path)

    def info(self) -> DataInfo:
        """What the files hold, after reading them."""
        return self._info(self.load())

    def describe(self) -> dict[str, Any]:
        """Plain facts; the files are read."""
        sets = self.load()
        forecast = self._forecast(sets)
        lengths = [int(length) for series in sets.values() for length in series.lengths]
        return {
            "title": f"your own data, {self.path}",
            "task": self._info(sets).task,
            "series": {part: len(series) for part, series in sets.items()},
            "lengths": f"{min(lengths)} to {max(lengths)} samples",
            "files": self.name,
            **({} if forecast is None else {"forecast": f"next {forecast.horizon} from windows of {forecast.size}"}),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Looks for the files; there is nothing to fetch, so `offline` makes no difference."""
        _files(self.path)

    def files(self) -> list[Path]:
        """The files of all parts."""
        return list(_files(self.path).values())

    def load(self) -> dict[str, SeriesSet]:
        """The parts that are there; "all" for a file without parts and where nothing lies beside the training file."""
        sets = self._read(self.path, need_target=True)
        if "all" in sets:
            return sets
        if "train" not in sets:
            raise ValueError(f"{self.path} has no training part, only {', '.join(sets)}; name a file train")
        without = [part for part, series in sets.items() if series.target is None]
        if without and self.forecast is None and sets["train"].target is not None:
            raise ValueError(
                f"the {without[0]} part of {self.path} has no targets to measure by; give them, or leave the part out "
                "and predict for it later"
            )
        return {"all": sets["train"]} if len(sets) == 1 else sets

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """Any file or folder that the same options fit; targets may be missing."""
        path = Path(path).expanduser()
        return pick_part(self._read(path, need_target=False), split, str(path))

    def read_inputs(self, path: str | Path, split: str = "all") -> SeriesSet:
        """Any file or folder that the same options fit, without its targets, which may be missing for some series."""
        path = Path(path).expanduser()
        return pick_part(self._read(path, need_target=False, use_target=False), split, str(path))

    def cut(self, sets: dict[str, SeriesSet], *, validation: float, test: float, seed: int) -> dict[str, SeriesSet]:
        """Parts as every set has them, but windows cut in time for forecasts, where the seed decides nothing."""
        forecast = self._forecast(sets)
        if forecast is None:
            return super().cut(sets, validation=validation, test=test, seed=seed)
        return forecast.cut(sets, validation, test)

    def transform(self, part: str, series: SeriesSet) -> SeriesSet:
        """All windows of whole series for forecasts; other series as they are."""
        return series if self.forecast is None or series.kind is not None else self.forecast.windows(series)

    def to_predict(self, part: str, series: SeriesSet) -> SeriesSet:
        """The last window of each series for forecasts; other series as they are."""
        return series if self.forecast is None else self.forecast.latest(series)

    def _forecast(self, sets: dict[str, SeriesSet]) -> Forecast | None:
        """How to make windows of what was loaded; tables without targets were looked at when they were read."""
        told = sets["train" if "train" in sets else "all"].kind is None and self._has_tables()
        return self.forecast or (Forecast(horizon=1, even=self.columns.gaps == "ignore") if told else None)

    def _has_tables(self) -> bool:
        return all(file.suffix in TABLES for file in _files(self.path).values())

    def _info(self, sets: dict[str, SeriesSet]) -> DataInfo:
        forecast = self._forecast(sets)
        return info_of(
            self.name, sets if forecast is None else {part: forecast.windows(one) for part, one in sets.items()}
        )

    def _read(self, path: Path, *, need_target: bool, use_target: bool = True) -> dict[str, SeriesSet]:
        files = _files(path)
        if list(files) == ["all"] and files["all"].suffix == ".npz":
            parts = read_npz(files["all"], self.task, use_target=use_target)
        else:
            parts = {
                part: self._series(file, need_target=need_target, use_target=use_target) for part, file in files.items()
            }
        for series in parts.values():
            self._tell_rate(series)
        if self.forecast is not None:
            return {part: replace(series, target=None) for part, series in parts.items()}
        if self.task is not None:
            parts = {part: as_task(series, self.task) for part, series in parts.items()}
        return alike(parts)

    def _series(self, path: Path, *, need_target: bool, use_target: bool) -> SeriesSet:
        if path.suffix == ".ts":
            return read_ts(path)
        if path.suffix == ".npz":
            return pick_part(read_npz(path, self.task, use_target=use_target), "all", str(path))
        table, columns = read_columns(path, [self.columns.id]), self.columns
        wide = self.form == "wide" or (self.form is None and is_wide(table, columns))
        forecast = self.forecast is not None or (need_target and nothing_to_learn(table, columns, str(path)))
        if forecast:
            columns = _all_channels(columns)
        elif not use_target:
            table = {name: column for name, column in table.items() if name not in columns.targets}
        need_target = need_target and not forecast
        if wide:
            return series_of_rows(table, columns, str(path), need_target=need_target, keep_times=forecast)
        one = path.stem if forecast else None  # one series teaches to forecast, and nothing else
        return series_of_columns(
            table, columns, str(path), need_target=need_target, one_series=one, keep_times=forecast
        )

    def _tell_rate(self, series: SeriesSet) -> None:
        given = self.sample_rate
        if given is None:
            return
        counted = self.columns.gaps == "ignore"
        if series.sample_rate is not None and not counted and abs(series.sample_rate / given - 1) > 0.01:
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
            "name them train, val and test, or give one file, where a column tells the series apart"
        )
    return {"all": usable[0]}


def _refuse_without_horizon(**options: Any) -> None:
    for name, value in options.items():
        if value not in (None, 1, False):
            raise ValueError(
                f"`{name}` is for forecasts, got {value!r} without a horizon; give horizon=, or leave it out"
            )


def _all_channels(columns: Columns) -> Columns:
    """Columns where what is forecast is a channel like the others, and no target."""
    channels = columns.channels
    if channels is not None:
        channels += tuple(name for name in columns.target or () if name not in channels)
    return replace(columns, target=(), channels=channels)


def _names(columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    names = columns.split(",") if isinstance(columns, str) else columns
    return tuple(str(name).strip() for name in names)
