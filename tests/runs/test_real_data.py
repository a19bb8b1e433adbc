"""The recipes on real data: what the README says of them, measured anew."""

import pytest

from seqkit.runs import evaluate, train


@pytest.mark.slow
def test_japanese_vowels(tmp_path):
    run = train(out=tmp_path / "vowels", progress=False)
    assert run.summary["n_series"]["test"] == 370
    assert run.summary["n_series"]["train"] + run.summary["n_series"]["val"] == 270
    assert run.metrics["accuracy"] >= 0.98


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_character_trajectories_at_another_rate(data_root, tmp_path):
    run = train("character_trajectories", out=tmp_path / "letters", progress=False)
    assert run.summary["n_series"]["test"] == 200
    assert run.metrics["accuracy"] >= 0.995
    assert evaluate(run.path, subsample=2).metrics["accuracy"] >= 0.99
    assert evaluate(run.path, subsample=2, hide_rate=True).metrics["accuracy"] < 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_character_trajectories_by_legs_without_the_rate(data_root, tmp_path):
    run = train("character_trajectories", "hippo_legs", out=tmp_path / "letters", progress=False)
    assert run.metrics["accuracy"] >= 0.97
    half = evaluate(run.path, subsample=2, hide_rate=True).metrics["accuracy"]
    assert abs(half - run.metrics["accuracy"]) <= 0.01
