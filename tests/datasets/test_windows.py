"""Windows for forecasting: which samples each one has, where parts are cut, and what nobody may see."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqkit.datasets import SeriesDataModule, SeriesSet, get_source
from seqkit.datasets.forecast import Forecast
from seqkit.datasets.naive import naive_forecasts, season_of
from seqkit.datasets.rows import StoredRows
from seqkit.datasets.windows import Windows

DAY = 86400.0


def counting(*lengths: int, start: float = 0.0, step: float = 1.0, times: bool = False, at: Any = None) -> SeriesSet:
    """Series whose values are their time indices, and 1000 more for each further series."""
    values = [(1000.0 * i + np.arange(length))[:, None] for i, length in enumerate(lengths)]
    begins = at or [0] * len(lengths)
    stamps = [start + step * (b + np.arange(n)) for b, n in zip(begins, lengths, strict=True)] if times else None
    return SeriesSet(values, timestamps=stamps, channels=("x",), sample_rate=1 / step if times else None)


def indices(windows: SeriesSet) -> tuple[np.ndarray, np.ndarray]:
    """Time indices of the samples and of the targets of each window."""
    return np.stack([row[:, 0] for row in windows.values]), np.asarray(windows.target)


@pytest.mark.parametrize("seed", range(40))
def test_nothing_straddles_a_cut_and_nothing_is_left_out(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(40, 121, size=random.integers(1, 4)).tolist()
    window, horizon, stride = (int(random.integers(1, most)) for most in (7, 5, 6))
    overlap = bool(seed % 2)
    series = counting(*lengths)
    parts = Forecast(horizon, window, stride, overlap=overlap).cut({"all": series}, validation=0.25, test=0.2)
    assert list(parts) == ["train", "val", "test"]
    edges = [(0, 0.6), (0.6, 0.8), (0.8, 1)]
    for (low, high), windows in zip(edges, parts.values(), strict=True):
        seen, ahead = indices(windows)
        # Each window is a run of samples whose target comes right after it, in one series.
        assert (np.diff(np.concatenate([seen, ahead], axis=1)) == 1).all()
        expected = 0
        for i, length in enumerate(lengths):
            first, stop = int(low * length + 1e-9), int(high * length + 1e-9)
            mine = seen[:, 0] // 1000 == i
            assert (ahead[mine] - 1000 * i >= first).all()
            assert (ahead[mine] - 1000 * i < stop).all()
            if overlap:
                first = max(0, first - window)
            assert (seen[mine] - 1000 * i >= first).all()
            starts = list(range(first, stop - window - horizon + 1, stride))
            assert (seen[mine][:, 0] - 1000 * i).tolist() == starts
            expected += len(starts)
        assert len(windows) == expected


def test_training_ends_before_validation_and_that_before_testing() -> None:
    parts = Forecast(3, 5).cut({"all": counting(100)}, validation=0.25, test=0.2)
    last = {part: indices(windows)[1].max() for part, windows in parts.items()}
    first = {part: indices(windows)[0].min() for part, windows in parts.items()}
    assert (last["train"], first["val"], last["val"], first["test"], last["test"]) == (59, 60, 79, 80, 99)


def test_dates_are_cut_at_the_same_time_in_every_series() -> None:
    now = 20000 * DAY
    series = counting(100, 60, start=now, step=DAY, times=True, at=[0, 40])  # the second one starts 40 days later
    parts = Forecast(2, 4).cut({"all": series}, validation=0.25, test=0.2)
    seen, _ = indices(parts["test"])
    of_second = seen[:, 0] >= 1000
    day_of_first, day_of_second = seen[~of_second].min(), seen[of_second].min() - 1000 + 40
    assert day_of_first == day_of_second
    latest = indices(parts["train"])[1]
    latest_day = max(latest[latest < 1000].max(), latest[latest >= 1000].max() - 1000 + 40)
    assert latest_day < indices(parts["val"])[0][:, 0].min()
    shares = Forecast(2, 4, cut_by="share").cut({"all": series}, validation=0.25, test=0.2)
    seen, _ = indices(shares["test"])
    assert (seen[seen < 1000].min(), seen[seen >= 1000].min()) == (80, 1048)


def test_times_from_a_start_are_cut_by_shares_unless_told_otherwise() -> None:
    series = counting(100, 50, times=True)
    seen, _ = indices(Forecast(2, 4).cut({"all": series}, validation=0.25, test=0.2)["test"])
    assert (seen[seen < 1000].min(), seen[seen >= 1000].min()) == (80, 1040)
    seen, _ = indices(Forecast(2, 4, cut_by="time").cut({"all": series}, validation=0.25, test=0.2)["test"])
    assert (seen < 1000).all()  # the short one has ended by then
    with pytest.raises(ValueError, match=r"`cut` is time, but .* has no times"):
        Forecast(2, 4, cut_by="time").cut({"all": counting(100)}, validation=0.25, test=0.2)


def test_files_of_parts_stay_whole() -> None:
    parts = Forecast(2, 4).cut({"train": counting(50), "test": counting(30)}, validation=0.2, test=0.2)
    assert indices(parts["train"])[1].max() == 39
    assert (indices(parts["val"])[0].min(), indices(parts["val"])[1].max()) == (40, 49)
    assert (indices(parts["test"])[0].min(), indices(parts["test"])[1].max()) == (0, 29)


def test_targets_are_all_channels_a_step_then_the_next_step() -> None:
    both = SeriesSet([np.stack([np.arange(10.0), 100 + np.arange(10.0)], axis=1)], channels=("x", "y"))
    windows = Forecast(2, 3).windows(both)
    assert np.asarray(windows.target)[0].tolist() == [3, 103, 4, 104]
    assert windows.targets == ("x+1", "y+1", "x+2", "y+2")
    assert windows.n_channels == 2
    only = Forecast(2, 3, targets=("y",)).windows(both)
    assert np.asarray(only.target)[0].tolist() == [103, 104]
    assert (only.targets, only.n_channels) == (("y+1", "y+2"), 2)
    with pytest.raises(ValueError, match="has no channel 'z' to forecast; choose one of x, y"):
        Forecast(2, 3, targets=("z",)).windows(both)


def test_windows_copy_no_sample_and_read_no_other() -> None:
    base = np.arange(50.0, dtype=np.float32)[:, None]
    windows = Forecast(2, 5).windows(SeriesSet([base]))
    assert isinstance(windows.values, Windows)
    assert all(np.shares_memory(row, windows.values.base[0]) for row in windows.values)
    chosen = windows.select([3, 0])
    assert isinstance(chosen.values, Windows)
    assert [row[0, 0] for row in chosen.values] == [3, 0]

    class Counted:
        shape = (50, 1)
        read = 0

        def __getitem__(self, rows: slice, /) -> np.ndarray:
            self.read += rows.stop - rows.start
            return base[rows]

    samples = Counted()
    stored = SeriesSet(StoredRows(samples, [10], [40]))
    windows = Forecast(2, 5).windows(stored)
    samples.read = 0
    assert windows.values[4][:, 0].tolist() == [14, 15, 16, 17, 18]
    assert samples.read == 5
    again = pickle.loads(pickle.dumps(chosen.values))  # workers that start anew need it
    assert [row[0, 0] for row in again] == [3, 0]


def test_a_missing_value_leaves_out_windows_that_would_need_it() -> None:
    values = np.arange(20.0)[:, None]
    values[10] = np.nan
    windows = Forecast(2, 3).windows(SeriesSet([values]))
    seen, ahead = indices(windows)
    assert np.isfinite(ahead).all()
    origins = [3, 4, 5, 6, 7, 8, *range(11, 19)]  # a target of samples 9 and 10, or 10 and 11, is none
    assert ahead[:, 0].tolist() == [float(k) for k in origins]
    assert np.isnan(seen).any()
    assert windows.has_missing
    assert isinstance(windows.values, Windows)
    assert windows.values.left_out == 2
    values[4:9] = np.nan
    windows = Forecast(1, 3).windows(SeriesSet([values]))
    assert all(np.isfinite(row).any() for row in windows.values)  # nothing to go by is no window
    values[::2] = np.nan
    with pytest.raises(ValueError, match=r"each of the 16 windows of the data has a missing value"):
        Forecast(2, 3).windows(SeriesSet([values]))


def test_uneven_times_go_along() -> None:
    times = np.cumsum([1.0, 1, 1, 4, 1, 1, 1, 2, 1, 1])
    series = SeriesSet([np.arange(10.0)[:, None]], timestamps=[times])
    windows = Forecast(2, 3).windows(series)
    assert windows.timestamps is not None
    assert [one.tolist() for one in windows.timestamps[:2]] == [times[:3].tolist(), times[1:4].tolist()]
    assert Forecast(2, 3, even=True).windows(series).timestamps is None
    assert Forecast(2, 3).windows(counting(10, times=True)).timestamps is None  # even ones say nothing more


def test_the_latest_window_ends_with_the_series() -> None:
    latest = Forecast(2, 5).latest(counting(20, 3))
    assert [row[:, 0].tolist() for row in latest.values] == [[15, 16, 17, 18, 19], [1000, 1001, 1002]]
    assert latest.target is None
    assert latest.names == ["0", "1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": 0}, "`horizon` must be a whole number of at least 1"),
        ({"horizon": 2, "window": 0}, "`window` must be a whole number"),
        ({"horizon": 2, "stride": 1.5}, "`stride` must be a whole number"),
        ({"horizon": 2, "season": -1}, "`season` must be a whole number"),
        ({"horizon": 2, "cut_by": "date"}, "`cut` must be one of time, share"),
        ({"horizon": 2, "overlap": 1}, "`overlap` must be true or false"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Forecast(**options)


def test_too_short_a_part_says_what_would_fit() -> None:
    with pytest.raises(
        ValueError, match=r"the val part of the data has at most 20 samples .* window to at most 14, or"
    ):
        Forecast(6, 40).cut({"all": counting(100)}, validation=0.25, test=0.2)
    assert Forecast(6, 14).cut({"all": counting(100)}, validation=0.25, test=0.2)
    assert Forecast(6, 40, overlap=True).cut({"all": counting(100)}, validation=0.25, test=0.2)
    with pytest.raises(ValueError, match="shorten the horizon to less than 20"):
        Forecast(20, 4).cut({"all": counting(100)}, validation=0.25, test=0.2)


def test_naive_forecasts_are_the_last_value_and_the_last_season() -> None:
    values = np.arange(30.0)[:, None]
    windows = Forecast(3, 4, season=5).windows(SeriesSet([values, 100 + values]))
    seen, _ = indices(windows)
    naive = naive_forecasts(windows)
    assert list(naive) == ["last value", "last season (5 samples)"]
    assert np.array_equal(naive["last value"], np.repeat(seen[:, -1:], 3, axis=1))
    season = naive["last season (5 samples)"]
    assert season[1].tolist() == [0, 1, 2]  # origin 5 looks back to the start
    assert season[0].tolist() == [3, 0, 1]  # where that is before the start the last value stands in
    long = naive_forecasts(Forecast(7, 4, season=5).windows(SeriesSet([values])))["last season (5 samples)"]
    assert long[6].tolist() == [5, 6, 7, 8, 9, 5, 6]  # origin 10: the season repeats
    gap = values.copy()
    gap[9] = np.nan
    held = naive_forecasts(Forecast(1, 4).windows(SeriesSet([gap])))["last value"]
    assert 8.0 in held[:, 0].tolist()
    assert np.isfinite(held).all()
    assert naive_forecasts(SeriesSet([values], ["a"])) == {}
    assert [season_of(1 / step) for step in (60, 900, 3600, DAY, 7 * DAY, 30.436875 * DAY)] == [1440, 96, 24, 7, 52, 12]
    assert season_of(None) is None


def csv(folder: Path, n: int = 200, **columns: Any) -> Path:
    rows = [",".join(["time", *columns])] + [
        ",".join([str(k), *(str(column[k]) for column in columns.values())]) for k in range(n)
    ]
    (folder / "long.csv").write_text("\n".join(rows) + "\n")
    return folder / "long.csv"


def module_of(path: Path, **options: Any) -> SeriesDataModule:
    module = SeriesDataModule(get_source("folder", path=path, **options), batch_size=16)
    module.prepare_data()
    module.setup()
    return module


def test_a_table_without_targets_is_forecast(tmp_path: Path) -> None:
    path = csv(tmp_path, price=np.arange(400) ** 2, volume=np.arange(400) % 7, n=400)
    module = module_of(path)
    assert (module.info.task, module.info.n_targets, module.info.targets) == (
        "regression",
        2,
        ("price+1", "volume+1"),
    )
    assert module.info.max_length == 32
    module = module_of(path, horizon=4, window=8, target="price")
    batch = next(iter(module.test_dataloader()))
    assert (tuple(batch.values.shape), tuple(batch.target.shape)) == ((16, 8, 2), (16, 4))
    assert torch.equal(batch.target[0], torch.arange(328.0, 332.0) ** 2)
    again = get_source("folder", path=path, horizon=4, window=8, target="price")
    assert again.info().targets == module.info.targets
    latest = again.to_predict("test", again.read(path))
    assert latest.values[0][:, 0].tolist() == (np.arange(392.0, 400) ** 2).tolist()


def test_statistics_never_see_what_comes_later(tmp_path: Path) -> None:
    early = np.r_[np.sin(np.arange(128)), np.full(72, 1e6)]
    module = module_of(csv(tmp_path, x=early), horizon=2, window=8)
    plain = module_of(csv(tmp_path, x=np.r_[early[:128], np.zeros(72)]), horizon=2, window=8)
    assert all(torch.equal(a, b) for a, b in zip(module.statistics(), plain.statistics(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(module.target_statistics(), plain.target_statistics(), strict=True))
    assert float(module.statistics().mean) < 1
    samples = early[:126].astype(np.float32)  # the last two of training are targets only
    assert float(module.statistics().mean) == pytest.approx(samples.mean(), rel=1e-5)  # each sample counts once
    assert float(module.statistics().std) == pytest.approx(samples.std(), rel=1e-5)


def test_many_series_are_told_apart(tmp_path: Path) -> None:
    rows = ["series,x", *(f"{name},{1000 * i + k}" for k in range(60) for i, name in enumerate("ab"))]
    (tmp_path / "two.csv").write_text("\n".join(rows))
    module = module_of(tmp_path / "two.csv", horizon=2, window=4)
    for windows in module.sets.values():
        seen, ahead = indices(windows)
        assert (np.diff(np.concatenate([seen, ahead], axis=1)) == 1).all()
        assert {name.split("@")[0] for name in windows.names} == {"a", "b"}


def test_forecasts_and_targets_are_not_mixed_up(tmp_path: Path) -> None:
    path = csv(tmp_path, x=np.arange(200))
    with pytest.raises(ValueError, match="`window` is for forecasts, got 8 without a horizon"):
        get_source("folder", path=path, window=8)
    with pytest.raises(ValueError, match="`task` is classification, but a horizon makes it a regression"):
        get_source("folder", path=path, horizon=2, task="classification")
    rows = ["series,x,label", *(f"{i},{k},{'ab'[i % 2]}" for i in range(6) for k in range(5))]
    (tmp_path / "named.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"no column 'target' for targets; is it 'label'\? .* give horizon="):
        get_source("folder", path=tmp_path / "named.csv").load()
    rows = ["series,x,age", *(f"{i},{k},{30 + i}" for i in range(6) for k in range(5))]
    (tmp_path / "aged.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"is it 'age'\?"):
        get_source("folder", path=tmp_path / "aged.csv").load()
    assert get_source("folder", path=tmp_path / "aged.csv", target="age").info().task == "regression"


def test_arrays_are_forecast_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", X=np.arange(300.0).reshape(3, 100), y=[0.5, 1.5, 2.5])
    module = module_of(tmp_path / "waves.npz", horizon=3, window=5)
    seen, ahead = indices(module.sets["train"])
    assert (np.diff(np.concatenate([seen, ahead], axis=1)) == 1).all()
    assert module.info.targets == ("+1", "+2", "+3")
