"""MNIST as sequences: one pixel after the other, in the order of rows or permuted."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.download import fetch
from seqkit.datasets.permutation import pixel_order
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import Source, data_root, first_file, pick_part

__all__ = ["MNIST", "read_idx"]

PIXELS = 28 * 28
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# Checksums of the published gz files; they say nothing of files that were unpacked or packed anew.
FILES = {
    "train-images-idx3-ubyte": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}
_STEMS = {"train": "train", "test": "t10k"}


class MNIST(Source):
    """Handwritten digits, read pixel by pixel: 784 samples of one channel in [0, 1].

    Args:
        permutation: Order of the pixels: "none", "bit_reversal", "numpy:SEED" or "random:SEED".
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an unknown permutation.

    Source:
        LeCun, Cortes and Burges; as a sequence: Le et al. 2015 (arXiv:1504.00941).

    Example:
        >>> MNIST(permutation="bit_reversal").info().name
        'permuted_mnist'
    """

    def __init__(self, *, permutation: str = "none", root: str | Path | None = None) -> None:
        self.order = pixel_order(permutation, PIXELS)
        self.permutation = permutation
        self.root = data_root(root)

    @property
    def name(self) -> str:
        """Name in the registry."""
        return "mnist" if self.order is None else "permuted_mnist"

    def info(self) -> DataInfo:
        """What the set holds; pixels have no unit of time."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=1,
            classes=tuple("0123456789"),
            max_length=PIXELS,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        order = "row by row" if self.order is None else f"permuted ({self.permutation})"
        return {
            "title": f"MNIST digits pixel by pixel, {order}",
            "task": "classification",
            "series": {"train": 60_000, "test": 10_000},
            "lengths": f"{PIXELS} samples",
            "licence": "CC BY-SA 3.0",
            "origin": "LeCun, Cortes and Burges",
            "files": str(self.root / "MNIST" / "raw"),
        }

    def prepare(self, *, offline: bool = False) -> None:
        """Fetches the four files that are not there yet, 11 MB in all."""
        for name, known_hash in FILES.items():
            if self._find(name) is None:
                urls = [f"{mirror}{name}.gz" for mirror in MIRRORS]
                path = self.root / "MNIST" / "raw" / f"{name}.gz"
                fetch(urls, path, known_hash, offline=offline, what="the files of MNIST")

    def load(self) -> dict[str, SeriesSet]:
        """The official training and test parts."""
        parts = {}
        for part, stem in _STEMS.items():
            images = self._find(f"{stem}-images-idx3-ubyte")
            labels = self._find(f"{stem}-labels-idx1-ubyte")
            if images is None or labels is None:
                raise FileNotFoundError(
                    f"the {part} files of MNIST are not under {self.root}; run `seqkit data prepare {self.name}`"
                )
            parts[part] = self._read(images, labels, prefix=f"{part}-")
        return parts

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        """A file of images, with its labels if their file lies beside it, or a folder with train-* and t10k-* files."""
        path = Path(path)
        if path.is_file():
            if "labels" in path.name:
                raise ValueError(f"{path} is the file of labels; give the file of images, or the folder of both")
            labels = first_file([path.parent], _spellings(_label_name(path.name)))
            return pick_part({"all": self._read(path, labels)}, split, str(path))
        if not path.is_dir():
            raise FileNotFoundError(f"there is no file or folder {path}")
        parts = {}
        for part, stem in _STEMS.items():
            images = first_file(_folders(path), _spellings(f"{stem}-images-idx3-ubyte"))
            if images is not None:
                labels = first_file([images.parent], _spellings(f"{stem}-labels-idx1-ubyte"))
                parts[part] = self._read(images, labels, prefix=f"{part}-")
        if not parts:
            raise FileNotFoundError(f"{path} has no files train-images-idx3-ubyte or t10k-images-idx3-ubyte")
        return pick_part(parts, split, str(path))

    def _find(self, name: str) -> Path | None:
        return first_file(_folders(self.root), _spellings(name))

    def _read(self, images: Path, labels: Path | None, prefix: str = "") -> SeriesSet:
        pixels = read_idx(images, n_dimensions=3)
        if pixels.shape[1:] != (28, 28):
            raise ValueError(
                f"{images} holds images of {pixels.shape[1]} x {pixels.shape[2]} pixels, MNIST has 28 x 28"
            )
        target = None
        if labels is not None:
            numbers = read_idx(labels, n_dimensions=1)
            if len(numbers) != len(pixels):
                raise ValueError(
                    f"{images} has {len(pixels)} images and {labels} has {len(numbers)} labels; one is damaged"
                )
            target = [str(number) for number in numbers.tolist()]
        flat = pixels.reshape(len(pixels), PIXELS)
        if self.order is not None:
            flat = flat[:, self.order]
        values = (flat.astype(np.float32) / 255)[..., None]
        return SeriesSet(list(values), target, names=[f"{prefix}{i}" for i in range(len(values))], origin=str(images))


def read_idx(path: Path, *, n_dimensions: int) -> Array:
    """Bytes of an IDX file, plain or gzip: a magic number, sizes, then the values.

    Args:
        path: The file.
        n_dimensions: Number of sizes expected: 3 for images, 1 for labels.

    Raises:
        ValueError: the file is damaged or something else.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and fetch it again") from None
    magic, start = 0x0800 + n_dimensions, 4 + 4 * n_dimensions
    if len(data) < start or struct.unpack(">I", data[:4])[0] != magic:
        what = "images" if n_dimensions == 3 else "labels"
        raise ValueError(f"{path} is not an IDX file of {what}: it does not start with the number {magic}")
    sizes = struct.unpack(f">{n_dimensions}I", data[4:start])
    if len(data) - start != int(np.prod(sizes, dtype=np.int64)):
        raise ValueError(f"{path} should hold {sizes} values and has {len(data) - start} bytes of them; fetch it again")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(sizes)


def _folders(root: Path) -> list[Path]:
    return [root / "MNIST" / "raw", root / "MNIST", root / "mnist", root / "raw", root]


def _spellings(name: str) -> list[str]:
    return [f"{name}.gz", name]


def _label_name(name: str) -> str:
    return name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
