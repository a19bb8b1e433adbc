"""Banks of filters with pooled shares: when they are chosen, how they start, and that they stream and know the rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("sktime")
pytest.importorskip("lightning")

from seqkit.batch import DataInfo
from seqkit.datasets.series import SeriesSet
from seqkit.estimators import LSSLClassifier, LSSLRegressor
from seqkit.estimators.sizes import DataShape, choose_sizes
from seqkit.estimators.start import LEVEL_FREE, start_from
from seqkit.models import ModelConfig, SequenceModel

LONG = DataShape(60, 120.0, 1, True)


def bumps(n=40, length=120, height=0.0):
    """Noise at a random height with a bump anywhere: quick up and slow down, or slow up and quick down."""
    random = np.random.default_rng(0)
    X, y = random.normal(0, 0.1, (n, 1, length)), np.arange(n) % 2
    shape = np.interp(np.arange(24), [0, 4, 23], [0, 2, 0])
    for i, kind in enumerate(y):
        at = random.integers(0, length - 24)
        X[i, 0, at : at + 24] += shape[:: 1 - 2 * kind]
    return X + height * random.normal(size=(n, 1, 1)), np.array(["late", "early"])[y]


@pytest.mark.parametrize(
    ("shape", "mixer", "given", "options", "pool"),
    [
        (LONG, "lssl", {}, {}, "share"),
        (LONG, "s4d", {"n_layers": 1, "d_model": 8}, {"order": 4}, "share"),
        (LONG, "s4", {}, {}, "share"),
        (LONG, "lssl", {"n_layers": 2}, {}, "mean"),
        (LONG, "lssl", {}, {"pool": "mean"}, "mean"),
        (LONG, "lssl", {}, {"norm": "rms"}, "mean"),
        (LONG, "gru", {}, {}, "mean"),
        (LONG, "lssl_small", {}, {}, "mean"),
        (DataShape(60, 20.0, 1, True), "lssl", {}, {}, "mean"),
    ],
)
def test_longer_series_get_a_bank_unless_something_else_is_asked_for(shape, mixer, given, options, pool):
    model = choose_sizes(shape, mixer, given, options).model
    assert model.pool == pool
    assert (model.output == "none") == (pool == "share")


@pytest.mark.parametrize(
    ("n_series", "classes", "rate"),
    [(60, True, 2e-5), (60, False, 1e-5), (600, True, 2e-5), (2000, True, 5e-4), (600, False, 5e-4)],
)
def test_models_of_few_series_keep_to_their_start(n_series, classes, rate):
    assert choose_sizes(DataShape(n_series, 120.0, 1, classes), "lssl", {}).learning_rate == rate


def started(mixer, output="none"):
    config = choose_sizes(LONG, mixer, {"d_model": 8}).model
    info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
    model = SequenceModel.from_config(replace(config, output=output), info, seed=0)
    series = SeriesSet([np.random.default_rng(i).normal(size=(120, 1)) for i in range(6)], ["a", "b"] * 3)
    start_from(model, series, seed=0)
    return model


@pytest.mark.parametrize("mixer", ["lssl", "s4", "s4d"])
def test_filters_of_the_slope_start_without_an_answer_to_the_level(mixer):
    with torch.no_grad():
        found = started(mixer).course(torch.ones(1, 4000, 1))[0]
    share = found[-200:].mean(dim=0).abs() / found.abs().amax(dim=0)  # a mean, as fast modes ring on
    assert share[4:].max() < 2e-3  # the second four of eight read the slope
    assert share[:4].max() > 0.1


@pytest.mark.parametrize("mixer", ["lssl", "s4", "s4d"])
def test_random_filters_of_other_models_mostly_have_no_answer_to_the_level(mixer):
    model = started(mixer, output="linear")
    found = model.backbone.mixers()[0]
    with torch.no_grad():
        ones = torch.ones(1, 4000, 8)
        last = (ones + found(ones))[0, -200:].mean(dim=0)
    free = round(LEVEL_FREE * 8)
    assert last[:free].abs().max() < 2e-3
    assert last[free:].abs().min() > 1e-2


def test_other_models_are_left_as_they_are():
    info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
    model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4), info, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start_from(model, SeriesSet([np.zeros((9, 1))] * 2, ["a", "b"]), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("mixer", ["lssl", "s4d"])
def test_it_learns_shapes_wherever_they_are_and_streams(mixer):
    X, y = bumps(height=1.0)
    model = LSSLClassifier(mixer, d_model=64, random_state=0).fit(X[:30], y[:30])
    assert model.score(X[30:], y[30:]) >= 0.9
    stream = model.stream()
    for k, sample in enumerate(X[31].T):
        shares = stream.push(sample)
        if k in (0, 50):
            np.testing.assert_allclose(shares, model.predict_proba(X[31:32, :, : k + 1])[0], atol=1e-3)
    np.testing.assert_allclose(shares, model.predict_proba(X[31:32])[0], atol=1e-3)


def test_gaps_and_another_rate():
    X, y = bumps()
    model = LSSLClassifier(d_model=64, random_state=0).fit(X[:30], y[:30])
    smooth = X[30:, :, ::2]
    assert np.mean(model.predict(smooth, sample_rate=0.5) == y[30:]) >= 0.9
    gaps = np.where(np.random.default_rng(0).random(X[30:].shape) < 0.2, np.nan, X[30:])
    with pytest.warns(UserWarning, match="missing"):
        assert np.mean(model.predict(gaps) == y[30:]) >= 0.8
    stream = model.stream()
    for sample in gaps[0].T:
        shares = stream.push(sample)
    with pytest.warns(UserWarning, match="missing"):
        np.testing.assert_allclose(shares, model.predict_proba(gaps[:1])[0], atol=1e-3)


def test_values_class_weights_and_two_series():
    y = np.linspace(1, 2, 40)
    X = y[:, None, None] * bumps()[0]
    model = LSSLRegressor(d_model=32, epochs=2, random_state=0).fit(X, y)
    assert np.std(model.predict(X) - y) < 0.3 * np.std(y)
    labels = np.array(["a"] * 30 + ["b"] * 10)
    LSSLClassifier(d_model=8, epochs=1, class_weight={"b": 0.0}, random_state=0).fit(X, labels).predict(X)
    few = LSSLClassifier(d_model=8, epochs=1, random_state=0).fit(X[:2], np.array(["a", "b"]))
    assert np.isfinite(few.predict_proba(X)).all()


def test_a_start_that_no_epoch_betters_is_kept():
    X, y = bumps()
    given = {"d_model": 16, "random_state": 0, "validation": 0.3, "epochs": 2}
    begun = LSSLClassifier(learning_rate=1e-12, **given).fit(X, y)
    spoilt = LSSLClassifier(learning_rate=10.0, **given).fit(X, y)
    np.testing.assert_allclose(spoilt.predict_proba(X), begun.predict_proba(X), atol=1e-4)


def test_small_series_beside_large_ones_and_far_from_zero():
    X, y = bumps(n=80)
    X *= 10.0 ** -(np.arange(len(X)) // 2 % 4)[:, None, None]
    model = LSSLClassifier(d_model=64, random_state=0, epochs=3).fit(X[:60], y[:60])
    assert model.score(X[60:], y[60:]) >= 0.8
    higher = LSSLClassifier(d_model=64, random_state=0, epochs=3).fit(X[:60] + 64, y[:60])
    assert higher.score(X[60:] + 64, y[60:]) >= 0.8
