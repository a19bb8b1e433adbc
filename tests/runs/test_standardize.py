"""Models that take channels and targets in the training part's deviations, and models that take them as they are."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqkit.runs import evaluate, train
from seqkit.runs.config import DataConfig, RunConfig
from seqkit.runs.data import build_data_module
from seqkit.runs.training import build_model

SMALL = {"epochs": 1, "d_model": 4, "n_layers": 1, "order": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def heart_file(tmp_path_factory):
    """Series whose target, far from 0, is in a unit of its own."""
    rng = np.random.default_rng(0)
    values = 300 + 20 * rng.standard_normal((40, 16, 2))
    path = tmp_path_factory.mktemp("heart") / "heart.npz"
    np.savez(path, X=values.astype(np.float32), y=values.mean(axis=(1, 2)) / 4 + rng.standard_normal(40))
    return path


def build(path, **settings):
    config = RunConfig.build(str(path), "s4d", settings={**SMALL, "dt_min": 0.01, "dt_max": 0.1, **settings})
    module = build_data_module(config)
    return build_model(config, module), module


def test_statistics_are_those_of_the_training_part_by_default(heart_file):
    model, module = build(heart_file)
    samples = np.concatenate(list(module.sets["train"].values)).astype(np.float64)
    np.testing.assert_allclose(model.input_norm.mean, samples.mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.input_norm.std, samples.std(0), rtol=1e-5)
    np.testing.assert_allclose(model.head.offset, module.sets["train"].target.mean(0), rtol=1e-5)
    everything = np.concatenate([one for part in module.sets.values() for one in part.values]).astype(np.float64)
    assert not np.allclose(model.input_norm.mean, everything.mean(0), rtol=1e-5)


def test_without_it_samples_and_targets_stay_as_they_are(heart_file):
    model, module = build(heart_file, standardize=False)
    batch = next(iter(module.test_dataloader()))
    assert torch.equal(model.input_norm(batch.values), batch.values)
    assert torch.equal(model.head.offset, torch.zeros(1))
    assert torch.equal(model.head.scale, torch.ones(1))


def test_the_error_is_in_the_target_s_unit_either_way_and_the_choice_is_kept(heart_file, tmp_path):
    for standardize in (True, False):
        run = train(
            heart_file, "s4d", out=tmp_path / str(standardize), progress=False, standardize=standardize, **SMALL
        )
        assert RunConfig.from_file(run.path / "config.yaml").data.standardize is standardize
        assert evaluate(run.path).metrics["rmse"] == pytest.approx(run.metrics["rmse"], rel=1e-5)
        weights = load_file(run.path / "model.safetensors")
        assert bool((weights["input_norm.std"] == 1).all()) is not standardize
        # An untrained head says the mean of about 75 when it knows it, and about 0 when it does not.
        assert (run.metrics["rmse"] < 10) is standardize
        assert (run.metrics["rmse"] > 60) is not standardize


@pytest.mark.parametrize("bad", ["no", 0, None])
def test_other_values_are_refused(bad):
    with pytest.raises(ValueError, match="`standardize` must be true or false"):
        DataConfig(standardize=bad)
