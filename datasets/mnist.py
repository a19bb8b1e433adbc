"""MNIST as sequences: one pixel after the other, in the order of rows or permuted."""

from __future__ import annotations

from typing import Any

from seqkit.datasets.idx import PIXELS, IdxFiles, IdxImages, read_idx

__all__ = ["MNIST", "read_idx"]

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


class MNIST(IdxImages):
    """Handwritten digits, read pixel by pixel: 784 samples of one channel in [0, 1], as the papers take them.

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

    @property
    def name(self) -> str:
        """Name in the registry."""
        return "mnist" if self.order is None else "permuted_mnist"

    def published(self) -> IdxFiles:
        """The four files, 11 MB in all."""
        others = ("MNIST", "mnist", "raw", ".")
        return IdxFiles("MNIST", "MNIST/raw", others, MIRRORS, FILES, tuple("0123456789"))

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        order = "row by row" if self.order is None else f"permuted ({self.permutation})"
        return {
            "title": f"MNIST digits pixel by pixel, {order}",
            "task": "classification",
            "series": {"train": 60_000, "test": 10_000},
            "lengths": f"{PIXELS} samples",
            "licence": "CC BY-SA 3.0",
            "citation": "LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document "
            "recognition, Proceedings of the IEEE 86(11)",
            "origin": "LeCun, Cortes and Burges",
            "files": str(self.root / "MNIST" / "raw"),
        }
