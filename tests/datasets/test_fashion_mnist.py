"""Fashion-MNIST: names of its own, folders of its own, and files that are cut or foreign."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.fashion_mnist import CLOTHES, FILES, MIRRORS, FashionMNIST
from seqkit.datasets.targets import sorted_labels


def test_labels_are_clothes_and_pixels_those_of_the_file(tmp_path: Path, twins: ModuleType) -> None:
    folder = twins.write_mnist(tmp_path, name="FashionMNIST")
    series = FashionMNIST(root=tmp_path).load()["test"]
    assert series.target is not None
    assert series.target[:11] == [*CLOTHES, "T-shirt/top"]
    data = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    np.testing.assert_allclose(series.values[4][:, 0], [b / 255 for b in data[16 + 4 * 784 : 16 + 5 * 784]], rtol=1e-6)


def test_known_classes_are_in_the_order_of_their_numbers() -> None:
    assert FashionMNIST().info().classes == sorted_labels(CLOTHES)
    assert (len(FILES), len(set(FILES.values())), len(MIRRORS)) == (4, 4, 2)


def test_the_digits_are_not_taken_for_clothes(tmp_path: Path, twins: ModuleType) -> None:
    digits = twins.write_mnist(tmp_path)
    for place in (tmp_path, tmp_path / "raw"):  # where MNIST itself is found
        place.mkdir(exist_ok=True)
        for file in digits.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    with pytest.raises(
        FileNotFoundError, match=r"files of Fashion-MNIST are not under .*run `seqkit data prepare fash"
    ):
        FashionMNIST(root=tmp_path).load()
    twins.write_mnist(tmp_path / "other", name="FashionMNIST")
    with pytest.raises(FileNotFoundError, match="files of MNIST are not under"):
        get_source("mnist", root=tmp_path / "other").load()


def test_pixels_can_be_permuted(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_mnist(tmp_path, name="FashionMNIST")
    plain = get_source("fashion_mnist", root=tmp_path).load()["test"].values
    mixed = get_source("fashion_mnist", root=tmp_path, permutation="bit_reversal").load()["test"].values
    assert mixed[3][:4, 0].tolist() == plain[3][[0, 512, 256, 768], 0].tolist()


def test_other_labels_and_damaged_files_are_named(tmp_path: Path, twins: ModuleType) -> None:
    folder = twins.write_mnist(tmp_path, name="FashionMNIST")
    labels, images = folder / "train-labels-idx1-ubyte.gz", folder / "train-images-idx3-ubyte.gz"
    labels.write_bytes(gzip.compress(twins.idx(np.array([*range(50), *range(10)]))))
    with pytest.raises(ValueError, match=r"label 10 of .* is 10, Fashion-MNIST has labels 0 to 9; fetch it again"):
        FashionMNIST(root=tmp_path).load()
    images.write_bytes(images.read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is damaged"):
        FashionMNIST(root=tmp_path).load()


def test_nothing_is_fetched_offline(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Fashion-MNIST are not there .*FashionMNIST/raw"):
        FashionMNIST(root=tmp_path).prepare(offline=True)


def test_images_stay_bytes_until_they_are_asked_for(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_mnist(tmp_path, 4000, 20, name="FashionMNIST")
    module = SeriesDataModule(FashionMNIST(root=tmp_path), validation=0.1)
    module.setup()
    kept = module.sets["train"].values
    assert not isinstance(kept, list)  # 3600 images are 11 MB of numbers and 3 MB of bytes
    assert kept[0].dtype == np.float32
    assert kept[0].max() <= 1.0
