"""The .ts reader against sktime's own, and the lines it refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from seqkit.datasets.ts import read_ts, ts_parts

HEAD = "@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"


def bundled(name: str) -> Path:
    spec = importlib.util.find_spec("sktime")
    if spec is None or spec.origin is None:
        pytest.skip("needs sktime, which brings the data and the other reader")
    return Path(spec.origin).parent / "datasets" / "data" / name


@pytest.mark.parametrize("name", ["JapaneseVowels", "BasicMotions", "PLAID", "Covid3Month"])
def test_sktime_reads_the_same(name: str) -> None:
    path = bundled(name) / f"{name}_TEST.ts"
    from sktime.datasets import load_from_tsfile

    ours = read_ts(path)
    theirs, target = load_from_tsfile(str(path), return_data_type="nested_univ")
    assert ours.values[0].shape[1] == theirs.shape[1]
    for i, one in enumerate(ours.values):
        same = np.stack([np.asarray(theirs.iat[i, c]) for c in range(theirs.shape[1])], axis=1)
        np.testing.assert_array_equal(one, same.astype(np.float32))
    if ours.kind == "classification":
        assert ours.target is not None
        assert [str(label).lower() for label in ours.target] == [str(label) for label in target]  # sktime lowers them
    else:
        np.testing.assert_array_equal(np.asarray(ours.target)[:, 0], target.astype(np.float32))


def test_a_written_file_comes_back(tmp_path: Path, twins: ModuleType) -> None:
    values, labels = twins.waves(9)
    series = read_ts(twins.write_ts(tmp_path / "waves.ts", values, labels), prefix="new-")
    assert series.target == labels
    assert series.names[:2] == ["new-0", "new-1"]
    assert all(np.array_equal(one, two) for one, two in zip(series.values, values, strict=True))
    assert read_ts(twins.write_ts(tmp_path / "new.ts", values, None)).target is None


def test_question_marks_are_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "gappy.ts"
    path.write_text(HEAD + "1,?:3,4:a\n1,2:NaN, ? :b\n")
    series = read_ts(path)
    assert series.has_missing
    np.testing.assert_array_equal(series.values, [[[1, 3], [np.nan, 4]], [[1, np.nan], [2, np.nan]]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "1,2:3,4:a\n1,inf:3,4:b\n", "series '1' .* infinite value.* at sample 1, channel 0"),
        (HEAD + "1,2:3,4:a\n?,?:NaN,?:b\n", "series '1' .* has no value at all"),
        (HEAD + "1,2:3,4\n", "line 5 of .* has 2 fields; the header says 2 channels and a target"),
        (HEAD + "1,2:3,4:5,6:a\n", "line 5 of .* has 4 fields"),
        (HEAD + "1,2:3:a\n", "line 5 of .* has channels of 2, 1 samples"),
        (HEAD + "1,x:3,4:a\n", "line 5 of .* could not convert string to float: 'x'; values are numbers"),
        (HEAD + "1,2:3,4:c\n", "label 'c', which its line @classLabel does not name"),
        (HEAD + "::a\n", r"lengths\[0\] is 0; every series needs at least one sample"),
        (HEAD, "no series after @data"),
        (HEAD.replace("@data\n", ""), "no line @data"),
        ("series,time\n1,2\n", "line 1 of .* is not a header line"),
        (HEAD.replace("2", "two"), "@dimensions of .* must be a whole number"),
        ("@timestamps true\n" + HEAD + "(0,1),(1,2):(0,3),(1,4):a\n", "a timestamp at each value"),
        (HEAD + "(0,1),(1,2):(0,3),(1,4):a\n", r"\(time, value\) pairs; write a CSV file with a time column"),
        ("@univariate true\n@targetlabel true\n@data\n1,2:high\n", "a target of .* is not a number"),
        ("@univariate true\n@data\n1,2\n1,2:3,4\n", "line 4 of .* has 2 fields; the header says 1 channels"),
    ],
)
def test_bad_lines_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "bad.ts").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_ts(tmp_path / "bad.ts")


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.ts").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(ValueError, match="not a text file"):
        read_ts(tmp_path / "bad.ts")


def test_parts_come_in_order_and_once(tmp_path: Path) -> None:
    for name in ("A_TEST.ts", "A_TRAIN.ts", "other.ts"):
        (tmp_path / name).touch()
    assert list(ts_parts(tmp_path)) == ["train", "test"]
    (tmp_path / "B_TRAIN.ts").touch()
    with pytest.raises(ValueError, match=r"two train files, A_TRAIN.ts and B_TRAIN.ts"):
        ts_parts(tmp_path)
