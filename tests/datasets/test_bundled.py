"""Sets that come inside installed packages, against those packages' own readers."""

from __future__ import annotations

import gzip
import importlib.util
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, bundled, get_source
from seqkit.datasets.digits import Digits

SETS = {"covid3month": ("Covid3Month", 84), "tecator": ("Tecator", 100)}


@pytest.fixture
def sktime() -> Path:
    spec = importlib.util.find_spec("sktime")
    if spec is None or spec.origin is None:
        pytest.skip("needs sktime, which brings the data")
    return Path(spec.origin).parent / "datasets" / "data"


@pytest.fixture
def digits_file() -> Path:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        pytest.skip("needs scikit-learn, which brings the data")
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


@pytest.mark.parametrize("name", SETS)
def test_official_parts_are_kept_and_read_as_sktime_reads_them(name: str, sktime: Path) -> None:
    folder, length = SETS[name]
    source = get_source(name)
    parts = source.load()
    assert {part: len(series) for part, series in parts.items()} == source.describe()["series"]
    for part, series in parts.items():
        lines = (sktime / folder / f"{folder}_{part.upper()}.ts").read_text().splitlines()
        rows = [line for line in lines if line and line[0] not in "#@"]
        assert series.lengths.tolist() == [length] * len(rows)
        assert np.array_equal(
            np.asarray(series.target)[:, 0], np.array([row.split(":")[1] for row in rows], dtype=np.float32)
        )
        assert np.array_equal(series.values[5][:, 0], np.array(rows[5].split(":")[0].split(","), dtype=np.float32))
    assert {series.sample_rate for series in parts.values()} == {source.info().sample_rate}


@pytest.mark.parametrize("name", SETS)
def test_statistics_are_of_the_training_part_alone(name: str, sktime: Path) -> None:
    module = SeriesDataModule(get_source(name))
    module.setup()
    assert module.sets["test"].names == get_source(name).load()["test"].names
    assert not set(module.sets["train"].names) & {*module.sets["val"].names, *module.sets["test"].names}
    mean, std = module.target_statistics()
    assert mean == pytest.approx(module.sets["train"].target.mean(), rel=1e-5)
    assert std == pytest.approx(module.sets["train"].target.std(), rel=1e-5)
    everything = np.concatenate([series.target for series in module.sets.values()])
    assert not math.isclose(float(mean), everything.mean(), rel_tol=1e-4)


def test_a_damaged_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "package_folder", lambda *words: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"installed sktime has no data in .*Tecator; run: pip install"):
        get_source("tecator").prepare()
    monkeypatch.setattr("seqkit.datasets.digits.package_folder", lambda *words: tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"installed scikit-learn has no file .*digits.csv.gz; run: pip install"
    ):
        Digits().load()


@pytest.mark.parametrize(
    ("name", "package"), [("tecator", "sktime"), ("covid3month", "sktime"), ("digits", "scikit-learn")]
)
def test_without_the_package_it_is_said_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(ImportError, match=rf"The data set {name} needs {package}, .*pip install 'seqkit\[sktime\]'"):
        get_source(name).prepare()


def test_digits_are_those_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    parts = Digits().load()
    assert {part: len(series) for part, series in parts.items()} == {"train": 1437, "test": 360}
    values = np.stack([one[:, 0] for series in parts.values() for one in series.values])
    assert np.array_equal(values * 16, theirs.data)
    assert [label for series in parts.values() for label in series.target] == [str(k) for k in theirs.target]
    assert parts["test"].names == [str(i) for i in range(1437, 1797)]


def test_digits_can_be_permuted(digits_file: Path) -> None:
    plain, other = (Digits(permutation=name).load()["test"] for name in ("none", "numpy:3"))
    order = np.random.RandomState(3).permutation(64)
    assert np.array_equal(other.values[7], plain.values[7][order])
    assert other.target == plain.target
    with pytest.raises(ValueError, match="`permutation` must be none, bit_reversal"):
        Digits(permutation="rows")


def test_digits_of_other_files(tmp_path: Path, digits_file: Path) -> None:
    rows = gzip.decompress(digits_file.read_bytes()).decode().splitlines()
    path = tmp_path / "few.csv"
    path.write_text("\n".join(rows[:5]) + "\n")
    few = Digits().read(path)
    assert few.target == [row.split(",")[-1].split(".")[0] for row in rows[:5]]
    with pytest.raises(ValueError, match="has no part"):
        Digits().read(path, "test")
    assert len(Digits().read(digits_file, "test")) == 360
    for content, words in (
        ("", "damaged or not a CSV file of digits"),
        ("pixel,label\n", "damaged or not a CSV file of digits"),
        ("\n".join(rows[:5])[:-9], "damaged or not a CSV file of digits|must hold 64 pixels"),
        ("1,2,3\n", "must hold 64 pixels and a digit in each row, got 3 columns"),
        (rows[0].replace("13", "17"), "has a pixel outside 0 to 16"),
        (rows[0][:-1] + "12", "must hold 64 pixels and a digit"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=words):
            Digits().read(path)
    (tmp_path / "cut.csv.gz").write_bytes(digits_file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut.csv.gz is damaged"):
        Digits().read(tmp_path / "cut.csv.gz")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        Digits().read(tmp_path)


def test_no_package_is_imported_for_its_files(sktime: Path, digits_file: Path, repository: Path) -> None:
    script = (
        "import sys, seqkit.datasets as d\n"
        "[d.get_source(n).load() for n in ('covid3month', 'tecator', 'digits')]\n"
        "print([m for m in ('sktime', 'sklearn', 'pandas') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_a_copy_of_the_files_reads_the_same(sktime: Path, tmp_path: Path) -> None:
    shutil.copytree(sktime / "Tecator", tmp_path / "mine")
    source = get_source("tecator")
    assert len(source.read(tmp_path / "mine")) == 215
    assert source.read(tmp_path / "mine" / "Tecator_TEST.ts").target.shape == (43, 1)
