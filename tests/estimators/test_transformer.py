"""The memory transformer: one result by every way in, online and back."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sktime.datatypes import convert_to
from sktime.utils.estimator_checks import check_estimator

from seqkit.estimators import HiPPOTransformer
from seqkit.hippo import HiPPOMemory

STEPS = np.arange(200)
FIT_ONCE = ["test_fit_transform_output", "test_clone", "test_get_test_params", "test_doctest_examples"]


def frame(length: int = 200) -> pd.DataFrame:
    wave = np.sin(STEPS / 15) + 0.3 * np.cos(STEPS / 7)
    return pd.DataFrame({"a": wave, "b": STEPS / 50.0})[:length]


def uneven(length: int = 200) -> pd.DataFrame:
    since = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, len(STEPS)))
    out = frame().set_index(pd.Timestamp("2020-01-01") + pd.to_timedelta(since.round(3), unit="s"))
    out.iloc[5:20, 0] = np.nan
    return out[:length]


def panel() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(5, 2, 30))


def test_final_coefficients_are_those_of_the_memory() -> None:
    X = panel()
    table = HiPPOTransformer(6).fit_transform(X)
    expected = HiPPOMemory(6).project(torch.from_numpy(X.astype(np.float32)).double().transpose(1, 2))
    np.testing.assert_allclose(table.to_numpy(), expected.reshape(5, -1).numpy(), atol=1e-12)
    assert list(table.columns) == [f"var_{c}__{n}" for c in range(2) for n in range(6)]


@pytest.mark.parametrize("output", ["final", "course"])
@pytest.mark.parametrize("mtype", ["df-list", "nested_univ", "pd-multiindex"])
def test_every_panel_type_gives_the_same(mtype: str, output: str) -> None:
    X = panel()
    expected = HiPPOTransformer(4, output=output, every=3).fit_transform(X)
    given = convert_to(X, mtype)
    got = HiPPOTransformer(4, output=output, every=3).fit_transform(given)
    if output == "course":
        got = convert_to(got, "numpy3D")
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def test_course_has_a_row_every_so_many_samples_and_ends_as_final() -> None:
    X = frame()
    course = HiPPOTransformer(5, output="course", every=20).fit_transform(X)
    assert course.index.tolist() == list(range(19, 200, 20))
    np.testing.assert_allclose(course.iloc[-1], HiPPOTransformer(5).fit_transform(X).iloc[0], atol=1e-10)


def test_series_of_unequal_length_are_as_alone() -> None:
    X = [frame(30), frame(50), frame(41)]
    table = HiPPOTransformer(4).fit_transform(X)
    for i, one in enumerate(X):
        alone = HiPPOTransformer(4).fit(X).transform([one])
        np.testing.assert_allclose(table.iloc[i], alone.iloc[0], atol=1e-12)


def test_missing_value_is_as_a_sample_that_never_arrived() -> None:
    X = frame(60)
    X.iloc[[0, 10, 11, 59], 0] = np.nan
    got = HiPPOTransformer(4).fit_transform(X)
    whole = HiPPOTransformer(4).fit_transform(frame(60))
    there = torch.from_numpy(X["a"].notna().to_numpy(copy=True))[None]
    u = torch.from_numpy(frame(60)["a"].to_numpy(dtype=np.float32)).double()[None, :, None]
    expected = HiPPOMemory(4).project(u, observed=there)[0, 0].numpy()
    np.testing.assert_allclose(got.iloc[0, :4], expected, atol=1e-10)
    np.testing.assert_allclose(got.iloc[0, 4:], whole.iloc[0, 4:], atol=1e-12)


@pytest.mark.parametrize("measure", ["legs", "legt", "lagt", "fourier"])
@pytest.mark.parametrize("make", [frame, uneven])
def test_update_and_stream_equal_the_whole(measure: str, make: Any) -> None:
    whole = make()
    fitted = HiPPOTransformer(6, measure).fit(make(120))
    fitted.update(whole[120:150]).update(whole[150:])
    expected = fitted.transform(whole).to_numpy().reshape(2, 6)
    np.testing.assert_allclose(fitted.coefficients_, expected, atol=1e-9)
    stream = fitted.stream()
    timed = isinstance(whole.index, pd.DatetimeIndex)
    for time, row in zip(whole.index, whole.to_numpy(), strict=True):
        last = stream.push(row, time if timed else None)
    np.testing.assert_allclose(last, expected, atol=1e-6)
    assert len(stream) == 200


def test_stream_goes_on_after_fit() -> None:
    fitted = HiPPOTransformer(6).fit(frame(120))
    stream = fitted.stream(resume=True)
    for row in frame().to_numpy()[120:]:
        last = stream.push(row)
    np.testing.assert_allclose(last.ravel(), fitted.transform(frame()).iloc[0], atol=1e-6)


def test_rate_from_the_index_keeps_a_sliding_window_in_seconds() -> None:
    def at(n: int) -> pd.DataFrame:
        t = pd.date_range("2020", periods=n, freq=pd.Timedelta(seconds=400 / n))
        return pd.DataFrame({"x": np.sin(np.arange(n) * 400 / n / 30)}, index=t)

    fitted = HiPPOTransformer(8, "legt", window=100.0).fit(at(400))
    slow, fast = fitted.transform(at(400)), fitted.transform(at(1600))
    assert float(np.abs(slow.to_numpy() - fast.to_numpy()).max()) < 0.05


@pytest.mark.parametrize(("measure", "limit"), [("legs", 0.01), ("legt", 0.03), ("lagt", 0.15), ("fourier", 0.2)])
def test_series_come_back_from_their_course(measure: str, limit: float) -> None:
    X = frame()
    model = HiPPOTransformer(32, measure, output="course").fit(X)
    back = model.inverse_transform(model.transform(X))
    assert back.columns.tolist() == ["a", "b"]
    assert float(((back - X).std() / X.std()).max()) < limit


def test_gaps_and_uneven_times_come_back_too() -> None:
    X = uneven()
    model = HiPPOTransformer(32, output="course").fit(X)
    back = model.inverse_transform(model.transform(X))
    error = (back - X)["a"][20:].std() / X["a"].std()
    assert float(error) < 0.1


def test_pickle_keeps_state_and_transform() -> None:
    fitted = HiPPOTransformer(4).fit(frame(100))
    again = pickle.loads(pickle.dumps(fitted))
    again.update(frame()[100:])
    np.testing.assert_allclose(again.coefficients_.ravel(), fitted.transform(frame()).iloc[0], atol=1e-12)


def test_before_a_classifier_in_a_pipeline() -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline

    t, random = np.arange(60), np.random.default_rng(0)
    X = np.stack([np.sin(t / pace + random.uniform(0, 1))[None] for pace in (3.0, 8.0) * 20])
    y = np.array(["quick", "slow"] * 20)
    model = make_pipeline(HiPPOTransformer(12), RidgeClassifier()).fit(X[:20], y[:20])
    assert model.score(X[20:], y[20:]) > 0.7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": 0}, "`order`"),
        ({"measure": "lego"}, "legt"),
        ({"output": "all"}, "`output`"),
        ({"every": 0}, "`every`"),
        ({"window": "wide"}, "`window`"),
        ({"window": 5.0}, "`window` is not for legs"),
        ({"measure": "legt", "rule": "exact"}, "`rule` is for legs"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HiPPOTransformer(**options).fit(frame())


def test_wrong_data_are_refused() -> None:
    fitted = HiPPOTransformer(4).fit(frame())
    with pytest.raises(ValueError, match="fitted to 2"):
        fitted.transform(frame()[["a"]])
    with pytest.raises(ValueError, match="must come after"):
        fitted.update(frame()[50:])
    with pytest.raises(ValueError, match="single series"):
        HiPPOTransformer(4).fit(panel()).update(panel())
    with pytest.raises(ValueError, match="resume"):
        HiPPOTransformer(4).fit(panel()).stream(resume=True)
    with pytest.raises(ValueError, match="`x` must be one sample of 2 numbers"):
        fitted.stream().push([1.0])
    with pytest.raises(ValueError, match="infinite"):
        fitted.stream().push([1.0, np.inf])
    with pytest.raises(ValueError, match="10 are needed"):
        HiPPOTransformer(4, output="course", every=10).fit(frame()).transform(frame(9))


def test_quick_part_of_the_conformity_suite() -> None:
    results = check_estimator(HiPPOTransformer, tests_to_run=FIT_ONCE, verbose=False)
    assert set(results.values()) == {"PASSED"}, {k: v for k, v in results.items() if v != "PASSED"}
