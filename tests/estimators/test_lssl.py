"""`LSSLClassifier` and `LSSLRegressor`: sizes, limits, warm start, weights, scikit-learn's tools, what is refused."""

import itertools
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sktime")
pytest.importorskip("lightning")

import lightning as L
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sktime.datatypes import convert

from seqkit.estimators import LSSLClassifier, LSSLRegressor
from seqkit.estimators.sizes import AUTO, DataShape, choose_sizes
from seqkit.models import load_model, model_names, save_model
from seqkit.models.config import model_options

TINY = {"d_model": 4, "n_layers": 1, "epochs": 2, "n_jobs": 1, "random_state": 0}


def tiny(mixer="s4d", cls=LSSLClassifier, **changes):
    return cls(mixer, **{**TINY, **changes})


def waves(n=16, length=20, channels=1):
    random = np.random.default_rng(0)
    pace = np.where(np.arange(n) % 2 == 0, 2.0, 5.0)
    X = np.sin(np.arange(length) / pace[:, None, None] + random.uniform(0, 6, size=(n, channels, 1)))
    return X, np.where(pace < 3, "quick", "slow")


@pytest.mark.parametrize("mixer", model_names())
def test_every_preset_fits_predicts_and_streams(mixer):
    X, y = waves()
    changes = {"order": 4} if "order" in model_options(mixer) else {}
    if mixer == "lssl_large":
        changes["mixer_options"] = {"channels": 1}
    model = tiny(mixer, epochs=1, **changes).fit(X, y)
    shares = model.predict_proba(X)
    stream = model.stream()
    for sample in X[0].T:
        out = stream.push(sample)
    np.testing.assert_allclose(out, shares[0], atol=1e-3)


def test_auto_is_chosen_shown_and_what_is_given_stays(capsys):
    X, y = waves()
    model = LSSLClassifier("s4d", d_model=8, epochs=2, verbose=True, random_state=0).fit(X, y)
    assert (model.sizes_["d_model"], model.sizes_["epochs"], model.sizes_["validation"]) == (8, 2, 0.0)
    assert (model.sizes_["dt_min"], model.sizes_["dt_max"]) == (0.005, 0.5)
    assert model.get_params()["n_layers"] == AUTO
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in ("16 series", "d_model 8", "epoch 2/2", "left"):
        assert words in shown.err
    LSSLClassifier("s4d", d_model=8, epochs=1, random_state=0).fit(X, y)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("n", [10, 1000, 3000])
@pytest.mark.parametrize("length", [1, 30, 3000])
@pytest.mark.parametrize("mixer", model_names())
def test_the_rule_gives_valid_sizes(n, length, mixer):
    sizes = choose_sizes(DataShape(n, length, 3, True), mixer, {})
    assert sizes.epochs >= 1
    assert (sizes.patience is None) == (sizes.validation == 0)
    bank = length > 50 and mixer in ("lssl", "s4", "s4d")
    assert bool(sizes.validation) == (n >= (2000 if bank else 400))


def test_a_papers_own_sizes_go_before_the_rule():
    sizes = choose_sizes(DataShape(50, 30, 1, True), "lssl_small", {})
    assert (sizes.model.d_model, sizes.model.n_layers, sizes.model.options["order"]) == (128, 6, 128)
    assert choose_sizes(DataShape(50, 30, 1, True), "lssl_small", {"order": 8}).model.options["order"] == 8


REFUSED = {
    "unknown mixer": ({"mixer": "lsll"}, "did you mean lssl"),
    "no such size": ({"mixer": "gru", "order": 4}, "order"),
    "width": ({"d_model": 0}, "`d_model` must be"),
    "epochs": ({"epochs": 2.5}, "`epochs` must be"),
    "batch": ({"batch_size": 0}, "`batch_size` must be"),
    "rate": ({"learning_rate": -1.0}, "`learning_rate` must be"),
    "dropout": ({"dropout": 1.0}, "`dropout` must"),
    "share": ({"validation": 1.0}, "`validation` must"),
    "patience without series": ({"patience": 3}, "`validation` is 0"),
    "limit": ({"time_limit": 0}, "`time_limit` must be"),
    "callback": ({"callbacks": [3]}, "`callbacks` must be"),
    "option": ({"mixer_options": {"mesure": "legs"}}, "did you mean measure|no key"),
    "device": ({"device": "tpu"}, "`device` must be"),
    "seed": ({"random_state": -1}, "`random_state` must be"),
    "sample rate": ({"sample_rate": 0.0}, "`sample_rate` must be"),
    "weights": ({"class_weight": "even"}, "`class_weight` must be"),
    "a label that no series has": ({"class_weight": {"fast": 2.0}}, "which no series has"),
    "zero weights": ({"class_weight": {"quick": 0.0, "slow": 0.0}}, "zeros only"),
    "warm start": ({"warm_start": 1}, "`warm_start` must be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_out_of_range_is_refused(case):
    changes, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        tiny(**changes).fit(*waves())


def test_the_time_limit_is_kept_and_said(monkeypatch):
    X, y = waves(n=200, length=100)
    rates = []
    # A clock that goes on by 4 s each time that it is read, so that nothing depends on how fast the machine is.
    monkeypatch.setattr("seqkit.estimators.watch.time", SimpleNamespace(monotonic=itertools.count(0.0, 4.0).__next__))

    class Rates(L.Callback):
        def on_before_optimizer_step(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    options = {"epochs": 10_000, "time_limit": 2000.0, "callbacks": [Rates()], "learning_rate": 0.004}
    model = LSSLClassifier("s4d", d_model=8, random_state=0, n_jobs=1, **options).fit(X, y)
    assert 50 < len(rates) <= 500  # of 70,000 steps
    assert model.stopped_by_ == "time_limit"
    assert max(rates) > 0.002  # it rises and comes down, as without a limit
    assert rates[-1] < 0.1 * max(rates)
    assert np.isfinite(model.predict_proba(X)).all()


def test_the_shortest_limit_leaves_one_step():
    model = tiny(time_limit=1e-6).fit(*waves())
    assert model.stopped_by_ == "time_limit"
    assert np.isfinite(model.predict_proba(waves()[0])).all()


def test_a_limit_that_does_not_bind_changes_nothing():
    X, y = waves()
    np.testing.assert_array_equal(tiny(time_limit=1e6).fit(X, y).predict_proba(X), tiny().fit(X, y).predict_proba(X))


def test_patience_stops_and_the_best_epoch_is_kept():
    X, _ = waves(n=40)
    y = np.random.default_rng(1).permutation(["a", "b"] * 20)  # nothing to learn
    model = tiny(epochs=60, validation=0.3, patience=2, learning_rate=0.05).fit(X, y)
    assert model.stopped_by_ == "patience"
    assert len(model.history_) < 60
    assert "val_loss" in model.history_[-1]


def test_calibration_needs_validation_series_and_lowers_their_loss():
    X, y = waves(n=60)
    plain, calibrated = tiny(epochs=20).fit(X, y), tiny(epochs=20, validation=0.3).fit(X, y)
    assert plain.temperature_ == 1.0
    assert calibrated.temperature_ != 1.0
    save = calibrated.model_.predict(
        __import__("torch").tensor(X[:2].transpose(0, 2, 1), dtype=__import__("torch").float32)
    )
    np.testing.assert_allclose(save.numpy(), calibrated.predict_proba(X[:2]), atol=1e-5)


def test_callbacks_of_both_kinds():
    class Count(L.Callback):
        steps = 0

        def on_train_batch_end(self, *_):
            self.steps += 1

    seen, count = [], Count()
    model = tiny(epochs=5, callbacks=[seen.append, count]).fit(*waves())
    assert [row["epoch"] for row in seen] == [0, 1, 2, 3, 4]
    assert seen[0]["train_loss"] > 0
    assert count.steps == 5
    assert model.stopped_by_ == "epochs"
    stopped = tiny(epochs=5, callbacks=[lambda row: row["epoch"] == 1]).fit(*waves())
    assert (stopped.stopped_by_, len(stopped.history_)) == ("callback", 2)


def test_warm_start_goes_on():
    X, y = waves()
    model = tiny(warm_start=True).fit(X, y)
    first = [p.detach().clone() for p in model.model_.parameters()]
    model.set_params(epochs=1, learning_rate=1e-9).fit(X, y)
    assert all((p - q).abs().max() < 1e-6 for p, q in zip(model.model_.parameters(), first, strict=True))
    cold = tiny().fit(X, y).set_params(epochs=1, learning_rate=1e-9).fit(X, y)
    assert any((p - q).abs().max() > 1e-3 for p, q in zip(cold.model_.parameters(), first, strict=True))


def test_warm_start_after_calibration_goes_on_from_the_scores_as_they_were():
    X, y = waves(n=40)
    model = tiny(warm_start=True, validation=0.3).fit(X, y)
    weight, temperature = model.model_.head.linear.weight.detach().clone(), model.temperature_
    model.set_params(epochs=1, learning_rate=1e-9).fit(X, y)
    now = model.model_.head.linear.weight * model.temperature_
    np.testing.assert_allclose(now.detach(), weight * temperature, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"d_model": 8}, "d_model must stay"), ({"mixer": "gru"}, "mixer must stay"), ({"order": 2}, "order must stay")],
)
def test_warm_start_refuses_other_sizes(changes, words):
    model = tiny(warm_start=True).fit(*waves()).set_params(**changes)
    with pytest.raises(ValueError, match=words):
        model.fit(*waves())


def test_warm_start_refuses_other_data():
    model = tiny(warm_start=True).fit(*waves())
    with pytest.raises(ValueError, match="n_channels must stay"):
        model.fit(*waves(channels=2))


def test_class_weights_move_the_probabilities():
    X, _ = waves(n=40)
    y = np.array(["rare"] * 4 + ["often"] * 36)
    shares = {
        weight if isinstance(weight, str) else str(weight): tiny(epochs=10, class_weight=weight)
        .fit(X, y)
        .predict_proba(X)
        for weight in (None, "balanced", {"rare": 9.0}, {"rare": 9.0, "often": 1.0})
    }
    rare = {name: value[:, 1].mean() for name, value in shares.items()}
    assert rare["balanced"] > rare["None"] + 0.1
    assert list(rare.values())[2] == list(rare.values())[3] > rare["None"] + 0.1


def test_nothing_is_written_and_nothing_said(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model = tiny(validation=0.3).fit(*waves())
    model.predict(waves()[0])
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    assert not any("rainer" in name for name in vars(model))


def test_the_model_goes_to_a_folder_and_back(tmp_path):
    X, y = waves()
    model = tiny().fit(X, y)
    save_model(model.model_, tmp_path)
    assert load_model(tmp_path).info.classes == ("quick", "slow")


def test_a_mixer_without_time_says_so():
    X, y = waves()
    model = tiny("gru").fit(X, y)
    with pytest.warns(UserWarning, match="gru has no notion of the sampling step"):
        model.predict(X, sample_rate=2.0)
    uneven = [one.iloc[[0, 1, 3, 7]] for one in convert(X, "numpy3D", "df-list", "Panel")]
    with pytest.raises(ValueError, match="gru has no notion of the sampling step; resample"):
        model.predict(uneven)
    with pytest.raises(ValueError, match="no notion of time"):
        model.stream().push([1.0], time=1.0)


@pytest.mark.filterwarnings("ignore:only single label")
def test_constant_targets_and_the_unit_of_the_target():
    X, _ = waves()
    assert np.allclose(tiny(cls=LSSLRegressor).fit(X, np.full(16, 3.0)).predict(X), 3.0, atol=2.0)
    y = np.linspace(1e6, 2e6, 16)
    assert tiny(cls=LSSLRegressor, epochs=5).fit(X, y).predict(X).mean() == pytest.approx(1.5e6, rel=0.2)
    with pytest.raises(ValueError, match="that of series 14 is missing"):
        tiny(cls=LSSLRegressor).fit(X, np.where(y > 1.9e6, np.nan, y))


def test_the_tools_of_scikit_learn():
    X, y = waves(n=24)
    assert len(cross_val_score(tiny(), X, y, cv=2)) == 2
    search = GridSearchCV(tiny(), {"d_model": [2, 4]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["d_model"] in (2, 4)
    pipe = Pipeline([("double", FunctionTransformer(lambda X: 2 * X)), ("model", tiny())]).fit(X, y)
    assert set(pipe.predict(X)) <= set(y)
    calibrated = CalibratedClassifierCV(tiny(), cv=2, method="sigmoid").fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    votes = VotingClassifier([("one", tiny()), ("two", tiny("gru"))], voting="soft").fit(X, y)
    assert len(votes.predict(X)) == 24
    scores = cross_val_score(tiny(cls=LSSLRegressor), X, np.arange(24.0), cv=2)
    assert np.isfinite(scores).all()


def test_warnings_about_gaps_are_given_once():
    X, y = waves()
    model = tiny().fit(X, y)
    X[0, 0, 3] = np.nan
    with pytest.warns(UserWarning, match="as none was in training"):
        model.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny().fit(X, y).predict(X)
