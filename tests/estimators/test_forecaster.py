"""The forecaster: steps ahead, what is known beside, intervals, updates, gaps, and refusals."""

from __future__ import annotations

import pickle
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sktime.base import load
from sktime.utils.estimator_checks import check_estimator

from seqkit.estimators import LSSLForecaster
from seqkit.estimators.forecast_choice import Blend, Fold, choose_blend
from seqkit.estimators.forecast_windows import WindowSet, cut_in_time
from seqkit.estimators.past import pasts_of
from seqkit.estimators.spread import choose_unit, spread_of

TINY: dict[str, Any] = {"mixer": "s4d", "d_model": 8, "n_layers": 1, "order": 4, "epochs": 2, "random_state": 0}
FH = list(range(1, 7))


def wave(n: int = 120, noise: float = 0.0, seed: int = 0) -> pd.Series:
    t = np.arange(n)
    values = np.sin(2 * np.pi * t / 12) + t / 60 + noise * np.random.default_rng(seed).normal(size=n)
    return pd.Series(values, index=pd.period_range("2000-01", periods=n, freq="M"), name="load")


def made(**changes: Any) -> LSSLForecaster:
    return LSSLForecaster(**{**TINY, **changes})


@pytest.fixture(scope="module")
def fitted() -> LSSLForecaster:
    return made().fit(wave()[:108], fh=FH)


def test_it_goes_on_with_season_and_trend(fitted: LSSLForecaster) -> None:
    error = (fitted.predict() - wave()[108:114]).abs().mean()
    assert error < 0.05
    assert fitted.predict().name == "load"


@pytest.mark.parametrize("mixer", ["lssl", "s4", "gru", "hippo_legs", "hippo_rnn", "lmu", "attention"])
def test_any_mixer_by_name(mixer: str) -> None:
    own = {"order": 4} if mixer in ("lssl", "s4", "hippo_rnn", "lmu") else {}
    model = LSSLForecaster(mixer, d_model=8, epochs=1, random_state=0, **own).fit(wave()[:108], fh=FH)
    assert (model.predict() - wave()[108:114]).abs().mean() < 0.3
    assert model.sizes_["mixer"] == mixer


def test_the_network_learns_what_a_linear_map_cannot() -> None:
    """The logistic map: the next value is a parabola of the last, uncorrelated with it."""
    x = [0.3]
    for _ in range(350):
        x.append(3.9 * x[-1] * (1 - x[-1]))
    y = pd.Series(x)
    options: dict[str, Any] = {"window": 4, "difference": False, "scale": "series", "random_state": 0}
    network = LSSLForecaster("s4d", epochs=20, d_model=32, order=8, dropout=0.0, **options).fit(y[:300], fh=[1])
    assert network.best_epoch_ > 0
    errors = []
    for k in range(300, 340):
        network.update(y[k : k + 1], update_params=False)
        errors.append(float(network.predict().iloc[0]) - y[k + 1])
    assert np.std(errors) < 0.5 * y.std()


def test_a_horizon_serves_any_step_up_to_it() -> None:
    model = made(horizon=6).fit(wave()[:108])
    pd.testing.assert_series_equal(model.predict([2, 5]), model.predict(FH).iloc[[1, 4]])
    with pytest.raises(ValueError, match="beyond the horizon of 6"):
        model.predict([7])


def test_in_sample_steps_are_forecasts_of_one_step(fitted: LSSLForecaster) -> None:
    before = fitted.predict(fh=FH)
    model = made(horizon=6).fit(wave()[:108])
    inside = model.predict(range(-30, 1))
    assert (inside - wave()[:108].loc[inside.index]).abs().mean() < 0.1
    whole = model.predict(range(-107, 1))
    assert whole.notna().all()
    assert whole.index[0] == wave().index[0]
    pd.testing.assert_series_equal(model.predict(FH), before)


def test_no_training_window_reaches_over_the_cut() -> None:
    past = pasts_of(wave().to_frame())[0]
    train, held_out = cut_in_time([past], horizon=6, first=24, share=0.2, most=10_000)
    assert train.known.max() + 6 == 96
    assert held_out.known.min() == 96
    assert held_out.known.max() + 6 == 120


def test_what_comes_after_the_cut_changes_nothing_chosen_before() -> None:
    """The held-out part is looked at by choices only: the first training's forecasts of it do not move with it."""
    y = wave()[:108]
    other = y.copy()
    other.iloc[-10:] += 100.0
    one, two = (made(validation=0.0, epochs=1).fit(some[:98], fh=FH).predict() for some in (y, other))
    pd.testing.assert_series_equal(one, two)


def exogenous(n: int = 160) -> tuple[pd.Series, pd.DataFrame]:
    random = np.random.default_rng(3)
    X = pd.DataFrame({"price": random.normal(size=n)})
    return pd.Series(2.0 * X["price"].to_numpy() + 0.1 * random.normal(size=n)), X


def test_known_values_over_the_horizon_are_used() -> None:
    y, X = exogenous()
    model = made(window=8).fit(y[:150], X=X[:150], fh=FH)
    known = model.predict(X=X[150:])
    blind = model.predict(X=X[150:] * np.nan)
    truth = y[150:156]
    assert (known - truth).abs().mean() < 0.3
    assert (blind - truth).abs().mean() > 2 * (known - truth).abs().mean()
    pd.testing.assert_series_equal(blind, model.predict())


def test_rows_of_x_are_found_by_their_time() -> None:
    y, X = exogenous()
    model = made(window=8).fit(y[:150], X=X[:150], fh=FH)
    shuffled = X[150:156].iloc[::-1].sort_index()
    pd.testing.assert_series_equal(model.predict(X=shuffled), model.predict(X=X[150:156]))


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_intervals_cover_what_they_say(drift: float) -> None:
    """An autoregression, or a walk, forecast 300 times in turn."""
    random, y = np.random.default_rng(5), [0.0]
    for step in random.normal(size=900):
        y.append((0.8 if drift == 0.0 else 1.0) * y[-1] + step)
    series = pd.Series(y)
    model = made(window=16, horizon=4, validation=0.3).fit(series[:500])
    inside = []
    for k in range(500, 800):
        bounds = model.predict_interval([1, 2, 3, 4], coverage=0.9).to_numpy()
        truth = series[k : k + 4].to_numpy()
        inside.append((bounds[:, 0] <= truth) & (truth <= bounds[:, 1]))
        model.update(series[k : k + 1], update_params=False)
    assert 0.85 <= float(np.mean(inside)) <= 0.95


def simulated(kind: str, n: int, seed: int) -> pd.Series:
    """An autoregression, a random walk, or noise around a season."""
    noise = np.random.default_rng(seed).normal(size=n)
    if kind == "walk":
        return pd.Series(noise.cumsum())
    if kind == "season":
        return pd.Series(3 * np.sin(2 * np.pi * np.arange(n) / 12) + noise)
    y = [0.0]
    for step in noise[1:]:
        y.append(0.8 * y[-1] + step)
    return pd.Series(y)


def inside(model: LSSLForecaster, y: pd.Series, start: int, horizon: int, coverage: float = 0.9) -> float:
    """Share of later values in the intervals, while the series goes on."""
    steps, found = list(range(1, horizon + 1)), []
    for k in range(start, len(y) - horizon, horizon):
        low, high = model.predict_interval(steps, coverage=coverage).to_numpy().T
        truth = y[k : k + horizon].to_numpy()
        found.append((low <= truth) & (truth <= high))
        model.update(y[k : k + horizon], update_params=False)
    return float(np.mean(found))


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("kind", ["ar", "walk", "season"])
def test_intervals_of_short_series_cover_what_they_say(kind: str, horizon: int) -> None:
    """A hundred samples leave few errors that are independent of each other."""
    found = []
    for seed in range(8):
        y = simulated(kind, 140, seed)
        found.append(inside(made(epochs=0, horizon=horizon).fit(y[:100]), y, 100, horizon))
    assert 0.83 <= float(np.mean(found)) <= 0.96


def test_intervals_of_a_series_that_swings_wider_as_it_grows() -> None:
    """A season in proportion to the level, with noise likewise, as sales that grow."""
    found = []
    for seed in range(8):
        random, t = np.random.default_rng(seed), np.arange(190)
        y = pd.Series(np.exp(t / 40 + 0.4 * np.sin(2 * np.pi * t / 12) + 0.1 * random.normal(size=190)))
        for origin in range(120, 180, 12):
            model = made(epochs=0, horizon=6).fit(y[:origin])
            low, high = model.predict_interval(FH, coverage=0.9).to_numpy().T
            truth = y[origin : origin + 6].to_numpy()
            found.append((low <= truth) & (truth <= high))
    assert float(np.mean(found)) >= 0.8


def test_the_unit_is_what_errors_go_with() -> None:
    scale = np.linspace(1, 9, 60)[:, None]
    errors = scale[:, None] * np.random.default_rng(0).normal(size=(60, 2, 1))
    assert choose_unit(errors, {"series": np.ones((60, 1)), "window": scale, "changes": scale[::-1]}) == "window"
    assert choose_unit(errors / scale[:, None], {"series": np.ones((60, 1)), "window": scale}) == "series"


def test_few_independent_errors_leave_intervals_wider() -> None:
    errors = np.random.default_rng(0).normal(size=(500, 1, 1))
    few, many, all_ = (spread_of(errors, independent=n).quantile(0.95).item() for n in (4.0, 40.0, np.inf))
    assert 1.2 * many < few < 1.5 * many
    assert all_ < many < 1.05 * all_
    assert spread_of(errors, independent=4.0).quantile(0.5).item() == pytest.approx(0.0, abs=0.1)


def test_few_errors_count_in_both_directions() -> None:
    spread = spread_of(np.full((20, 1, 1), 2.0))
    assert spread.quantile(0.05).item() == -spread.quantile(0.95).item()


def trials(errors_of_model: list[float], errors_of_naive: list[float]) -> list[Fold]:
    """Folds of one step in which the truth is 0."""
    folds = []
    for model, last in zip(errors_of_model, errors_of_naive, strict=True):
        held, one = np.full((9, 2, 1), last), np.ones((9, 1))
        windows = WindowSet(held, held, np.zeros((9, 3, 0)), np.zeros((9, 1, 1)), 0 * one, one, one)
        folds.append(Fold(windows, one, [np.full((9, 1, 1), 5.0), np.full((9, 1, 1), model)]))
    return folds


def test_a_model_that_does_not_beat_the_last_value_has_no_weight() -> None:
    assert choose_blend(trials([2.0, 2.0], [1.0, 1.0]), [1])[0].weight == 0.0
    assert choose_blend(trials([1.0, 1.0], [2.0, 2.0]), [1])[0] == Blend(1, 1.0, 1)
    assert choose_blend(trials([-1.0, -1.0], [1.0, 1.0]), [1])[0] == Blend(1, 0.5, 1)


def test_errors_of_a_fold_come_from_a_choice_without_it() -> None:
    blend, errors = choose_blend(trials([3.0, 1.0], [1.0, 3.0]), [1])
    assert blend == Blend(1, 1.0, 1)  # the later fold counts more
    assert [float(error[0, 0, 0]) for error in errors] == [-3.0, -3.0]


def test_a_walk_is_forecast_about_as_well_as_by_its_last_value() -> None:
    own, naive = [], []
    for seed in range(6):
        y = simulated("walk", 126, seed)
        model = made(epochs=8, horizon=6).fit(y[:120])
        own.append((model.predict(FH) - y[120:]).abs().mean())
        naive.append((y[119] - y[120:]).abs().mean())
    assert np.mean(own) < 1.1 * np.mean(naive)


def test_a_season_that_is_followed_by_nothing_else_is_repeated() -> None:
    """Values that follow no rule but their season: a map of 24 of them finds less than what was a season before."""
    pattern = np.random.default_rng(1).normal(size=12)
    y = pd.Series(np.tile(pattern, 8), index=pd.period_range("2000-01", periods=96, freq="M"))
    model = made(epochs=0, linear=False, horizon=6).fit(y[:84])
    assert (model.sizes_["weight"], model.sizes_["naive"]) == (0.0, 12)
    np.testing.assert_allclose(model.predict(FH), y[84:90], atol=1e-9)
    assert model.best_epoch_ == 0


def test_quantiles_are_in_order_and_widen(fitted: LSSLForecaster) -> None:
    model = made().fit(wave(noise=0.2)[:108], fh=FH)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    quantiles = model.predict_quantiles(alpha=levels)
    assert (np.diff(quantiles.to_numpy(), axis=1) >= 0).all()
    assert quantiles.columns.tolist() == [("load", a) for a in levels]


def test_update_goes_on_from_the_weights(fitted: LSSLForecaster) -> None:
    model, new = deepcopy(fitted), wave()[108:114]
    moved = deepcopy(fitted).update(new, update_params=False)
    assert str(moved.cutoff[0]) == str(new.index[-1])
    assert moved.model_ is not None
    np.testing.assert_array_equal(moved.model_.linear.weight, fitted.model_.linear.weight)
    model.update(new)
    assert not np.array_equal(model.model_.linear.weight, fitted.model_.linear.weight)
    truth = wave(126)[114:120]
    for one in (model, moved):
        assert one.predict().index.equals(truth.index)
        assert (one.predict() - truth).abs().mean() < 0.05


def test_moving_the_cutoff_equals_a_longer_past(fitted: LSSLForecaster) -> None:
    at_once = deepcopy(fitted).update(wave()[108:114], update_params=False).predict()
    one_by_one = deepcopy(fitted)
    for k in range(108, 114):
        one_by_one.update(wave()[k : k + 1], update_params=False)
    pd.testing.assert_series_equal(one_by_one.predict(), at_once)


def test_a_stream_forecasts_what_predict_does() -> None:
    y, X = exogenous()
    fitted = made(window=8, horizon=3).fit(y[:140], X=X[:140])
    stream, moved = fitted.stream(), deepcopy(fitted)
    for k in range(140, 145):
        ahead = stream.push(y.iloc[k], X=X.iloc[k], ahead=X.iloc[k + 1 : k + 4])
        moved.update(y[k : k + 1], X=X[k : k + 1], update_params=False)
        expected = moved.predict([1, 2, 3], X=X[k + 1 : k + 4])
        np.testing.assert_allclose(ahead[:, 0], expected, atol=1e-5)
        upper = moved.predict_quantiles([1, 2, 3], X=X[k + 1 : k + 4], alpha=[0.9])
        np.testing.assert_allclose(stream.quantile(0.9), upper, atol=1e-5)
    assert len(stream) == 5
    assert np.isfinite(fitted.stream(resume=False).push(np.nan, X=[np.nan])).all()
    with pytest.raises(ValueError, match="`x` must be 1 numbers"):
        stream.push([1.0, 2.0])
    with pytest.raises(ValueError, match="`series` must be None"):
        fitted.stream("shop")
    with pytest.raises(ValueError, match="push one first"):
        fitted.stream().quantile(0.5)


def test_missing_values_and_missing_times() -> None:
    gaps = wave()[:108]
    gaps.iloc[[0, 1, 30, 31, 50, 107]] = np.nan
    model = made().fit(gaps, fh=FH)
    assert (model.predict() - wave()[108:114]).abs().mean() < 0.2
    left_out = made().fit(gaps.iloc[:-1].dropna(), fh=FH)
    assert left_out.predict().notna().all()
    half = wave()[:108].where(np.random.default_rng(0).random(108) > 0.5)
    assert made(epochs=1).fit(half, fh=FH).predict().notna().all()


def test_several_series_share_a_model() -> None:
    parts = {"a": wave()[:108] * 1000, "b": -wave()[:90], "c": wave(30)}
    y = pd.concat({key: one.to_frame() for key, one in parts.items()}, names=["shop", "month"])
    model = made().fit(y, fh=FH)
    predicted = model.predict()
    assert predicted.loc["a"].index[0] == wave().index[108]
    assert predicted.loc["b"].index[0] == wave().index[90]
    assert predicted.loc["c"].notna().to_numpy().all()
    assert (predicted.loc["a"]["load"] - 1000 * wave()[108:114]).abs().mean() < 100
    assert len(model.predict_interval()) == 18


def test_several_channels() -> None:
    y = pd.DataFrame({"one": wave()[:108], "two": -3 * wave()[:108] + 7})
    predicted = made().fit(y, fh=FH).predict()
    assert predicted.columns.tolist() == ["one", "two"]
    assert (predicted["two"] - (-3 * wave()[108:114] + 7)).abs().mean() < 0.3


def test_scale_and_offset_of_a_series_do_not_matter() -> None:
    small, large = (
        made().fit(factor * wave()[:108] + offset, fh=FH).predict() for factor, offset in ((1, 0), (1e6, 1e9))
    )
    np.testing.assert_allclose((large - 1e9) / 1e6, small, atol=1e-3)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_short_series_is_forecast_by_its_last_value(n: int) -> None:
    with pytest.warns(UserWarning, match="too few for a window and a horizon of 6"):
        model = made().fit(wave(n), fh=FH)
    assert (model.predict() == wave(n).iloc[-1]).all()
    assert model.predict_interval().notna().all().all()


def test_a_constant_series_stays_constant() -> None:
    y = pd.Series(np.full(60, 5.0))
    np.testing.assert_allclose(made(epochs=1).fit(y, fh=FH).predict(), 5.0, atol=1e-4)


def test_copies_forecast_the_same(fitted: LSSLForecaster, tmp_path: Any) -> None:
    fitted.save(tmp_path / "kept")
    copies = [pickle.loads(pickle.dumps(fitted)), deepcopy(fitted), load(tmp_path / "kept.zip"), load(fitted.save())]
    for one in copies:
        pd.testing.assert_series_equal(one.predict(), fitted.predict())
        pd.testing.assert_frame_equal(one.predict_interval(), fitted.predict_interval())
    fresh = fitted.clone()
    assert not fresh.is_fitted
    pd.testing.assert_series_equal(fresh.fit(wave()[:108], fh=FH).predict(), fitted.predict())


def test_seeds_and_global_generators() -> None:
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    y = wave(noise=0.3)[:108]
    one, two = (made(linear=False).fit(y, fh=FH).predict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    pd.testing.assert_series_equal(one, two)


def test_time_limit_callbacks_and_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, float]] = []
    model = made(epochs=100_000, patience=None, time_limit=1.0, verbose=True, callbacks=[rows.append])
    model.fit(wave(noise=0.3)[:108], fh=FH)
    assert model.stopped_by_ == "time_limit"
    assert rows[0].keys() == {"epoch", "train_loss", "val_loss", "seconds"}
    shown = capsys.readouterr().err
    assert "held out" in shown
    assert "mixer s4d" in shown
    stopped = made(epochs=50, patience=None, callbacks=[lambda row: row["epoch"] >= 3]).fit(wave()[:108], fh=FH)
    assert stopped.stopped_by_ == "callback"
    assert len(stopped.history_) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mixer": "lsll"}, "did you mean lssl"),
        ({"window": 0}, "`window`"),
        ({"season": 0}, "`season`"),
        ({"horizon": 0}, "`horizon`"),
        ({"epochs": -1}, "`epochs`"),
        ({"scale": "big"}, "`scale`"),
        ({"difference": 2}, "`difference`"),
        ({"validation": 1.0}, "`validation`"),
        ({"patience": 0}, "`patience`"),
        ({"time_limit": 0.0}, "`time_limit`"),
        ({"device": "tpu"}, "`device`"),
        ({"random_state": -1}, "`random_state`"),
        ({"callbacks": [3]}, "`callbacks`"),
        ({"n_jobs": 0}, "`n_jobs`"),
        ({"mixer_options": {"taste": 1}}, "taste"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(**options).fit(wave()[:60], fh=FH)


def test_wrong_data_are_refused() -> None:
    infinite = wave()
    infinite.iloc[5] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        made().fit(infinite, fh=FH)
    uneven = pd.Series(np.arange(30.0), index=_uneven())
    with pytest.raises(ValueError, match=r"freq|no even step"):  # sktime itself refuses it, where it is one series
        made().fit(uneven, fh=FH)
    with pytest.raises(ValueError, match="no even step"):
        pasts_of(uneven.to_frame())
    with pytest.raises(ValueError, match="no value"):
        made().fit(wave() * np.nan, fh=FH)


def _uneven() -> pd.DatetimeIndex:
    seconds = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 30)).round(3)
    return pd.DatetimeIndex(pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds, unit="s"))


def test_quick_part_of_the_conformity_suite() -> None:
    few = ["test_clone", "test_get_test_params", "test_fit_updates_state", "test_persistence_via_pickle"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(LSSLForecaster, tests_to_run=few, raise_exceptions=False, verbose=False)
    assert {name: value for name, value in results.items() if value != "PASSED"} == {}
