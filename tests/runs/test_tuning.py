"""The search of settings: what it may set, what it is guided by, and that it goes on where it was stopped."""

from __future__ import annotations

import csv
import json
import math

import pytest

from seqkit.runs import tune
from seqkit.runs.comparison.running import STOPPED
from seqkit.runs.tuning.space import Choice, Range, parse_space, usual_space
from seqkit.runs.tuning.trial import Trial, validation_losses
from seqkit.tasks.run_folder import RunFolder

SMALL = {"d_model": 8, "n_layers": 1, "batch_size": 64}


def test_words_become_ranges_choices_and_fixed_values():
    space, fixed = parse_space(
        ["learning_rate=1e-4..1e-2", "n_layers=1..4", "order=8,16", "pool=mean", "bidirectional=true,false"]
    )
    assert space["learning_rate"] == Range(1e-4, 1e-2)
    assert space["learning_rate"].by_logarithm
    assert space["n_layers"] == Range(1, 4)
    assert space["n_layers"].whole
    assert not space["n_layers"].by_logarithm
    assert space["order"] == Choice((8, 16))
    assert space["bidirectional"] == Choice((True, False))
    assert fixed == {"pool": "mean"}


@pytest.mark.parametrize(
    ("word", "said"),
    [("a=3..1", "must rise"), ("a=x..2", "finite numbers"), ("a=1..", "finite numbers"), ("a=4,4", "two different")],
)
def test_what_is_no_range_or_choice(word, said):
    with pytest.raises(ValueError, match=said):
        parse_space([word])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"trials": 2, "space": {}}, "at least one range"),
        ({"trials": 2, "space": {"dropout": Range(0.0, 0.5)}, "settings": {"dropout": 0.1}}, "both fixed and searched"),
        ({"trials": 2, "space": {"seed": Range(0, 5)}}, "must be fixed"),
        ({"space": {"dropout": Range(0.0, 0.5)}}, "needs an end"),
        ({"trials": 0}, "trials"),
        ({"time_limit": "soon"}, "`time_limit` must be a time"),
        ({"trials": 2, "space": {"ordr": Range(1, 5)}}, "no key 'ordr'"),
        ({"trials": 2, "space": {"dropout": Range(0.0, 1.5)}}, "dropout"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(tmp_path, words, said):
    with pytest.raises(ValueError, match=said):
        tune("japanese_vowels", "gru", out=tmp_path / "s", progress=False, **words)
    assert not (tmp_path / "s").exists()


def test_a_papers_size_is_not_searched():
    assert "d_model" not in usual_space("lssl_small")
    assert "order" not in usual_space("gru")


class Bowl:
    """In place of trainings: a loss that is least at dropout 0.2, and falls by epoch."""

    def __init__(self):
        self.runs = []

    def __call__(self, trial, watch, *, offline):
        self.runs.append(trial.chosen)
        losses = []
        for epoch in range(4):
            losses.append(1.0 / (epoch + 1) + (trial.chosen["dropout"] - 0.2) ** 2)
            trial.folder.write_metrics([{"val_loss": loss} for loss in losses])
            if watch(validation_losses(trial.folder)):
                return STOPPED
        trial.folder.write_summary(
            dict.fromkeys(("data", "model", "n_parameters", "epochs", "best_epoch", "seconds"), 0)
            | {"split": "test", "metrics": {}, "results": {}, "pictures": []}
        )
        return None


@pytest.fixture
def bowl(monkeypatch):
    runner = Bowl()
    monkeypatch.setattr(Trial, "run", lambda self, watch, *, offline: runner(self, watch, offline=offline))
    return runner


SPACE = {"dropout": Range(0.0, 0.9)}


def test_the_least_loss_is_found_and_bad_trainings_are_stopped(bowl, tmp_path):
    found = tune("japanese_vowels", "gru", space=SPACE, trials=25, out=tmp_path, progress=False)
    assert abs(found.best["dropout"] - 0.2) < 0.1
    assert found.loss == min(0.25 + (one["dropout"] - 0.2) ** 2 for one in bowl.runs)
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    states = [row["state"] for row in rows]
    assert len(rows) == 25
    assert "pruned" not in states[:5]
    assert "pruned" in states
    assert all(int(row["epochs"]) < 4 for row in rows if row["state"] == "pruned")
    assert (tmp_path / "best.yaml").is_file()
    assert found.result.split == "test"


def test_a_search_goes_on_with_what_it_knows(bowl, tmp_path):
    tune("japanese_vowels", "gru", space=SPACE, trials=3, out=tmp_path, progress=False)
    again = tune("japanese_vowels", "gru", space=SPACE, trials=4, out=tmp_path, progress=False)
    assert again.trials == 4
    assert len(bowl.runs) == 4
    assert len({one["dropout"] for one in bowl.runs}) == 4  # nothing is proposed twice, though the seed is the same
    tune("japanese_vowels", "gru", space=SPACE, trials=4, out=tmp_path, progress=False)
    assert len(bowl.runs) == 4


def test_an_interrupted_trial_is_taken_up_with_its_settings(bowl, tmp_path, monkeypatch):
    def stop(self, watch, *, offline):
        bowl.runs.append(self.chosen)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "run", stop)
        with pytest.raises(KeyboardInterrupt, match=str(tmp_path)):
            tune("japanese_vowels", "gru", space=SPACE, trials=2, out=tmp_path, progress=False)
    tune("japanese_vowels", "gru", space=SPACE, trials=1, out=tmp_path, progress=False)
    assert bowl.runs[0] == bowl.runs[1]


def test_another_search_in_the_folder_is_refused_or_cleared(bowl, tmp_path):
    tune("japanese_vowels", "gru", space=SPACE, trials=1, out=tmp_path, progress=False)
    other = {"space": {"dropout": Range(0.0, 0.5)}, "trials": 1, "out": tmp_path, "progress": False}
    with pytest.raises(FileExistsError, match="other space"):
        tune("japanese_vowels", "gru", **other)
    assert tune("japanese_vowels", "gru", overwrite=True, **other).trials == 1
    (tmp_path / "search.json").unlink()
    with pytest.raises(FileExistsError, match="no search wrote"):
        tune("japanese_vowels", "gru", **other)


def test_a_search_in_which_nothing_ends_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Trial, "run", lambda self, watch, *, offline: "it diverged")
    with pytest.raises(ChildProcessError, match="no training"):  # which the command shows as a sentence
        tune("japanese_vowels", "gru", space=SPACE, trials=2, out=tmp_path, progress=False)


def test_data_that_cannot_be_used_are_said_before_anything_is_written(tmp_path):
    (tmp_path / "one.csv").write_text("series,x,target\na,1,walk\n")
    with pytest.raises(ValueError, match=r"one.csv has 1 series to train on; at least 3"):
        tune(tmp_path / "one.csv", "gru", space=SPACE, trials=2, out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_losses_that_are_not_finite_are_the_worst(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_metrics([{"epoch": 0, "val_loss": 2.0}, {"epoch": 1, "val_loss": math.nan}])
    assert validation_losses(folder) == [2.0, math.inf]


@pytest.mark.slow
def test_a_search_of_real_trainings(tmp_path):
    """Two real trainings; the best one's numbers are its run's, and the run can be read."""
    space = {"learning_rate": Range(1e-4, 1e-1)}
    fixed = {**SMALL, "epochs": 2}
    found = tune("japanese_vowels", "gru", space=space, trials=2, settings=fixed, out=tmp_path, progress=False)
    assert found.loss == min(validation_losses(RunFolder(found.run)))
    assert found.result.model.n_parameters > 0
    assert json.loads((tmp_path / "search.json").read_text())["model"] == "gru"
