"""BIDMC of the archive: its cuts against scikit-learn, whose windows are where, and files that are not whole."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, bidmc, get_source
from seqkit.datasets.bidmc import BIDMC32
from seqkit.datasets.overlap import recordings
from seqkit.datasets.pooled import pooled_parts


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, fakes: ModuleType) -> Path:
    root = tmp_path_factory.mktemp("archive")
    values, target, _ = fakes.windows()
    fakes.write_archive(root, values, target)
    return root


def numbers(names: list[str], cut: int) -> list[int]:
    """Places in the pooled files, from the names."""
    return [int(name.split("-")[1]) + (cut if name.startswith("test") else 0) for name in names]


@pytest.mark.parametrize("n", [4, 5, 8, 53, 101, 1000, 7949])
def test_the_pooled_cut_is_scikit_learn_s(n: int) -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    train, rest = selection.train_test_split(np.arange(n), test_size=0.3, random_state=0)
    val, test = selection.train_test_split(rest, test_size=0.5, random_state=1)
    parts = pooled_parts(n)
    for part, wanted in (("train", train), ("val", val), ("test", test)):
        assert np.array_equal(parts[part], wanted)


def test_a_pooled_cut_needs_something_for_each_part() -> None:
    with pytest.raises(ValueError, match="`n` must be at least 4"):
        pooled_parts(3)


def test_windows_are_those_of_the_files_and_none_is_in_two_parts(root: Path, fakes: ModuleType) -> None:
    values, target, _ = fakes.windows()
    parts = BIDMC32(root=root).load()
    places = {part: numbers(series.names, 111) for part, series in parts.items()}
    assert {part: len(series) for part, series in parts.items()} == {"train": 111, "val": 24, "test": 24}
    assert sorted(i for part in places.values() for i in part) == list(range(159))
    for part, wanted in pooled_parts(159).items():
        assert places[part] == wanted.tolist()
        for i, one, y in zip(places[part], parts[part].values, parts[part].target, strict=True):
            assert np.array_equal(one, values[i].astype(np.float32))
            assert y == np.float32(target[i])


def test_the_archive_s_own_parts_are_kept(root: Path) -> None:
    parts = BIDMC32(split="archive", root=root).load()
    assert [len(parts[part]) for part in ("train", "val", "test")] == [96, 15, 48]
    assert numbers(parts["train"].names + parts["val"].names, 111) == list(range(111))
    assert numbers(parts["test"].names, 111) == list(range(111, 159))


def test_by_patient_nobody_is_in_two_parts(root: Path, fakes: ModuleType) -> None:
    _, _, whose = fakes.windows()
    parts = BIDMC32(split="patient", root=root).load()
    people = {part: {whose[i] for i in numbers(series.names, 111)} for part, series in parts.items()}
    assert {part: len(who) for part, who in people.items()} == {"train": 37, "val": 8, "test": 8}
    assert len(set.union(*people.values())) == 53
    assert sum(len(series) for series in parts.values()) == 159


def test_by_patient_is_refused_where_the_windows_do_not_tell(tmp_path: Path, fakes: ModuleType) -> None:
    values, target, _ = fakes.windows()
    order = np.random.default_rng(0).permutation(len(values))
    fakes.write_archive(tmp_path, [values[i] for i in order], [target[i] for i in order])
    with pytest.raises(ValueError, match=r"`split` must be pooled or archive .* name no patients.*bidmc_raw is cut by"):
        BIDMC32(split="patient", root=tmp_path).load()
    assert len(BIDMC32(root=tmp_path).load()["train"]) == 111
    fakes.write_archive(tmp_path, *fakes.windows(n_recordings=52)[:2])
    with pytest.raises(ValueError, match="overlap in 52 runs where 53 would be patients"):
        BIDMC32(split="patient", root=tmp_path).load()


def test_recordings_are_told_apart_by_what_windows_share() -> None:
    one, two = np.random.default_rng(0).normal(size=(2, 100, 2))
    both = [one[:40], one[10:50], one[50:90], two[:40], two[:40]]
    assert recordings(both, at_least=20).tolist() == [0, 0, 1, 2, 2]
    flat = np.zeros((100, 2))
    flat[70:] = one[70:]  # begins with the same value for long
    assert recordings([flat[:40], flat[45:85], one[:40]], at_least=20).tolist() == [0, 0, 1]
    assert recordings([one[:40], np.concatenate([one[20:39], two[:21]])], at_least=10).tolist() == [0, 1]


def test_statistics_are_of_the_training_part_alone(root: Path) -> None:
    module = SeriesDataModule(BIDMC32(split="archive", root=root))
    module.setup()
    train = np.concatenate(list(BIDMC32(split="archive", root=root).load()["train"].values)).astype(np.float64)
    mean, std = module.statistics()
    np.testing.assert_allclose(mean, train.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(std, train.std(0), rtol=1e-5)
    mean, _ = module.target_statistics()
    everything = np.concatenate([series.target for series in module.sets.values()])
    assert mean == pytest.approx(module.sets["train"].target.mean(), rel=1e-6)
    assert abs(float(mean) - everything.mean()) > 1


@pytest.mark.parametrize(
    ("name", "target", "unit"),
    [("bidmc_hr", "HR", "beats"), ("bidmc_rr", "RR", "breaths"), ("bidmc_spo2", "SpO2", "percent")],
)
def test_each_vital_sign_has_its_files_and_unit(
    name: str, target: str, unit: str, tmp_path: Path, fakes: ModuleType
) -> None:
    values, numbers, _ = fakes.windows(6)
    source = get_source(name, root=tmp_path)
    assert source.name == source.info().name == name
    assert unit in source.describe()["target"]
    with pytest.raises(FileNotFoundError, match=f"BIDMC32{target}_TRAIN.ts and _TEST.ts are not under.*prepare {name}"):
        source.load()
    fakes.write_archive(tmp_path, values, numbers, name=f"BIDMC32{target}")
    source.prepare(offline=True)
    assert len(source.load()["train"]) == 12


def test_files_are_fetched_from_the_archive(tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    values, target, _ = fakes.windows(6)
    fakes.write_archive(tmp_path / "served", values, target)
    (tmp_path / "served" / "BIDMC32HR").rename(tmp_path / "served" / "18485047")  # the second of the two records
    monkeypatch.setattr(bidmc, "ADDRESS", (tmp_path / "served").as_uri() + "/{record}/{name}")
    source = BIDMC32(root=tmp_path / "root")
    with pytest.raises(FileNotFoundError, match=r"the files of bidmc_hr are not there .*offline.*BIDMC32HR_TRAIN.ts"):
        source.prepare(offline=True)
    source.prepare()
    names = ["BIDMC32HR_TEST.ts", "BIDMC32HR_TRAIN.ts"]
    assert sorted(path.name for path in (tmp_path / "root" / "BIDMC32HR").iterdir()) == names
    assert len(source.load()["train"]) == 12
    source.prepare(offline=True)
    with pytest.raises(FileNotFoundError, match="could not be fetched"):
        BIDMC32(target="RR", root=tmp_path / "root").prepare()


def test_addresses_name_the_papers_records_first() -> None:
    urls = [bidmc.ADDRESS.format(record=kind.records[0], name="f") for kind in bidmc._KINDS.values()]
    assert urls == [f"https://zenodo.org/records/{record}/files/f" for record in (4001456, 4001463, 4001464)]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: text.rindex(",")], "has 1 fields|has channels of|has 2 fields"),
        (lambda text: text[: text.rindex(":") - 9], "has channels of|fields|to 6[0-9] samples|could not convert"),
        (lambda text: text[: text.index("@data")], "has no line @data"),
        (lambda text: text.replace("@targetlabel true\n", "@classLabel true 1 2\n"), "label .* does not name"),
        (lambda text: text.replace("@targetlabel true\n", ""), "has 3 fields; the header says 2 channels"),
        (lambda text: text + "1,2:3,4:70\n", "not a file of BIDMC: .* 2 channels and 2 to 64 samples"),
        (lambda text: text.replace("@dimensions 2", "@dimensions 3"), "header says 3 channels"),
    ],
)
def test_damaged_files_are_named(damage: object, words: str, tmp_path: Path, fakes: ModuleType) -> None:
    values, target, _ = fakes.windows(6)
    path = fakes.write_archive(tmp_path, values, target) / "BIDMC32HR_TRAIN.ts"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=words) as error:
        BIDMC32(root=tmp_path).load()
    assert "BIDMC32HR_TRAIN.ts" in str(error.value)


def test_options_out_of_range_are_refused(tmp_path: Path, fakes: ModuleType) -> None:
    with pytest.raises(ValueError, match="`target` must be one of HR, RR, SpO2, got 'hr'; did you mean HR"):
        BIDMC32(target="hr")
    with pytest.raises(ValueError, match="`split` must be one of pooled, archive, patient"):
        BIDMC32(split="random")
    values, target, _ = fakes.windows(2)
    fakes.write_archive(tmp_path, values, target)
    with pytest.raises(ValueError, match="has 4 windows; cutting off a seventh takes 7"):
        BIDMC32(split="archive", root=tmp_path).load()
    with pytest.raises(FileNotFoundError, match=r"has no files BIDMC32SpO2_TRAIN.ts"):
        BIDMC32(target="SpO2", root=tmp_path).read(tmp_path)
