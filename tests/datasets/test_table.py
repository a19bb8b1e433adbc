"""Tables as people have them: wide, with dates and time zones, with gaps, as spreadsheets write them, and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import SeriesSet
from seqkit.datasets.dates import seconds_of
from seqkit.datasets.folder import Folder
from seqkit.datasets.timing import on_grid


def write(folder: Path, *rows: str, name: str = "table.csv", end: str = "\n") -> Path:
    (folder / name).write_bytes((end.join(rows) + end).encode())
    return folder / name


def load(path: Path, **options: Any) -> SeriesSet:
    return Folder(path, **options).load()["all"]


def same(one: SeriesSet, two: SeriesSet) -> None:
    assert (one.names, one.target, one.channels) == (two.names, two.target, two.channels)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one.values, two.values, strict=True))


LONG = ["series,x,y,target", "a,1,10,rest", "a,2,20,rest", "a,3,,rest", "b,4,40,run", "b,5,50,run"]
WIDE = ["series,x_0,x_1,x_2,y_0,y_1,y_2,target", "a,1,2,3,10,20,,rest", "b,4,5,,40,50,,run"]


def test_a_wide_table_is_its_long_twin(tmp_path: Path) -> None:
    long, wide = load(write(tmp_path, *LONG)), load(write(tmp_path, *WIDE, name="wide.csv"))
    same(long, wide)
    assert wide.lengths.tolist() == [3, 2]  # empty fields at the end are no samples
    assert np.isnan(wide.values[0][2, 1])  # others are missing values
    mixed = ["series,y_1,x_0,target,y_0,x_2,y_2,x_1", "a,20,1,rest,10,3,,2", "b,50,4,run,40,,,5"]
    other = load(write(tmp_path, *mixed, name="mixed.csv"), channels=["x", "y"])
    same(long, other)
    assert load(tmp_path / "wide.csv", channels="y").channels == ("y",)


@pytest.mark.parametrize(
    ("points", "rate", "channels"),
    [
        ("t0,t1,t2", None, ()),
        ("t1,t2,t3", None, ()),
        ("0,1,2", None, ()),
        ("1,2,3", None, ()),
        ("0.0,0.5,1.0", 2.0, ()),
        ("10,20,30", 0.1, ()),
        ("2026-03-01,2026-03-02,2026-03-03", pytest.approx(1 / 86400, rel=1e-5), ()),
        ("hr_0,hr_1,hr_2", None, ("hr",)),
        ("hr0,hr1,hr2", None, ("hr",)),
        ("t2,t0,t1", None, ()),
    ],
)
def test_columns_are_times_by_their_names(points: str, rate: Any, channels: tuple[str, ...], tmp_path: Path) -> None:
    order = np.argsort(points.split(","))
    fields = [",".join(str(10 * row + int(np.flatnonzero(order == k)[0])) for k in range(3)) for row in (1, 2)]
    series = load(write(tmp_path, f"series,{points},target", f"p,{fields[0]},a", f"q,{fields[1]},b"))
    assert [one[:, 0].tolist() for one in series.values] == [[10, 11, 12], [20, 21, 22]]
    assert (series.names, series.sample_rate, series.channels) == (["p", "q"], rate, channels)


def test_what_is_wide_is_told_from_the_table(tmp_path: Path) -> None:
    without_id = write(tmp_path, "t0,t1,t2,target", "1,2,3,a", "4,5,,b", "6,7,8,a")
    assert load(without_id).names == ["0", "1", "2"]
    # Two rows of one series are samples, whatever the channels are called; so are rows with times.
    long = write(tmp_path, "series,x0,x1,x2,target", "a,1,2,3,u", "a,4,5,6,u", "b,1,2,3,v", name="long.csv")
    assert load(long).lengths.tolist() == [2, 1]
    timed = write(tmp_path, "series,time,x0,x1,x2,target", "a,0,1,2,3,u", "b,0,1,2,3,v", name="timed.csv")
    assert load(timed).channels == ("x0", "x1", "x2")
    sensors = write(tmp_path, "s1,s2,s3", *(f"{k},{k},{k}" for k in range(9)), name="sensors.csv")
    assert load(sensors, horizon=1, window=2).channels == ("s1", "s2", "s3")
    single = write(tmp_path, "series,x0,x1,x2,target", "a,1,2,3,u", "b,4,5,6,v", name="single.csv")
    assert load(single).lengths.tolist() == [3, 3]
    assert load(single, form="long").lengths.tolist() == [1, 1]
    with pytest.raises(ValueError, match="`form` must be one of long, wide"):
        Folder(single, form="broad")


def test_wide_tables_say_what_does_not_fit(tmp_path: Path) -> None:
    def refused(words: str, *rows: str, **options: Any) -> None:
        with pytest.raises(ValueError, match=words):
            load(write(tmp_path, *rows), **options)

    refused(
        r"column 'age' of .* is none of these; remove or rename it", "series,t0,t1,t2,t3,age,target", "a,1,2,3,4,5,u"
    )
    refused(r"those of .* are not", "series,x_0,x_1,x_2,y_0,y_1,target", "a,1,2,3,4,5,u", form="wide")
    refused(r"those of .* are not", "series,t0,t1,t3,target", "a,1,2,3,u", form="wide")
    refused(r"rows 1 and 2 of .* are both series 'a'", "series,t0,t1,target", "a,1,2,u", "a,3,4,v", form="wide")
    refused(r"row 2 of .* \(series 'b'\) has no value", "series,t0,t1,t2,target", "a,1,2,3,u", "b,,,,v")
    refused("column 't1' of .* holds 'oops' in row 1", "series,t0,t1,t2,target", "a,1,oops,3,u")
    refused(r"no columns z_0, z_1 for a channel 'z'", *WIDE, channels="z")
    refused(r"no column 'target' for targets", "series,t0,t1,t2,label", "a,1,2,3,u")


def test_wide_tables_are_forecast(tmp_path: Path) -> None:
    points = [f"t{k}" for k in range(60)]
    rows = [",".join([name, *(str(1000 * i + k) for k in range(60))]) for i, name in enumerate("ab")]
    source = Folder(write(tmp_path, ",".join(["series", *points]), *rows), horizon=2, window=4)
    parts = source.cut(source.load(), validation=0.25, test=0.2, seed=0)
    assert np.asarray(parts["test"].target)[[0, -1]].tolist() == [[52, 53], [1058, 1059]]


@pytest.mark.parametrize(
    "times",
    [
        ["2026-03-29T00:30:00+01:00", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],  # into summer time
        ["2026-03-28 23:30:00Z", "2026-03-29 00:30:00Z", "2026-03-29 01:30:00Z"],
        ["2026-03-28 23:30", "2026-03-29 00:30", "2026-03-29 01:30"],
        ["20260328T233000-0000", "2026-03-28T19:30:00-05:00", "2026-03-29T01:30:00.000+00:00"],
        ["1774740600", "1774744200", "1774747800"],
        ["1774740600000", "1774744200000", "1774747800000"],  # as JavaScript counts
        ["1774740600000000000", "1774744200000000000", "1774747800000000000"],  # as pandas counts
    ],
)
def test_times_of_all_kinds_are_seconds(times: list[str], tmp_path: Path) -> None:
    rows = [f"{name},{at},{k},{name}" for name in "ab" for k, at in enumerate(times)]
    series = load(write(tmp_path, "series,timestamp,x,target", *rows))
    assert series.sample_rate == pytest.approx(1 / 3600, rel=1e-5)
    assert series.channels == ("x",)
    values = np.array([float(at) for at in times]) if times[0].isdecimal() else np.array(times)
    np.testing.assert_allclose(seconds_of(values, "time", "toy"), 1774740600 + 3600 * np.arange(3), atol=1e-3)


def test_months_and_years_count_as_even(tmp_path: Path) -> None:
    for days, steps in (("01", 12), ("15", 12), ("31,28,31,30,31,30,31,31,30,31,30,31", 12)):
        of_month = days.split(",") * (12 // len(days.split(",")))
        dates = [f"2025-{month + 1:02d}-{of_month[month]}" for month in range(steps)]
        rows = [f"{name},{at},{k},{name}" for name in "ab" for k, at in enumerate(dates)]
        series = load(write(tmp_path, "series,date,x,target", *rows))
        assert series.timestamps is None, days
        assert 1 / (series.sample_rate or 1) == pytest.approx(365.2425 / 12 * 86400, rel=1e-5)
    years = [f"{name},{1990 + k}-01-01,{k},{name}" for name in "ab" for k in range(9)]
    assert load(write(tmp_path, "series,date,x,target", *years)).timestamps is None


def test_dates_with_time_zones_in_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    moments = np.array(["2026-03-29T00:30", "2026-03-29T01:30"] * 2, dtype="datetime64[ns]")
    when = arrow.array(moments, type=arrow.timestamp("ns", tz="Europe/Zurich"))
    table = {"series": ["a", "a", "b", "b"], "when": when, "x": [1.0, 2, 3, 4], "target": ["u", "u", "v", "v"]}
    parquet.write_table(arrow.table(table), tmp_path / "zoned.parquet")
    assert load(tmp_path / "zoned.parquet", time="when").sample_rate == pytest.approx(1 / 3600, rel=1e-5)
    days = arrow.array([0, 1, 0, 1], type=arrow.date32())
    parquet.write_table(arrow.table({**table, "when": days}), tmp_path / "days.parquet")
    assert load(tmp_path / "days.parquet", time="when").sample_rate == pytest.approx(1 / 86400, rel=1e-5)


def test_what_pandas_writes_reads(tmp_path: Path) -> None:
    plain = load(write(tmp_path, *LONG))
    counted = [f"{'' if k == 0 else k - 1},{row}" for k, row in enumerate(LONG)]
    same(load(write(tmp_path, *counted)), plain)
    dated = [",series,x,target", *(f"2026-03-0{k + 1},{name},{k},{name}" for name in "ab" for k in range(3))]
    assert load(write(tmp_path, *dated)).sample_rate == pytest.approx(1 / 86400, rel=1e-5)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_spreadsheets_of_other_countries_read(sign: str, tmp_path: Path) -> None:
    plain = load(write(tmp_path, *LONG))
    same(load(write(tmp_path, *(row.replace(",", sign) for row in LONG), end="\r\n")), plain)
    rows = [row.replace(",", sign) for row in LONG[:1]] + [
        row.replace(",", sign).replace("10", "1,0e1").replace("20", "20,0") for row in LONG[1:]
    ]
    (tmp_path / "mark.csv").write_bytes(b"\xef\xbb\xbf" + "\n".join(rows).encode())
    same(load(tmp_path / "mark.csv"), plain)


def test_numbers_that_cannot_be_read_are_shown(tmp_path: Path) -> None:
    rows = [f'{name},"{k},5",{name}' for name in "ab" for k in range(4)]
    with pytest.raises(ValueError, match=r"column 'x' of .* holds '0,5' in row 1; write numbers with a decimal point"):
        load(write(tmp_path, "series,x,target", *rows))
    rows = [f"{name};{k}.000,5;{name}" for name in "ab" for k in range(4)]
    with pytest.raises(
        ValueError, match=r"holds '0\.000,5' in row 1; write numbers .* without signs between thousands"
    ):
        load(write(tmp_path, "series;x;target", *rows))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a,0,1,u", "b,0,1,v", "a,1,2,u", "a,0,3,u"], "rows 1 and 4 of .* are both of series 'a' at 0"),
        (["a,2026-03-01,1,u", "a,2026-03-01,2,u"], "rows 1 and 2 of .* are both of series 'a' at 2026-03-01"),
        (["a,2026-03-01,1,u", "a,,2,u"], "column 'time' of .* has no time in row 2"),
        (["a,2026-03-01,1,u", "a,03/02/2026,2,u"], "ISO 8601 dates such as .*, got '03/02/2026' in row 2"),
        (["a,2026-03-01T00:00Z,1,u", "a,2026-03-01T01:00,2,u"], "with and without a time zone, .* in row 2"),
        (["a,0,1,u", "a,1,2,v", "b,0,1,", "b,1,1,v"], "a target of series 'b' .* is missing"),
        (["a,0,1,u", "a,1,2,u", "b,0,1,", "b,1,1,"], "a target of series 'b' .* is missing"),
        (["a,0,,u", "a,1,,u"], "column 'x' of .* is empty"),
    ],
)
def test_wrong_rows_are_named(rows: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        load(write(tmp_path, "series,time,x,target", *rows))


def test_dates_in_another_format_are_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"column 'date' .* got '01/02/2026' in row 1"):
        load(write(tmp_path, "date,x", *(f"0{k}/02/2026,{k}" for k in range(1, 9))))
    with pytest.raises(ValueError, match="has times in columns 'date' and 'timestamp'; say which"):
        load(write(tmp_path, "date,timestamp,x", "2026-03-01,5,1", "2026-03-02,6,1"))


def test_a_target_in_some_rows_is_that_of_the_series(tmp_path: Path) -> None:
    series = load(write(tmp_path, "series,x,target", "a,1,u", "a,2,", "b,3,", "b,4,v", "b,5,v"))
    assert series.target == ["u", "v"]
    numbers = load(write(tmp_path, "series,x,target", "a,1,0.5", "a,2,", "b,3,", "b,4,1.5"))
    assert np.asarray(numbers.target).ravel().tolist() == [0.5, 1.5]


GAPPED = ["series,time,x,target", *(f"{name},{k / 10},{k},{name}" for name in "ab" for k in (0, 1, 2, 5, 6, 7))]


def test_gaps_in_time_are_kept_or_filled_or_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, *GAPPED)
    kept = load(path)
    assert kept.timestamps is not None
    np.testing.assert_allclose(kept.timestamps[0], [0, 0.1, 0.2, 0.5, 0.6, 0.7])
    grid = load(path, gaps="grid")
    assert (grid.timestamps, grid.sample_rate, grid.lengths.tolist()) == (None, 10, [8, 8])
    np.testing.assert_array_equal(grid.values[1][:, 0], [0, 1, 2, np.nan, np.nan, 5, 6, 7])
    half = load(path, gaps="grid", sample_rate=20)
    assert (half.sample_rate, half.lengths.tolist()) == (20, [15, 15])
    ignored = load(path, gaps="ignore")
    assert (ignored.timestamps, ignored.sample_rate, ignored.lengths.tolist()) == (None, 10, [6, 6])
    with pytest.raises(ValueError, match="`gaps` must be one of keep, grid, line, ignore"):
        Folder(path, gaps="fill")
    sequence = [row.rsplit(",", 1)[0] + f",{k % 2}" for k, row in enumerate(GAPPED[1:])]
    with pytest.raises(ValueError, match="has a target per sample, which the points that gaps=grid adds would lack"):
        load(write(tmp_path, GAPPED[0], *sequence), gaps="grid")


def test_a_grid_has_room_for_its_samples_and_not_much_more() -> None:
    values, times = [np.zeros((2, 1))], [np.array([0.0, 0.3])]
    with pytest.raises(ValueError, match=r"two samples, 0.3 s apart, at one point of a grid of 1 Hz"):
        on_grid(values, times, 1.0, ["a"], "toy")
    with pytest.raises(ValueError, match="2 samples and would have 1000001 on a grid"):
        on_grid(values, [np.array([0.0, 1e6])], 1.0, ["a"], "toy")
    rows, points = on_grid([np.array([[1.0], [2.0]])], [np.array([5.0, 7.1])], 1.0, ["a"], "toy")
    assert (points[0].tolist(), rows[0][[0, 2], 0].tolist()) == ([5, 6, 7], [1, 2])


def test_forecasts_keep_uneven_times_or_ignore_them(tmp_path: Path) -> None:
    days = [k for k in range(90) if k % 9 != 4]
    rows = [f"2026-{1 + k // 28:02d}-{1 + k % 28:02d},{k}" for k in days if k < 84]
    path = write(tmp_path, "date,price", *rows)
    source = Folder(path, horizon=1, window=4, gaps="ignore")
    parts = source.cut(source.load(), validation=0.2, test=0.2, seed=0)
    assert parts["train"].timestamps is None
    uneven = Folder(path, horizon=1, window=4)
    parts = uneven.cut(uneven.load(), validation=0.2, test=0.2, seed=0)
    assert parts["train"].timestamps is not None


def test_one_series_teaches_only_to_forecast(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column 'series' for series ids"):
        load(write(tmp_path, "time,x,target", "0,1,2", "1,2,3"))
    assert load(write(tmp_path, "time,x", "0,1", "1,2")).names == ["table"]
    rows = ["shop,x", *(f"{'ab'[k % 2]},{k}" for k in range(9))]
    with pytest.raises(ValueError, match=r"no column 'series' for series ids; is it 'shop'\? \(option id=\)"):
        load(write(tmp_path, *rows), horizon=1)
    assert load(write(tmp_path, *rows), horizon=1, id="shop").names == ["a", "b"]
    assert load(write(tmp_path, *rows), horizon=1, channels="x").names == ["table"]


def test_the_only_dates_are_times_whatever_their_name(tmp_path: Path) -> None:
    monthly = write(tmp_path, "Month;Sold", *(f"20{k // 12 + 10}-{k % 12 + 1:02d};{k},5" for k in range(40)))
    series = load(monthly)
    assert (series.channels, 1 / (series.sample_rate or 1)) == (("Sold",), pytest.approx(30.436875 * 86400, rel=1e-5))
    born = [f"{name},1990-0{i + 1}-01,{k},{name}" for i, name in enumerate("ab") for k in range(3)]
    assert load(write(tmp_path, "series,born,x,target", *born)).sample_rate is None
