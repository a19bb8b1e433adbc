"""Fashion-MNIST as sequences: clothes in the layout of MNIST, one pixel after the other."""

from __future__ import annotations

from typing import Any

from seqkit.datasets.idx import PIXELS, IdxFiles, IdxImages

__all__ = ["FashionMNIST"]

MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
# Checksums of the published gz files; they say nothing of files that were unpacked or packed anew.
FILES = {
    "train-images-idx3-ubyte": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Classes by their number in the files."""


class FashionMNIST(IdxImages):
    """Pictures of clothes, read pixel by pixel: 784 samples of one channel in [0, 1]; classes by name.

    The files have the names of MNIST's, so they are only looked for in folders of their own.

    Args:
        permutation: Order of the pixels: "none", "bit_reversal", "numpy:SEED" or "random:SEED".
        root: Folder of downloaded data; `data_root` says where it is if None.

    Raises:
        ValueError: an unknown permutation.

    Source:
        Xiao, Rasul and Vollgraf 2017 (arXiv:1708.07747).

    Example:
        >>> FashionMNIST().info().classes[:3]
        ('Ankle boot', 'Bag', 'Coat')
    """

    name = "fashion_mnist"

    def published(self) -> IdxFiles:
        """The four files, 31 MB in all."""
        others = ("FashionMNIST", "fashion_mnist", "fashion-mnist")
        return IdxFiles("Fashion-MNIST", "FashionMNIST/raw", others, MIRRORS, FILES, CLOTHES)

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        order = "row by row" if self.order is None else f"permuted ({self.permutation})"
        return {
            "title": f"Fashion-MNIST clothes pixel by pixel, {order}",
            "task": "classification",
            "series": {"train": 60_000, "test": 10_000},
            "lengths": f"{PIXELS} samples",
            "licence": "MIT",
            "citation": "Xiao, Rasul and Vollgraf 2017, Fashion-MNIST: a novel image dataset for benchmarking machine "
            "learning algorithms, arXiv:1708.07747",
            "origin": "Zalando Research",
            "files": str(self.root / "FashionMNIST" / "raw"),
        }
