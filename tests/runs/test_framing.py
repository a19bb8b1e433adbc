"""Runs on frames of samples: trained, measured and asked for new files that are framed alike."""

from __future__ import annotations

import numpy as np
import pytest

from seqkit.runs import RunConfig, evaluate, predict, train
from seqkit.runs.data import build_data_module
from seqkit.runs.parallel_config import ParallelConfig

SMALL = {"epochs": 2, "d_model": 8, "n_layers": 1, "order": 4, "device": "cpu"}
FRAMES = {"frame": 4, "vary_speed": 0.2, "vary_gain": 0.5, "vary_shift": 3}


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    phase = rng.uniform(0, 6, (40, 1))
    values = np.sin(phase + np.arange(90) * np.where(label, 0.3, 0.9)[:, None])[:, :, None]
    path = tmp_path_factory.mktemp("waves") / "waves.npz"
    np.savez(path, X=values.astype(np.float32), y=label.astype(str))
    return path


@pytest.fixture(scope="module")
def run(waves, tmp_path_factory):
    settings = {**SMALL, **FRAMES, "epochs": 8, "batch_size": 4, "learning_rate": 0.03, "sample_rate": 100.0}
    return train(str(waves), "s4d", out=tmp_path_factory.mktemp("runs") / "waves", progress=False, **settings)


def test_a_run_on_frames_learns_and_new_files_are_framed_alike(run, waves):
    assert evaluate(run.path, waves, split="test").metrics["accuracy"] >= 0.75
    rows = predict(run.path, waves)
    assert len(rows) == 40
    whole = evaluate(run.path, waves, split="all").metrics["accuracy"]
    labels = [str(k % 2) for k in range(40)]
    assert np.mean([row["prediction"] == label for row, label in zip(rows, labels, strict=True)]) == pytest.approx(
        whole
    )


def test_another_rate_is_refused_since_frames_hold_a_fixed_time(run, waves):
    assert predict(run.path, waves, sample_rate=100.0) == predict(run.path, waves)
    with pytest.raises(ValueError, match="`sample_rate` must be 100 Hz for a run on frames of 4 samples, got 50"):
        predict(run.path, waves, sample_rate=50.0)
    with pytest.raises(ValueError, match="`subsample` must be 1 for a run on frames of 4 samples"):
        evaluate(run.path, subsample=2)


def test_the_configuration_knows_frames_and_variation(waves):
    config = RunConfig.build(str(waves), "s4d", settings={**SMALL, **FRAMES})
    assert RunConfig.from_dict(config.to_dict()) == config
    module = build_data_module(config)
    assert (module.info.n_channels, module.info.max_length) == (4, 23)
    assert module.vary == config.data.variation
    assert RunConfig.build(str(waves), "s4d").data.variation is None


@pytest.mark.parametrize(
    "bad", [{"frame": 0}, {"frame": 2.0}, {"vary_speed": -1.0}, {"vary_shift": 0.5}, {"vary_drop": 1.0}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must (be|lie)"):
        RunConfig.build("japanese_vowels", settings=bad)


def test_a_pipeline_refuses_series_that_vary(waves):
    config = RunConfig.build(str(waves), "s4d", settings={**SMALL, "n_layers": 2, "vary_gain": 0.5})
    info = build_data_module(config).info
    ParallelConfig(ddp=2).check(config, info)
    with pytest.raises(ValueError, match=r"`vary_shift` and `vary_drop` must be 0 .* got 0, 0\.5, 0, 0;"):
        ParallelConfig(pipeline=2).check(config, info)
