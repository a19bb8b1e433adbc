"""Parameters that a search draws from arrays: numbers of numpy's kinds do what Python's do."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime")
pytest.importorskip("lightning")

from sklearn.model_selection import GridSearchCV

from seqkit.estimators import HiPPOFeaturesClassifier, HiPPOTransformer, LSSLClassifier, LSSLForecaster

X, Y = np.random.default_rng(0).normal(size=(12, 1, 12)), np.array([0, 1] * 6)


def test_a_grid_of_arrays_is_searched_and_what_it_finds_is_saved(tmp_path):
    one = LSSLClassifier(
        "s4d", n_layers=1, epochs=1, batch_size=4, random_state=0, mixer_options={"order": np.int64(4)}
    )
    grid = {"d_model": np.arange(2, 5, 2), "dropout": np.linspace(0, 0.5, 2).astype(np.float32)}
    found = GridSearchCV(one, grid, cv=2).fit(X, Y).best_estimator_
    assert type(found.d_model) is np.int64
    found.save(str(tmp_path / "found"))
    assert {type(found.sizes_[name]) for name in ("d_model", "order", "epochs")} == {int}


def test_other_estimators_take_them_too():
    shares = [HiPPOFeaturesClassifier(n, random_state=0).fit(X, Y).predict_proba(X) for n in (np.int64(30), 30)]
    np.testing.assert_array_equal(*shares)
    courses = [
        HiPPOTransformer(order, every=every, output="course").fit_transform(X)
        for order, every in ((np.int64(4), np.int32(3)), (4, 3))
    ]
    np.testing.assert_array_equal(*courses)
    wave = pd.Series(np.sin(np.arange(60.0)))
    sizes = {"window": np.int64(8), "season": np.int64(6), "horizon": np.int64(2), "d_model": np.int64(4)}
    made = LSSLForecaster("s4d", n_layers=1, epochs=1, random_state=0, **sizes).fit(wave, fh=[1, 2])
    plain = {name: int(value) for name, value in sizes.items()}
    same = LSSLForecaster("s4d", n_layers=1, epochs=1, random_state=0, **plain).fit(wave, fh=[1, 2])
    pd.testing.assert_series_equal(made.predict(), same.predict())


def test_what_is_no_whole_number_stays_refused():
    for wrong in (np.float64(4.5), np.bool_(True)):
        with pytest.raises(ValueError, match="`d_model` must be a whole number of at least 1"):
            LSSLClassifier("s4d", d_model=wrong, epochs=1).fit(X, Y)
