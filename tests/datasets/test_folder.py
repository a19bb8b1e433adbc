"""People's own series: tables, arrays, folders of parts, and what is said of what does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, SeriesSet, get_source
from seqkit.datasets.folder import Folder

ROWS = [
    "series,time,pulse,flow,target",
    "b,0.00,1,10,rest",
    "b,0.01,2,20,rest",
    "a,0.00,3,30,run",
    "a,0.01,4,40,run",
    "a,0.02,5,50,run",
]


def csv(folder: Path, rows: list[str] = ROWS, name: str = "pulse.csv") -> Path:
    (folder / name).write_text("\n".join(rows) + "\n")
    return folder / name


def swap(old: str, new: str) -> list[str]:
    return [row.replace(old, new) for row in ROWS]


def load(path: Path, **options: Any) -> SeriesSet:
    return Folder(path, **options).load()["all"]


@pytest.mark.parametrize("gap", ["", "NA", "?", "nan", "null", " n/a "])
def test_empty_cells_are_missing_values(gap: str, tmp_path: Path) -> None:
    series = load(csv(tmp_path, swap(",40,", f",{gap},")))
    assert series.has_missing
    np.testing.assert_array_equal(series.values[1], [[3, 30], [4, np.nan], [5, 50]])
    np.testing.assert_array_equal(series.values[0], [[1, 10], [2, 20]])


def test_missing_values_of_arrays_and_parquet(tmp_path: Path) -> None:
    gappy = X.copy()
    gappy[2, 1, 0] = np.nan
    series = load(npz(tmp_path, X=gappy, y=["a", "b", "a", "b"]))
    assert series.has_missing
    assert np.array_equal(np.stack(series.values), gappy, equal_nan=True)
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = {"series": ["a", "a", "b"], "x": [1, None, 3], "y": [None, 0.5, 0.25], "target": ["u", "u", "v"]}
    parquet.write_table(arrow.table(table), tmp_path / "gappy.parquet")
    series = load(tmp_path / "gappy.parquet")
    np.testing.assert_array_equal(np.concatenate(series.values), [[1, np.nan], [np.nan, 0.5], [3, 0.25]])


def test_rows_become_series_in_file_order(tmp_path: Path) -> None:
    series = load(csv(tmp_path))
    assert series.names == ["b", "a"]
    assert series.target == ["rest", "run"]
    assert [one.tolist() for one in series.values] == [[[1, 10], [2, 20]], [[3, 30], [4, 40], [5, 50]]]
    assert (series.channels, series.sample_rate, series.timestamps) == (("pulse", "flow"), 100.0, None)


def test_scattered_rows_are_gathered_and_sorted_by_time(tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[5], ROWS[2], ROWS[4], ROWS[1], ROWS[3]]
    series = load(csv(tmp_path, rows))
    assert series.names == ["a", "b"]
    assert [one[:, 0].tolist() for one in series.values] == [[3, 4, 5], [1, 2]]
    untimed = load(csv(tmp_path, [row.replace("time", "t") for row in rows]), channels="pulse")
    assert [one[:, 0].tolist() for one in untimed.values] == [[5, 4, 3], [2, 1]]
    assert untimed.sample_rate is None


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    rows = ["patient,when,x,y,comment,heart rate", "1,0,1,5,fine,60.5", "1,2,2,6,,60.5", "2,0,3,7,late,71.25"]
    path = csv(tmp_path, rows)
    series = load(path, id="patient", time="when", target="heart rate", channels=["y"])
    assert series.names == ["1", "2"]
    assert (series.channels, series.kind, series.sample_rate) == (("y",), "regression", 0.5)
    assert np.asarray(series.target).ravel().tolist() == [60.5, 71.25]
    assert load(path, id="patient", time="when", target="heart rate").channels == ("x", "y")
    two = load(path, id="patient", target="heart rate, x", channels="y", task="sequence")
    assert [np.asarray(one).tolist() for one in two.target or []] == [[[60.5, 1], [60.5, 2]], [[71.25, 3]]]


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (["0", "0", "1", "1", "0", "0"], "classification"),
        (["1.5", "1.5", "2", "2", "0", "0"], "regression"),
        (["60", "60", "70", "70", "80", "80"], "regression"),
        (["0", "1", "1", "1", "0", "1"], "sequence"),
        (["a", "b", "b", "b", "a", "b"], "sequence"),
        (["0.5", "1", "1", "1", "0", "1"], "sequence"),
    ],
)
def test_the_task_follows_the_targets(targets: list[str], kind: str, tmp_path: Path) -> None:
    rows = [f"s{i // 2 % 4},{i},{targets[i % 6]}" for i in range(8)]
    if kind == "regression":
        rows = [f"s{i // 2},{i},{targets[i]}" for i in range(6)]
    assert load(csv(tmp_path, ["series,x,target", *rows])).kind == kind


def test_a_task_can_be_forced(tmp_path: Path) -> None:
    rows = ["series,x,target", *(f"s{i},{i},{i % 2}" for i in range(8))]
    path = csv(tmp_path, rows)
    assert load(path).target == ["0", "1"] * 4
    values = load(path, task="regression")
    assert np.asarray(values.target).ravel().tolist() == [0, 1] * 4
    assert load(path, task="sequence").kind == "sequence"
    with pytest.raises(ValueError, match=r"`task` must be one of .* did you mean regression"):
        Folder(path, task="regresion")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="targets that are not numbers, such as 'rest'"):
        load(csv(tmp_path), task="regression")


def test_a_table_without_names_is_told_from_one_with_a_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("0.5,1.5,0.5,walk\n0.1,0.2,0.3,run\n")
    with pytest.raises(ValueError, match=r"two columns named '0.5'; put a line with the columns' names before"):
        Folder(path).info()


@pytest.mark.parametrize(
    ("old", "new", "options", "words"),
    [
        ("series", "serie", {}, r"no column 'series' for series ids; did you mean serie\? \(option id=\)"),
        ("target", "label", {}, r"no column 'target' for targets; .* \(option target=\)"),
        ("flow", "flow", {"target": "targe"}, r"no column 'targe' for targets; did you mean target\?"),
        ("flow", "flow", {"time": "tme"}, r"no column 'tme' for times; did you mean time\?"),
        ("flow", "flow", {"channels": ["flw"]}, r"no column 'flw' for a channel; did you mean flow\?"),
        ("flow", "flow", {"channels": ["target"]}, "column 'target' .* must hold numbers only"),
        (",40,", ",inf,", {}, "series 'a' .* has an infinite value.* at sample 1, channel 'flow'"),
        ("0.02", "0.01", {}, "rows 4 and 5 of .* are both of series 'a' at 0.01; a series has one row for each time"),
        ("0.02", "", {}, "column 'time' .* has no time in row 5; every row needs its time"),
        ("0.02", "soon", {}, "column 'time' .* must hold seconds or ISO 8601 dates"),
        (",run", ",", {}, "a target of series 'a' .* is missing"),
        (",rest", ",run", {}, "every training series .* has the label 'run'"),
        (",50,run", ",50", {}, "line 6 of .* has 4 fields, its header 5"),
        ("flow", "pulse", {}, "two columns named 'pulse'"),
        ("flow", "flow", {"sample_rate": 50}, "`sample_rate` is 50 Hz, but the times in .* say 100 Hz"),
        ("flow", "flow", {"target": ["pulse", "target"]}, "several target columns, of which one is text"),
    ],
)
def test_what_does_not_fit_is_said(old: str, new: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = csv(tmp_path, swap(old, new))
    with pytest.raises(ValueError, match=words):
        Folder(path, **options).info()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no rows"),
        (b"series,x,target\n", "no rows"),
        (b"\xff\xfe\x00", "not a CSV file of text in UTF-8"),
        (b"series,target\na,b\n", "no column of numbers left to be a channel"),
    ],
)
def test_other_files_are_refused(text: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(text)
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "bad.csv")


def test_csv_of_a_spreadsheet_reads(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*ROWS, ""]).encode())
    assert load(tmp_path / "sheet.csv").names == ["b", "a"]


def times(steps: list[float], path: Path) -> SeriesSet:
    at = np.cumsum([0.0, *steps])
    rows = [f"{name},{t!r},1,{name}" for name in "ab" for t in at.tolist()]
    return load(csv(path, ["series,time,x,target", *rows]))


def test_rounded_times_are_even_and_uneven_times_are_kept(tmp_path: Path) -> None:
    even = times([0.033, 0.033, 0.034] * 5, tmp_path)  # 30 Hz in milliseconds
    assert even.timestamps is None
    assert even.sample_rate == pytest.approx(30, rel=1e-5)
    uneven = times([0.01, 0.01, 0.03, 0.01], tmp_path)
    assert uneven.sample_rate == 100
    assert uneven.timestamps is not None
    np.testing.assert_allclose(uneven.timestamps[1], [0, 0.01, 0.02, 0.05, 0.06])
    assert times([], tmp_path).sample_rate is None


def test_dates_are_times(tmp_path: Path) -> None:
    rows = [f"a,2026-03-0{day}T00:00:00,{day},x" for day in (1, 2, 3)] + ["b,2026-03-01T00:00:00,1,y"]
    series = load(csv(tmp_path, ["series,time,x,target", *rows]))
    assert series.sample_rate == pytest.approx(1 / 86400, rel=1e-5)


def test_parquet_reads_as_csv_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    plain = load(csv(tmp_path))
    table = {
        "series": ["b", "b", "a", "a", "a"],
        "time": [0.0, 0.01, 0.0, 0.01, 0.02],
        "pulse": [1, 2, 3, 4, 5],
        "flow": arrow.array([10, 20, 30, 40, 50], type=arrow.float32()),
        "target": ["rest", "rest", "run", "run", "run"],
    }
    path = tmp_path / "pulse.parquet"
    parquet.write_table(arrow.table(table), path)
    series = load(path)
    assert (series.names, series.target, series.sample_rate) == (plain.names, plain.target, plain.sample_rate)
    assert all(np.array_equal(one, two) for one, two in zip(series.values, plain.values, strict=True))
    dates = arrow.array(np.array([0, 1, 0, 1, 2], dtype="datetime64[s]"))
    parquet.write_table(arrow.table({**table, "time": dates}), path)
    assert load(path).sample_rate == 1
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        load(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"Reading Parquet files needs pyarrow, .* pip install 'seqkit\[data\]'"):
        load(path)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


X = np.arange(24.0).reshape(4, 3, 2)


def test_arrays_of_equal_and_unequal_lengths(tmp_path: Path) -> None:
    series = load(npz(tmp_path, X=X, y=np.array(["a", "b", "a", "b"]), sample_rate=50))
    assert np.array_equal(np.stack(series.values), X)
    assert (series.target, series.sample_rate) == (["a", "b", "a", "b"], 50)
    assert load(npz(tmp_path, X=X[..., 0], y=np.array([0, 1, 1, 0]))).values[1].tolist() == [[6], [8], [10]]
    short = load(npz(tmp_path, X=X, lengths=[3, 2, 1, 3], y=[0.5, 1.5, 2.5, 3.5]))
    assert short.lengths.tolist() == [3, 2, 1, 3]
    assert short.kind == "regression"
    ragged = load(npz(tmp_path, values=X.reshape(12, 2), lengths=[5, 4, 3], y=np.arange(12) * 0.5))
    assert ragged.lengths.tolist() == [5, 4, 3]
    assert ragged.kind == "sequence"
    assert np.asarray((ragged.target or [])[1]).ravel().tolist() == [2.5, 3, 3.5, 4]
    uneven = load(npz(tmp_path, X=X, y=[0, 1, 1, 0], timestamps=np.tile([0, 1, 5], (4, 1))))
    assert uneven.timestamps is not None
    assert uneven.timestamps[2].tolist() == [0, 1, 5]


def test_targets_per_sample_in_arrays(tmp_path: Path) -> None:
    assert load(npz(tmp_path, X=X, y=X.cumsum(1))).kind == "sequence"
    labels = load(npz(tmp_path, X=X, y=np.array([[0, 1, 1]] * 4)))
    assert [list(one) for one in labels.target or []] == [["0", "1", "1"]] * 4
    path = npz(tmp_path, X=X, y=X[..., 0])
    with pytest.raises(ValueError, match="3 values for a series or one for each sample; give task="):
        load(path)
    assert load(path, task="sequence").kind == "sequence"
    assert np.asarray(load(path, task="regression").target).shape == (4, 3)


def test_parts_in_one_file(tmp_path: Path) -> None:
    path = npz(tmp_path, X_train=X, y_train=[0, 1, 0, 1], X_test=X[:1], y_test=[1])
    sets = Folder(path).load()
    assert {part: len(series) for part, series in sets.items()} == {"train": 4, "test": 1}
    assert sets["test"].target == ["1"]
    assert len(Folder(path).read(path, "test")) == 1


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "an array 'x', which nothing reads; did you mean X"),
        ({"data": X}, "an array 'data', which nothing reads; save samples as X and targets as y"),
        ({"y": [1]}, "needs either X or values with lengths"),
        ({"X": X, "values": X}, "needs either X or values"),
        ({"values": X[0]}, "no lengths, the number of samples"),
        ({"values": X[0], "lengths": [1, 1]}, "add up to 2, but values has 3 samples"),
        ({"values": X[0], "lengths": [3, 0]}, r"lengths\[1\] is 0; every series needs at least one sample"),
        ({"values": X[0], "lengths": [1.5, 1.5]}, "must be whole numbers"),
        ({"X": X, "lengths": [9, 1, 1, 1]}, "must be 4 numbers of at most 3"),
        ({"X": X[None]}, r"must have X \(n, L, C\) or \(n, L\), got shape"),
        ({"X": np.array([["a"]])}, "must be numbers"),
        ({"X": X, "y": [1]}, "4 series but y has 1 targets"),
        ({"X": X, "y": np.array([["a", "b"]] * 4)}, "y of .* must be"),
        ({"X": X, "X_train": X}, "use one way of naming"),
        ({"X": X, "timestamps": [1, 2]}, "timestamps of .* must be shaped like the samples"),
        ({"X": np.full((1, 2, 1), np.nan)}, "series '0' .* has no value at all"),
        ({"X": np.full((1, 2, 1), np.inf)}, "an infinite value.* at sample 0"),
        ({"X": np.array([np.zeros(2), np.zeros(3)], dtype=object)}, "array of Python objects, which is not opened"),
        ({"X": X}, "has no targets"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = npz(tmp_path, **arrays)
    with pytest.raises(ValueError, match=words):
        Folder(path).info()


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "trap.npz").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "boxed.npz", X=np.array([Trap()], dtype=object))
    for name in ("trap.npz", "boxed.npz"):
        with pytest.raises(ValueError, match=r"not opened|damaged or not a .npz file"):
            Folder(tmp_path / name).load()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 10, 100, 400])
def test_a_cut_npz_is_called_damaged(keep: int, tmp_path: Path) -> None:
    path = npz(tmp_path, X=X, y=[0, 1, 0, 1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"damaged or not a .npz file|not a readable .npz file"):
        load(path)


def test_folders_of_parts(tmp_path: Path, twins: ModuleType) -> None:
    values, labels = twins.waves(12)
    numbers = [str(i % 2) for i in range(12)]
    twins.write_long_csv(tmp_path / "train.csv", values, numbers)
    assert list(Folder(tmp_path).load()) == ["all"]
    twins.write_long_csv(tmp_path / "test.csv", values[:3], numbers[:3])  # too few to look like classes alone
    sets = Folder(tmp_path).load()
    assert {part: series.kind for part, series in sets.items()} == dict.fromkeys(("train", "test"), "classification")
    assert len(Folder(tmp_path).read(tmp_path, "test")) == 3
    assert len(Folder(tmp_path).read(tmp_path)) == 15
    twins.write_ts(tmp_path / "Waves_TEST.ts", values, labels)
    with pytest.raises(ValueError, match=r"two test files, Waves_TEST.ts and test.csv"):
        Folder(tmp_path).load()


def test_ts_files_named_train_and_test(tmp_path: Path, twins: ModuleType) -> None:
    values, labels = twins.waves(12)
    for part in ("train", "test"):
        twins.write_ts(tmp_path / f"{part}.ts", values, labels)
    assert list(Folder(tmp_path, sample_rate=25).load()) == ["train", "test"]
    assert Folder(tmp_path, sample_rate=25).info().sample_rate == 25


def test_folders_that_do_not_say_what_is_what(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no file that ends in one of"):
        Folder(tmp_path).prepare()
    csv(tmp_path, name="a.csv")
    assert len(load(tmp_path)) == 2
    csv(tmp_path, name="b.csv")
    with pytest.raises(ValueError, match=r"has 2 files and none is named train: a.csv, b.csv"):
        Folder(tmp_path).load()
    csv(tmp_path, name="test.csv")
    with pytest.raises(ValueError, match="has no training part, only test"):
        Folder(tmp_path).load()
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        Folder(tmp_path / "nowhere").prepare()
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(ValueError, match=r"must end in one of .csv, .parquet, .npz, .ts; convert it"):
        Folder(tmp_path / "a.xlsx").load()


def test_new_files_need_no_target_and_may_be_few(tmp_path: Path, twins: ModuleType) -> None:
    values, _ = twins.waves(20)
    labels = [str(i % 2) for i in range(20)]
    source = get_source("folder", path=twins.write_long_csv(tmp_path / "all.csv", values, labels))
    module = SeriesDataModule(source)
    module.setup()
    new = source.read(twins.write_long_csv(tmp_path / "new.csv", values[:3], None))
    assert new.target is None
    assert next(iter(module.loader(new))).target is None
    few = source.read(twins.write_long_csv(tmp_path / "few.csv", values[:1], ["1"]))
    assert few.kind == "regression"  # one whole number says nothing of classes
    batch = next(iter(module.loader(few)))
    assert batch.target is not None
    assert batch.target.tolist() == [1]
    with pytest.raises(ValueError, match="has no parts, so it has no part 'test'"):
        source.read(tmp_path / "new.csv", "test")


def test_a_label_that_training_lacks_is_found_at_the_start(tmp_path: Path, twins: ModuleType) -> None:
    values, labels = twins.waves(12)
    twins.write_ts(tmp_path / "train.ts", values, labels)
    twins.write_ts(tmp_path / "test.ts", values[:2], ["1", "99"])
    module = SeriesDataModule(Folder(tmp_path))
    with pytest.raises(
        ValueError, match="label '99' of series '1' was not seen in training; known labels are 1, 2, 10"
    ):
        module.setup()


def test_a_validation_part_alone_leaves_no_test_part(tmp_path: Path, twins: ModuleType) -> None:
    values, labels = twins.waves(12)
    for part in ("train", "val"):
        twins.write_ts(tmp_path / f"{part}.ts", values, labels)
    module = SeriesDataModule(Folder(tmp_path))
    module.setup()
    assert list(module.sets) == ["train", "val"]
    with pytest.raises(ValueError, match="has no test part; put a test file beside the training file"):
        module.test_dataloader()


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = ["series,x,target", "007,1,a", "7,2,b", "1_0,3,a", "10,4,b", "1e1,5,b"]
    assert load(csv(tmp_path, rows)).names == ["007", "7", "1_0", "10", "1e1"]
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    big = [2**53, 2**53 + 1]  # the same as float64
    parquet.write_table(arrow.table({"series": big, "x": [1.0, 2.0], "target": ["a", "b"]}), tmp_path / "big.parquet")
    assert load(tmp_path / "big.parquet").names == [str(one) for one in big]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_series_to_cut_name_the_file_and_the_number_needed(tmp_path, count):
    from seqkit.datasets import SeriesDataModule, get_source

    rows = [f"s{i},{k},{'ab'[i % 2]}" for i in range(count) for k in range(4)]
    (tmp_path / "few.csv").write_text("\n".join(["series,x,target", *rows]) + "\n")
    module = SeriesDataModule(get_source("folder", path=tmp_path / "few.csv"))
    with pytest.raises(ValueError, match=rf"few\.csv has {count} series to train on; at least 3 are needed"):
        module.setup()


def test_a_stray_word_among_numbers_is_refused_with_its_row(tmp_path):
    from seqkit.datasets import get_source

    rows = [f"s{i // 10},{'oops' if i == 7 else i},{i},{'ab'[i // 10]}" for i in range(20)]
    (tmp_path / "stray.csv").write_text("\n".join(["series,x,z,target", *rows]) + "\n")
    with pytest.raises(ValueError, match=r"column 'x' of .*stray\.csv holds 'oops' in row 8 among numbers"):
        get_source("folder", path=tmp_path / "stray.csv").load()
    chosen = get_source("folder", path=tmp_path / "stray.csv", channels=["z"]).load()["all"]
    assert chosen.channels == ("z",)


def test_npz_without_series(tmp_path):
    from seqkit.datasets import get_source

    np.savez(tmp_path / "none.npz", X=np.zeros((0, 5, 2)))
    with pytest.raises(ValueError, match="has no series; at least one is needed"):
        get_source("folder", path=tmp_path / "none.npz").load()


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_targets_of_a_file_to_predict_for_are_not_looked_at(ending: str, tmp_path: Path) -> None:
    """Where some series still wait for their label, those that have one are no hindrance."""
    path = tmp_path / f"new.{ending}"
    if ending == "csv":
        path.write_text("series,x,target\na,1,walk\na,2,walk\nb,3,\nb,4,\n")
    else:
        np.savez(path, X=np.array([[[1.0], [2.0]], [[3.0], [4.0]]]), y=np.array([1.5, np.nan]))
    with pytest.raises(ValueError, match=r"target of series '[b1]' of .* is (missing|NaN)"):
        Folder(path).read(path)
    series = Folder(path).read_inputs(path)
    assert series.target is None
    assert np.concatenate(series.values).ravel().tolist() == [1, 2, 3, 4]


def test_a_part_without_targets_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    samples = np.arange(8.0).reshape(4, 2, 1)
    np.savez(tmp_path / "a.npz", X_train=samples, y_train=["a", "b", "a", "b"], X_test=samples)
    with pytest.raises(ValueError, match=r"the test part of .*a.npz has no targets to measure by"):
        Folder(tmp_path / "a.npz").load()
