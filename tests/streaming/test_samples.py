"""A sample is looked at in the same way whatever form it comes in."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from seqkit import S4D, DataInfo, HiPPOMemory, ModelConfig, SequenceModel
from seqkit.streaming import MemoryEngine, MixerEngine, Stream
from seqkit.streaming.samples import checked_samples

SINGLE, DOUBLE = MixerEngine(S4D(2, order=4)), MemoryEngine(HiPPOMemory(3), n_channels=2)
FORMS: dict[str, Any] = {
    "list": [1.5, -2.0],
    "whole numbers": [1, -2],
    "float32": np.array([1.5, -2.0], np.float32),
    "float16": np.array([1.5, 6e4], np.float16),
    "other byte order": np.array([1.5, -2.0], ">f8"),
    "every other": np.arange(4.0)[::2],
    "large": [9e14, -9e14],
    "small": [1e-40, 0.0],
    "unsigned": np.array([1, 200], np.uint8),
}


def test_values_from_which_numbers_would_overflow_are_refused() -> None:
    info = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))
    model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info, seed=0)
    model.input_norm.set_statistics(torch.zeros(2), torch.tensor([1e-9, 1e9]))
    stream = Stream(model)
    assert np.isfinite(stream.push([1e5, 1e23])).all()  # far, in units of each channel
    before = stream.state_dict()
    for x in ([0.0, 2e24], [[0.0, 0.0], [1e7, np.nan]], [1e7, np.nan], [1e7, 0.0]):
        with pytest.raises(ValueError, match=r"`x` must be within 1e\+(06|24) in channel [01] for gru of toy, got"):
            stream.push(x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in stream.state_dict().items())
    assert np.isfinite(Stream(HiPPOMemory(3), dtype="float32").push([9e29])).all()
    assert np.isfinite(Stream(HiPPOMemory(3)).push([9e299])).all()
    for dtype, value in (("float32", 3e38), ("float64", 1e301)):
        with pytest.raises(ValueError, match="would overflow"):
            Stream(HiPPOMemory(3), dtype=dtype).push([value])


@pytest.mark.parametrize("engine", [SINGLE, DOUBLE], ids=["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_single_samples_of_any_form(form: str, engine: MixerEngine) -> None:
    given = FORMS[form]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, observed, single = checked_samples("x", given, engine)
    assert values.dtype == engine.sample_dtype
    assert values.shape == (1, 2)
    assert observed is None
    assert single
    np.testing.assert_array_equal(values[0], np.asarray(given).astype(engine.sample_dtype))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1.0, np.inf], "`x` must be finite, got an infinite value"),
        ([-np.inf, np.nan], "`x` must be finite, got an infinite value"),
        ([1e39, 0.0], "`x` must be finite, got an infinite value"),
        ([1.0, np.nan], "`x` holds NaN, and S4D has no notion of missing values"),
        ([1.0], "`x` must be one sample of 2 numbers"),
        ([True, "a"], "`x` must be one sample of 2 numbers"),
        ([1j, 0], "`x` must be one sample of 2 numbers"),
    ],
)
def test_what_is_no_sample_is_named(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_samples("x", given, SINGLE)


def test_missing_values_become_zero_with_a_mask() -> None:
    values, observed, single = checked_samples("x", [np.nan, 2.0], DOUBLE)
    assert values.tolist() == [[0.0, 2.0]]
    assert observed is not None
    assert observed.tolist() == [[False, True]]
    assert single


def test_a_step_that_float32_does_not_hold_is_refused() -> None:
    stream = Stream(S4D(2, order=4))
    stream.push([1.0, 2.0], 0.0)
    before = stream.push([1.0, 2.0], 1e25)
    assert np.isfinite(before).all()
    with pytest.raises(ValueError, match=r"`time` must be within 1e\+30 training steps"):
        stream.push([1.0, 2.0], 1e45)
    np.testing.assert_array_equal(stream.output, before)
