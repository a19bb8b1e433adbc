"""MNIST: the order of pixels, values, and damaged files."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from seqkit.datasets import get_source
from seqkit.datasets.mnist import MNIST, read_idx
from seqkit.datasets.permutation import bit_reversal, pixel_order


def reversed_bits(k: int, bits: int) -> int:
    return int(f"{k:0{bits}b}"[::-1], 2)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 784, 1024])
def test_bit_reversal_reverses_written_bits(n: int) -> None:
    bits = max(n - 1, 1).bit_length()
    expected = [k for k in (reversed_bits(i, bits) for i in range(2**bits)) if k < n]
    assert bit_reversal(n).tolist() == expected
    assert sorted(expected) == list(range(n))


def test_orders_are_those_of_the_papers() -> None:
    assert bit_reversal(784)[:8].tolist() == [0, 512, 256, 768, 128, 640, 384, 64]
    assert pixel_order("none", 784) is None
    expected = np.random.RandomState(92916).permutation(784)
    assert np.array_equal(pixel_order("numpy:92916", 784), expected)  # type: ignore[arg-type]
    drawn = torch.randperm(784, generator=torch.Generator().manual_seed(7))
    assert np.array_equal(pixel_order("random:7", 784), drawn.numpy())  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["", "bits", "numpy", "numpy:", "numpy:-1", "random:x", "random:4294967296", 7, None])
def test_other_orders_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="`permutation` must be none, bit_reversal, numpy:SEED or random:SEED"):
        get_source("mnist", permutation=bad)


@pytest.mark.parametrize("packed", [True, False])
def test_pixels_are_rows_scaled_to_one(packed: bool, tmp_path: Path, twins: ModuleType) -> None:
    folder = twins.write_mnist(tmp_path, packed=packed)
    images = folder / ("train-images-idx3-ubyte" + (".gz" if packed else ""))
    data = gzip.decompress(images.read_bytes()) if packed else images.read_bytes()
    series = get_source("mnist", root=tmp_path).load()["train"]
    first = [byte / 255 for byte in data[16 : 16 + 784]]
    np.testing.assert_allclose(series.values[0][:, 0], first, rtol=1e-6)
    assert series.values[0].shape == (784, 1)
    assert series.target is not None
    assert list(series.target[:11]) == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0"]


def test_permuted_pixels_are_the_plain_ones_in_order(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_mnist(tmp_path)
    plain = get_source("mnist", root=tmp_path).load()["test"].values
    mixed = get_source("permuted_mnist", root=tmp_path).load()["test"].values
    assert mixed[3][:4, 0].tolist() == plain[3][[0, 512, 256, 768], 0].tolist()
    other = get_source("permuted_mnist", root=tmp_path, permutation="numpy:3").load()["test"].values
    assert np.array_equal(other[3], plain[3][np.random.RandomState(3).permutation(784)])


@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST", "mnist", "raw", "."])
def test_files_are_found_in_the_usual_places(place: str, tmp_path: Path, twins: ModuleType) -> None:
    made = twins.write_mnist(tmp_path / "made")
    folder = tmp_path / "root" / place
    folder.mkdir(parents=True)
    for file in made.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert len(MNIST(root=tmp_path / "root").load()["test"]) == 20


def test_a_file_of_images_reads_with_or_without_labels(tmp_path: Path, twins: ModuleType) -> None:
    folder, empty = twins.write_mnist(tmp_path), tmp_path / "empty"
    empty.mkdir()
    source = MNIST(root=tmp_path)
    images, labels = folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"
    assert source.read(images).target == source.load()["test"].target
    labels.unlink()
    assert source.read(images).target is None
    assert len(source.read(folder, "test")) == 20
    with pytest.raises(ValueError, match="has no part 'val'; choose one of train, test, all"):
        source.read(folder, "val")
    with pytest.raises(ValueError, match="file of labels; give the file of images"):
        source.read(folder / "train-labels-idx1-ubyte.gz")
    with pytest.raises(FileNotFoundError, match="has no files train-images"):
        source.read(empty)


def test_damaged_files_are_named(tmp_path: Path, twins: ModuleType) -> None:
    whole = twins.idx(np.zeros((2, 28, 28)))
    for name, data, words in (
        ("cut.gz", gzip.compress(whole)[:-20], "damaged"),
        ("text.gz", b"not gzip at all", "damaged"),
        ("wrong.gz", gzip.compress(b"x" * 100), "does not start with the number 2051"),
        ("short", whole[:-1], r"should hold \(2, 28, 28\) values and has 1567 bytes"),
        ("long.gz", gzip.compress(whole + bytes(1 << 24)), r"should hold \(2, 28, 28\) values and has more"),
        ("huge", whole[:4] + b"\xff" * 12 + whole[16:], "values, more than any such set"),
        ("labels", twins.idx(np.zeros(5)), "not an IDX file of images"),
        ("tiny", b"\x00", "not an IDX file of images"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=words):
            read_idx(tmp_path / name, n_dimensions=3)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, twins: ModuleType) -> None:
    folder = twins.write_mnist(tmp_path)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(twins.idx(np.zeros(7))))
    with pytest.raises(ValueError, match=r"has 60 images and .* has 7 labels"):
        MNIST(root=tmp_path).load()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(twins.idx(np.zeros((7, 14, 14)))))
    with pytest.raises(ValueError, match="images of 14 x 14 pixels"):
        MNIST(root=tmp_path).load()


def test_the_real_digits_have_their_published_bytes(data_root: Path) -> None:
    # md5 of the unpacked files, which do not change when someone packs them anew.
    folder = data_root / "MNIST" / "raw"
    if not folder.is_dir():
        pytest.skip("needs MNIST under SEQKIT_DATA")
    published = {
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    }
    for name, md5 in published.items():
        data = gzip.decompress((folder / f"{name}.gz").read_bytes())
        assert hashlib.md5(data).hexdigest() == md5
    test = MNIST(root=data_root).read(folder, "test")
    assert test.target is not None
    assert list(test.target[:10]) == ["7", "2", "1", "0", "4", "1", "4", "9", "5", "9"]
