"""CharacterTrajectories: both layouts, held-out parts, damaged and foreign files, and the archive as it comes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io

from seqkit.datasets import character_trajectories as module
from seqkit.datasets import get_source
from seqkit.datasets.character_trajectories import CharacterTrajectories


@pytest.mark.parametrize("whole", [True, False])
def test_both_layouts_read_the_same(whole: bool, tmp_path: Path, twins: ModuleType) -> None:
    twins.write_letters(tmp_path, 40, whole=whole)
    cells, numbers = twins.letters(40)
    series = CharacterTrajectories(root=tmp_path).load()["all"]
    assert series.target == [twins.LETTERS[number - 1] for number in numbers]
    assert all(np.allclose(one, cell.T) for one, cell in zip(series.values, cells, strict=True))
    assert (series.sample_rate, series.channels) == (200.0, ("x", "y", "force"))


def test_the_whole_set_goes_before_a_part_of_it(tmp_path: Path, twins: ModuleType) -> None:
    twins.write_letters(tmp_path, 20, whole=False)
    twins.write_letters(tmp_path, 40, whole=True)
    assert len(CharacterTrajectories(root=tmp_path).load()["all"]) == 40


def test_held_out_files_read_with_and_without_labels_and_key(tmp_path: Path, twins: ModuleType) -> None:
    cells, numbers = twins.letters(20)
    source = CharacterTrajectories(root=tmp_path)
    path = tmp_path / "held_out.mat"
    scipy.io.savemat(path, {"xtest": twins.row(cells), "ytest": np.array([numbers])})
    assert source.read(path).target == list(twins.LETTERS)
    assert len(source.read(path, "test")) == 20
    with pytest.raises(ValueError, match="has no part 'train'; choose one of test, all"):
        source.read(path, "train")
    scipy.io.savemat(path, {"xnew": twins.row(cells)})
    assert source.read(path).target is None
    with pytest.raises(ValueError, match="has no parts, so it has no part 'test'"):
        source.read(path, "test")
    key = twins.row([np.array([letter]) for letter in "ab"])
    scipy.io.savemat(path, {"xtest": twins.row(cells[:2]), "ytest": np.array([[2, 1]]), "key": key})
    assert source.read(path).target == ["b", "a"]


def test_several_parts_in_one_file(tmp_path: Path, twins: ModuleType) -> None:
    cells, numbers = twins.letters(30)
    path = tmp_path / "both.mat"
    cut = {
        "xtrain": twins.row(cells[:20]),
        "ytrain": numbers[:20],
        "xtest": twins.row(cells[20:]),
        "ytest": numbers[20:],
    }
    scipy.io.savemat(path, cut)
    source = CharacterTrajectories(root=tmp_path)
    assert [len(source.read(path, split)) for split in ("train", "test", "all")] == [20, 10, 30]


def test_bad_files_are_named(tmp_path: Path, twins: ModuleType) -> None:
    cells, numbers = twins.letters(20)
    x, source, path = twins.row(cells), CharacterTrajectories(root=tmp_path), tmp_path / "bad.mat"
    for content, words in (
        ({"a": np.zeros(3)}, "has no pen trajectories: .* and has a"),
        ({"xtrain": np.zeros((3, 9))}, "has no pen trajectories"),
        ({"mixout": x}, "no struct consts"),
        ({"mixout": x, "consts": {"other": 1}}, "no struct consts"),
        ({"xtrain": x, "ytrain": [numbers[:-1]]}, "20 series but 19 targets"),
        ({"xtrain": x, "ytrain": [[0, *numbers[1:]]]}, "label 1 of xtrain .* is 0, the key has letters 1 to 20"),
        ({"xtrain": x, "ytrain": [[21, *numbers[1:]]]}, "label 1 of xtrain .* is 21"),
        ({"xtrain": twins.row([cells[0].T])}, r"cell 1 of xtrain .* must be 3 x samples numbers, got shape"),
        ({"xtrain": twins.row([cells[0], np.zeros((3, 0))])}, r"lengths\[1\] is 0"),
        ({"xtrain": twins.row([cells[0], cells[1] * np.nan])}, "series '1' .* has no value at all"),
        ({"xtrain": twins.row([cells[0], np.full_like(cells[1], np.inf)])}, "series '1' .* has an infinite value"),
    ):
        scipy.io.savemat(path, content)
        with pytest.raises(ValueError, match=words):
            source.read(path)


@pytest.mark.parametrize("keep", [0, 1, 100, 127, 128, 200, 1000, -30])
def test_a_cut_file_is_called_damaged(keep: int, tmp_path: Path, twins: ModuleType) -> None:
    path = twins.write_letters(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"mixoutALL_shifted.mat (is damaged or not a MATLAB file|has no pen traj|has no struct)"
    ):
        CharacterTrajectories(root=tmp_path).load()


def test_other_files_are_refused(tmp_path: Path) -> None:
    source = CharacterTrajectories(root=tmp_path)
    (tmp_path / "new.mat").write_text("series,time,x\n" * 50)
    with pytest.raises(ValueError, match="damaged or not a MATLAB file"):
        source.read(tmp_path / "new.mat")
    with pytest.raises(FileNotFoundError, match=r"has no file mixoutALL_shifted.mat"):
        source.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="run `seqkit data prepare character_trajectories`"):
        source.load()


def lay_down_archive(root: Path, twins: ModuleType) -> Path:
    mat = twins.write_letters(root / "made", 40)
    folder = root / "root" / "CharacterTrajectories"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "character+trajectories.zip", "w") as archive:
        archive.write(mat, "mixoutALL_shifted.mat")
        archive.writestr("trajectories.names", "words")
    return folder


def test_the_archive_is_unpacked_as_it_comes(tmp_path: Path, twins: ModuleType) -> None:
    folder = lay_down_archive(tmp_path, twins)
    source = get_source("character_trajectories", root=tmp_path / "root")
    source.prepare(offline=True)
    assert [file.name for file in folder.iterdir()] == ["mixoutALL_shifted.mat"]
    assert len(source.load()["all"]) == 40
    source.prepare(offline=True)


def test_a_damaged_archive_is_named(tmp_path: Path, twins: ModuleType) -> None:
    folder = lay_down_archive(tmp_path, twins)
    archive = folder / "character+trajectories.zip"
    archive.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(ValueError, match="is damaged or not the data set"):
        CharacterTrajectories(root=tmp_path / "root").prepare()
    assert [file.name for file in folder.iterdir()] == [archive.name]


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, twins: ModuleType) -> None:
    folder = lay_down_archive(tmp_path, twins)
    archive = folder / "character+trajectories.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed, packed.open(module.WHOLE, "w") as member:
        for _ in range(65):
            member.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="unpacks to more than 200 times its size; it is refused"):
        CharacterTrajectories(root=tmp_path / "root").prepare()
    assert [file.name for file in folder.iterdir()] == [archive.name]


def test_the_real_part_has_its_sizes(data_root: Path) -> None:
    path = data_root / "CharacterTrajectories" / module.SUBSET
    if not path.is_file():
        pytest.skip("needs CharacterTrajectories under SEQKIT_DATA")
    series = CharacterTrajectories(root=data_root).read(path)
    assert len(series) == 1001
    assert (series.lengths.min(), series.lengths.max()) == (109, 205)
    assert sorted(set(series.target or [])) == list(module.LETTERS)
    raw = scipy.io.loadmat(path)
    assert np.array_equal(series.values[7], raw["xtrain"][0, 7].T.astype(np.float32))
    assert series.target is not None
    assert series.target[7] == str(raw["key"][0, raw["ytrain"][0, 7] - 1][0])
