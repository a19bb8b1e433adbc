"""The folder of a run: what is where, what makes it finished, and words for what is damaged."""

import csv
import json
import math

import pytest
import yaml

from seqkit.tasks import RunFolder


def test_a_run_from_start_to_end(tmp_path):
    run = RunFolder(str(tmp_path / "runs" / "first"))
    assert not run.exists
    assert not run.is_finished
    assert not run.path.exists()
    config = {"model": {"name": "s4d", "dropout": 0.1, "options": {}}, "data": {"path": "Ω.csv"}, "seed": None}
    run.write_config(config)
    assert run.exists
    assert yaml.safe_load(run.config.read_text(encoding="utf-8")) == config
    assert list(yaml.safe_load(run.config.read_text(encoding="utf-8"))) == ["model", "data", "seed"]
    with pytest.raises(FileNotFoundError, match=r"first holds no summary\.json, so the run is not finished; resume it"):
        run.read_summary()
    run.write_summary({"accuracy": 0.5, "classes": ["ä"]})
    assert run.is_finished
    assert run.read_summary() == {"accuracy": 0.5, "classes": ["ä"]}
    assert {path.name for path in run.path.iterdir()} == {"config.yaml", "summary.json"}
    assert run.checkpoint == run.path / "checkpoints" / "last.ckpt"


def test_metrics_of_epochs_that_differ(tmp_path):
    run = RunFolder(tmp_path)
    run.write_metrics([{"epoch": 0, "train_loss": 1.5}, {"epoch": 1, "train_loss": math.nan, "val_loss": 2.0}])
    with run.metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "0", "train_loss": "1.5", "val_loss": ""},
        {"epoch": "1", "train_loss": "nan", "val_loss": "2.0"},
    ]
    run.write_metrics([{"epoch": 0}])
    assert run.metrics.read_text().split() == ["epoch", "0"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
def test_damaged_summary(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=r"summary\.json is damaged .*; remove it and resume the run"):
        RunFolder(tmp_path).read_summary()


def test_what_cannot_be_written_leaves_what_was(tmp_path):
    run = RunFolder(tmp_path)
    run.write_summary({"accuracy": 1.0})
    with pytest.raises(TypeError):
        run.write_summary({"accuracy": object()})
    assert json.loads(run.summary.read_text()) == {"accuracy": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
