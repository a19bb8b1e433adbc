"""Batches beside what the contract shows: channels by name, timestamps, order, plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, SeriesSet, get_source, loader

INFO = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"), channels=("x", "y"))


def test_another_number_of_channels_is_refused() -> None:
    info = DataInfo("toy", "classification", n_channels=12, classes=("a", "b"))
    series = SeriesSet([np.zeros((4, 3))], ["a"], origin="new.ts")
    with pytest.raises(ValueError, match=r"the model was trained on 12 channels, new.ts has 3"):
        loader(series, info)


def test_channels_are_taken_by_name() -> None:
    values = np.array([[1.0, 2.0, 3.0]])
    series = SeriesSet([values], ["a"], channels=("y", "noise", "x"), origin="new.csv")
    assert next(iter(loader(series, INFO))).values.tolist() == [[[3, 1]]]
    lacking = SeriesSet([values], ["a"], channels=("xx", "y", "z"), origin="new.csv")
    with pytest.raises(
        ValueError, match=r"new.csv has no channel 'x', which the model was trained on; did you mean xx"
    ):
        loader(lacking, INFO)


def test_timestamps_count_from_the_first_sample_and_keep_increasing() -> None:
    date = 1.7e9  # seconds of a date: float32 knows them to two minutes
    times = [date + np.array([0.0, 0.001, 0.003]), date + np.array([5.0])]
    series = SeriesSet([np.zeros((3, 2)), np.zeros((1, 2))], ["a", "b"], timestamps=times)
    batch = next(iter(loader(series, INFO)))
    assert batch.timestamps is not None
    np.testing.assert_allclose(batch.timestamps[0], [0, 0.001, 0.003], atol=1e-6)
    assert batch.timestamps.dtype == torch.float32
    assert (batch.timestamps.diff() >= 0).all()


def test_sequence_targets_are_padded() -> None:
    series = SeriesSet([np.zeros((3, 2)), np.zeros((1, 2))], [np.array(["a", "b", "b"]), np.array(["b"])])
    info = DataInfo("toy", "sequence", n_channels=2, classes=("a", "b"))
    batch = next(iter(loader(series, info)))
    assert batch.target is not None
    assert batch.target.dtype == torch.int64
    assert batch.target.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_a_batch_is_a_copy() -> None:
    series = SeriesSet([np.zeros((3, 2))], ["a"])
    next(iter(loader(series, INFO))).values.add_(1)
    assert not series.values[0].any()


def test_bad_sizes_are_refused() -> None:
    series = SeriesSet([np.zeros((3, 2))], ["a"])
    with pytest.raises(ValueError, match="`batch_size` must be a whole number"):
        loader(series, INFO, batch_size=0)
    source = get_source("japanese_vowels")
    for options in ({"batch_size": 0}, {"validation": -0.1}, {"test": 1.0}, {"seed": -1}, {"num_workers": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            SeriesDataModule(source, **options)  # type: ignore[arg-type]


def test_a_module_says_that_it_is_not_set_up() -> None:
    with pytest.raises(RuntimeError, match=r"call prepare_data\(\) and setup\(\) first"):
        _ = SeriesDataModule(get_source("japanese_vowels")).sets


def test_a_constant_channel_has_deviation_one() -> None:
    class Constant(type(get_source("japanese_vowels"))):  # type: ignore[misc]
        def load(self) -> dict[str, SeriesSet]:
            rows = [np.full((5, 2), [0.1, i % 2]) for i in range(20)]
            return {"all": SeriesSet(rows, ["ab"[i % 2] for i in range(20)])}

    module = SeriesDataModule(Constant())
    module.setup()
    mean, std = module.statistics()
    assert std[0] == 1
    assert mean[0] == pytest.approx(0.1)
    assert std[1] == pytest.approx(np.std([one[0, 1] for one in module.sets["train"].values]))
