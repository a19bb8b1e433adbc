"""Straight lines in the place of missing values: against pandas, channel by channel, in tables and in a known set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.lines import fill_by_lines, lines_at
from seqkit.datasets.sampling import drop_samples
from seqkit.datasets.series import SeriesSet


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_lie_on_lines(dtype: type) -> None:
    random = np.random.default_rng(0)
    row = random.normal(size=(60, 3)).astype(dtype)
    row[random.random(row.shape) < 0.6] = np.nan
    row[:, 2] = np.nan
    before = row.copy()
    at = np.cumsum(random.random(60) + 0.1)
    for filled, times in ((fill_by_lines(row), np.arange(60.0)), (lines_at(row, at, at), at)):
        wanted = (
            pd.DataFrame(row.astype(np.float64), index=times).interpolate("index", limit_direction="both").to_numpy()
        )
        assert filled.dtype == dtype
        np.testing.assert_allclose(filled[:, :2], wanted[:, :2], rtol=1e-5 if dtype is np.float32 else 1e-12)
        assert np.isnan(filled[:, 2]).all()  # nothing to draw a line between
    np.testing.assert_array_equal(row, before)
    whole = np.ones((3, 2))
    assert fill_by_lines(whole) is whole


def test_a_straight_course_loses_nothing() -> None:
    series = SeriesSet([np.stack([np.arange(50.0), -2 * np.arange(50.0)], axis=1)], ["a"], sample_rate=10.0)
    holes = drop_samples(series, 0.7, 0, missing="nan").values[0]
    drawn = drop_samples(series, 0.7, 0, missing="line")
    (there,) = np.nonzero(~np.isnan(holes[:, 0]))
    inside = slice(there[0], there[-1] + 1)
    np.testing.assert_allclose(drawn.values[0][inside], series.values[0][inside], atol=1e-12)
    assert (drawn.values[0][: there[0]] == drawn.values[0][there[0]]).all()
    assert (drawn.values[0][there[-1] :] == drawn.values[0][there[-1]]).all()
    assert (drawn.timestamps, drawn.sample_rate, drawn.has_missing) == (None, 10.0, False)


def test_letters_are_even_and_whole_again(data_root: Path) -> None:
    options = {"drop": 0.7, "missing": "line"}
    module = SeriesDataModule(get_source("character_trajectories", **options), frame=4)  # type: ignore[arg-type]
    module.setup()
    info = get_source("character_trajectories", **options).info()
    assert (info.missing, info.sample_rate, info.max_length) == (False, 200.0, 205)
    assert all(not series.has_missing and series.timestamps is None for series in module.sets.values())
    batch = next(iter(module.train_dataloader()))
    assert batch.timestamps is None
    assert batch.observed is None


LONG = ["series,time,x,target", *(f"{name},{k / 10},{k},{name}" for name in "ab" for k in (0, 1, 2, 5, 6, 7))]


def test_a_table_by_rows_and_by_columns(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("\n".join(LONG))
    series = get_source("folder", path=str(path), gaps="line").load()["all"]
    assert (series.timestamps, series.sample_rate, series.has_missing) == (None, 10, False)
    np.testing.assert_allclose(series.values[1][:, 0], np.arange(8))
    finer = get_source("folder", path=str(path), gaps="line", sample_rate=20.0).load()["all"]
    np.testing.assert_allclose(finer.values[0][:, 0], np.arange(15) / 2)
    coarse = get_source("folder", path=str(path), gaps="line", sample_rate=4.0).load()[
        "all"
    ]  # two samples at one point
    np.testing.assert_allclose(coarse.values[0][:, 0], [0, 2.5, 5, 7])
    rows = [row.rsplit(",", 1)[0] + f",{k % 2}" for k, row in enumerate(LONG[1:])]
    path.write_text("\n".join([LONG[0], *rows]))
    with pytest.raises(ValueError, match="has a target per sample, which the points that gaps=line adds would lack"):
        get_source("folder", path=str(path), gaps="line").load()
