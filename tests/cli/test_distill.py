"""`seqkit distill` as a person types it."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from seqkit.cli.main import main

SMALL = ["epochs=1", "d_model=4", "n_layers=1", "order=4", "device=cpu", "teacher.epochs=1", "teacher.d_model=4"]


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    random = np.random.default_rng(0)
    lines = ["series,time,x,target"]
    for i in range(30):
        for k in range(10):
            wave = np.sin((0.3 + 0.5 * (i % 2)) * k) + 0.1 * random.standard_normal()
            lines.append(f"s{i},{k / 50},{wave:.5f},{'slow' if i % 2 == 0 else 'fast'}")
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_it_shows_students_beside_each_other_and_goes_on_when_asked(monkeypatch, capfd, data, tmp_path):
    words = ["--data", data, "--teacher", "gru", "--student", "s4d", "--folds", 2, "--c", "0.1", *SMALL]
    status, out, err = run(monkeypatch, capfd, "distill", *words, "--out", tmp_path / "r")
    assert status == 0
    for part in ("both (this run)", "plain", "labels only", "overfit", "c = 0.1"):
        assert part in out
    for part in ("teacher of fold 1/2", "teacher of fold 2/2", "student (both, c = 0.1)", "epoch 1/1"):
        assert part in err
    status, out, err = run(monkeypatch, capfd, "distill", "--resume", "--out", tmp_path / "r", "--json")
    assert status == 0
    assert "nothing to resume" in err
    report = json.loads(out.strip().splitlines()[-1])["distillation"]
    assert report["folds"] == 2
    assert run(monkeypatch, capfd, "predict", tmp_path / "r", data, "-o", tmp_path / "a.csv")[0] == 0


def test_groups_from_a_table(monkeypatch, capfd, data, tmp_path):
    groups = tmp_path / "groups.csv"
    groups.write_text("series,group\n" + "".join(f"s{i},g{i // 6}\n" for i in range(30)))
    words = ["--data", data, "--teacher", "gru", "--folds", 2, "--method", "crossfit", "--no-compare", *SMALL]
    status, _, _ = run(monkeypatch, capfd, "distill", *words, "--groups", groups, "--out", tmp_path / "r")
    assert status == 0
    plan = json.loads((tmp_path / "r" / "targets" / "plan.json").read_text())
    fold_of = {}
    for name, fold in zip(plan["ids"], plan["fold"], strict=True):
        assert fold_of.setdefault(int(name[1:]) // 6, fold) == fold


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--teacher", "gru", "--c", "much"], "`c` must be a number, 0 or above, inf, or auto, got 'much'"),
        (["--teacher", "gruu"], "did you mean gru?"),
        (["--teacher", "runs/gruu"], "runs/gruu holds no run (no config.yaml); name the folder"),
        ([], "`teacher` must name a model, a run or an estimator, got none"),
        (["--teacher", "gru", "--method", "corrected"], "choose method both, or force it"),
        (["--teacher", "gru", "teacher.colour=1"], "there is no key 'colour'"),
        (["--resume", "--student", "s4d"], "give nothing but --out, got --student"),
        (["--resume", "--method", "both", "epochs=2"], "give nothing but --out, got --method, settings"),
    ],
)
def test_mistakes_end_in_one_sentence(monkeypatch, capfd, data, tmp_path, words, said):
    resumes = words[:1] == ["--resume"]
    given = words if resumes else ["--data", data, "--out", tmp_path / "r", *words]
    status, _, err = run(monkeypatch, capfd, "distill", *given)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_killed_within_a_fold_it_goes_on_from_the_folds_that_are_kept(data, tmp_path):
    command = [sys.executable, "-m", "seqkit", "distill", "--out", str(tmp_path / "r")]
    words = ["--data", str(data), "--teacher", "gru", "--folds", "2", "--method", "crossfit", "--no-compare"]
    process = subprocess.Popen([*command, *words, *SMALL, "teacher.epochs=40"], stderr=subprocess.DEVNULL)
    first = tmp_path / "r" / "targets" / "fold-000.safetensors"
    try:
        end = time.monotonic() + 300
        while not first.is_file() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert first.is_file()
    assert not first.with_name("fold-001.safetensors").exists()
    written = first.stat().st_mtime_ns
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stderr
    assert "teacher of fold 1/2" not in again.stderr
    assert "teacher of fold 2/2" in again.stderr
    assert first.stat().st_mtime_ns == written
