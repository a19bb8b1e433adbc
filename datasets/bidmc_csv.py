"""One recording of BIDMC as PhysioNet's CSV files have it: signals at 125 Hz, numbers of the monitor once a second."""

from __future__ import annotations

import csv
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.datasets.series import Array

__all__ = ["NUMERICS", "Recording", "recording_files"]

TIME = "Time [s]"
NUMERICS = {"HR": "HR", "PULSE": "PULSE", "RR": "RESP", "SpO2": "SpO2"}
"""Columns of the monitor's numbers by what they are: the respiratory rate is named as the respiration signal is."""

_FILE = re.compile(r"(bidmc_\w+)_Signals\.csv")


def recording_files(folder: Path) -> dict[str, Path]:
    """Files bidmc_NN_Signals.csv of a folder by the name of their recording, in order.

    Example:
        >>> recording_files(Path("/nowhere"))
        {}
    """
    found = ((path, _FILE.fullmatch(path.name)) for path in sorted(folder.glob("bidmc_*_Signals.csv")))
    return {match[1]: path for path, match in found if match is not None}


@dataclass(frozen=True)
class Recording:
    """A file of signals, and where the monitor's numbers of the same recording lie.

    Args:
        path: File NAME_Signals.csv, as published or with a column before the time.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the recording, such as bidmc_01."""
        return self.path.name.removesuffix("_Signals.csv")

    @property
    def numerics_path(self) -> Path:
        """File of the monitor's numbers; it may not be there."""
        return self.path.with_name(f"{self.name}_Numerics.csv")

    def signals(self, names: tuple[str, ...], rate: float) -> Array:
        """Signals by name, (samples, len(names)), float32, NaN where the file has none.

        Args:
            names: Columns, such as PLETH and II.
            rate: Samples per second that the times must have.

        Raises:
            ValueError: the file is damaged, lacks a column, or its times are not even.
        """
        header = _header(self.path)
        wanted = [_place(name, header, self.path) for name in (TIME, *names)]
        rows = _rows(self.path, header, wanted)
        _check_even(rows[:, 0], 1 / rate, self.path)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is named when it is checked
            return rows[:, 1:].astype(np.float32)

    def numerics(self, target: str) -> tuple[Array, Array]:
        """Times in seconds and values of one of `NUMERICS`, (n,) each; NaN where the monitor had none, 0 included.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: the file is damaged or lacks the column.
        """
        path = self.numerics_path
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}, which has the {target} of {self.path.name}")
        header = _header(path)
        times, values = _rows(path, header, [_place(name, header, path) for name in (TIME, NUMERICS[target])]).T
        if not (np.diff(times) > 0).all():
            raise ValueError(f"the times of {path} must increase, and they do not; fetch it again")
        return times, np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _header(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file of text in UTF-8 ({error})") from None


def _place(name: str, header: list[str], path: Path) -> int:
    if name not in header:
        raise ValueError(f"{path} has no column {name!r}; its columns are {', '.join(header) or 'none'}")
    return header.index(name)


def _rows(path: Path, header: list[str], places: list[int]) -> Array:
    """Columns of numbers, (rows, len(places)), float64; NaN for what is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns of a file without rows
            return np.loadtxt(path, delimiter=",", skiprows=1, usecols=places, ndmin=2)
    except (ValueError, UserWarning):  # a gap, a word, or a row that is cut off: the slower way finds which
        pass
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            next(lines, None)
            for row in filter(None, lines):
                if len(row) != len(header):
                    raise ValueError(f"it has {len(row)} fields, the header {len(header)}")
                rows.append([float(row[place].strip() or "nan") for place in places])
    except (ValueError, csv.Error) as error:  # a word, a row that is cut off, bytes that are no text
        raise ValueError(f"line {lines.line_num} of {path}: {error}; fetch the file again") from None
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    return np.array(rows)


def _check_even(times: Array, step: float, path: Path) -> None:
    """Times have five digits, so from 100 s on they are rounded to more than a step; where they should be they are."""
    off = ~(np.abs(times - times[0] - step * np.arange(len(times))) < step)
    if off.any():
        k = int(off.argmax())
        raise ValueError(
            f"row {k + 1} of {path} has the time {times[k]:g} s, and {times[0] + k * step:g} s is expected at a row "
            f"each {step:g} s; rows are missing, fetch the file again"
        )
