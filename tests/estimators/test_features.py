"""Random features: the ridge model is exact, features say what they are, and time, gaps and streams keep them."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sktime")

import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sktime.datatypes import check_is_scitype

from seqkit import StreamPool
from seqkit.estimators import HiPPOFeaturesClassifier, HiPPOFeaturesRegressor
from seqkit.estimators.panel import panel_to_series
from seqkit.estimators.ridge import fit_ridge, probabilities, temperature_of
from seqkit.kernels.state_features import cpu


def waves(n: int = 40, length: int = 120, channels: int = 1, step: float = 1.0, seed: int = 0):
    """Chirps and tones that differ in pace, (n, C, L), every `step` units of time."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    times = np.arange(length) * step
    pace, phase = np.where(y, 14.0, 9.0) * random.uniform(0.9, 1.1, n), random.uniform(0, 6, (n, channels, 1))
    return np.sin(times / pace[:, None, None] + phase), np.where(y, "slow", "quick")


@pytest.fixture(scope="module")
def fitted():
    return HiPPOFeaturesClassifier(n_filters=120, random_state=0).fit(*waves())


@pytest.mark.parametrize(("n", "p"), [(40, 300), (120, 30)])
def test_the_penalty_and_the_labels_are_those_of_scikit_learn(n: int, p: int) -> None:
    random, alphas = np.random.default_rng(0), np.logspace(-3, 4, 12)
    X = random.normal(size=(2 * n, p)) * random.random(p)
    y = (X[:, :3] + 0.3 * random.normal(size=(2 * n, 3))).argmax(axis=1)
    found = fit_ridge(X[:n], np.where(y[:n, None] == np.arange(3), 1.0, -1.0), alphas)
    want = RidgeClassifierCV(alphas=alphas).fit(X[:n], y[:n])
    assert found.alpha == pytest.approx(want.alpha_)
    np.testing.assert_allclose(found.scores(X[n:]), want.decision_function(X[n:]), atol=1e-6)


@pytest.mark.parametrize(("n", "p"), [(12, 30), (30, 7)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_ridge_model_is_that_of_the_equation(n: int, p: int, weighted: bool) -> None:
    random = np.random.default_rng(0)
    X, Y = random.normal(size=(n, p)), random.normal(size=(n, 2))
    weight = random.uniform(0.5, 3, n) if weighted else None
    found = fit_ridge(X, Y, [0.7], weight)
    same = SklearnRidge(alpha=0.7).fit(X, Y, weight)
    np.testing.assert_allclose(found.scores(X), same.predict(X), rtol=1e-8)
    for i in range(n):
        rest = np.arange(n) != i
        without = SklearnRidge(alpha=0.7).fit(X[rest], Y[rest], None if weight is None else weight[rest])
        np.testing.assert_allclose(found.held_out[i], without.predict(X[i : i + 1])[0], rtol=1e-7, atol=1e-9)


def test_the_penalty_is_the_best_on_what_is_left_out() -> None:
    random = np.random.default_rng(1)
    X, noise = random.normal(size=(30, 60)), random.normal(size=(30, 1))
    alphas = [1e-3, 1.0, 1e5]
    errors = [((fit_ridge(X, noise, [alpha]).held_out - noise) ** 2).sum() for alpha in alphas]
    assert fit_ridge(X, noise, alphas).alpha == alphas[int(np.argmin(errors))] == 1e5


def test_temperature_is_that_of_the_truth() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 3))
    chances = probabilities(scores, 0.5)
    labels = (random.random((20_000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    assert temperature_of(scores, labels) == pytest.approx(0.5, rel=0.05)


def test_probabilities_of_what_cannot_be_learned_are_the_shares() -> None:
    X = np.random.default_rng(0).normal(size=(60, 1, 30))
    model = HiPPOFeaturesClassifier(n_filters=50, random_state=0).fit(X, np.array(["a", "b", "b"] * 20))
    shares = model.predict_proba(np.random.default_rng(1).normal(size=(50, 1, 30))).mean(axis=0)
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3], atol=0.15)


def test_class_weights_move_the_border() -> None:
    X = np.random.default_rng(0).normal(size=(60, 1, 30))
    y = np.array(["common"] * 50 + ["rare"] * 10)
    plain = HiPPOFeaturesClassifier(n_filters=30, alphas=[1e4], random_state=0)
    asked = [plain, clone(plain).set_params(class_weight={"rare": 9}), clone(plain).set_params(class_weight="balanced")]
    rare = [int((one.fit(X, y).predict(X) == "rare").sum()) for one in asked]
    assert rare[0] == 0
    assert min(rare[1:]) > 10


def test_features_have_names_and_are_standardised(fitted) -> None:
    X, _ = waves()
    found = fitted.features(X)
    assert found.shape == (40, len(fitted.feature_names_)) == (40, 600)
    assert str(fitted.feature_names_[-1]).endswith("_maximum")
    assert np.abs(found).max() <= 3
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.3)
    assert len(HiPPOFeaturesRegressor(5, random_state=0).fit(X, np.arange(40.0)).feature_names_) == 5 * (7 + 3)


def test_a_series_far_out_is_not_extrapolated_to() -> None:
    X, y = np.random.default_rng(0).normal(size=(40, 1, 30)), np.random.default_rng(1).normal(size=40)
    model = HiPPOFeaturesRegressor(n_filters=50, random_state=0).fit(X, y)
    assert np.abs(model.predict(1e6 * X)).max() < 10


def test_another_rate_is_no_other_series(fitted) -> None:
    for step in (0.5, 2.0):
        X, y = waves(length=int(120 / step), step=step, seed=1)
        assert (fitted.predict(X, sample_rate=1 / step) == y).mean() > 0.9
        dates = pd.timedelta_range(0, periods=X.shape[2], freq=pd.Timedelta(seconds=step))
        timed = [pd.DataFrame(one.T, index=dates) for one in X]
        with pytest.warns(UserWarning, match="the training series had no rate, which counts as 1 Hz"):
            by_index = fitted.predict(timed)
        np.testing.assert_array_equal(by_index, fitted.predict(X, sample_rate=1 / step))


def test_half_of_the_samples_are_enough(fitted) -> None:
    X, y = waves(seed=1)
    X[np.random.default_rng(0).random(X.shape) < 0.5] = np.nan
    assert (fitted.predict(X) == y).mean() > 0.9


def test_a_sample_without_a_value_is_as_if_it_were_not_there(fitted) -> None:
    X, _ = waves(n=4)
    kept = np.random.default_rng(0).random(120) < 0.6
    kept[0] = True
    thin = [pd.DataFrame(one.T[kept], index=np.flatnonzero(kept)) for one in X]
    X[:, :, ~kept] = np.nan
    np.testing.assert_allclose(fitted.features(X), fitted.features(thin), atol=1e-6)


def test_plain_torch_gives_the_same(fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = waves()
    monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    # An output within rounding of a threshold may count on either side.
    off = np.abs(HiPPOFeaturesClassifier(n_filters=120, random_state=0).fit(X, y).features(X) - fitted.features(X))
    assert np.quantile(off, 0.99) < 1e-3
    stream = fitted.stream()
    for sample in X[0].T:
        shares = stream.push(sample)
    np.testing.assert_allclose(shares, fitted.predict_proba(X[:1])[0], atol=1e-5)


def test_values_have_signed_logarithms_of_the_statistics_without_bounds() -> None:
    X = np.random.default_rng(0).normal(size=(30, 1, 50)) * np.logspace(-1, 1, 30)[:, None, None]
    model = HiPPOFeaturesRegressor(6, n_thresholds=3, random_state=0).fit(X, np.arange(30.0))
    raw = model.map_.raw(panel_to_series(X)).reshape(30, 6, 6)[:, :, 3:].reshape(30, 18)
    bent = np.sign(raw) * np.log1p(np.abs(raw) / (0.03 * raw.std(axis=0)))
    wanted = np.clip((bent - bent.mean(axis=0)) / bent.std(axis=0), -3, 3)
    assert np.allclose(model.features(X)[:, 36:], wanted, atol=1e-9)
    assert model.feature_names_[36].endswith("_log_maximum")
    assert model.feature_names_[-1].endswith("_log_last")


def test_plain_frames_are_checked_as_sktime_checks_them() -> None:
    model = HiPPOFeaturesClassifier()
    numbers = np.arange(12.0).reshape(6, 2)
    gap = numbers.copy()
    gap[2, 0] = np.nan
    for arrays in ([numbers, numbers[:3]], [numbers, gap], [numbers[:, :1], gap[:, :1]], [numbers.astype(int)] * 2):
        frames = [pd.DataFrame(one) for one in arrays]
        found = model._check_input(frames, np.array(["a", "b"]), 1, model.METADATA_REQ_IN_CHECKS)
        asked = check_is_scitype(frames, "Panel", return_metadata=model.METADATA_REQ_IN_CHECKS)[2]
        assert found == {name: bool(value) if isinstance(value, np.bool_) else value for name, value in asked.items()}


@pytest.mark.parametrize(
    "second",
    [
        pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]),
        pd.DataFrame([["x", 2.0]], columns=["a", "b"]),
        pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}, index=[1, 0]),
    ],
    ids=["columns alike", "text", "times that fall"],
)
def test_frames_that_are_not_plain_are_left_to_sktime(second: pd.DataFrame) -> None:
    first = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises((TypeError, ValueError)):
        HiPPOFeaturesClassifier(5, random_state=0).fit([first, second], np.array(["a", "b"]))


def test_a_stream_has_the_features_of_the_series_so_far(fitted) -> None:
    X, _ = waves(n=2)
    stream = fitted.stream()
    for k, sample in enumerate(X[0].T, 1):
        stream.push(sample)
        if k in (1, 2, 17, 120):
            np.testing.assert_allclose(stream.features, fitted.features(X[:1, :, :k])[0], atol=1e-5)
            assert stream.predict() == fitted.predict(X[:1, :, :k])[0]


def test_streams_side_by_side_are_streams_alone() -> None:
    X, y = waves(channels=2)
    model = HiPPOFeaturesRegressor(n_filters=40, random_state=0).fit(X, (y == "slow").astype(float))
    X[1, :, 3:6] = np.nan
    together, alone = StreamPool(model), [model.stream() for _ in range(3)]
    for k in range(30):
        times = [k * (1.0 + i / 2) for i in range(3)]
        values = together.push(range(3), X[:3, :, k], times)
        each = [one.push(X[i, :, k], times[i]) for i, one in enumerate(alone)]
        np.testing.assert_allclose(values, each, atol=1e-9)
    assert values.shape == (3, 1)
    assert together.predict(2) == values[2, 0]
    assert alone[0].features.shape == (40 * 10,)


def test_a_stream_that_has_observed_nothing_predicts_the_mean(fitted) -> None:
    stream = fitted.stream()
    with pytest.raises(ValueError, match="from its first sample on"):
        stream.predict()
    with pytest.raises(ValueError, match="from its first sample on"):
        _ = stream.features
    shares = stream.push([np.nan])
    np.testing.assert_allclose(shares, probabilities(fitted.ridge_.intercept, fitted.temperature_, axis=0))
    assert (stream.features == 0).all()


def test_tools_of_scikit_learn_work() -> None:
    X, y = waves()
    assert cross_val_score(HiPPOFeaturesClassifier(n_filters=60, random_state=0), X, y, cv=3).mean() > 0.9
    search = GridSearchCV(HiPPOFeaturesClassifier(random_state=0), {"n_filters": [5, 60]}, cv=3).fit(X, y)
    assert search.best_params_["n_filters"] in (5, 60)


def test_what_was_done_is_said_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    HiPPOFeaturesClassifier(n_filters=5, random_state=0, verbose=True).fit(*waves())
    assert "40 series of 1 channels: 25 features of 5 filters" in capsys.readouterr().err
    HiPPOFeaturesClassifier(n_filters=5, random_state=0).fit(*waves())
    assert capsys.readouterr().err == ""


BAD = {
    "`n_filters` must be a whole number": {"n_filters": 0},
    "`n_thresholds` must be a whole number": {"n_thresholds": 1.5},
    "`alphas` must be a finite number above 0": {"alphas": [0.0]},
    "`alphas` must hold at least one": {"alphas": []},
    '`class_weight` must be "balanced"': {"class_weight": "even"},
    "`class_weight` has the label 'fast'": {"class_weight": {"fast": 2}},
    "`class_weight` must hold a weight above 0": {"class_weight": {"slow": 0, "quick": 0}},
    "`random_state` must be": {"random_state": "seed"},
    "`sample_rate` must be": {"sample_rate": -1.0},
}


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_used_is_named(words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HiPPOFeaturesClassifier(**{"n_filters": 5, **BAD[words]}).fit(*waves())


def test_what_a_stream_cannot_do_is_named(fitted) -> None:
    for name, value in {"dtype": "float64", "device": "cuda", "backend": "fused"}.items():
        with pytest.raises(ValueError, match=f"`{name}`.*HiPPOFeaturesClassifier"):
            fitted.streaming_engine(**{name: value})


def test_features_of_one_class_are_refused() -> None:
    X, y = waves(n=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = HiPPOFeaturesClassifier(n_filters=5, random_state=0).fit(X, np.full_like(y, "slow"))
    with pytest.raises(ValueError, match="one class only"):
        model.features(X)
    with pytest.raises(ValueError, match="one class only"):
        _ = model.stream().features
