"""Panels and targets as people have them: read as the same numbers are, or refused in one sentence."""

import numpy as np
import pytest

pytest.importorskip("sktime")

import pandas as pd

from seqkit.estimators import HiPPOFeaturesClassifier, HiPPOFeaturesRegressor, LSSLClassifier, LSSLRegressor

N, C, L = 10, 2, 16
X = np.random.default_rng(0).normal(size=(N, C, L)).cumsum(axis=-1)
LABELS = np.array(["a", "b"] * (N // 2))
VALUES = X[:, 0].max(axis=-1)
SMALL = {"mixer": "s4d", "d_model": 4, "n_layers": 1, "epochs": 1, "random_state": 0}


def frames(index=None) -> list[pd.DataFrame]:
    return [pd.DataFrame(one.T, columns=["u", "v"], index=index) for one in X]


def indexed(one: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(dict(enumerate(one)), names=["series", "time"])


@pytest.fixture(scope="module")
def fitted() -> HiPPOFeaturesRegressor:
    return HiPPOFeaturesRegressor(n_filters=32, random_state=0).fit(indexed(frames()), VALUES)


@pytest.mark.parametrize("kind", ["Float64", "Float32", "double[pyarrow]", "float32"])
def test_types_of_columns_make_no_difference(fitted, kind: str) -> None:
    if "pyarrow" in kind:
        pytest.importorskip("pyarrow")
    np.testing.assert_allclose(fitted.predict([one.astype(kind) for one in frames()]), fitted.predict(X), rtol=1e-5)


def test_channels_may_be_of_several_types(fitted) -> None:
    mixed = [one.assign(u=one.u.astype("Float64"), v=one.v > 0) for one in frames()]
    plain = np.stack([one.astype(float).to_numpy().T for one in mixed])
    np.testing.assert_allclose(fitted.predict(mixed), fitted.predict(plain))


@pytest.mark.parametrize("make", [lambda: HiPPOFeaturesRegressor(32, random_state=0), lambda: LSSLRegressor(**SMALL)])
@pytest.mark.parametrize("step", [2, 5])
def test_a_count_in_steps_is_the_same_in_training_and_afterwards(make, step: int) -> None:
    counted = frames(range(0, step * L, step))
    model = make().fit(counted, VALUES)
    expected = make().fit(X, VALUES).predict(X)
    np.testing.assert_allclose(model.predict(counted), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)  # of no index, which has the training's rate


def test_a_new_count_is_in_the_unit_of_the_old_one() -> None:
    model = HiPPOFeaturesRegressor(32, random_state=0).fit(frames(range(0, 2 * L, 2)), VALUES)
    np.testing.assert_allclose(model.predict(frames(range(0, 4 * L, 4))), model.predict(X, sample_rate=0.25), rtol=1e-6)
    model = HiPPOFeaturesRegressor(32, random_state=0).fit(
        frames(pd.timedelta_range(0, periods=L, freq="10ms")), VALUES
    )
    np.testing.assert_allclose(model.predict(frames(range(0, 2 * L, 2))), model.predict(X, sample_rate=50.0), rtol=1e-6)


@pytest.mark.parametrize("make", [lambda: HiPPOFeaturesRegressor(32, random_state=0), lambda: LSSLRegressor(**SMALL)])
def test_dates_are_not_compared_with_no_rate_unsaid(make) -> None:
    model = make().fit(X, VALUES)
    with pytest.warns(UserWarning, match="the index says 0.0002778 Hz and the training series had no rate"):
        model.predict(frames(pd.date_range("2024", periods=L, freq="h")))


@pytest.mark.parametrize(
    ("panel", "words"),
    [
        (
            [one.astype(object) for one in frames()],
            r"channel 'u' of series 0 of `X` must hold numbers, got dtype object",
        ),
        ([one.assign(v="x") for one in frames()], r"channel 'v' of series 0 of `X` must hold numbers"),
        ([one.iloc[::-1] for one in frames()], r"the times of series 0 of `X` must increase; sort"),
        (frames([f"t{i}" for i in range(L)]), r"index of series 0 of `X` must be dates, .* got Index of str"),
        (frames(np.arange(L) / 2), r"index of series 0 of `X` must be dates, .* of float64"),
        (frames([pd.NaT, *pd.date_range("2024", periods=L - 1)]), r"series 0 of `X` has missing times"),
        ([one.T for one in X], r"`X` must be a list of frames, got ndarray at 0"),
        (X[None], r"`X` must have shape \(series, channels, samples\), got \(1, 10, 2, 16\)"),
        (pd.DataFrame(X[:, 0]), r"got a frame with float in row 0, column 0; for rows of samples"),
        (indexed(frames()).sample(frac=1, random_state=0), r"the times of series \d of `X` must increase"),
        (pd.concat({"g": indexed(frames())}), r"index of `X` must have two levels, series and time, got 3"),
        (indexed(frames()).swaplevel().sort_index(), r"must name the series first and then the time, got levels"),
        (
            indexed(frames(pd.date_range("2024", periods=L))).rename_axis([None, None]).swaplevel().sort_index(),
            r"must name the series first and then the time",
        ),
        ({"u": X[:, 0]}, r"`X` must be an array \(series, channels, samples\), .* got dict"),
    ],
)
def test_what_is_no_panel_is_named(fitted, panel, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        fitted.predict(panel)


@pytest.mark.parametrize("make", [HiPPOFeaturesClassifier, LSSLClassifier])
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a", None] * 5, "must have a label for each series, but that of series 1 is missing"),
        (np.array([0.0, np.nan] * 5), "that of series 1 is missing"),
        (pd.Series([1, pd.NA] * 5, dtype="Int64"), "that of series 1 is missing"),
        (pd.DataFrame({"k": LABELS, "m": ["x", np.nan] * 5}), "that of series 1 is missing"),
        (np.array([1, "a"] * 5, dtype=object), "labels of one kind, got text beside numbers"),
    ],
)
def test_labels_that_are_none_are_refused(make, labels, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make().fit(X, labels)


@pytest.mark.parametrize("make", [HiPPOFeaturesRegressor, LSSLRegressor])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, None] * 5, "must have a value for each series, but that of series 1 is missing"),
        (np.array([1.0, np.inf] * 5), "finite numbers, but that of series 1 is infinite"),
        (pd.Series([1.0, pd.NA] * 5, dtype="Float64"), "that of series 1 is missing"),
        (pd.date_range("2024", periods=N).to_numpy(), "must hold numbers, got dtype datetime64"),
    ],
)
def test_values_that_are_none_are_refused(make, values, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make().fit(X, values)


def test_lists_are_targets_too() -> None:
    model = HiPPOFeaturesClassifier(32, random_state=0)
    np.testing.assert_array_equal(model.fit(X, list(LABELS)).predict(X), model.fit(X, LABELS).predict(X))
    values = HiPPOFeaturesRegressor(32, random_state=0)
    np.testing.assert_allclose(values.fit(X, list(VALUES)).predict(X), values.fit(X, VALUES).predict(X))
    both = [[one, -one] for one in VALUES]
    np.testing.assert_allclose(values.fit(X, both).predict(X)[0], values.fit(X, VALUES).predict(X))
