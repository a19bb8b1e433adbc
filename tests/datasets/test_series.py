"""What a set of series refuses, and what selecting, thinning and joining keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqkit.datasets import SeriesSet
from seqkit.datasets.rows import LazyRows, StoredRows


def two(**options: object) -> SeriesSet:
    return SeriesSet([np.arange(10.0).reshape(5, 2), np.ones((3, 2))], **options)  # type: ignore[arg-type]


def test_values_become_float32_and_names_are_numbers() -> None:
    series = two()
    assert [one.dtype for one in series.values] == [np.float32, np.float32]
    assert series.names == ["0", "1"]
    assert series.lengths.tolist() == [5, 3]
    assert series.kind is None


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e300])
def test_an_infinite_value_is_named(bad: float) -> None:
    values = np.zeros((4, 3))
    values[0, 0], values[2, 1] = np.nan, bad
    with pytest.raises(ValueError, match=r"series 'b' of toy.csv has an infinite .* at sample 2, channel 'v'; correct"):
        SeriesSet([np.zeros((2, 3)), values], names=["a", "b"], channels=("u", "v", "w"), origin="toy.csv")


def gappy(**options: object) -> SeriesSet:
    values = np.arange(10.0).reshape(5, 2)
    values[[1, 3], 1] = np.nan
    return SeriesSet([values, np.ones((3, 2))], **options)  # type: ignore[arg-type]


def test_missing_values_are_kept_and_known() -> None:
    series = gappy(target=["a", "b"])
    assert series.has_missing
    assert not two().has_missing
    np.testing.assert_array_equal(np.isnan(series.values[0]).nonzero(), [[1, 3], [1, 1]])
    assert series.select([1, 0]).has_missing
    assert not series.select([1]).has_missing
    assert series.select([1, 0]).select([1]).has_missing
    assert not series.subsample(2).has_missing
    assert series.subsample(3).has_missing
    assert not series.with_channels([0]).has_missing
    assert series.with_channels([1, 0]).has_missing
    assert SeriesSet.join([two(), gappy()]).has_missing
    assert not SeriesSet.join([two(), gappy().select([1])]).has_missing
    assert not replace(series, values=two().values).has_missing


def test_a_series_without_any_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"series '1' of toy.npz has no value at all, all 3 samples are missing"):
        SeriesSet([np.ones((2, 2)), np.full((3, 2), np.nan)], origin="toy.npz")


def test_rows_read_when_asked_for_say_whether_values_are_missing() -> None:
    values = [np.array([[1.0], [np.nan]]), np.array([[2.0], [3.0]])]
    rows = LazyRows([2, 2], 1, lambda i: values[i], missing=True)
    for some in (rows, rows.take([0]), rows.thin(2), rows.columns([0]), StoredRows(values[0], [0], [2], missing=True)):
        assert some.missing
        assert SeriesSet(some).has_missing
        assert SeriesSet(some).select([0]).has_missing
    plain = StoredRows(values[1], [0], [2])
    assert not SeriesSet(plain).has_missing
    assert SeriesSet.join([SeriesSet(plain), SeriesSet(values)]).has_missing
    assert not SeriesSet.join([SeriesSet(plain), SeriesSet(values[1:])]).has_missing
    with pytest.raises(ValueError, match="series 0 of toy has a NaN at sample 1, channel 0; correct it in its file"):
        LazyRows([2, 2], 1, lambda i: values[i], origin="toy")[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "has no series"),
        ([np.zeros((2, 1)), np.zeros((0, 1))], r"lengths\[1\] is 0; every series needs at least one sample"),
        ([np.zeros((2, 1)), np.zeros((2, 3))], "series '1' of the data has 3 channels and series '0' has 1"),
        ([np.zeros(5)], r"must have shape \(samples, channels\), got \(5,\)"),
        ([np.zeros((5, 0))], "at least one"),
    ],
)
def test_unusable_series_are_refused(values: list[np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SeriesSet(values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": ["a"]}, "2 series but 1 targets"),
        ({"target": np.array([1.0, np.nan])}, "target of series '1' .* NaN"),
        ({"target": [np.zeros(5), np.zeros(4)]}, "series '1' .* 3 samples but 4 targets"),
        ({"target": [np.zeros(5), np.full(3, np.inf)]}, "target of series '1' .* infinite"),
        ({"names": ["a"]}, "2 series but 1 names"),
        ({"sample_rate": 0.0}, "`sample_rate` must be a finite number above 0"),
        ({"timestamps": [np.arange(5)]}, "timestamps of 1"),
        ({"timestamps": [np.arange(5), np.arange(4)]}, "3 samples, timestamps"),
        ({"timestamps": [np.arange(5), np.array([0, 2, 2])]}, "series '1' .* must increase, but sample 2"),
        ({"timestamps": [np.arange(5), np.array([0, np.nan, 2])]}, "series '1' .* must increase, but sample 1"),
    ],
)
def test_what_does_not_fit_the_series_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        two(**options)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (["a", "b"], "classification"),
        ([1, 2], "classification"),
        (np.array(["a", "b"]), "classification"),
        (np.array([1, 2]), "regression"),
        ([0.5, 2.0], "regression"),
        (np.zeros((2, 3)), "regression"),
        ([np.zeros(5), np.zeros(3)], "sequence"),
        ([np.array(list("abcab")), np.array(list("aba"))], "sequence"),
    ],
)
def test_kind_follows_the_target(target: object, kind: str) -> None:
    assert two(target=target).kind == kind


def test_select_keeps_what_belongs_together() -> None:
    series = two(target=["a", "b"], names=["x", "y"], timestamps=[np.arange(5.0), np.arange(3.0)], sample_rate=2.0)
    one = series.select([1])
    assert (one.target, one.names, one.sample_rate) == (["b"], ["y"], 2.0)
    assert one.timestamps is not None
    assert one.timestamps[0].tolist() == [0, 1, 2]
    assert two(target=np.array([[1.0], [2.0]])).select([1, 0]).target.tolist() == [[2], [1]]  # type: ignore[union-attr]


def test_subsample_thins_everything_that_has_samples() -> None:
    target = [np.arange(5.0), np.arange(3.0)]
    series = two(target=target, timestamps=[np.arange(5.0), np.arange(3.0)], sample_rate=10.0).subsample(2)
    assert series.values[0].tolist() == [[0, 1], [4, 5], [8, 9]]
    assert series.sample_rate == 5.0
    assert series.timestamps is not None
    assert series.timestamps[0].tolist() == [0, 2, 4]
    assert np.asarray(series.target[1]).ravel().tolist() == [0, 2]  # type: ignore[index]
    assert two().subsample(100).lengths.tolist() == [1, 1]
    with pytest.raises(ValueError, match="`k` must be a whole number of at least 1"):
        two().subsample(0)


def test_join_puts_sets_together_with_distinct_names() -> None:
    both = SeriesSet.join([two(target=["a", "b"]), two(target=["c", "d"])])
    assert both.target == ["a", "b", "c", "d"]
    assert both.names == ["0", "1", "0 (2)", "1 (2)"]
    values = SeriesSet.join([two(target=np.zeros(2)), two(target=np.ones(2))]).target
    assert np.asarray(values).tolist() == [[0], [0], [1], [1]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": ["a", "b"]}, "differ in kind"),
        ({"sample_rate": 3.0}, "differ in sample_rate"),
        ({"channels": ("a", "b")}, "differ in channels"),
        ({"timestamps": [np.arange(5), np.arange(3)]}, "evenly sampled"),
    ],
)
def test_join_refuses_what_differs(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SeriesSet.join([two(), two(**options)])
