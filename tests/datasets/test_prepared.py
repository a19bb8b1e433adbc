"""A prepared set is the set: the same series, noticed changes, nothing half-written, and little memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from seqkit.datasets import SeriesDataModule, SeriesSet, get_source
from seqkit.datasets import prepared as module_of
from seqkit.datasets.folder import Folder
from seqkit.datasets.prepared import Prepared, load_prepared
from seqkit.datasets.rows import LazyRows, StoredRows
from seqkit.datasets.statistics import statistics_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path


def npz(root: Path, name: str = "waves.npz", seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    lengths = random.integers(5, 30, 40)
    np.savez(
        root / name,
        values=random.normal(size=(lengths.sum(), 2)),
        lengths=lengths,
        y=np.array(["slow", "fast"] * 20),
        sample_rate=10.0,
    )
    return root / name


def folders(place: Path) -> list[Path]:
    return sorted(place.glob("prepared/*")) if place.exists() else []


TARGETS = {
    "classes": ["a", "b b", "ä"],
    "values": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "a value per sample": [np.arange(4.0), np.arange(2.0), np.arange(3.0)],
    "a label per sample": [np.array(list("abca")), np.array(["a", "long label"]), np.array(list("aaa"))],
    "none": None,
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("timed", [False, True])
def test_everything_comes_back(tmp_path: Path, target: str, timed: bool) -> None:
    values = [np.random.default_rng(n).normal(size=(n, 2)) for n in (4, 2, 3)]
    values[1][0, 1] = np.nan
    series = SeriesSet(
        values,
        TARGETS[target],  # type: ignore[arg-type]
        timestamps=[np.sort(np.random.default_rng(n).random(n)) for n in (4, 2, 3)] if timed else None,
        names=["one", "two words", "drei ß"],
        sample_rate=12.5,
        channels=("x", "y"),
        origin="somewhere.csv",
    )
    Prepared.write(tmp_path / "set", {"train": series, "test": series.select([2, 1])})
    again = Prepared.open(tmp_path / "set")
    assert again is not None
    for part, whole in (("train", series), ("test", series.select([2, 1]))):
        got = again.sets[part]
        assert isinstance(got.values, StoredRows)
        for name in ("names", "sample_rate", "channels", "origin", "kind", "has_missing"):
            assert getattr(got, name) == getattr(whole, name), name
        for one, two in zip(got.values, whole.values, strict=True):
            np.testing.assert_array_equal(one, two)
        for one, two in zip(got.timestamps or [], whole.timestamps or [], strict=True):
            np.testing.assert_array_equal(one, two)
        assert (got.target is None) == (whole.target is None)
        for one, two in zip(
            () if got.target is None else got.target, () if whole.target is None else whole.target, strict=True
        ):
            np.testing.assert_array_equal(one, two)
    assert not again.sets["train"].select([0, 2]).has_missing


def test_a_module_gives_the_same_batches_and_statistics(root: Path) -> None:
    path = npz(root)
    modules = [SeriesDataModule(Folder(path), batch_size=8, prepared=prepared) for prepared in (False, True, True)]
    for one in modules:
        one.setup()
    assert isinstance(modules[2].sets["train"].values, StoredRows)
    batches = [list(one.train_dataloader()) for one in modules]
    for plain, first, second in zip(*batches, strict=True):
        assert torch.equal(plain.values, first.values)
        assert torch.equal(plain.values, second.values)
        assert torch.equal(plain.target, second.target)
    for one in modules[1:]:
        assert all(torch.equal(a, b) for a, b in zip(modules[0].statistics(), one.statistics(), strict=True))
    assert len(list(folders(root / "data")[0].glob("kept-*.json"))) == 1


def test_statistics_are_kept_for_each_cut(root: Path) -> None:
    path = npz(root)
    means = []
    for seed in (0, 1, 0):
        module = SeriesDataModule(Folder(path), seed=seed, prepared=True)
        module.setup()
        means.append(module.statistics().mean)
        samples = np.concatenate(list(module.sets["train"].values))
        np.testing.assert_allclose(means[-1], samples.mean(0), rtol=1e-5)
    assert torch.equal(means[0], means[2])
    assert not torch.equal(means[0], means[1])


def test_the_second_start_reads_no_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(root)
    load_prepared(Folder(path), True)
    monkeypatch.setattr(Folder, "load", lambda self: pytest.fail("the source was read again"))
    sets, store = load_prepared(Folder(path))  # also without being asked to: it is there
    assert store is not None
    assert len(sets["all"]) == 40


def test_small_sets_are_left_alone_and_large_ones_prepared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(root)
    assert load_prepared(Folder(path))[1] is None
    assert load_prepared(Folder(path), False)[1] is None
    monkeypatch.setattr(module_of, "LARGE", 1000)
    assert load_prepared(Folder(path), False)[1] is None
    assert load_prepared(Folder(path))[1] is not None


def test_a_changed_file_and_other_options_are_prepared_anew(root: Path) -> None:
    path = npz(root)
    first = load_prepared(Folder(path), True)[0]["all"]
    old = folders(root / "data")
    npz(root, seed=1)
    second = load_prepared(Folder(path), True)[0]["all"]
    assert not np.array_equal(first.lengths, second.lengths)
    assert len(folders(root / "data")) == 1  # the version before is gone
    assert folders(root / "data") != old
    load_prepared(Folder(path, sample_rate=10.0), True)
    load_prepared(Folder(npz(root, "other.npz")), True)
    assert len(folders(root / "data")) == 3  # other options and other files are other sets


@pytest.mark.parametrize(
    "damage", ["samples cut", "samples changed", "index", "facts", "facts gone", "format", "foreign", "not a folder"]
)
def test_damaged_and_foreign_folders_are_made_anew(root: Path, damage: str) -> None:
    path = npz(root)
    expected = [one.copy() for one in load_prepared(Folder(path), True)[0]["all"].values]
    folder = folders(root / "data")[0]
    samples, facts = folder / "samples.f32", folder / "set.json"
    if damage == "samples cut":
        samples.write_bytes(samples.read_bytes()[:-8])
    elif damage == "samples changed":
        samples.write_bytes(b"\x00" * 16 + samples.read_bytes()[16:])
    elif damage == "index":
        (folder / "index.npz").write_bytes(b"PK")
    elif damage == "facts":
        facts.write_text('{"format": 1')
    elif damage == "facts gone":
        facts.unlink()
    elif damage == "format":
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "format": 0}))
    elif damage == "foreign":
        facts.write_text("[1, 2]")
    else:
        shutil.rmtree(folder)
        folder.write_text("a file")
    assert Prepared.open(folder) is None
    again = load_prepared(Folder(path), True)[0]["all"].values
    assert all(np.array_equal(one, two) for one, two in zip(again, expected, strict=True))
    assert Prepared.open(folder) is not None


def test_nothing_is_left_of_what_breaks_off(root: Path) -> None:
    def read(i: int) -> np.ndarray:
        return np.full((3, 1), np.inf if i == 2 else i)

    with pytest.raises(ValueError, match="series 2 of the data has an infinite value"):
        Prepared.write(root / "data" / "prepared" / "set", {"all": SeriesSet(LazyRows([3] * 4, 1, read))})
    assert folders(root / "data") == []


def test_a_read_only_folder_is_left_as_it_is(root: Path) -> None:
    path = npz(root)
    (root / "data").chmod(0o555)
    try:
        _, store = load_prepared(Folder(path), True)
        assert store is not None
        assert store.folder.parent == root / "cache" / "seqkit" / "prepared"
        assert list((root / "data").iterdir()) == []
        shutil.rmtree(root / "cache" / "seqkit")
        (root / "cache").chmod(0o555)
        with pytest.raises(OSError, match=r"cannot be prepared .* set SEQKIT_DATA to a folder with room"):
            load_prepared(Folder(path), True)
        assert load_prepared(Folder(path))[1] is None
    finally:
        for place in (root / "data", root / "cache"):
            place.chmod(0o755)


def test_a_set_without_files_of_its_own_is_not_prepared(root: Path) -> None:
    source = get_source("japanese_vowels")
    source.files = lambda: []  # type: ignore[method-assign]
    with pytest.raises(OSError, match="does not say which files it is read from; leave `prepared` out"):
        load_prepared(source, True)


@pytest.mark.parametrize("gaps", [False, True])
def test_statistics_in_blocks_are_those_of_all_samples(gaps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(1e6, 1.0, (n, 3)) for n in (1, 700, 3, 2000, 5)]
    if gaps:
        for row in rows:
            row[random.random(row.shape) < 0.3] = np.nan
    monkeypatch.setattr("seqkit.datasets.statistics.BLOCK", 300)
    mean, std = statistics_of(rows, gaps=gaps)
    whole = np.concatenate(rows)
    np.testing.assert_allclose(mean, np.nanmean(whole, axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, np.nanstd(whole, axis=0), rtol=1e-6)


@pytest.mark.parametrize("form", ["ragged", "X", "X of one channel", "by columns", "packed", "float64 with gaps"])
def test_large_arrays_of_npz_files_stay_there(root: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(6, 50, 2)).astype(np.float32)
    arrays = {"X": X, "y": np.arange(6) % 2, "lengths": np.array([50, 3, 7, 50, 20, 1])}
    expected = [one[:n] for one, n in zip(X, arrays["lengths"], strict=True)]
    if form == "ragged":
        arrays["values"] = np.concatenate(expected)
        del arrays["X"]
    elif form == "X of one channel":
        arrays["X"], expected = X[..., 0], [one[:, :1] for one in expected]
    elif form == "by columns":
        arrays["X"] = np.asfortranarray(X)
    elif form == "float64 with gaps":
        arrays["X"] = X.astype(np.float64)
        arrays["X"][3, 4, 1] = expected[3][4, 1] = np.nan
    (np.savez_compressed if form == "packed" else np.savez)(root / "a.npz", **arrays)  # type: ignore[arg-type]
    monkeypatch.setattr("seqkit.datasets.npzlarge.LARGE", 100)
    series = Folder(root / "a.npz").load()["all"]
    assert isinstance(series.values, LazyRows) == (form not in ("by columns", "packed"))
    assert series.has_missing == (form == "float64 with gaps")
    for one, two in zip(series.values, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_damaged_large_npz_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqkit.datasets.npzlarge.LARGE", 100)
    path = npz(root)
    data = bytearray(path.read_bytes())
    at = data.index(b"NUMPY") + 300
    data[at] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"waves\.npz is damaged or not a \.npz file"):
        Folder(path).load()


SCRIPT = """
import resource, sys
from seqkit.datasets import SeriesDataModule, get_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
module = SeriesDataModule(get_source("folder", path=sys.argv[1]), batch_size=4)
module.setup()
module.statistics()
for batch in module.train_dataloader():
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_set(root: Path) -> None:
    """A set of 100 MB is prepared, counted and read through with a fraction of that on top of the imports."""
    lengths = np.full(80, 160_000)
    values = np.zeros((int(lengths.sum()), 2), np.float32)
    values[:, 0] = np.arange(len(values)) % 7
    np.savez(root / "large.npz", values=values, lengths=lengths, y=np.array(["a", "b"] * 40))
    del values
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root / "large.npz")],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 60
    assert len(folders(root / "data")) == 1
