"""`seqkit compare` as a person types it."""

from __future__ import annotations

import json
import sys

import pytest

from seqkit.cli.main import main
from seqkit.runs.comparison.record import Record, Request


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "grv"], "did you mean gru"),
        (["--models", ","], "at least one model"),
        (["--data", "no_such"], "there is no data set and no file named 'no_such'"),
        (["--data", "a/b.csv"], "there is no file or folder a/b.csv"),
        (["--budget", "soon"], "a time such as 90s"),
        (["--models", "gru", "order=3"], "there is no key 'order'"),
    ],
)
def test_one_sentence_for_each_mistake(monkeypatch, capfd, tmp_path, words, said):
    status, _, err = run(monkeypatch, capfd, "compare", *words, "--out", tmp_path / "c")
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "c").exists()


def test_a_finished_comparison_is_read_back_as_a_table_and_as_json(monkeypatch, capfd, tmp_path):
    """What lies in the folder is not trained again: the run's summary and costs are all that is there."""
    folder = tmp_path / "c"
    Record.open(folder / "comparison.json", Request({"epochs": 1}, None, None)).write()
    run_folder = folder / "runs" / "japanese_vowels" / "gru" / "seed-0"
    run_folder.mkdir(parents=True)
    row = {
        "data": "japanese_vowels", "model": "gru", "seed": 0, "metric": "accuracy", "value": 0.875, "loss": 0.5,
        "epochs": 1, "n_parameters": 1234, "train_seconds": 2.0, "predict_ms": 0.5, "step_us": None,
        "memory_mib": 300.0, "note": "does not stream: it looks both ways",
    }  # fmt: skip
    (run_folder / "costs.json").write_text(json.dumps(row))
    summary = {key: row.get(key, 0) for key in ("data", "model", "n_parameters", "epochs")}
    summary |= {"split": "test", "metrics": {}, "results": {}, "best_epoch": 1, "seconds": 2.0, "pictures": []}
    (run_folder / "summary.json").write_text(json.dumps(summary))
    words = ["compare", "--models", "gru", "epochs=1", "--out", folder]
    status, out, err = run(monkeypatch, capfd, *words)
    assert status == 0
    assert "87.5" in out
    assert "1,234" in out
    assert "gru: does not stream: it looks both ways" in err
    assert {"table.md", "rows.csv"} <= {path.name for path in folder.iterdir()}
    status, out, _ = run(monkeypatch, capfd, *words, "--json")
    assert json.loads(out.strip().splitlines()[-1])["rows"] == [row]
