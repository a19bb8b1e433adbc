"""One process at a time writes to a folder, and none goes on without the one that waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from seqkit.runs import compare, train
from seqkit.runs.holding import held

SMALL = {"epochs": 1, "d_model": 8, "n_layers": 1, "order": 8, "device": "cpu", "progress": False}


def test_a_folder_that_another_training_writes_is_refused_and_left_alone(tmp_path, waves_file, small_run):
    before = {path: path.stat().st_mtime_ns for path in small_run.path.rglob("*")}
    with held(small_run.path), pytest.raises(FileExistsError, match=r"another process is writing to .*; wait until"):
        train(str(waves_file), "s4d", out=small_run.path, overwrite=True, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in small_run.path.rglob("*")} == before
    with held(tmp_path / "new"), pytest.raises(FileExistsError, match="another process"):
        train(str(waves_file), "s4d", out=tmp_path / "new", **SMALL)
    assert not (tmp_path / "new").exists()
    with held(tmp_path / "all"), pytest.raises(FileExistsError, match="another process"):
        compare(str(waves_file), "gru", out=tmp_path / "all", progress=False)


def test_a_run_that_began_meanwhile_is_not_cleared(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    with (
        pytest.raises(FileExistsError, match=r"has begun a run in .* meanwhile; choose another folder"),
        held(tmp_path, free=True),
    ):
        pass
    with held(tmp_path):
        pass


def test_numbers_are_taken_once(tmp_path):
    with held(tmp_path / "walks-s4d-009", numbered=True) as one, held(one, numbered=True) as two:
        assert (one.name, two.name) == ("walks-s4d-009", "walks-s4d-010")
        (one / "config.yaml").touch()
    assert one.is_dir()
    assert not two.exists()


def test_a_moved_folder_stays_held_and_a_forked_reader_keeps_none(tmp_path):
    ours, theirs = os.pipe()
    begun, begins = os.pipe()
    with held(tmp_path / "run") as path:
        (path / "config.yaml").touch()
        child = os.fork()
        if child == 0:
            os.close(theirs)
            os.write(begins, b"x")
            os.read(ours, 1)
            os._exit(0)
        os.read(begun, 1)
        path.rename(tmp_path / "moved")
        with pytest.raises(FileExistsError, match="another process is writing"), held(tmp_path / "moved"):
            pass
    with held(tmp_path / "moved"):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it lives
    os.write(theirs, b"x")
    os.waitpid(child, 0)
    for end in (ours, theirs, begun, begins):
        os.close(end)


@pytest.mark.slow
def test_a_training_ends_with_the_comparison_that_was_killed(tmp_path, waves_file):
    words = ["--data", str(waves_file), "--models", "gru", "epochs=5000", "patience=null", "d_model=8", "n_layers=1"]
    command = [sys.executable, "-m", "seqkit", "compare", *words, "--out", str(tmp_path / "all")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    (run,) = (tmp_path / "all" / "runs" / one / "gru" / "seed-0" for one in [waves_file.stem])
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, "the comparison ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while True:
        try:
            with held(run):
                break
        except FileExistsError:
            assert time.monotonic() < deadline, "the training goes on"
            time.sleep(0.1)
    assert not (run / "summary.json").exists()
