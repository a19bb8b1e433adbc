"""Times of a forecaster: grids with gaps, steps that updates keep, horizons in durations, what is known beside."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sktime")

import pandas as pd

from seqkit.estimators import LSSLForecaster
from seqkit.estimators.grid import even_times
from seqkit.estimators.times import times_of

N = 40
VALUES = np.sin(np.arange(N) / 2) + np.random.default_rng(0).normal(size=N) / 5
KNOWN = np.random.default_rng(1).normal(size=N)


def made(**changes: Any) -> LSSLForecaster:
    small = {"d_model": 4, "n_layers": 1, "epochs": 1, "window": 6, "horizon": 3, "random_state": 0}
    return LSSLForecaster("s4d", **{**small, **changes})


@pytest.mark.parametrize("step", ["MS", "ME", "QS-FEB", "QE", "YS", "YE-JUN", "2MS", "B", "W-WED", "h"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_with_gaps_lie_on_their_own_grid(step: str, zone: str | None) -> None:
    grid = pd.date_range("2001-01-05", periods=30, freq=step, tz=zone)
    if zone is not None and step == "W-WED":
        grid = grid[:10]  # before the clock is put forward: then weeks are not equally long
    left = pd.DatetimeIndex(grid.delete([3, 4, 7]).to_numpy() if zone is None else list(grid.delete([3, 4, 7])))
    found = even_times(left, "`y`")
    pd.testing.assert_index_equal(found, grid, exact="equiv", check_names=False)


def test_days_with_a_weekend_among_them_are_days() -> None:
    days = pd.date_range("2024-01-01", periods=30).delete([3, 9])
    assert len(even_times(days, "`y`")) == 30


@pytest.mark.parametrize(
    "dates", [["2024-01-01", "2024-01-02", "2024-01-04 05:00"], ["2024-01-15", "2024-02-15", "2024-03-15"]]
)
def test_dates_on_no_grid_are_refused(dates: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no even step; put them on one, such as by y.asfreq\('h'\) or y.to_period"):
        even_times(pd.DatetimeIndex(dates), "`y`")


@pytest.mark.parametrize("step", ["MS", "B", "WOM-3FRI"])
def test_an_update_with_a_gap_keeps_the_step(step: str) -> None:
    index = pd.date_range("2015", periods=N, freq=step)
    y = pd.Series(VALUES, index=index)
    model = made().fit(y[:30]).update(y[33:35], update_params=False)
    assert model.predict([1]).index[0] == index[35]
    gaps = y[:35].where((np.arange(35) < 30) | (np.arange(35) >= 33))
    filled = made().fit(y[:30]).update(gaps[30:], update_params=False)
    np.testing.assert_allclose(model.predict([1, 2]), filled.predict([1, 2]))


def test_an_update_off_the_grid_is_refused() -> None:
    y = pd.Series(VALUES, index=pd.date_range("2015", periods=N))
    with pytest.raises(ValueError, match="no even step of D, as before"):
        made().fit(y).update(pd.Series([1.0], index=[y.index[-1] + pd.Timedelta(hours=30)]), update_params=False)


def test_months_in_a_time_zone_are_months(recwarn: pytest.WarningsRecorder) -> None:
    index = pd.date_range("2015", periods=8, freq="MS", tz="Europe/Berlin")
    assert times_of(index) == times_of(index.tz_localize(None))
    assert len(recwarn) == 0


def test_a_horizon_may_be_durations() -> None:
    y = pd.Series(VALUES, index=pd.date_range("2015", periods=N, freq="h"))
    model = made().fit(y[:30])
    pd.testing.assert_series_equal(model.predict(pd.to_timedelta([1, 3], unit="h")), model.predict([1, 3]))
    with pytest.raises(ValueError, match="`fh` must count steps where the series has no dates, got durations"):
        made().fit(pd.Series(VALUES)).predict(pd.to_timedelta([1], unit="h"))


def test_a_series_without_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="`y` must have at least one sample"):
        made().fit(pd.Series(VALUES)[:0])


@pytest.fixture(scope="module")
def beside() -> tuple[LSSLForecaster, pd.DataFrame]:
    index = pd.date_range("2015", periods=N)
    X = pd.DataFrame({"x": KNOWN}, index=index)
    return made().fit(pd.Series(VALUES, index=index)[:30], X=X[:30]), X


@pytest.mark.parametrize(
    ("turned", "words"),
    [
        (lambda X: X.reset_index(drop=True), "times like those of `y`, dates, got whole numbers"),
        (lambda X: X.to_period("D"), "times like those of `y`, dates, got periods of D"),
        (lambda X: X.tz_localize("UTC"), "times like those of `y`, dates, got dates of a time zone"),
    ],
)
def test_what_is_known_has_times_of_the_same_kind(beside, turned, words: str) -> None:
    model, X = beside
    with pytest.raises(ValueError, match=words):
        model.predict([1], X=turned(X))
    with pytest.raises(ValueError, match=words):
        made().fit(pd.Series(VALUES, index=X.index), X=turned(X))


def test_what_is_known_has_times_of_the_series(beside) -> None:
    model, X = beside
    with pytest.raises(ValueError, match="`X` must have rows at times of `y`, got none"):
        made().fit(pd.Series(VALUES, index=X.index)[:20], X=X[20:])
    with pytest.warns(UserWarning, match="`X` has no row at the times of the horizon"):
        held = model.predict([1, 2], X=X[:30])
    pd.testing.assert_series_equal(held, model.predict([1, 2]))
    assert not held.equals(model.predict([1, 2], X=X))
    model.predict([0], X=X[:30])  # asks for nothing ahead, and says nothing


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (pd.Series(VALUES, dtype=object), "channel 0 of `y` must hold numbers, got dtype object"),
        (pd.Series(VALUES, index=pd.date_range("2024", periods=N)[::-1]), "the times of `y` must increase; sort"),
        (pd.Series(VALUES, index=np.arange(N) / 2), "index of `y` must be dates, .* of float64"),
        (pd.Series(VALUES, index=[pd.NaT, *pd.date_range("2024", periods=N - 1)]), "index of `y` has missing times"),
        (list(VALUES), "`y` must be of type pd.Series or pd.DataFrame, got list"),
    ],
)
def test_what_is_no_series_is_named(y, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        made().fit(y)


def test_text_beside_a_series_is_named() -> None:
    with pytest.raises(TypeError, match="channel 'x' of `X` must hold numbers"):
        made().fit(pd.Series(VALUES), X=pd.DataFrame({"x": ["a"] * N}))
