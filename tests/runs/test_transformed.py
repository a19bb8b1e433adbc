"""Runs on parts that differ from each other: what the model is told of a test part's rate, and files read like it."""

import importlib.util
from pathlib import Path

import pytest

from seqkit.runs import evaluate, predict, train


@pytest.fixture(scope="module")
def root(tmp_path_factory, repository):
    spec = importlib.util.spec_from_file_location("seqkit_runs_twins", Path(repository) / "tests" / "fake" / "twins.py")
    twins = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twins)
    folder = tmp_path_factory.mktemp("letters")
    twins.write_letters(folder, 100)
    return folder


def letters(root, out, model, **options):
    settings = {"d_model": 4, "n_layers": 1, "epochs": 1, "root": str(root), **options}
    return train("character_trajectories", model, out=out, progress=False, **settings)


def test_the_rate_of_the_test_part_is_told(root, tmp_path):
    run = letters(root, tmp_path / "run", "s4d", order=4, test_rate=100.0)
    assert run.summary["notes"] == []
    assert evaluate(run.path).metrics == pytest.approx(run.metrics)
    assert evaluate(run.path).sample_rate == 100.0
    assert evaluate(run.path, hide_rate=True).metrics["loss"] != pytest.approx(run.metrics["loss"], rel=1e-6)


def test_a_model_that_cannot_be_told_is_measured_and_says_so(root, tmp_path):
    run = letters(root, tmp_path / "run", "gru", test_rate=100.0)
    (note,) = run.summary["notes"]
    assert note.startswith("test: gru has no notion of the sampling step")
    hidden = letters(root, tmp_path / "hidden", "gru", test_rate=100.0, timestamps="hidden")
    assert hidden.summary["notes"] == []
    assert hidden.metrics == run.metrics


def test_a_file_is_read_as_the_test_part_is(root, tmp_path):
    run = letters(root, tmp_path / "run", "gru", drop=0.5, timestamps="channel")
    path = root / "CharacterTrajectories" / "mixoutALL_shifted.mat"
    result = evaluate(run.path, path)  # four channels, as in training
    assert result.n_series == 100
    assert len(predict(run.path, path)) == 100


def test_uneven_times_need_a_model_that_takes_them(root, tmp_path):
    with pytest.raises(ValueError, match="not evenly spaced in time, and gru has no notion"):
        letters(root, tmp_path / "run", "gru", drop=0.5)
    assert letters(root, tmp_path / "own", "s4d", order=4, drop=0.5).metrics["loss"] > 0


def test_missing_samples_in_place_train_too(root, tmp_path):
    assert letters(root, tmp_path / "run", "gru", drop=0.3, missing="nan").metrics["loss"] > 0
