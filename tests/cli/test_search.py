"""`seqkit search` as a person types it."""

import json
import sys

import numpy as np
import pytest

from seqkit.cli.main import main

SMALL = ["epochs=2", "d_model=4", "n_layers=1", "n_levels=1", "kernel_size=3", "device=cpu"]


def run(monkeypatch, capfd, *words):
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Series of one length, whose class is whether two samples far apart have the same sign."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((60, 16, 1)).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "signs.npz"
    np.savez(
        path,
        values=values.reshape(-1, 1),
        lengths=np.full(60, 16),
        y=np.where(values[:, 1, 0] * values[:, 12, 0] > 0, "same", "other"),
    )
    return path


def test_a_search_shows_both_networks_and_what_was_found(monkeypatch, capfd, data, tmp_path):
    out = tmp_path / "run"
    status, shown, said = run(monkeypatch, capfd, "search", "--data", data, *SMALL, "depth=1", "--out", out)
    assert status == 0
    for words in ("searched", "unsearched", "operations found", "convs.0", "operations.png"):
        assert words in shown.replace("\n", "")
    assert "searching over 1 operations" in said
    status, shown, _ = run(monkeypatch, capfd, "search", "--resume", "--out", out, "--json")
    assert status == 0
    result = json.loads(shown.strip().splitlines()[-1])
    assert result["search"]["depth"] == 1
    assert set(result["unsearched"]["results"]) == {"val", "test"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--resume", "depth=1"], "a resumed search keeps its own configuration"),
        (["depth=0"], "`depth` must be"),
        (["search.causal=yes"], "`causal` must be"),
        (["--model", "lstm", "epochs=1"], "`model` must hold an nn.Conv1d"),
    ],
)
def test_mistakes_are_one_sentence(monkeypatch, capfd, data, tmp_path, words, sentence):
    given = [] if "--resume" in words else ["--data", data, "--out", tmp_path / "run"]
    status, _, said = run(monkeypatch, capfd, "search", *given, *words)
    assert status == 2
    assert said.startswith("seqkit: ")
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
