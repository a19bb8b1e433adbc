"""`seqkit export` as a person types it."""

import json
import sys

import numpy as np
import pytest
import torch

from seqkit import DataInfo, ModelConfig
from seqkit.cli.main import main
from seqkit.models import SequenceModel, save_model


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.fixture
def finished(tmp_path):
    info = DataInfo("toy", "regression", n_channels=1, sample_rate=10.0)
    sizes = {"d_model": 4, "n_layers": 1, "order": 4, "measure": "legt", "window": 20.0}
    save_model(SequenceModel.from_config(ModelConfig.preset("hippo_rnn", **sizes), info, seed=0), tmp_path / "run")
    return tmp_path / "run"


def test_export_writes_programs_into_the_run(monkeypatch, capfd, finished):
    status, out, err = run(monkeypatch, capfd, "export", finished, "--format", "torch", "--sample-rate", "5")
    assert status == 0, err
    assert f"step.pt2, block.pt2 in {finished / 'torch'}" in out.replace("\n", " ")
    assert "evenly spaced" in err
    names = sorted(path.name for path in (finished / "torch").iterdir())
    assert names == ["block.pt2", "initial.npz", "model.json", "step.pt2"]
    made = json.loads((finished / "torch" / "model.json").read_text())
    assert (made["step"], made["output"]) == (2.0, "values")
    state = [torch.from_numpy(value) for value in np.load(finished / "torch" / "initial.npz").values()]
    program = torch.export.load(finished / "torch" / "step.pt2").module()
    output, *_ = program(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), *state)
    assert output.shape == (1, 1)


def test_onnx_is_the_default(monkeypatch, capfd, finished, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    status, out, err = run(monkeypatch, capfd, "export", finished, "-o", tmp_path / "out")
    assert (status, "step.onnx, block.onnx" in out) == (0, True), err
    session = onnxruntime.InferenceSession(tmp_path / "out" / "block.onnx")
    assert [value.shape for value in session.get_inputs()][:2] == [["batch", "length", 1], ["batch", "length", 1]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "onyx"], "`format` must be one of onnx, torch, got 'onyx'"),
        (["--format", "torch", "-o", "."], ". is there already"),
        (["--format", "torch", "--sample-rate", "0"], "`sample_rate` must be a finite number above 0"),
    ],
)
def test_mistakes_are_one_sentence(monkeypatch, capfd, finished, words, sentence):
    status, _, err = run(monkeypatch, capfd, "export", finished, *words)
    assert status == 2
    assert sentence in err
    assert sorted(path.name for path in finished.iterdir()) == ["model.json", "model.safetensors"]


def test_an_unfinished_run_is_refused(monkeypatch, capfd, finished):
    (finished / "model.safetensors").unlink()
    status, _, err = run(monkeypatch, capfd, "export", finished)
    assert status == 2
    assert "holds no model.safetensors; give the folder of a finished run" in err


def test_a_missing_extra_is_named(monkeypatch, capfd, finished):
    from seqkit.streaming.export import formats

    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    status, _, err = run(monkeypatch, capfd, "export", finished)
    assert status == 2
    assert "pip install 'seqkit[export]'" in err
