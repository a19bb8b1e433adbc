"""One life for every estimator: sktime's suite, keeping and copying, panel types, gaps, rates, bad input, streams."""

import pickle
import random
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch

pytest.importorskip("sktime")
pytest.importorskip("lightning")

import pandas as pd
from sklearn.base import clone
from sktime.base import load
from sktime.datatypes import convert
from sktime.utils.estimator_checks import check_estimator

from seqkit import estimators

TINY = {"d_model": 8, "n_layers": 1, "order": 4, "epochs": 4, "n_jobs": 1, "random_state": 0}

# Name -> class and small settings. Those of a panel take a label or a value for each series.
PANEL = {
    "lssl-classifier": ("LSSLClassifier", {"mixer": "lssl", **TINY}),
    "s4d-classifier": ("LSSLClassifier", {"mixer": "s4d", **TINY, "validation": 0.25}),
    "lssl-regressor": ("LSSLRegressor", {"mixer": "lssl", **TINY}),
    "s4d-regressor": ("LSSLRegressor", {"mixer": "s4d", **TINY, "validation": 0.25}),
    "features-classifier": ("HiPPOFeaturesClassifier", {"n_filters": 40, "n_jobs": 1, "random_state": 0}),
    "features-regressor": ("HiPPOFeaturesRegressor", {"n_filters": 40, "n_jobs": 1, "random_state": 0}),
}
CHECKED = ["HiPPOFeaturesClassifier", "HiPPOFeaturesRegressor", "LSSLClassifier", "LSSLRegressor"]
CHECKED += ["HiPPOTransformer", "LSSLForecaster"]
CLOSE = {"atol": 2e-4, "rtol": 2e-4}
panel = pytest.mark.parametrize("name", PANEL)


def make(name, **changes):
    cls, settings = PANEL[name]
    return getattr(estimators, cls)(**{**settings, **changes})


def is_classifier(name):
    return PANEL[name][0].endswith("Classifier")


def data(name, n=16, channels=2, length=20, seed=0):
    """Series whose pace depends on the target, (n, C, L)."""
    generator = np.random.default_rng(seed)
    pace = np.where(np.arange(n) % 2 == 0, 2.0, 5.0)
    X = np.sin(np.arange(length) / pace[:, None, None] + generator.uniform(0, 6, size=(n, channels, 1)))
    return X, np.where(pace < 3, "quick", "slow") if is_classifier(name) else pace


def outputs(model, X, **options):
    return model.predict_proba(X, **options) if hasattr(model, "predict_proba") else model.predict(X, **options)


def frames(X, index=None):
    return [pd.DataFrame(one.T, index=index) for one in X]


@pytest.fixture(scope="module")
def fitted():
    """Fitted estimators, each made when first asked for."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = make(name).fit(*data(name))
        return made[name]

    return get


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("cls", CHECKED)
def test_sktime_finds_no_fault(cls):
    results = check_estimator(getattr(estimators, cls), raise_exceptions=False, verbose=False)
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
    assert len(results) > 100


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("cls", CHECKED)
def test_sktime_finds_no_fault_in_a_few_checks(cls):
    few = ["test_constructor", "test_get_test_params", "test_clone", "test_fit_does_not_overwrite_hyper_params"]
    few += [
        "test_fit_returns_self",
        "test_set_params_sklearn",
        "test_valid_estimator_tags",
        "test_save_estimators_to_file",
    ]
    results = check_estimator(getattr(estimators, cls), raise_exceptions=False, verbose=False, tests_to_run=few)
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}


@panel
def test_it_learns(name):
    X, y = data(name, n=40)
    own = make(name).get_params()
    enough = {"d_model": 16, "epochs": 60, "learning_rate": 0.02, "dropout": 0.0, "input_noise": 0.0}
    model = make(name, **{key: value for key, value in enough.items() if key in own})
    assert model.fit(X, y).score(X, y) > 0.8


@panel
def test_copies_predict_the_same(name, fitted, tmp_path):
    model, (X, _) = fitted(name), data(name)
    expected = outputs(model, X)
    model.save(tmp_path / "model")
    packed = model.save()
    for copy in (pickle.loads(pickle.dumps(model)), deepcopy(model), load(tmp_path / "model.zip"), load(packed)):
        np.testing.assert_array_equal(outputs(copy, X), expected)


@panel
def test_a_clone_is_fresh_and_learns_the_same(name, fitted):
    model, (X, y) = fitted(name), data(name)
    other = clone(model)
    assert not other.is_fitted
    assert other.get_params() == model.get_params()
    np.testing.assert_array_equal(outputs(other.fit(X, y), X), outputs(model, X))


@panel
def test_every_panel_type_predicts_the_same(name, fitted):
    model, (X, _) = fitted(name), data(name)
    expected = outputs(model, X)
    for mtype in ("df-list", "nested_univ", "pd-multiindex"):
        np.testing.assert_array_equal(outputs(model, convert(X, "numpy3D", mtype, "Panel")), expected)


@panel
def test_every_panel_type_learns_the_same(name, fitted):
    X, y = data(name)
    other = make(name).fit(convert(X, "numpy3D", "pd-multiindex", "Panel"), y)
    np.testing.assert_array_equal(outputs(other, X), outputs(fitted(name), X))


@panel
def test_missing_values_are_not_observed(name):
    X, y = data(name)
    X[np.random.default_rng(1).random(X.shape) < 0.3] = np.nan
    model = make(name).fit(X, y)
    assert np.isfinite(outputs(model, X)).all()


@panel
def test_gaps_that_training_did_not_have(name, fitted):
    X, _ = data(name)
    X[:, 0, 3:6] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(outputs(fitted(name), X)).all()


@panel
def test_channels_without_change_or_without_value(name):
    X, y = data(name, channels=3)
    X[:, 1], X[:, 2] = 7.0, np.nan
    assert np.isfinite(outputs(make(name).fit(X, y), X)).all()


@panel
def test_unequal_lengths(name):
    X, y = data(name)
    unequal = [one.iloc[: 12 + k % 8] for k, one in enumerate(frames(X))]
    model = make(name).fit(unequal, y)
    together = outputs(model, unequal)
    for k in (0, 3, 7):  # other series in the batch make no difference
        np.testing.assert_allclose(outputs(model, unequal[k : k + 1])[0], together[k], **CLOSE)


@panel
def test_longer_and_shorter_series_than_in_training(name, fitted):
    for length in (4, 50):
        assert np.isfinite(outputs(fitted(name), data(name, length=length)[0])).all()


@panel
def test_the_rate_of_an_index_and_the_rate_said_are_one(name, fitted):
    X, _ = data(name)
    model = fitted(name)
    index = pd.timedelta_range(0, periods=10, freq="500ms")  # trained on one sample a second, as none was said
    said = outputs(model, X[:, :, :10], sample_rate=2.0)
    with pytest.warns(UserWarning, match="the index says 2 Hz and the training series had no rate"):
        by_index = outputs(model, frames(X[:, :, :10], index))
    np.testing.assert_allclose(by_index, said, **CLOSE)
    assert np.abs(said - outputs(model, X[:, :, :10])).max() > 1e-6
    np.testing.assert_allclose(outputs(model, X, sample_rate=1.0), outputs(model, X), **CLOSE)


@panel
def test_the_rate_of_training_comes_from_the_index(name):
    X, y = data(name)
    index = pd.date_range("2024-01-01", periods=X.shape[2], freq="10ms")
    model, timeless = make(name).fit(frames(X, index), y), make(name).fit(X, y)
    said = make(name, sample_rate=100.0).fit(X, y)
    expected = outputs(timeless, X)
    for other in (
        outputs(model, frames(X, index)),
        outputs(model, X),
        outputs(said, X),
        outputs(said, frames(X, index)),
    ):
        np.testing.assert_allclose(other, expected, **CLOSE)
    np.testing.assert_allclose(outputs(model, X, sample_rate=50.0), outputs(timeless, X, sample_rate=0.5), **CLOSE)


@panel
def test_uneven_times(name, fitted):
    X, y = data(name)
    kept = np.array([0, 1, 2, 4, 5, 8, 9, 12, 15, 16])
    uneven = frames(X[:, :, kept], pd.Index(kept))
    assert np.isfinite(outputs(fitted(name), uneven)).all()
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(kept, unit="s")
    np.testing.assert_allclose(
        outputs(fitted(name), frames(X[:, :, kept], dates)), outputs(fitted(name), uneven), **CLOSE
    )
    assert np.isfinite(outputs(make(name).fit(uneven, y), uneven)).all()


@panel
def test_global_generators_stay_as_they_were(name):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = outputs(make(name).fit(*data(name)), data(name)[0])
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    np.testing.assert_array_equal(outputs(make(name).fit(*data(name)), data(name)[0]), first)


@panel
def test_seeds_matter_and_may_be_a_generator(name):
    X, y = data(name)
    first, second = (outputs(make(name, random_state=np.random.RandomState(3)).fit(X, y), X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - outputs(make(name, random_state=4).fit(X, y), X)).max() > 1e-6


@panel
def test_the_number_of_threads_is_put_back(name):
    before = torch.get_num_threads()
    make(name, n_jobs=2).fit(*data(name))
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="`n_jobs` must be"):
        make(name, n_jobs=0).fit(*data(name))


BAD = {
    "objects": (lambda X: X.astype(object).astype(str).astype(object), "must hold numbers"),
    "infinite": (lambda X: np.where(X > 0.9, np.inf, X), "infinite value"),
    "no value at all": (lambda X: np.where(np.arange(len(X))[:, None, None] == 1, np.nan, X), "no value at all"),
    "no time": (
        lambda X: [one.set_axis(list("abcdefghijklmnopqrst")) for one in frames(X)],
        "must be dates, durations, periods or whole numbers",
    ),
    "four axes": (lambda X: X[None], r"must have shape \(series, channels, samples\)"),
}


@panel
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused(name, case):
    change, words = BAD[case]
    X, y = data(name)
    with pytest.raises((TypeError, ValueError), match=words):
        make(name).fit(change(X), y)


@panel
def test_another_number_of_channels_is_refused(name, fitted):
    with pytest.raises(ValueError, match="trained on 2 channels"):
        outputs(fitted(name), data(name, channels=3)[0])


@panel
def test_a_rate_against_the_index_is_refused(name, fitted):
    timed = frames(data(name)[0], pd.timedelta_range(0, periods=20, freq="1s"))
    with pytest.raises(ValueError, match="takes no sample_rate"):
        outputs(fitted(name), timed, sample_rate=3.0)
    with pytest.raises(ValueError, match="above 0"):
        outputs(fitted(name), data(name)[0], sample_rate=0.0)


@panel
def test_an_array_of_two_axes_is_series_of_one_channel(name):
    X, y = data(name, channels=1)
    np.testing.assert_array_equal(outputs(make(name).fit(X[:, 0], y), X[:, 0]), outputs(make(name).fit(X, y), X))


@panel
def test_one_series_of_each_target(name):
    X, y = data(name, n=2)
    model = make(name).fit(X, y)
    assert len(model.predict(X)) == 2


@pytest.mark.parametrize("labels", [["a", "b"], [3, -1], [True, False], [0.5, 1.5]])
@pytest.mark.parametrize("name", [name for name in PANEL if is_classifier(name)])
def test_labels_of_any_type(name, labels):
    X, _ = data(name)
    y = np.array(labels * 8)
    model = make(name).fit(X, y)
    predicted = model.predict(X)
    assert predicted.dtype.kind == y.dtype.kind
    assert set(predicted.tolist()) <= set(labels)
    shares = model.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[shares.argmax(axis=1)], predicted)


@pytest.mark.filterwarnings("ignore:only single label")
@pytest.mark.parametrize("name", [name for name in PANEL if is_classifier(name)])
def test_one_class_is_always_predicted(name):
    X, y = data(name)
    model = make(name).fit(X, np.full(len(y), "one"))
    assert set(model.predict(X)) == {"one"}
    stream = model.stream()
    assert stream.push(X[0, :, 0]).tolist() == [1.0]
    assert stream.predict() == "one"


@panel
def test_a_target_of_two_columns(name):
    X, y = data(name)
    two = pd.DataFrame({"first": y, "second": y[::-1]})
    model = make(name).fit(X, two)
    assert model.predict(X).shape == (len(X), 2)
    assert model.predict(X, sample_rate=2.0).shape == (len(X), 2)


def streamed(stream, series, times=None):
    for k in range(series.shape[1]):
        out = stream.push(series[:, k], None if times is None else times[k])
    return out


@panel
@pytest.mark.parametrize("length", [1, 7, 20])
def test_a_stream_says_what_predict_says_of_the_series_so_far(name, fitted, length):
    X, model = data(name)[0][:3, :, :length], fitted(name)
    stream, expected = model.stream(), outputs(model, X)
    for one, wanted in zip(X, expected, strict=True):
        np.testing.assert_allclose(np.squeeze(streamed(stream, one)), wanted, **CLOSE)
        assert len(stream) == length
        stream.reset()


@panel
def test_a_stream_of_another_rate_or_with_gaps(name, fitted):
    X, model = data(name)[0][:2], fitted(name)
    stream = model.stream(sample_rate=2.0)
    np.testing.assert_allclose(np.squeeze(streamed(stream, X[0])), outputs(model, X, sample_rate=2.0)[0], **CLOSE)
    X[:, 0, 4:9] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = outputs(model, X)[0]
    np.testing.assert_allclose(np.squeeze(streamed(model.stream(), X[0])), expected, **CLOSE)


@panel
def test_a_stream_with_uneven_times(name, fitted):
    X, model = data(name)[0][:1, :, :6], fitted(name)
    times = np.array([0, 1, 3, 4, 8, 9])
    expected = outputs(model, frames(X, pd.Index(times)))[0]
    np.testing.assert_allclose(np.squeeze(streamed(model.stream(), X[0], times)), expected, **CLOSE)
    dates = pd.Timestamp("2024-05-01") + pd.to_timedelta(times, unit="s")
    np.testing.assert_allclose(np.squeeze(streamed(model.stream(), X[0], dates)), expected, **CLOSE)


@panel
def test_a_stream_refuses_what_it_cannot_take(name, fitted):
    stream = fitted(name).stream()
    with pytest.raises(ValueError, match="`x` must be one sample of 2 numbers"):
        stream.push([1.0, 2.0, 3.0])
    stream.push([1.0, 2.0], time=5.0)
    with pytest.raises(ValueError, match="`time` must rise"):
        stream.push([1.0, 2.0], time=5.0)
