"""Data sets that come inside an installed package: found without importing it, read by the reader of .ts files."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from pathlib import Path
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import missing_extra
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source, file_or_folder, pick_part
from seqkit.datasets.ts import read_ts, ts_parts

__all__ = ["Bundled", "Covid3Month", "Tecator", "bundled_folder", "package_folder", "read_parts"]

SECONDS_PER_DAY = 86_400


def package_folder(module: str, package: str, what: str) -> Path:
    """Folder of an installed package.

    Args:
        module: Name that it is imported by.
        package: Name that it is installed by; an extra of seqkit brings it.
        what: What needs it, for the error.

    Raises:
        ImportError: it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra(package, "sktime", what)
    return Path(spec.submodule_search_locations[0])


def bundled_folder(name: str, folder: str) -> Path:
    """Folder of a set inside the installed sktime.

    Args:
        name: Name of the set in the registry, for the error.
        folder: Name of the folder among sktime's data.

    Raises:
        ImportError: sktime is not installed.
        FileNotFoundError: the installed sktime lacks the files.
    """
    path = package_folder("sktime", "sktime", f"The data set {name}") / "datasets" / "data" / folder
    if not ts_parts(path):
        raise FileNotFoundError(
            f"the installed sktime has no data in {path}; run: pip install --force-reinstall sktime"
        )
    return path


def read_parts(folder: Path, *, prefix: bool, sample_rate: float | None) -> dict[str, SeriesSet]:
    """Parts of a folder with NAME_TRAIN.ts and NAME_TEST.ts.

    Args:
        folder: The folder.
        prefix: Whether the names of the series begin with their part.
        sample_rate: Samples per second, which the files do not say.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is damaged.
    """
    files = ts_parts(folder)
    if not files:
        raise FileNotFoundError(f"{folder} has no files NAME_TRAIN.ts or NAME_TEST.ts")
    parts = {part: read_ts(path, prefix=f"{part}-" if prefix else "") for part, path in files.items()}
    for series in parts.values():
        series.sample_rate = sample_rate
    return parts


class Bundled(Source):
    """A set of sktime's with official parts in two .ts files; nothing is fetched."""

    folder: str
    sample_rate: float | None = None

    @abstractmethod
    def info(self) -> DataInfo:
        """What the set holds."""

    def prepare(self, *, offline: bool = False) -> None:
        """Looks for the files in the installed package; there is nothing to fetch, so `offline` makes no difference.

        Raises:
            ImportError: sktime is not installed.
            FileNotFoundError: the installed sktime lacks them.
        """
        bundled_folder(self.name, self.folder)

    def load(self) -> dict[str, SeriesSet]:
        """The official training and test parts."""
        return read_parts(bundled_folder(self.name, self.folder), prefix=True, sample_rate=self.sample_rate)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A .ts file of such series, or a folder with NAME_TRAIN.ts and NAME_TEST.ts."""
        path = file_or_folder(path)
        if path.is_dir():
            return pick_part(read_parts(path, prefix=False, sample_rate=self.sample_rate), split, str(path))
        series = read_ts(path)
        series.sample_rate = self.sample_rate
        return pick_part({"all": series}, split, str(path))


class Covid3Month(Bundled):
    """201 countries by their confirmed cases of COVID-19 a day over 84 days; how many of them died?

    Source:
        Tan, Bergmeir, Petitjean and Webb 2021, Time series extrinsic regression; data of the WHO.

    Example:
        >>> Covid3Month().info().max_length
        84
    """

    name = "covid3month"
    folder = "Covid3Month"
    sample_rate = 1 / SECONDS_PER_DAY

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(name=self.name, task="regression", n_channels=1, sample_rate=self.sample_rate, max_length=84)

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {
            "title": "Covid3Month: death rate of a country from its daily cases",
            "task": "regression",
            "target": "death rate on 1 April 2020, as a share",
            "series": {"train": 140, "test": 61},
            "lengths": "84 samples, one a day",
            "licence": "CC BY 4.0, says the archive",
            "citation": "Tan, Bergmeir, Petitjean and Webb 2021, Time series extrinsic regression, DMKD 35",
            "origin": "TSER archive, from the World Health Organization's counts",
            "files": "come with the package sktime",
        }


class Tecator(Bundled):
    """215 samples of meat by their near-infrared absorbance at 100 wavelengths; how much of it is fat?

    The samples of a series follow each other in wavelength, not in time.

    Source:
        Borggaard and Thodberg 1992, Optimal minimal neural interpretation of spectra.

    Example:
        >>> Tecator().info().max_length
        100
    """

    name = "tecator"
    folder = "Tecator"

    def info(self) -> DataInfo:
        """What the set holds; a spectrum has no unit of time."""
        return DataInfo(name=self.name, task="regression", n_channels=1, max_length=100)

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {
            "title": "Tecator: fat of meat from its infrared spectrum",
            "task": "regression",
            "target": "fat in percent",
            "series": {"train": 172, "test": 43},
            "lengths": "100 samples, from 850 to 1050 nm",
            "licence": "not named in its files; see OpenML data set 505",
            "citation": "Borggaard and Thodberg 1992, Optimal minimal neural interpretation of spectra, Anal. Chem. 64",
            "origin": "OpenML data set 505",
            "files": "come with the package sktime",
        }
