"""A training killed in the middle of an epoch and resumed ends with the very weights of an unbroken one."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqkit.runs import train

SETTINGS = {"epochs": 3, "d_model": 8, "n_layers": 1, "order": 8, "dropout": 0.3, "input_noise": 0.1, "batch_size": 4}
SETTINGS |= {"device": "cpu", "keep": "last", "checkpoint_steps": 4, "progress": False}
# Holds on within the second epoch, so that the kill falls there whatever the machine is doing.
SCRIPT = f"""
import sys, time
from seqkit.runs import train, training
from seqkit.tasks.callbacks import Checkpoint

data, out, workers = sys.argv[1:]
class Held(Checkpoint):
    def on_train_batch_end(self, trainer, *rest):
        super().on_train_batch_end(trainer, *rest)
        if trainer.current_epoch == 1 and trainer.global_step == 15:
            open(out + "/there", "w").close()
            time.sleep(600)
training.Checkpoint = Held
train(data, "s4d", out=out, num_workers=int(workers), **{SETTINGS})
"""


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("waves") / "waves.npz"
    random = np.random.default_rng(0)
    lengths = random.integers(20, 60, 60)
    rows = [np.sin(np.arange(n) * (0.2 + 0.3 * (i % 2)))[:, None] for i, n in enumerate(lengths)]
    np.savez(path, values=np.concatenate(rows), lengths=lengths, y=np.array(["slow", "fast"] * 30), sample_rate=10.0)
    return path


def table(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_within_an_epoch_and_resumed_equals_unbroken(waves: Path, tmp_path: Path, workers: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(waves, "s4d", out=whole, num_workers=workers, **SETTINGS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, waves, broken, str(workers)], env=environment)
    while not (broken / "there").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(table(broken)) == 1  # one epoch of ten batches is over; the checkpoint of step 12 is the last
    state = torch.load(broken / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 12
    assert state["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [
        {"epoch": 1, "given": 2, "batches": 10, "seed": 0}
    ]
    train(out=broken, resume=True, progress=False)
    first, second = (load_file(path / "model.safetensors") for path in (whole, broken))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert table(whole) == table(broken)
