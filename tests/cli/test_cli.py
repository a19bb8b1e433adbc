"""The command line as a person types it: results, exit status, and one sentence for each mistake."""

import errno
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

from seqkit.cli.main import main

SMALL = ["epochs=2", "d_model=8", "n_layers=1", "order=8", "device=cpu"]


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    lines = ["series,time,x,y,target"]
    for i in range(40):
        for k in range(int(rng.integers(10, 20))):
            wave = np.sin((0.3 + 0.5 * (i % 2)) * k) + 0.1 * rng.standard_normal()
            lines.append(f"s{i},{k / 50},{wave:.5f},{rng.standard_normal():.5f},{'slow' if i % 2 == 0 else 'fast'}")
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    from seqkit.runs import train

    settings = {"epochs": 2, "d_model": 8, "n_layers": 1, "order": 8, "device": "cpu"}
    return train(str(data), "s4d", out=tmp_path_factory.mktemp("runs") / "run", progress=False, **settings).path


def test_train_json_is_the_last_line(monkeypatch, capfd, data, tmp_path):
    status, out, err = run(monkeypatch, capfd, "train", "--data", data, *SMALL, "--out", tmp_path / "r", "--json")
    assert status == 0
    result = json.loads(out.strip().splitlines()[-1])
    assert result["run"] == str(tmp_path / "r")
    assert result["split"] == "test"
    assert 0 <= result["metrics"]["accuracy"] <= 1
    assert "epoch 2/2" in err
    assert "mine.csv: 26 train, 6 val, 8 test series of 10 to 19 samples; 2 channels (x, y); 2 classes; 50 Hz" in err
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["training"]["epochs"] == 2


def test_train_shows_a_table_and_pictures(monkeypatch, capfd, data, tmp_path):
    status, out, _ = run(monkeypatch, capfd, "train", "--data", data, *SMALL, "--out", tmp_path / "r")
    assert status == 0
    assert "accuracy" in out
    assert "confusion.png" in out.replace("\n", "")


def test_evaluate(monkeypatch, capfd, finished, data):
    status, out, _ = run(monkeypatch, capfd, "evaluate", finished, "--json")
    first = json.loads(out.strip().splitlines()[-1])
    assert status == 0
    assert first["run"] == str(finished)
    assert first["split"] == "test"
    status, out, err = run(monkeypatch, capfd, "evaluate", finished, "--subsample", 2, "--hide-rate", "--json")
    assert status == 0
    assert "not told" in err
    status, out, _ = run(monkeypatch, capfd, "evaluate", finished, "--data", data, "--split", "all")
    assert status == 0
    assert "40 series" in out


def test_predict(monkeypatch, capfd, finished, data, tmp_path):
    status, out, _ = run(monkeypatch, capfd, "predict", finished, data, "-o", tmp_path / "answers.csv")
    assert status == 0
    assert "40 predictions" in out
    written = (tmp_path / "answers.csv").read_text()
    assert written.startswith("series,prediction,probability fast,probability slow")
    status, out, _ = run(monkeypatch, capfd, "predict", finished, data)
    assert (status, out) == (0, written)


def test_dry_run_writes_nothing(monkeypatch, capfd, data, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(monkeypatch, capfd, "train", "--data", data, *SMALL, "--dry-run")
    assert status == 0
    for word in ("learning_rate", "parameters", "memory", "about"):
        assert word in out
    assert list(tmp_path.iterdir()) == []
    status, out, _ = run(monkeypatch, capfd, "train", "--data", data, *SMALL, "--dry-run", "--json")
    assert json.loads(out.strip().splitlines()[-1])["n_parameters"] > 100


def test_lists(monkeypatch, capfd):
    status, out, _ = run(monkeypatch, capfd, "models")
    assert status == 0
    assert "lssl" in out
    status, out, _ = run(monkeypatch, capfd, "data", "list")
    assert status == 0
    assert "japanese_vowels" in out
    status, out, _ = run(monkeypatch, capfd, "data", "prepare", "japanese_vowels", "--offline")
    assert out == "japanese_vowels is ready\n"
    status, out, _ = run(monkeypatch, capfd, "data", "info", "japanese_vowels", "--json")
    assert json.loads(out)["n_channels"] == 12
    status, out, _ = run(monkeypatch, capfd, "data", "info", "character_trajectories")
    assert "sample rate, Hz" in out
    assert " 200 " in out
    status, out, _ = run(monkeypatch, capfd, "doctor", "--json")
    assert "torch" in json.loads(out)["packages"]


def test_doctor_says_what_every_operator_runs_on(monkeypatch, capfd):
    from seqkit.kernels import OPERATORS

    monkeypatch.delenv("SEQKIT_BACKEND", raising=False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    status, out, _ = run(monkeypatch, capfd, "doctor", "--json")
    facts = json.loads(out)
    on_cpu = [one for one in facts["operators"] if one["device"] == "cpu"]
    assert status == 0
    assert [one["operator"] for one in on_cpu] == list(OPERATORS)
    assert {one["backend"] for one in on_cpu} == {"cpu"}
    assert all("triton" in one["refused"] for one in on_cpu)
    assert facts["SEQKIT_BACKEND"] == "not set"
    status, out, _ = run(monkeypatch, capfd, "doctor")
    for words in ("compiled loops", "Triton kernels", *OPERATORS):
        assert words in out


def test_doctor_reports_a_forced_backend(monkeypatch, capfd):
    monkeypatch.setenv("SEQKIT_BACKEND", "reference")
    _, out, _ = run(monkeypatch, capfd, "doctor", "--json")
    facts = json.loads(out)
    assert facts["SEQKIT_BACKEND"] == "reference"
    assert {one["backend"] for one in facts["operators"]} == {"reference"}
    assert all("SEQKIT_BACKEND asks for it" in one["reason"] for one in facts["operators"])


@pytest.mark.parametrize(
    ("value", "words"),
    [("tritn", "`SEQKIT_BACKEND` must be one of"), ("triton", '`SEQKIT_BACKEND` must not be "triton"')],
)
def test_doctor_survives_a_backend_that_cannot_serve(monkeypatch, capfd, value, words):
    monkeypatch.setenv("SEQKIT_BACKEND", value)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    status, out, _ = run(monkeypatch, capfd, "doctor", "--json")
    assert status == 0
    assert {one["backend"] for one in json.loads(out)["operators"] if one["device"] == "cpu"} == {None}
    assert any(words in line for line in json.loads(out)["advice"])


def test_doctor_says_what_numba_and_triton_lack(monkeypatch, capfd):
    monkeypatch.setattr("seqkit.kernels.backend.HAS_TRITON", False)
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it fails
    _, out, _ = run(monkeypatch, capfd, "doctor", "--json")
    facts = json.loads(out)
    assert facts["Triton kernels"] == "none: Triton is not installed"
    assert facts["compiled loops"].startswith("none: numba ")
    lacking = {one["operator"]: one["refused"]["triton"] for one in facts["operators"]}
    assert all("not installed" in why for why in lacking.values())


MISTAKES = [
    (["train", "--data", "nowhere.csv"], "no file or folder nowhere.csv"),
    (["train", "--data", "japanese_vowel"], "did you mean japanese_vowels"),
    (["train", "--model", "lsll"], "did you mean lssl"),
    (["train", "epoch=3"], "did you mean epochs"),
    (["train", "epochs"], "key=value"),
    (["train", "epochs=0"], "`epochs` must be a whole number"),
    (["train", "--config", "nowhere.yaml"], "no configuration file"),
    (["evaluate", "nowhere"], "holds no model.json"),
    (["predict", "nowhere", "nowhere.csv", "-o", "x.csv"], "holds no model.json"),
    (["data", "info", "minst"], "did you mean mnist"),
    (["data", "prepare", "minst"], "did you mean mnist"),
    (["train", "--resume", "--overwrite"], "keeps its own configuration"),
    (["train", "--data", "japanese_vowels", "train_A=maybe"], "`train_A` must be true or false"),
    (["train", "--data", "japanese_vowels", "--out", "file.txt"], "file.txt is a file"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_ends_with_one_sentence_and_status_2(monkeypatch, capfd, tmp_path, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    status, _, err = run(monkeypatch, capfd, *words)
    assert status == 2
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_wrong_option_has_status_2(monkeypatch, capfd):
    status, _, err = run(monkeypatch, capfd, "train", "--dta", "x")
    assert status == 2
    assert "--data" in err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), 2, "seqkit: a.csv: Permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", ".part-1", None, "b"), 2, "seqkit: b: Is a directory"),
        (OSError(errno.ENOSPC, "the disk is full", "c"), 1, "seqkit: c: the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "d"), 2, "seqkit: d: Read-only file system; name a place"),
        (FloatingPointError("the loss became NaN"), 1, "seqkit: the loss became NaN"),
        (KeyError("x"), 1, "seqkit: KeyError: 'x'; this is a fault of seqkit"),
    ],
)
def test_status_and_words_of_errors_from_elsewhere(monkeypatch, capfd, error, status, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("seqkit.runs.evaluation.evaluate", fail)
    got, _, err = run(monkeypatch, capfd, "evaluate", "x")
    assert got == status
    assert err.startswith(words)
    assert len(err.splitlines()) == 1


def test_ctrl_c_before_the_command_begins_shows_no_traceback(monkeypatch, capfd):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("seqkit.cli.main.app", stop)
    status, out, err = run(monkeypatch, capfd, "train")
    assert (status, out, err) == (130, "", "")


def test_debug_shows_the_traceback():
    words = [sys.executable, "-m", "seqkit", "train", "epoch=3", "--debug"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_interrupted_training_says_how_to_continue(data, tmp_path):
    words = ["train", "--data", data, "epochs=500", "d_model=8", "n_layers=1", "order=8", "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "seqkit", *map(str, words)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    while "epoch 2/" not in (line := process.stderr.readline()):
        assert line, "the training ended before it could be interrupted"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate()
    assert process.returncode == 130
    assert f"continue with `seqkit train --resume --out {tmp_path / 'run'}`" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "run" / "summary.json").exists()
