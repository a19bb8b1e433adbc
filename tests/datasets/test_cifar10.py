"""CIFAR-10: both published versions, grey and colour, the archive as it comes, and pickles that would run something."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.cifar10 import CIFAR10, CLASSES
from seqkit.datasets.pickled import read_pickled_batch
from seqkit.datasets.pixels import to_grey


def published_pickle(labels: np.ndarray, images: np.ndarray) -> bytes:
    """A batch byte for byte as Python 2 pickled it: protocol 2, names and bytes as its strings."""

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    raw = images.tobytes()
    numbers = b"".join(b"K" + bytes([int(label)]) for label in labels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"(cnumpy\nndarray\nK\x00\x85" + short(b"b") + b"tR"
        + b"(K\x01J" + len(images).to_bytes(4, "little") + b"M" + (3072).to_bytes(2, "little") + b"\x86"
        + b"cnumpy\ndtype\n(" + short(b"u1") + b"K\x00K\x01tR"
        + b"(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )  # fmt: skip
    start = b"\x80\x02}(" + short(b"batch_label") + short(b"training batch 1 of 5")
    return start + short(b"labels") + b"](" + numbers + b"e" + short(b"data") + array + b"u."


def write_pickles(root: Path, twins: ModuleType, n: int = 12) -> Path:
    folder = root / "CIFAR10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, (labels, images) in twins.cifar_batches(n).items():
        (folder / name).write_bytes(published_pickle(labels, images))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": list(CLASSES)}, 2))
    return folder


def test_the_published_pickle_is_what_python_reads(twins: ModuleType) -> None:
    labels, images = twins.cifar_batches()["test_batch"]
    content = pickle.loads(published_pickle(labels, images), encoding="bytes")
    assert np.array_equal(content[b"data"], images)
    assert content[b"labels"] == labels.tolist()


def test_pixels_are_rows_of_three_colours(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_cifar(tmp_path)
    _, images = twins.cifar_batches()["data_batch_2"]
    series = CIFAR10(color=True, root=tmp_path).load()["train"]
    picture = images[5].reshape(3, 32, 32) / 255
    assert series.values[12 + 5].shape == (1024, 3)
    np.testing.assert_allclose(series.values[12 + 5][32 * 7 + 3], picture[:, 7, 3], rtol=1e-6)
    assert series.channels == ("red", "green", "blue")
    assert series.target is not None
    assert series.target[:12] == [*CLASSES, *CLASSES[:2]]
    assert len(series) == 60


def test_grey_is_that_of_pillow(tmp_path: Path, twins: ModuleType) -> None:
    image = pytest.importorskip("PIL.Image")
    twins.write_cifar(tmp_path)
    _, images = twins.cifar_batches()["test_batch"]
    series = get_source("cifar10", root=tmp_path).load()["test"]
    assert series.values[0].shape == (1024, 1)
    for own, one in zip(series.values, images, strict=True):
        pixels = np.ascontiguousarray(one.reshape(3, 32, 32).transpose(1, 2, 0))
        grey = np.asarray(image.fromarray(pixels).convert("L"))
        np.testing.assert_allclose(own[:, 0], grey.reshape(-1) / 255, rtol=1e-6)
    luma = images.reshape(-1, 3, 1024).transpose(0, 2, 1) @ [0.299, 0.587, 0.114]
    assert abs(to_grey(images.reshape(-1, 3, 1024).transpose(0, 2, 1))[..., 0] - luma).max() <= 0.51


def test_pixels_can_be_permuted(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_cifar(tmp_path)
    plain = CIFAR10(root=tmp_path).load()["test"].values
    mixed = CIFAR10(permutation="numpy:3", root=tmp_path).load()["test"].values
    assert np.array_equal(mixed[2], plain[2][np.random.RandomState(3).permutation(1024)])
    with pytest.raises(ValueError, match="`permutation` must be"):
        CIFAR10(permutation="rows")
    with pytest.raises(ValueError, match="`color` must be true or false, got 'yes'"):
        CIFAR10(color="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("color", [False, True])
def test_both_versions_read_the_same(color: bool, tmp_path: Path, twins: ModuleType) -> None:
    twins.write_cifar(tmp_path / "binary")
    write_pickles(tmp_path / "python", twins)
    one = CIFAR10(color=color, root=tmp_path / "binary").load()
    two = CIFAR10(color=color, root=tmp_path / "python").load()
    for part in ("train", "test"):
        assert one[part].target == two[part].target
        assert one[part].names == two[part].names
        assert all(np.array_equal(a, b) for a, b in zip(one[part].values, two[part].values, strict=True))


@pytest.mark.parametrize("protocol", range(5))
def test_batches_pickled_anew_read_too(protocol: int, tmp_path: Path, twins: ModuleType) -> None:
    labels, images = twins.cifar_batches()["test_batch"]
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({b"data": images, b"labels": labels.tolist()}, protocol))
    there = read_pickled_batch(path, width=3072)
    assert np.array_equal(there[0], labels)
    assert np.array_equal(there[1], images)


class Runs:
    """What an attacker pickles: a call that is made on reading."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("version", ["bare", "in the batch"])
def test_a_pickle_runs_nothing(version: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "test_batch"
    evil: Any = Runs(os.system, f"touch {mark}")
    for k, content in enumerate((evil, Runs(eval, "1"), Runs(getattr, 1, "real"), Runs(np.load, str(mark)))):
        held = content if version == "bare" else {b"data": content, b"labels": [1]}
        path.write_bytes(pickle.dumps(held, 2))
        with pytest.raises(ValueError, match=r"test_batch is refused: it is a pickle that asks for [\w.]+, which no"):
            read_pickled_batch(path, width=3072)
        assert not mark.exists(), k


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({b"data": np.array([[object]], dtype=object), b"labels": [1]}, 2))
    with pytest.raises(ValueError, match=r"asks for an array of 'O8'|asks for builtins.object"):
        read_pickled_batch(path, width=3072)
    path.write_bytes(pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [1]}, 2))
    with pytest.raises(ValueError, match="asks for an array of 'f8'"):
        read_pickled_batch(path, width=3072)
    path.write_bytes(b"\x80\x02cnumpy\nndarray\nK\x05\x85R.")
    with pytest.raises(ValueError, match="asks for an array made in another way"):
        read_pickled_batch(path, width=3072)


def test_damaged_pickles_are_named(tmp_path: Path, twins: ModuleType) -> None:
    labels, images = twins.cifar_batches()["test_batch"]
    whole, path = published_pickle(labels, images), tmp_path / "test_batch"
    for k in (*range(0, 400, 7), len(whole) - 40, len(whole) - 1):
        path.write_bytes(whole[:k])
        with pytest.raises(ValueError, match=r"test_batch is (damaged|refused)"):
            read_pickled_batch(path, width=3072)
    for content, words in (
        ([1, 2], "holds a list, not a batch"),
        ({b"labels": [1]}, "has no array of bytes `data`"),
        ({b"data": images.astype(np.int64), b"labels": [1]}, "has no array of bytes `data`"),
        ({b"data": images[:, :100], b"labels": [1]}, "12 images of 100 bytes, expected 3072 each"),
        ({b"data": images, b"labels": [1, 2]}, "has 12 images and no whole number `labels` for each"),
        ({b"data": images, b"labels": ["cat"] * 12}, "has 12 images and no whole number `labels` for each"),
    ):
        path.write_bytes(pickle.dumps(content, 2))
        with pytest.raises(ValueError, match=words):
            read_pickled_batch(path, width=3072)


def test_damaged_binary_files_are_named(tmp_path: Path, twins: ModuleType) -> None:
    folder = twins.write_cifar(tmp_path)
    batch = folder / "data_batch_3.bin"
    data = batch.read_bytes()
    batch.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3.bin has 36875 bytes, which is not a whole number of images"):
        CIFAR10(root=tmp_path).load()
    batch.write_bytes(b"")
    with pytest.raises(ValueError, match=r"data_batch_3.bin has 0 bytes"):
        CIFAR10(root=tmp_path).load()
    batch.write_bytes(data[: 3073 * 2] + b"\x0a" + data[3073 * 2 + 1 :])
    with pytest.raises(ValueError, match=r"label 2 of .*data_batch_3.bin is 10, CIFAR-10 has labels 0 to 9"):
        CIFAR10(root=tmp_path).load()
    batch.unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar-10-batches-bin lacks data_batch_3.bin; fetch it again"):
        CIFAR10(root=tmp_path).load()


def test_places_and_parts(tmp_path: Path, twins: ModuleType) -> None:
    folder = twins.write_cifar(tmp_path)
    source = CIFAR10(root=tmp_path)
    assert [len(source.read(folder, split)) for split in ("train", "test", "all")] == [60, 12, 72]
    assert len(source.read(folder.parent)) == 72
    assert len(source.read(folder / "data_batch_1.bin")) == 12
    with pytest.raises(ValueError, match="has no parts, so it has no part 'test'"):
        source.read(folder / "data_batch_1.bin", "test")
    (tmp_path / "CIFAR10").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"has no files data_batch_1.bin or test_batch.bin"):
        source.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="run `seqkit data prepare cifar10`"):
        source.load()
    (tmp_path / "elsewhere" / "cifar-10-batches-bin").rename(tmp_path / "cifar-10-batches-bin")
    assert len(source.load()["test"]) == 12
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match="has no files of the test part"):
        source.load()


def write_archive(root: Path, twins: ModuleType, *, leave_out: str = "") -> Path:
    made = twins.write_cifar(root / "made")
    target = root / "root" / "CIFAR10" / "cifar-10-binary.tar.gz"
    target.parent.mkdir(parents=True)
    with tarfile.open(target, "w:gz") as archive:
        for file in sorted(made.iterdir()):
            if file.name != leave_out:
                archive.add(file, f"cifar-10-batches-bin/{file.name}")
    return target


def test_the_archive_is_unpacked_as_it_comes(tmp_path: Path, twins: ModuleType) -> None:
    archive = write_archive(tmp_path, twins)
    source = CIFAR10(root=tmp_path / "root")
    source.prepare(offline=True)
    assert archive.is_file()  # it was put there by hand, so it stays
    folder = archive.parent / "cifar-10-batches-bin"
    assert {file.name for file in folder.iterdir()} == {*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"}
    assert len(source.load()["train"]) == 60
    source.prepare(offline=True)


def test_a_damaged_or_other_archive_leaves_nothing_behind(tmp_path: Path, twins: ModuleType) -> None:
    archive = write_archive(tmp_path, twins, leave_out="test_batch.bin")
    source = CIFAR10(root=tmp_path / "root")
    with pytest.raises(ValueError, match=r"has no cifar-10-batches-bin/test_batch.bin; it is not the expected archive"):
        source.prepare(offline=True)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz"):
        source.prepare(offline=True)
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo("../outside")
        packed.addfile(member, io.BytesIO())
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz"):
        source.prepare(offline=True)
    assert [file.name for file in archive.parent.iterdir()] == [archive.name]
    with pytest.raises(FileNotFoundError, match="CIFAR-10 are not there"):
        CIFAR10(root=tmp_path / "empty").prepare(offline=True)


def test_no_picture_is_in_two_parts(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_cifar(tmp_path)
    module = SeriesDataModule(CIFAR10(root=tmp_path), validation=0.1)
    module.setup()
    by_part = {part: {one.tobytes() for one in series.values} for part, series in module.sets.items()}
    assert sum(map(len, by_part.values())) == 72
    assert not by_part["train"] & by_part["val"]
    assert not by_part["train"] & by_part["test"]
    own = np.concatenate(list(module.sets["train"].values)).astype(np.float64)
    np.testing.assert_allclose(module.statistics().mean, own.mean(0), rtol=1e-5)


def test_rows_travel_to_workers_that_start_anew(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_cifar(tmp_path)
    rows = CIFAR10(root=tmp_path, permutation="bit_reversal").load()["test"].values
    (tmp_path / "rows").write_bytes(pickle.dumps(rows))
    script = f"import pickle; print(float(pickle.load(open({str(tmp_path / 'rows')!r}, 'rb'))[3].sum()))"
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert float(there) == pytest.approx(float(rows[3].sum()))
