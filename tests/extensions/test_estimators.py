"""Fitted estimators and Spark's workers with a mixer of one's own: asked for in one sentence, or imported by name."""

import pickle
import sys

import numpy as np
import pytest

pytest.importorskip("sktime")

from seqkit.extensions import import_code
from seqkit.models.config import PRESETS
from seqkit.nn.mixer import _MIXERS

CODE = """
from seqkit.models import register_model
from seqkit.nn import GRU, register_mixer


@register_mixer("chimes")
class Chimes(GRU):
    pass


register_model("chimes", mixer="chimes", summary="a gru by another name")
"""


@pytest.fixture
def chimes(mine, names):
    path = mine / "chimes_of_mine.py"
    path.write_text(CODE)
    import_code(path)
    return path


def forget(path) -> None:
    """As in another process, which has not imported it."""
    del PRESETS["chimes"]
    del _MIXERS._classes["chimes"]
    sys.path.remove(str(path.parent))
    del sys.modules[next(name for name, one in sys.modules.items() if getattr(one, "__file__", "") == str(path))]


@pytest.mark.parametrize("kind", ["LSSLClassifier", "LSSLForecaster"])
def test_a_saved_estimator_says_what_to_import(chimes, kind: str) -> None:
    import pandas as pd

    import seqkit.estimators

    x = np.random.default_rng(0).normal(size=(6, 1, 9))
    small = {"d_model": 4, "n_layers": 1, "epochs": 1, "random_state": 0}
    make = getattr(seqkit.estimators, kind)
    if kind == "LSSLForecaster":
        fitted = make("chimes", window=4, horizon=2, **small).fit(pd.Series(x.ravel()))
    else:
        fitted = make("chimes", **small).fit(x, list("ababab"))
    content = pickle.dumps(fitted)
    forget(chimes)
    with pytest.raises(ValueError, match=rf"the saved {kind} uses model chimes and mixer chimes of .*add --import"):
        pickle.loads(content)
    import_code(chimes)
    again = pickle.loads(content)
    if kind == "LSSLForecaster":
        pd.testing.assert_series_equal(again.predict([1, 2]), fitted.predict([1, 2]))
    else:
        np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))


def test_a_worker_of_spark_imports_what_the_driver_was_given(chimes) -> None:
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'seqkit[spark]'")
    from seqkit import DataInfo, ModelConfig
    from seqkit.models import SequenceModel
    from seqkit.streaming.spark.carried import carry, model_of

    info = DataInfo("made", "regression", n_channels=1)
    model = SequenceModel.from_config(ModelConfig.preset("chimes", d_model=4, n_layers=1), info, seed=0)
    carried = carry(model)
    assert carried.code == (str(chimes),)
    forget(chimes)
    there = model_of(carried)
    assert "chimes" in PRESETS
    assert there.config == model.config
    forget(chimes)
    chimes.unlink()
    model_of.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"the driver imported .*chimes_of_mine.py, which this worker cannot"):
        model_of(carried)
