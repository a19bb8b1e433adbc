"""Other rates, missing samples and uneven times of the trajectories, against the same done by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.sampling import Sampling, drop_samples, pad_by_last, time_as_channel
from seqkit.datasets.series import SeriesSet

PARTS = ("train", "val", "test")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, twins: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    twins.write_letters(folder, 100)
    return folder


def letters(root: Path, **options: Any) -> SeriesDataModule:
    module = SeriesDataModule(get_source("character_trajectories", root=root, **options), validation=0.1)
    module.setup()
    return module


def pairs(one: SeriesDataModule, two: SeriesDataModule, part: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    assert one.sets[part].names == two.sets[part].names
    assert one.sets[part].target == two.sets[part].target
    return zip(one.sets[part].values, two.sets[part].values, strict=True)


@pytest.mark.parametrize(("train_rate", "test_rate"), [(100.0, 200.0), (200, 100), (50.0, None), (None, 66.667)])
def test_rates_of_training_and_test_are_chosen_apart(root: Path, train_rate: Any, test_rate: Any) -> None:
    plain, other = letters(root), letters(root, train_rate=train_rate, test_rate=test_rate)
    for part in PARTS:
        rate = (test_rate if part == "test" else train_rate) or 200
        k = round(200 / rate)
        assert other.sets[part].sample_rate == pytest.approx(200 / k)
        assert other.sets[part].timestamps is None
        for before, after in pairs(plain, other, part):
            assert np.array_equal(after, before[::k])
    known = other.source.info()
    assert (known.sample_rate, known.max_length) == (other.info.sample_rate, None)


@pytest.mark.parametrize("padding", ["none", "last"])
@pytest.mark.parametrize(("k_train", "k_test"), [(2, 1), (1, 2)])
def test_the_series_are_those_of_the_benchmark(data_root: Path, padding: str, k_train: int, k_test: int) -> None:
    """benchmarks/timescale.py: padded to the longest, every k-th, and nothing said of the rate."""
    if not (data_root / "CharacterTrajectories").is_dir():
        pytest.skip("needs CharacterTrajectories under SEQKIT_DATA")
    plain = letters(data_root)
    longest = max(one.lengths.max() for one in plain.sets.values())
    options = {"train_rate": 200 / k_train, "test_rate": 200 / k_test, "timestamps": "hidden", "padding": padding}
    other = letters(data_root, **options)
    for part, k in (("train", k_train), ("val", k_train), ("test", k_test)):
        assert other.sets[part].sample_rate is None
        for before, after in pairs(plain, other, part):
            repeats = longest - len(before) if padding == "last" else 0
            assert np.array_equal(after, np.concatenate([before, np.repeat(before[-1:], repeats, axis=0)])[::k])


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_removed_samples_leave_uneven_times(root: Path, share: float) -> None:
    plain, other = letters(root), letters(root, drop=share)
    for part in PARTS:
        times = other.sets[part].timestamps
        assert times is not None
        for (before, after), own in zip(pairs(plain, other, part), times, strict=True):
            assert len(after) == max(2, round(len(before) * (1 - share) - 0.4999))
            places = np.rint(own * 200).astype(int)
            assert (np.diff(places) > 0).all()
            assert np.array_equal(after, before[places])
    assert other.info.sample_rate == other.source.info().sample_rate == pytest.approx(200 * (1 - share))
    batch = next(iter(other.train_dataloader()))
    assert batch.timestamps is not None
    assert batch.timestamps.shape == batch.values.shape[:2]


def test_missing_samples_can_keep_their_place(root: Path) -> None:
    plain, removed, kept = letters(root), letters(root, drop=0.5), letters(root, drop=0.5, missing="nan")
    assert kept.info.sample_rate == kept.source.info().sample_rate == 200.0
    for part in PARTS:
        assert kept.sets[part].timestamps is None
        both = zip(pairs(plain, kept, part), removed.sets[part].values, strict=True)
        for (before, after), left in both:
            gone = np.isnan(after)
            assert np.array_equal(gone.all(axis=1), gone.any(axis=1))
            assert np.array_equal(after[~gone[:, 0]], before[~gone[:, 0]])
            assert np.array_equal(after[~gone[:, 0]], left)  # the same draw either way
    batch = next(iter(kept.train_dataloader()))
    assert batch.observed is not None
    assert 0.3 < batch.observed.float().mean() < 0.6
    assert not batch.values[~batch.observed].any()


def test_a_draw_depends_on_seed_and_series_and_on_nothing_else(root: Path) -> None:
    def by_name(**options: Any) -> dict[str, list[float]]:
        sets = letters(root, drop=0.5, **options).sets
        times = {part: series.timestamps for part, series in sets.items()}
        return {
            name: own.tolist()
            for part, series in sets.items()
            for name, own in zip(series.names, times[part] or [], strict=True)
        }

    first = by_name()
    assert by_name() == first
    assert by_name(drop_seed=1) != first
    assert len({tuple(one) for one in first.values()}) > 50  # each series loses its own samples
    module = SeriesDataModule(get_source("character_trajectories", root=root, drop=0.5), seed=7)
    module.setup()  # another cut
    for series in module.sets.values():
        assert all(first[name] == own.tolist() for name, own in zip(series.names, series.timestamps or [], strict=True))


def test_all_samples_are_equally_likely_to_go() -> None:
    series = SeriesSet([np.arange(10.0)[:, None]] * 3000, sample_rate=1.0)
    kept = np.concatenate([one[:, 0] for one in drop_samples(series, 0.5, 3).values])
    counts = np.bincount(kept.astype(int), minlength=10)
    assert abs(counts - 1500).max() < 5 * np.sqrt(3000 / 4)


def test_two_samples_stay_where_there_are_two() -> None:
    series = SeriesSet([np.zeros((n, 1)) for n in (1, 2, 3, 50)], sample_rate=1.0)
    assert drop_samples(series, 0.99, 0).lengths.tolist() == [1, 2, 2, 2]


def test_time_goes_in_front_as_a_channel(root: Path) -> None:
    given, channel = letters(root, drop=0.5), letters(root, drop=0.5, timestamps="channel")
    assert channel.info.channels == channel.source.info().channels == ("time", "x", "y", "force")
    assert channel.info.n_channels == channel.source.info().n_channels == 4
    assert channel.info.sample_rate is None
    for part in PARTS:
        assert channel.sets[part].timestamps is None
        times = given.sets[part].timestamps
        assert times is not None
        for (before, after), own in zip(pairs(given, channel, part), times, strict=True):
            np.testing.assert_allclose(after[:, 0], own, rtol=1e-6)
            assert np.array_equal(after[:, 1:], before)


def test_hidden_times_are_nowhere(root: Path) -> None:
    given, hidden = letters(root, drop=0.5), letters(root, drop=0.5, timestamps="hidden")
    for part in PARTS:
        assert hidden.sets[part].timestamps is None
        assert hidden.sets[part].sample_rate is None
        for before, after in pairs(given, hidden, part):
            assert np.array_equal(before, after)
    assert hidden.info.sample_rate is hidden.source.info().sample_rate is None


@pytest.mark.parametrize("way", ["given", "channel"])
def test_times_are_stretched_apart(root: Path, way: str) -> None:
    plain = letters(root, drop=0.3, timestamps=way)
    other = letters(root, drop=0.3, timestamps=way, train_scale=0.5, test_scale=2.0)
    for part, factor in (("train", 0.5), ("val", 0.5), ("test", 2.0)):
        for k in range(3):
            if way == "channel":
                one, two = plain.sets[part].values[k][:, 0], other.sets[part].values[k][:, 0]
            else:
                one, two = (module.sets[part].timestamps[k] for module in (plain, other))  # type: ignore[index]
            np.testing.assert_allclose(two, factor * one, rtol=1e-6)
    assert other.info.sample_rate == other.source.info().sample_rate


def test_an_even_set_is_stretched_by_its_rate(root: Path) -> None:
    other = letters(root, test_scale=2.0)
    assert [other.sets[part].sample_rate for part in PARTS] == [200.0, 200.0, 100.0]


def test_without_options_nothing_changes(root: Path) -> None:
    source = get_source("character_trajectories", root=root)
    series = source.load()["all"]
    for part in PARTS:
        after = source.transform(part, series)
        assert all(np.array_equal(one, two) for one, two in zip(after.values, series.values, strict=True))
        assert (after.sample_rate, after.timestamps, after.channels) == (200.0, None, ("x", "y", "force"))


def test_length_known_without_loading(data_root: Path) -> None:
    if not (data_root / "CharacterTrajectories").is_dir():
        pytest.skip("needs CharacterTrajectories under SEQKIT_DATA")
    for options in (
        {"train_rate": 100.0, "test_rate": 100.0},
        {"drop": 0.7},
        {"drop": 0.3, "missing": "nan"},
        {"padding": "last", "drop": 0.5},
    ):
        module = letters(data_root, **options)
        assert module.source.info().max_length == module.info.max_length, options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train_rate": 150.0}, r"`train_rate` must be 200 Hz over a whole number \(200, 100, 66.6667, .*\), got 150"),
        ({"test_rate": 400.0}, "`test_rate` must be 200 Hz over a whole number .*, got 400"),
        ({"test_rate": 0.0}, "`test_rate` must be a finite number above 0, got 0.0"),
        ({"test_rate": "fast"}, "`test_rate` must be a finite number above 0, got 'fast'"),
        ({"drop": 1.0}, r"`drop` must lie between 0 and 1 \(1 excluded\), got 1.0"),
        ({"drop": -0.1}, "`drop` must lie between 0 and 1"),
        ({"drop_seed": -1}, "`drop_seed` must be a whole number of at least 0, got -1"),
        ({"drop_seed": 0.5}, "`drop_seed` must be a whole number of at least 0, got 0.5"),
        ({"missing": "zero"}, "`missing` must be one of remove, nan"),
        ({"timestamps": "yes"}, "`timestamps` must be one of given, channel, hidden"),
        ({"padding": "zero"}, "`padding` must be one of none, last"),
        ({"train_scale": 0.0}, "`train_scale` must be a finite number above 0"),
        ({"test_scale": 2.0, "timestamps": "hidden"}, "`test_scale` must be 1 where times are hidden; use timestamps="),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_source("character_trajectories", **options)


def test_targets_per_sample_and_times_follow_their_samples() -> None:
    values = [np.arange(20.0)[:, None], np.arange(30.0)[:, None]]
    times = [np.cumsum(np.linspace(0.5, 1.5, len(one))) for one in values]
    series = SeriesSet(values, [one[:, 0] * 3 for one in values], timestamps=times)
    after = drop_samples(series, 0.5, 0)
    assert after.timestamps is not None
    assert after.target is not None
    for one, target, own, whole in zip(after.values, after.target, after.timestamps, times, strict=True):
        assert np.array_equal(np.asarray(target)[:, 0], 3 * one[:, 0])
        assert np.array_equal(own, whole[one[:, 0].astype(int)])
    with pytest.raises(ValueError, match="has uneven times, which say nothing past the end"):
        pad_by_last(series, 40)
    assert np.array_equal(time_as_channel(replace(series, target=None)).values[1][:, 0], times[1].astype(np.float32))


def test_a_file_for_testing_goes_through_the_options_as_the_test_part(root: Path, twins: ModuleType) -> None:
    source = get_source("character_trajectories", root=root, test_rate=100.0, timestamps="channel")
    series = source.read(root / "CharacterTrajectories" / "mixoutALL_shifted.mat")
    after = source.transform("test", series)
    assert after.lengths.tolist() == [-(-n // 2) for n in series.lengths.tolist()]
    assert after.channels == ("time", "x", "y", "force")


def test_sampling_says_what_it_will_give() -> None:
    sampling = Sampling(200.0, train_rate=100.0, test_rate=50.0, drop=0.5, test_scale=2.0)
    assert (sampling.told_rate("train"), sampling.told_rate("val"), sampling.told_rate("test")) == (50.0, 50.0, 12.5)
    assert sampling.max_length(205) is None
    assert Sampling(200.0, train_rate=100.0, test_rate=100.0, drop=0.5).max_length(205) == 51
