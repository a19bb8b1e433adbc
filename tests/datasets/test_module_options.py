"""Fewer training series, and the hook by which a set changes one part and not the other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.folder import Folder
from seqkit.datasets.series import SeriesSet
from seqkit.runs import RunConfig


def module(path: Path, **options: Any) -> SeriesDataModule:
    made = SeriesDataModule(get_source("folder", path=path), **options)
    made.setup()
    return made


@pytest.fixture
def table(tmp_path: Path, twins: ModuleType) -> Path:
    values, labels = twins.waves(60)
    path: Path = twins.write_long_csv(tmp_path / "waves.csv", values, labels)
    return path


def test_fewer_training_series_leave_the_other_parts_alone(table: Path) -> None:
    whole, fewer = module(table), module(table, train_series=9)
    assert len(fewer.sets["train"]) == 9
    assert set(fewer.sets["train"].names) < set(whole.sets["train"].names)
    for part in ("val", "test"):
        assert fewer.sets[part].names == whole.sets[part].names
    assert module(table, train_series=9).sets["train"].names == fewer.sets["train"].names
    assert module(table, train_series=9, seed=1).sets["train"].names != fewer.sets["train"].names


def test_fewer_training_series_keep_the_classes(table: Path) -> None:
    assert Counter(module(table, train_series=9).sets["train"].target) == {"1": 3, "2": 3, "10": 3}
    assert Counter(module(table, train_series=3).sets["train"].target) == {"1": 1, "2": 1, "10": 1}
    with pytest.raises(ValueError, match=r"`train_series` must leave a series of each class, which takes 3 of .*got 2"):
        module(table, train_series=2)


def test_more_than_there_are_is_all_of_them(table: Path) -> None:
    assert module(table, train_series=10_000).sets["train"].names == module(table).sets["train"].names


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "ten"])
def test_other_numbers_of_series_are_refused(table: Path, bad: Any) -> None:
    with pytest.raises(ValueError, match="`train_series` must be"):
        module(table, train_series=bad)
    with pytest.raises(ValueError, match="`train_series` must be"):
        RunConfig.build("japanese_vowels", settings={"train_series": bad})


def test_statistics_are_those_of_the_series_that_are_trained_on(table: Path) -> None:
    fewer = module(table, train_series=9)
    samples = np.concatenate(list(fewer.sets["train"].values)).astype(np.float64)
    np.testing.assert_allclose(fewer.statistics().mean, samples.mean(0), rtol=1e-5, atol=1e-6)


class Louder(Folder):
    """A set whose options change what is trained on and not the rest."""

    def transform(self, part: str, series: SeriesSet) -> SeriesSet:
        if part != "train":
            return series
        return SeriesSet([2 * one for one in series.values], series.target, names=series.names, origin=series.origin)


def test_a_set_may_change_one_part_after_the_cut(table: Path) -> None:
    plain, changed = module(table), SeriesDataModule(Louder(table))
    changed.setup()
    assert np.array_equal(changed.sets["train"].values[0], 2 * plain.sets["train"].values[0])
    for part in ("val", "test"):
        assert np.array_equal(changed.sets[part].values[0], plain.sets[part].values[0])
        assert changed.sets[part].names == plain.sets[part].names


def test_numbers_among_the_options_of_a_set_stay_numbers() -> None:
    options = RunConfig.build("mnist", settings={"permutation": "random:3"}).data.options
    assert options == {"permutation": "random:3"}
