"""One channel of one series out of a file, to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqkit.checks import check_not_negative, check_positive, nearest
from seqkit.datasets.columns import read_columns
from seqkit.datasets.folder import Folder
from seqkit.datasets.registry import get_source, source_names
from seqkit.datasets.roles import Columns
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import pick_part
from seqkit.datasets.table import series_of_columns
from seqkit.datasets.wav import read_wav

__all__ = ["Signal", "read_signal"]

ONE = "series"  # column that tells series apart; a table without it is one series


@dataclass(frozen=True, eq=False)
class Signal:
    """One channel of one series.

    Args:
        values: Samples, (L,).
        series: Name of the series.
        channel: Name of the channel.
        step: Length of each sample's stretch of time, in `unit`; a typical one where `ends` says more.
        ends: Where the stretches of unevenly spaced samples end, (L,), counted from the start; None for even ones.
        unit: "s", or "samples" where nothing says how long a sample lasts.
    """

    values: Array
    series: str
    channel: str
    step: float
    ends: Array | None
    unit: str

    def between(self, start: float, stop: float | None) -> Signal:
        """The part that lies between two times in `unit`; its own time starts at 0.

        Raises:
            ValueError: no sample lies there.

        Example:
            >>> Signal(np.arange(5.0), "a", "x", 0.5, None, "s").between(1, 2).values
            array([2., 3.])
        """
        check_not_negative("start", start)
        ends = self.step * np.arange(1, len(self.values) + 1) if self.ends is None else self.ends
        slack = 1e-9 * self.step
        kept = (ends > start + slack) & (ends <= (np.inf if stop is None else stop) + slack)
        if not kept.any():
            part = f"after {start:g} {self.unit}" if stop is None else f"between {start:g} and {stop:g} {self.unit}"
            raise ValueError(
                f"no sample of series {self.series!r} ends {part}; it is {ends[-1]:.6g} {self.unit} long, so change "
                "start or stop"
            )
        cut = None if self.ends is None else self.ends[kept] - start
        return Signal(self.values[kept], self.series, self.channel, self.step, cut, self.unit)


def read_signal(
    data: str | Path,
    *,
    series: str | None = None,
    channel: str | None = None,
    time: str | None = None,
    sample_rate: float | None = None,
) -> Signal:
    """Reads one channel of one series.

    Args:
        data: CSV, Parquet, NPZ, `.ts` or WAV file, a folder of the first four, or the name of a data set. A table
            without a column "series" is one series.
        series: Name of the series; the first if None.
        channel: Name of the channel, or its number from 0; the first if None.
        time: Column of a table with times, seconds or dates; "time" where there is one if None.
        sample_rate: Samples per second (Hz), where the file does not say.

    Returns:
        The signal; missing values are left out, and the sample after a gap lasts for the gap as well.

    Raises:
        FileNotFoundError: no such file and no data set of that name.
        ValueError: the file is damaged, or has no such series or channel; the sentence names the nearest.

    Example:
        >>> signal = read_signal("japanese_vowels", series="train-2", channel="3")
        >>> signal.values.shape, signal.unit
        ((22,), 's')
    """
    if sample_rate is not None:
        check_positive("sample_rate", sample_rate)
    path = Path(data).expanduser()
    if path.is_file() and path.suffix in (".csv", ".parquet"):
        found = _table(path, channel, time)
        channel = None  # there is only this one
    elif time is not None:
        raise ValueError(f"`time` names a column of a CSV or Parquet file, got {time!r} for {data}; leave it out")
    else:
        found = _read(path, str(data))
    place = _place("series", series, found.names, found.origin)
    names = list(found.channels) or [str(i) for i in range(found.n_channels)]
    column = _place("channel", channel, names, found.origin)
    rate = _rate(found, sample_rate)
    times = None if found.timestamps is None else found.timestamps[place]
    step = 1.0 if rate is None else 1 / rate
    # What a sample's stretch starts at is known from the sample before; the first is given a typical stretch.
    ends = None if times is None else times - times[0] + step
    unit = "samples" if rate is None else "s"
    return _observed(Signal(found.values[place][:, column], found.names[place], names[column], step, ends, unit))


def _observed(signal: Signal) -> Signal:
    """The samples that are there; one after a gap lasts for the gap as well."""
    there = ~np.isnan(signal.values)
    if there.all():
        return signal
    if not there.any():
        raise ValueError(f"channel {signal.channel!r} of series {signal.series!r} has no value; choose another")
    ends = signal.step * np.arange(1, len(there) + 1) if signal.ends is None else signal.ends
    return replace(signal, values=signal.values[there], ends=ends[there])


def _read(path: Path, name: str) -> SeriesSet:
    if path.is_file() and path.suffix == ".wav":
        return read_wav(path)
    if path.exists():
        return Folder(path).read(path)
    sets = [one for one in source_names() if one != "folder"]
    if name in sets:
        return pick_part(get_source(name).load(), "all", name)
    raise FileNotFoundError(f"there is no file {name}, nor a data set of that name; {nearest(name, sets)}")


def _table(path: Path, channel: str | None, time: str | None) -> SeriesSet:
    """A table with one channel: the others may have gaps."""
    columns = read_columns(path, [ONE])
    if ONE not in columns:
        columns[ONE] = np.full(len(next(iter(columns.values()))), path.stem)
    used = (ONE, time or "time", "target")
    names = [name for name, column in columns.items() if column.dtype.kind == "f" and name not in used]
    chosen = (names[_place("channel", channel, names, str(path))],) if names else None
    return series_of_columns(columns, Columns(ONE, time, channels=chosen), str(path), need_target=False)


def _rate(found: SeriesSet, given: float | None) -> float | None:
    """Samples per second, as the file says or else as given."""
    own = found.sample_rate
    if given is None or own is None:
        return given if own is None else own
    if abs(own / check_positive("sample_rate", given) - 1) > 0.01:
        raise ValueError(
            f"`sample_rate` is {given:g} Hz, but {found.origin} says {own:g} Hz; leave it out or correct it"
        )
    return own


def _place(what: str, name: str | None, names: list[str], origin: str) -> int:
    """Where a name is in a list; a number counts from 0 where it is no name."""
    if name is None:
        return 0
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise ValueError(f"{origin} has no {what} {name!r}; {_hint(name, names)}")


def _hint(name: str, names: list[str]) -> str:
    """The nearest names, or the first of many."""
    if name.isdecimal() or len(names) > 20:
        shown = ", ".join(names[:5])
        return f"it has {len(names)}: {shown}{', ...' if len(names) > 5 else ''}"
    return nearest(name, names)
