"""CIFAR-10 as sequences: small photographs, one pixel after the other, grey or in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.archives import unpack
from seqkit.datasets.download import fetch
from seqkit.datasets.permutation import pixel_order
from seqkit.datasets.pickled import read_pickled_batch
from seqkit.datasets.pixels import pixel_rows, to_grey
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import Source, data_root, file_or_folder, pick_part

__all__ = ["CIFAR10"]

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "md5:c32a1d4ab5d03f1284b67883e8d87530"
ARCHIVE = "cifar-10-binary.tar.gz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Classes by their number in the files."""

PIXELS = 32 * 32
RECORD = 1 + 3 * PIXELS
"""Bytes of an image in the binary version: its label, then its red, green and blue pixels."""


class _Layout(NamedTuple):
    """One of the two published versions."""

    folder: str
    parts: dict[str, tuple[str, ...]]


_BINARY = _Layout(
    "cifar-10-batches-bin",
    {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
)
_PYTHON = _Layout(
    "cifar-10-batches-py",
    {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
)


class CIFAR10(Source):
    """Photographs of ten kinds of things, read pixel by pixel, row by row: 1024 samples in [0, 1].

    Pixels are only scaled to [0, 1]; a model normalises each channel by the training part, which comes to the papers'
    fixed means and deviations.

    Args:
        color: Three channels, red, green and blue, as LSSL takes them; else one, the luma, as S4 does.
        permutation: Order of the pixels: "none", "bit_reversal", "numpy:SEED" or "random:SEED".
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an option out of range.

    Source:
        Krizhevsky 2009, Learning multiple layers of features from tiny images; as a sequence of colours: Gu et al.
        2021, LSSL (arXiv:2110.13985); of greys: Gu et al. 2022, S4 (arXiv:2111.00396).

    Example:
        >>> CIFAR10().info().n_channels, CIFAR10(color=True).info().channels
        (1, ('red', 'green', 'blue'))
    """

    name = "cifar10"

    def __init__(self, *, color: bool = False, permutation: str = "none", root: str | Path | None = None) -> None:
        if not isinstance(color, bool):
            raise ValueError(f"`color` must be true or false, got {color!r}")
        self.color = color
        self.order = pixel_order(permutation, PIXELS)
        self.permutation = permutation
        self.root = data_root(root)

    def info(self) -> DataInfo:
        """What the set holds; pixels have no unit of time."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=3 if self.color else 1,
            classes=CLASSES,
            max_length=PIXELS,
            channels=self._channels(),
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        order = "row by row" if self.order is None else f"permuted ({self.permutation})"
        return {
            "title": f"CIFAR-10 photographs pixel by pixel, {'in colour' if self.color else 'grey'}, {order}",
            "task": "classification",
            "series": {"train": 50_000, "test": 10_000},
            "lengths": f"{PIXELS} samples",
            "licence": "none stated; cite the report",
            "citation": "Krizhevsky 2009, Learning multiple layers of features from tiny images, University of Toronto",
            "origin": "Krizhevsky, Nair and Hinton",
            "files": str(self._find() or self.root / "CIFAR10" / _BINARY.folder),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the binary version if neither version is there yet, 170 MB."""
        if self._find() is not None:
            return
        folder = self.root / "CIFAR10"
        archive = next((place / ARCHIVE for place in self._places() if (place / ARCHIVE).is_file()), folder / ARCHIVE)
        fetched = not archive.is_file()
        if fetched:
            fetch([URL], archive, MD5, offline=offline, what="the files of CIFAR-10")
        members = [f"{_BINARY.folder}/{name}" for names in _BINARY.parts.values() for name in names]
        unpack(archive, folder / _BINARY.folder, members=members, strip=1, limit=2 * 6 * 10_000 * RECORD)
        if fetched:
            archive.unlink()

    def load(self) -> dict[str, SeriesSet]:
        """The official training and test parts."""
        folder = self._find()
        if folder is None:
            raise FileNotFoundError(
                f"the files of CIFAR-10 are not under {self.root}; run `seqkit data prepare cifar10`"
            )
        parts = self._parts(folder)
        missing = [name for name in ("train", "test") if name not in parts]
        if missing:
            raise FileNotFoundError(f"{folder} has no files of the {missing[0]} part; fetch it again")
        return parts

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A batch file of either version, or a folder of them: cifar-10-batches-bin, cifar-10-batches-py, or above."""
        path = file_or_folder(path)
        if path.is_file():
            return pick_part({"all": self._series([path], path, "")}, split, str(path))
        below = [path, *(path / name for name in (_BINARY.folder, _PYTHON.folder))]
        for folder in [*below, *(path / "CIFAR10" / name for name in (_BINARY.folder, _PYTHON.folder))]:
            parts = self._parts(folder)
            if parts:
                return pick_part(parts, split, str(path))
        raise FileNotFoundError(f"{path} has no files data_batch_1.bin or test_batch.bin")

    def _channels(self) -> tuple[str, ...]:
        return ("red", "green", "blue") if self.color else ()

    def _places(self) -> list[Path]:
        return [self.root / "CIFAR10", self.root / "cifar10", self.root]

    def _find(self) -> Path | None:
        """The folder of batches, the binary version before the other."""
        folders = (place / layout.folder for layout in (_BINARY, _PYTHON) for place in self._places())
        return next((folder for folder in folders if folder.is_dir()), None)

    def _parts(self, folder: Path) -> dict[str, SeriesSet]:
        """Whichever parts the folder has; a part that has some of its files and lacks others is refused."""
        out = {}
        for layout in (_BINARY, _PYTHON):
            for part, names in layout.parts.items():
                there = [folder / name for name in names if (folder / name).is_file()]
                if there and len(there) < len(names):
                    lost = [name for name in names if not (folder / name).is_file()]
                    raise FileNotFoundError(f"{folder} lacks {', '.join(lost)}; fetch it again")
                if there and part not in out:
                    out[part] = self._series(there, folder, f"{part}-")
        return out

    def _series(self, files: list[Path], origin: Path, prefix: str) -> SeriesSet:
        batches = [_read_batch(file) for file in files]
        # From planes of one colour to the colours of one pixel.
        pixels = [images.reshape(len(images), 3, PIXELS).transpose(0, 2, 1) for _, images in batches]
        images = np.concatenate([one if self.color else to_grey(one) for one in pixels])
        rows = pixel_rows(images, self.order, origin=str(origin))
        target = [CLASSES[number] for labels, _ in batches for number in labels.tolist()]
        names = [f"{prefix}{i}" for i in range(len(rows))]
        return SeriesSet(rows, target, names=names, channels=self._channels(), origin=str(origin))


def _read_batch(path: Path) -> tuple[Array, Array]:
    """Labels (n,) and bytes (n, 3072) of a file of either version."""
    if path.suffix == ".bin":
        data = np.fromfile(path, dtype=np.uint8)
        if len(data) == 0 or len(data) % RECORD:
            raise ValueError(
                f"{path} has {len(data)} bytes, which is not a whole number of images of {RECORD}; fetch it again"
            )
        records = data.reshape(-1, RECORD)
        labels, images = records[:, 0], records[:, 1:]
    else:
        labels, images = read_pickled_batch(path, width=3 * PIXELS)
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        i = int(((labels < 0) | (labels >= len(CLASSES))).argmax())
        raise ValueError(f"label {i} of {path} is {labels[i]}, CIFAR-10 has labels 0 to 9; fetch it again")
    return labels, images
