"""Digits of 8 x 8 pixels as short sequences: the small sibling of MNIST that comes with scikit-learn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.bundled import package_folder
from seqkit.datasets.permutation import pixel_order
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source, pick_part

__all__ = ["Digits"]

PIXELS = 8 * 8
INK = 16
"""Largest value of a pixel."""

IMAGES, TEST = 1797, 360
FILE = "digits.csv.gz"


class Digits(Source):
    """Handwritten digits, read pixel by pixel: 64 samples of one channel in [0, 1]. Nothing is fetched.

    The set has no official parts. The last 360 images of the file, a fifth, are the test part: the images are not
    shuffled, so this asks for more than a random draw would.

    Args:
        permutation: Order of the pixels: "none", "bit_reversal", "numpy:SEED" or "random:SEED".

    Raises:
        ValueError: an unknown permutation.

    Source:
        Alpaydin and Kaynak 1998; the test set of UCI's Optical Recognition of Handwritten Digits.

    Example:
        >>> Digits().info().max_length
        64
    """

    name = "digits"

    def __init__(self, *, permutation: str = "none") -> None:
        self.order = pixel_order(permutation, PIXELS)
        self.permutation = permutation

    def info(self) -> DataInfo:
        """What the set holds; pixels have no unit of time."""
        return DataInfo(
            name=self.name, task="classification", n_channels=1, classes=tuple("0123456789"), max_length=PIXELS
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        order = "row by row" if self.order is None else f"permuted ({self.permutation})"
        return {
            "title": f"Digits of 8 x 8 pixels, pixel by pixel, {order}",
            "task": "classification",
            "series": {"train": IMAGES - TEST, "test": TEST},
            "lengths": f"{PIXELS} samples",
            "licence": "CC BY 4.0",
            "citation": "Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI",
            "origin": "UCI Machine Learning Repository, Alpaydin and Kaynak",
            "files": "come with the package scikit-learn",
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Looks for the file in the installed package; there is nothing to fetch, so `offline` makes no difference.

        Raises:
            ImportError: scikit-learn is not installed.
            FileNotFoundError: the installed scikit-learn lacks it.
        """
        _file()

    def load(self) -> dict[str, SeriesSet]:
        """The first 1437 images to train with and the last 360 to test."""
        return self._parts(_file())

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A CSV file, plain or gzip, of 64 pixels and the digit in each row; the whole set has its two parts."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file or folder {path}; give a file such as {FILE}")
        return pick_part(self._parts(path), split, str(path))

    def _parts(self, path: Path) -> dict[str, SeriesSet]:
        series = self._read(path)
        if len(series) != IMAGES:
            return {"all": series}
        cut = IMAGES - TEST
        return {"train": series.select(range(cut)), "test": series.select(range(cut, IMAGES))}

    def _read(self, path: Path) -> SeriesSet:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # numpy warns of a file without rows
                rows = np.loadtxt(path, delimiter=",", ndmin=2)
        except (ValueError, OSError, EOFError, UserWarning) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} is damaged or not a CSV file of digits ({reason})") from None
        pixels, labels = rows[:, :-1], rows[:, -1]
        if pixels.shape[1] != PIXELS or not np.isin(labels, range(10)).all():
            raise ValueError(f"{path} must hold {PIXELS} pixels and a digit in each row, got {rows.shape[1]} columns")
        if not ((pixels >= 0) & (pixels <= INK)).all():
            raise ValueError(f"{path} has a pixel outside 0 to {INK}, which images of this set do not have")
        if self.order is not None:
            pixels = pixels[:, self.order]
        values = (pixels / INK).astype(np.float32)[..., None]
        return SeriesSet(list(values), [str(int(label)) for label in labels], origin=str(path))


def _file() -> Path:
    path = package_folder("sklearn", "scikit-learn", "The data set digits") / "datasets" / "data" / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"the installed scikit-learn has no file {path}; run: pip install --force-reinstall scikit-learn"
        )
    return path
