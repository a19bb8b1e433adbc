"""A picture of a few series of a data set, for a first look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqkit.checks import check_choice, check_positive_int
from seqkit.datasets.prepared import load_prepared
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import PARTS, Source, pick_part
from seqkit.figures import check_picture_path, figure_class, save_figure
from seqkit.runs.series_picture import Panel, draw_series
from seqkit.runs.source import build_source, data_config

__all__ = ["ShownSeries", "show_series"]

SOFTWARE = "seqkit data show"  # in the file, so that a picture of ours can be told from another file
MOST_CLASSES = 40  # rows of a picture
UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0))
DATES = 1e8  # seconds: later times are dates since 1970 rather than times since a start


class ShownSeries(NamedTuple):
    """What was drawn.

    Args:
        path: The picture.
        part: Part of the data set.
        n_series: Series in the part.
        shown: Names of the drawn series by class, or by what they stand for.
    """

    path: Path
    part: str
    n_series: int
    shown: dict[str, list[str]]

    def to_dict(self) -> dict[str, Any]:
        """Plain facts, for programs."""
        return {"file": str(self.path), "part": self.part, "n_series": self.n_series, "shown": self.shown}


def show_series(
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str = "train",
    per_class: int = 3,
    settings: Mapping[str, Any] | None = None,
    offline: bool = False,
    overwrite: bool = False,
) -> ShownSeries:
    """Draws a few series of each class, or with the smallest, middle and largest targets: as `seqkit data show`.

    The series are those of a training with these settings and seed 0, before anything is standardised.

    Args:
        data: Name of a data set, or path of your own data.
        out: PNG to write; NAME.series.png in the working folder if None.
        split: "train", "val" or "test", or "all" for every series as it is in the files.
        per_class: Series of each class, of each kind of target, or in all where targets are per sample.
        settings: Options of the data set, and the shares that are cut off, `validation` and `test`.
        offline: Fetch nothing.
        overwrite: Write over a file that is no picture of this kind.

    Returns:
        The picture's path and what is in it.

    Raises:
        ImportError: matplotlib or a package that the set needs is not installed.
        FileNotFoundError: the data are not there and cannot be fetched.
        FileExistsError: `out` is a folder, or another file and `overwrite` is not set.
        ValueError: an unknown name, option or part, or damaged data.

    Example:
        >>> import tempfile
        >>> picture = Path(tempfile.mkdtemp()) / "vowels.png"
        >>> shown = show_series("japanese_vowels", picture, per_class=2)
        >>> shown.n_series, len(shown.shown), len(shown.shown["1"])
        (243, 9, 2)
    """
    figure_class()
    check_choice("split", split, (*PARTS, "all"))
    check_positive_int("per_class", per_class)
    config = data_config(data, settings, cutting=True)
    source = build_source(config)
    path = Path(f"{Path(data).stem or 'data'}.series.png") if out is None else Path(out)
    check_picture_path(path, SOFTWARE, overwrite=overwrite)
    source.prepare(offline=offline)
    sets, _ = load_prepared(source)
    if split == "all":
        series = pick_part(sets, split, source.name)
    else:
        series = _part(source.cut(sets, validation=config.validation, test=config.test, seed=0), split, source)
    chosen, left_out = _choose(series, per_class)
    unit, size = _unit(series, [i for places in chosen.values() for i in places])
    rows = [[_panel(series, i, words, size) for i in places] for words, places in chosen.items()]
    what = "all" if split == "all" else f"{split} part"
    title = f"{Path(source.name).name}, {what}, {len(series)} series"
    if left_out:
        title += f"; {MOST_CLASSES} of {MOST_CLASSES + left_out} classes"
    channels = series.channels or [str(k) for k in range(series.n_channels) if series.n_channels > 1]
    save_figure(draw_series(rows, channels=channels, unit=unit, title=title), path, software=SOFTWARE)
    shown = {words: [series.names[i] for i in places] for words, places in chosen.items()}
    return ShownSeries(path, split, len(series), shown)


def _part(sets: dict[str, SeriesSet], split: str, source: Source) -> SeriesSet:
    if split not in sets:
        raise ValueError(f"{source.name} has no {split} part; choose one of {', '.join(sets)}, all")
    return source.transform(split, sets[split])


def _choose(series: SeriesSet, n: int) -> tuple[dict[str, list[int]], int]:
    """Places of the series to draw by what they stand for, and how many classes are left out."""
    if series.kind == "classification":
        labels = np.asarray(series.target)
        names = np.unique(labels).tolist()
        names = sorted(names, key=float) if all(name.isdecimal() for name in names) else names
        chosen = {name: _spread(np.flatnonzero(labels == name), n) for name in names[:MOST_CLASSES]}
        return chosen, len(names) - len(chosen)
    if series.kind == "regression":
        assert isinstance(series.target, np.ndarray)
        order = np.argsort(series.target[:, 0], kind="stable")
        n = min(n, max(1, len(order) // 3))
        middle = max(n, (len(order) - n) // 2)
        places = {"smallest": order[:n], "middle": order[middle : middle + n], "largest": order[n + middle :][-n:]}
        return {words: found.tolist() for words, found in places.items() if len(found)}, 0
    return {"series": _spread(np.arange(len(series)), n)}, 0


def _spread(places: Array, n: int) -> list[int]:
    """At most `n` of them, evenly spread: neighbours are often of one subject."""
    return [int(i) for i in places[np.unique(np.linspace(0, len(places) - 1, n).round().astype(int))]]


def _unit(series: SeriesSet, places: list[int]) -> tuple[str, float]:
    """Unit of the axes and its seconds, large enough for the longest of these series."""
    if series.timestamps is None and series.sample_rate is None:
        return "samples", 1.0
    span = max(float(np.ptp(_times(series, i))) for i in places)
    return next(((unit, size) for unit, size in UNITS if span >= 5 * size), ("s", 1.0))


def _times(series: SeriesSet, i: int) -> Array:
    """Seconds, or samples where nothing says how long they last; dates count from the first sample."""
    if series.timestamps is None:
        return np.arange(int(series.lengths[i])) / (series.sample_rate or 1.0)
    times = series.timestamps[i]
    return times if 0 <= times[0] < DATES else times - times[0]


def _panel(series: SeriesSet, i: int, words: str, size: float) -> Panel:
    values, times = series.values[i], _times(series, i) / size
    name = series.names[i]
    if series.kind == "regression":
        assert isinstance(series.target, np.ndarray)
        numbers = [f"{number:.4g}" for number in series.target[i, :3]]
        called = series.targets[0] if len(series.targets) == 1 else "target"
        more = ", ..." if series.target.shape[1] > 3 else ""
        return Panel(f"{words}, {called} {', '.join(numbers)}{more} ({name})", times, values)
    if series.kind == "sequence":
        assert series.target is not None
        return Panel(name, times, values, np.asarray(series.target[i]))
    return Panel(f"{words} ({name})" if series.kind else name, times, values)
