"""IDX files, and image sets that come as four of them."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from abc import abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.download import fetch
from seqkit.datasets.permutation import pixel_order
from seqkit.datasets.pixels import pixel_rows
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import Source, data_root, file_or_folder, first_file, pick_part

__all__ = ["PIXELS", "IdxFiles", "IdxImages", "read_idx"]

PIXELS = 28 * 28
MOST_BYTES = 1 << 30  # the largest set in this layout, EMNIST, has half of that
_STEMS = {"train": "train", "test": "t10k"}


class IdxFiles(NamedTuple):
    """Where the four files of a set come from and go to.

    Args:
        title: Name of the set in words.
        folder: Folder under the data root that they are laid down in.
        others: More folders that they are looked for in.
        mirrors: Addresses of the folder of files, tried in turn.
        checksums: Checksum of each packed file by its name without ".gz".
        labels: Class by number.
    """

    title: str
    folder: str
    others: tuple[str, ...]
    mirrors: tuple[str, ...]
    checksums: dict[str, str]
    labels: tuple[str, ...]


class IdxImages(Source):
    """Images of 28 x 28 pixels in the layout of MNIST, read pixel by pixel: 784 samples of one channel in [0, 1].

    Args:
        permutation: Order of the pixels: "none", "bit_reversal", "numpy:SEED" or "random:SEED".
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an unknown permutation.
    """

    def __init__(self, *, permutation: str = "none", root: str | Path | None = None) -> None:
        self.order = pixel_order(permutation, PIXELS)
        self.permutation = permutation
        self.root = data_root(root)

    @abstractmethod
    def published(self) -> IdxFiles:
        """The four files and what their labels mean."""

    def info(self) -> DataInfo:
        """What the set holds; pixels have no unit of time."""
        classes = tuple(sorted(self.published().labels))
        return DataInfo(name=self.name, task="classification", n_channels=1, classes=classes, max_length=PIXELS)

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches those of the four files that are not there yet."""
        files = self.published()
        for name, known_hash in files.checksums.items():
            if self._find(name) is None:
                urls = [f"{mirror}{name}.gz" for mirror in files.mirrors]
                what = f"the files of {files.title}"
                fetch(urls, self.root / files.folder / f"{name}.gz", known_hash, offline=offline, what=what)

    def load(self) -> dict[str, SeriesSet]:
        """The official training and test parts."""
        parts = {}
        for part, stem in _STEMS.items():
            images = self._find(f"{stem}-images-idx3-ubyte")
            labels = self._find(f"{stem}-labels-idx1-ubyte")
            if images is None or labels is None:
                raise FileNotFoundError(
                    f"the {part} files of {self.published().title} are not under {self.root}; "
                    f"run `seqkit data prepare {self.name}`"
                )
            parts[part] = self._read(images, labels, prefix=f"{part}-")
        return parts

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A file of images, with its labels if their file lies beside it, or a folder with train-* and t10k-* files."""
        path = file_or_folder(path)
        if path.is_file():
            if "labels" in path.name:
                raise ValueError(f"{path} is the file of labels; give the file of images, or the folder of both")
            labels = first_file([path.parent], _spellings(_label_name(path.name)))
            return pick_part({"all": self._read(path, labels)}, split, str(path))
        parts = {}
        for part, stem in _STEMS.items():
            images = first_file([*self._folders(path), path / "raw", path], _spellings(f"{stem}-images-idx3-ubyte"))
            if images is not None:
                labels = first_file([images.parent], _spellings(f"{stem}-labels-idx1-ubyte"))
                parts[part] = self._read(images, labels, prefix=f"{part}-")
        if not parts:
            raise FileNotFoundError(f"{path} has no files train-images-idx3-ubyte or t10k-images-idx3-ubyte")
        return pick_part(parts, split, str(path))

    def _folders(self, root: Path) -> list[Path]:
        files = self.published()
        return [root / folder for folder in (files.folder, *files.others)]

    def _find(self, name: str) -> Path | None:
        return first_file(self._folders(self.root), _spellings(name))

    def _read(self, images: Path, labels: Path | None, prefix: str = "") -> SeriesSet:
        pixels = read_idx(images, n_dimensions=3)
        if pixels.shape[1:] != (28, 28):
            raise ValueError(
                f"{images} holds images of {pixels.shape[1]} x {pixels.shape[2]} pixels, {self.published().title} has "
                "28 x 28"
            )
        target = None if labels is None else self._labels(labels, images, len(pixels))
        rows = pixel_rows(pixels.reshape(len(pixels), PIXELS, 1), self.order, origin=str(images))
        return SeriesSet(rows, target, names=[f"{prefix}{i}" for i in range(len(rows))], origin=str(images))

    def _labels(self, path: Path, images: Path, n: int) -> list[str]:
        numbers = read_idx(path, n_dimensions=1)
        if len(numbers) != n:
            raise ValueError(f"{images} has {n} images and {path} has {len(numbers)} labels; one is damaged")
        names = self.published().labels
        if len(numbers) and numbers.max() >= len(names):
            i = int((numbers >= len(names)).argmax())
            raise ValueError(
                f"label {i} of {path} is {numbers[i]}, {self.published().title} has labels 0 to {len(names) - 1}; "
                "fetch it again"
            )
        return [names[number] for number in numbers.tolist()]


def read_idx(path: Path, *, n_dimensions: int) -> Array:
    """Bytes of an IDX file, plain or gzip: a magic number, sizes, then the values.

    Args:
        path: The file.
        n_dimensions: Number of sizes expected: 3 for images, 1 for labels.

    Raises:
        ValueError: the file is damaged or something else.
    """
    magic, start = 0x0800 + n_dimensions, 4 + 4 * n_dimensions
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(start)
            if len(head) < start or struct.unpack(">I", head[:4])[0] != magic:
                what = "images" if n_dimensions == 3 else "labels"
                raise ValueError(f"{path} is not an IDX file of {what}: it does not start with the number {magic}")
            sizes = struct.unpack(f">{n_dimensions}I", head[4:])
            count = math.prod(sizes)
            if count > MOST_BYTES:
                raise ValueError(f"{path} says it holds {sizes} values, more than any such set; fetch it again")
            data = file.read(count + 1)  # no more of it than that, whatever a packed file would unpack to
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and fetch it again") from None
    if len(data) != count:
        has = f"{len(data)} bytes of them" if len(data) < count else "more"
        raise ValueError(f"{path} should hold {sizes} values and has {has}; fetch it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(sizes)


def _spellings(name: str) -> list[str]:
    return [f"{name}.gz", name]


def _label_name(name: str) -> str:
    return name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
