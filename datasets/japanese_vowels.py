"""JapaneseVowels: nine speakers say /ae/; twelve cepstral coefficients a frame."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import missing_extra
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source, pick_part
from seqkit.datasets.ts import read_ts, ts_parts

__all__ = ["JapaneseVowels"]

FRAMES_PER_SECOND = 156.25
"""The frames are 6.4 ms apart, says the donors' description of the set."""


class JapaneseVowels(Source):
    """640 utterances of nine men, who is speaking? It comes with sktime, so nothing is fetched.

    Source:
        Kudo, Toyama and Shimbo 1999, Multidimensional curve classification using passing-through regions.

    Example:
        >>> JapaneseVowels().info().classes
        ('1', '2', '3', '4', '5', '6', '7', '8', '9')
    """

    name = "japanese_vowels"

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=12,
            classes=tuple("123456789"),
            sample_rate=FRAMES_PER_SECOND,
            max_length=29,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {
            "title": "Japanese Vowels: which of nine men is speaking",
            "task": "classification",
            "series": {"train": 270, "test": 370},
            "lengths": "7 to 29 samples",
            "licence": "CC BY 4.0",
            "origin": "UCI Machine Learning Repository, Kudo, Toyama and Shimbo",
            "files": "come with the package sktime",
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Looks for the files in the installed package; there is nothing to fetch, so `offline` makes no difference.

        Raises:
            ImportError: sktime is not installed.
            FileNotFoundError: the installed sktime lacks them.
        """
        _folder()

    def load(self) -> dict[str, SeriesSet]:
        """The official training and test parts."""
        return _read_parts(_folder(), prefix=True)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A .ts file of such series, or a folder with NAME_TRAIN.ts and NAME_TEST.ts."""
        path = Path(path)
        if path.is_dir():
            return pick_part(_read_parts(path, prefix=False), split, str(path))
        if not path.is_file():
            raise FileNotFoundError(f"there is no file or folder {path}")
        series = read_ts(path)
        series.sample_rate = FRAMES_PER_SECOND
        return pick_part({"all": series}, split, str(path))


def _read_parts(folder: Path, *, prefix: bool) -> dict[str, SeriesSet]:
    files = ts_parts(folder)
    if not files:
        raise FileNotFoundError(f"{folder} has no files NAME_TRAIN.ts or NAME_TEST.ts")
    parts = {part: read_ts(path, prefix=f"{part}-" if prefix else "") for part, path in files.items()}
    for series in parts.values():
        series.sample_rate = FRAMES_PER_SECOND
    return parts


def _folder() -> Path:
    """Folder of the set inside the installed sktime, found without importing it."""
    spec = importlib.util.find_spec("sktime")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("sktime", "sktime", "The data set japanese_vowels")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "JapaneseVowels"
    if not ts_parts(folder):
        raise FileNotFoundError(
            f"the installed sktime has no data in {folder}; run: pip install --force-reinstall sktime"
        )
    return folder
