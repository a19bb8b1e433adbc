"""Columns by name: channels of a panel, of a series to forecast, and of what is known beside it, in another order."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime")
pytest.importorskip("lightning")

from seqkit.estimators import (
    HiPPOFeaturesClassifier,
    HiPPOFeaturesRegressor,
    HiPPOTransformer,
    LSSLClassifier,
    LSSLForecaster,
    LSSLRegressor,
)

TINY = {"d_model": 8, "n_layers": 1, "epochs": 1, "random_state": 0}
PANEL = {
    "classifier": LSSLClassifier("s4d", **TINY),
    "regressor": LSSLRegressor("s4d", **TINY),
    "features": HiPPOFeaturesClassifier(n_filters=20, random_state=0),
    "values": HiPPOFeaturesRegressor(n_filters=20, random_state=0),
    "coefficients": HiPPOTransformer(order=4),
}
FORECASTER = {"d_model": 4, "n_layers": 1, "epochs": 1, "random_state": 0, "window": 8, "season": None, "horizon": 2}


def frames(columns=("p", "q"), n=10, length=16):
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(length)[:, None] / 3 + rng.uniform(0, 6, (n, 1, 2))) * [1.0, 5.0]
    return [pd.DataFrame(one, columns=list(columns)) for one in values]


def turned(panel):
    return [one[list(one.columns[::-1])] for one in panel]


def outputs(model, X):
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return np.asarray(model.transform(X) if hasattr(model, "transform") else model.predict(X))


def fitted(name, panel):
    target = np.arange(len(panel)) % 2
    return PANEL[name].clone().fit(panel, target.astype(float) if name in ("regressor", "values") else target)


@pytest.mark.parametrize("name", PANEL)
def test_channels_of_a_panel_are_found_by_name(name):
    panel = frames()
    model = fitted(name, panel)
    expected = outputs(model, panel)
    np.testing.assert_array_equal(outputs(model, turned(panel)), expected)
    mixed = [one if k % 2 else two for k, (one, two) in enumerate(zip(panel, turned(panel), strict=True))]
    np.testing.assert_array_equal(outputs(model, mixed), expected)
    long = pd.concat(dict(enumerate(turned(panel))), names=["series", "time"])
    np.testing.assert_array_equal(outputs(model, long), expected)
    np.testing.assert_array_equal(outputs(fitted(name, mixed[1:]), panel), outputs(fitted(name, panel[1:]), panel))


@pytest.mark.parametrize("name", PANEL)
def test_names_that_are_not_known_go_by_place_unless_others_moved(name):
    panel = frames()
    model = fitted(name, panel)
    expected = outputs(model, panel)
    np.testing.assert_array_equal(outputs(model, frames(("left", "right"))), expected)
    np.testing.assert_array_equal(outputs(model, np.stack([one.to_numpy().T for one in panel])), expected)
    with pytest.raises(ValueError, match=r"must have the channels of training, \['p', 'q'\]"):
        outputs(model, frames(("q", "other")))


def test_rows_of_coefficients_keep_their_names():
    panel = frames()
    model = fitted("coefficients", panel)
    assert list(model.transform(turned(panel)).columns) == list(model.transform(panel).columns)


def test_a_further_fit_of_a_warm_start_has_the_channels_of_the_first():
    panel = frames()
    first, second = (LSSLRegressor("s4d", warm_start=True, **TINY).fit(panel, np.arange(10.0)) for _ in range(2))
    np.testing.assert_array_equal(
        first.fit(panel, np.arange(10.0)).predict(panel), second.fit(turned(panel), np.arange(10.0)).predict(panel)
    )


LENGTH = 50
TIMES = np.arange(LENGTH)
SALES = pd.Series(np.sin(TIMES / 3) + 5, name="sales")
KNOWN = pd.DataFrame({"a": np.cos(np.arange(LENGTH + 2)), "b": np.arange(LENGTH + 2) % 7.0})


def forecaster(y, X=None, **changes):
    return LSSLForecaster("s4d", **{**FORECASTER, **changes}).fit(y, X=X)


def test_an_update_by_a_series_without_a_name_is_taken_in():
    expected = forecaster(SALES[:40]).update(SALES[40:], update_params=False).predict([1, 2])
    other = forecaster(SALES[:40]).update(SALES[40:].rename(None), update_params=False).predict([1, 2])
    np.testing.assert_array_equal(other, expected)
    both = pd.DataFrame({"up": TIMES * 1.0, "down": -TIMES * 1.0})
    expected = forecaster(both[:40]).update(both[40:], update_params=False).predict([1])
    for new in (both[40:][["down", "up"]], both[40:].set_axis([0, 1], axis=1)):
        np.testing.assert_array_equal(forecaster(both[:40]).update(new, update_params=False).predict([1]), expected)


def test_known_values_are_found_by_name():
    model = forecaster(SALES[:40], KNOWN[:40])
    turned = KNOWN[["b", "a"]]
    expected = model.predict([1, 2], X=KNOWN[40:42])
    assert np.abs(expected - model.predict([1, 2], X=-KNOWN[40:42])).max() > 1e-6
    np.testing.assert_array_equal(model.predict([1, 2], X=turned[40:42]), expected)
    other = forecaster(SALES[:40], KNOWN[:40])
    model.update(SALES[40:], X=KNOWN[40:LENGTH], update_params=False)
    other.update(SALES[40:], X=turned[40:LENGTH], update_params=False)
    np.testing.assert_array_equal(other.predict([1], X=turned[LENGTH:]), model.predict([1], X=KNOWN[LENGTH:]))


def test_known_values_that_do_not_fit_are_refused():
    model, without = forecaster(SALES[:40], KNOWN[:40]), forecaster(SALES[:40])
    with pytest.raises(ValueError, match="`X` must have the 2 columns"):
        model.predict([1], X=KNOWN[["a"]][40:42])
    with pytest.raises(ValueError, match="`X` must be left out"):
        without.predict([1], X=KNOWN[40:42])
    with pytest.raises(ValueError, match="`X` must be left out"):
        without.update(SALES[40:], X=KNOWN[40:LENGTH])


def test_a_series_that_the_known_values_lack_has_them_held():
    pair = pd.concat({"one": SALES.to_frame(), "two": SALES[:40].to_frame()}, names=["shop", "time"])
    known = pd.concat({"one": KNOWN[:LENGTH], "two": KNOWN[:40]}, names=["shop", "time"])
    model = forecaster(pair, known)
    part = model.predict([1, 2], X=pd.concat({"one": KNOWN[LENGTH:]}, names=["shop", "time"]))
    np.testing.assert_array_equal(part.loc["two"], model.predict([1, 2]).loc["two"])
    assert np.abs(part.loc["one"] - model.predict([1, 2]).loc["one"]).to_numpy().max() > 1e-9


def test_days_left_out_are_missing_values():
    days = pd.Series(SALES.to_numpy(), index=pd.date_range("2024-01-01", periods=LENGTH, freq="D"))
    gapped, marked = days.drop(days.index[[10, 11, 30]]), days.copy()
    marked.iloc[[10, 11, 30]] = np.nan
    expected = forecaster(marked).predict([1, 2])
    pd.testing.assert_series_equal(forecaster(gapped).predict([1, 2]), expected, check_freq=False)
    at = pd.DatetimeIndex(["2024-02-20", "2024-02-21"])
    model = LSSLForecaster("s4d", **{**FORECASTER, "horizon": None}).fit(gapped, fh=at)
    assert list(model.predict().index) == list(at)


def test_an_update_of_one_day_knows_the_step():
    days = pd.Series(SALES.to_numpy(), index=pd.date_range("2024-01-01", periods=LENGTH, freq="D", tz="UTC"))
    one = pd.Series([5.0], index=pd.DatetimeIndex([days.index[-1] + pd.Timedelta(days=1)]))
    expected = days.index[-1] + pd.to_timedelta([2, 3], unit="D")
    assert list(forecaster(days).update(one, update_params=False).predict([1, 2]).index) == list(expected)


def test_an_update_by_older_samples_does_not_move_the_end_back():
    whole = forecaster(SALES[10:])
    later = whole.predict([1, 2])
    whole.update(SALES[:10], update_params=False)
    np.testing.assert_array_equal(whole.predict([1, 2]).index, [50, 51])
    np.testing.assert_allclose(whole.predict([1, 2]), later, atol=1e-6)
    whole.update(SALES[30:40] + 1, update_params=False)  # a revision
    assert list(whole.predict([1]).index) == [50]


def test_durations_and_values_without_a_square_are_refused():
    with pytest.raises(ValueError, match="add a date to durations"):
        forecaster(pd.Series(SALES.to_numpy(), index=pd.timedelta_range(0, periods=LENGTH, freq="h")))
    with pytest.raises(ValueError, match=r"`y` must hold values of at most 1e\+150"):
        forecaster(SALES * 1e300)


@pytest.mark.parametrize("answer", [True, np.bool_(True)])
def test_a_callback_may_answer_as_numpy_does(answer):
    model = forecaster(SALES, epochs=5, callbacks=[lambda row: answer])
    assert model.stopped_by_ == "callback"
    other = LSSLClassifier("s4d", **{**TINY, "epochs": 5}, callbacks=[lambda row: answer])
    assert other.fit(frames(), np.arange(10) % 2).stopped_by_ == "callback"
