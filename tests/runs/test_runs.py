"""A run from training to prediction, as a user of the Python interface meets it."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import seqkit
from seqkit.models import save_model
from seqkit.runs import evaluate, predict, train

FILES = {
    "config.yaml",
    "metrics.csv",
    "checkpoints",
    "model.safetensors",
    "model.json",
    "curves.png",
    "confusion.png",
    "summary.json",
}
SMALL = {"epochs": 2, "d_model": 8, "n_layers": 1, "order": 8, "device": "cpu"}


def test_run_folder_holds_everything_and_nothing_else(small_run, waves_file):
    assert {path.name for path in small_run.path.iterdir()} == FILES
    assert {path.name for path in waves_file.parent.iterdir()} == {"waves.npz"}
    with (small_run.path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert {"epoch", "train_loss", "val_loss", "val_accuracy", "seconds"} <= set(rows[0])
    for picture in ("curves.png", "confusion.png"):
        assert (small_run.path / picture).read_bytes().startswith(b"\x89PNG")
    summary = json.loads((small_run.path / "summary.json").read_text())
    assert summary["metrics"] == small_run.metrics
    assert summary["n_series"] == {"train": 38, "val": 10, "test": 12}


def test_loaded_model_gives_the_summary_s_numbers(small_run):
    result = evaluate(small_run.path)
    assert result.split == "test"
    assert result.metrics == pytest.approx(small_run.metrics, abs=1e-6)
    assert seqkit.load(small_run.path).info.classes == ("a", "b", "c")


def test_global_generators_are_left_alone(waves_file, tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  the global generator is what is watched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(str(waves_file), "s4d", out=tmp_path / "run", progress=False, **{**SMALL, "epochs": 1})
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_equal_configurations_give_equal_weights_and_seeds_matter(waves_file, small_run, tmp_path):
    torch.manual_seed(99)
    again = train(str(waves_file), "s4d", out=tmp_path / "again", progress=False, **SMALL)
    other = train(str(waves_file), "s4d", out=tmp_path / "other", progress=False, seed=1, **SMALL)
    first, second, third = (load_file(run.path / "model.safetensors") for run in (small_run, again, other))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_subsample_tells_the_rate_and_hide_rate_does_not(small_run):
    told = evaluate(small_run.path, subsample=2)
    hidden = evaluate(small_run.path, subsample=2, hide_rate=True)
    assert told.sample_rate == 5.0
    assert hidden.sample_rate is None
    assert "not told" in hidden.notes[0]
    assert told.metrics["loss"] != hidden.metrics["loss"]
    same = evaluate(small_run.path, sample_rate=10.0)
    assert same.sample_rate is None
    assert evaluate(small_run.path, subsample=2, sample_rate=20.0).metrics["loss"] != told.metrics["loss"]


def test_baseline_without_rate_says_so(waves_file, tmp_path):
    settings = {key: value for key, value in SMALL.items() if key != "order"}
    run = train(str(waves_file), "gru", out=tmp_path / "gru", progress=False, **settings)
    result = evaluate(run.path, subsample=2)
    assert "no notion of the sampling step" in result.notes[0]


def test_evaluate_parts_and_paths(small_run, waves_file):
    assert evaluate(small_run.path, split="train").n_series == 38
    assert evaluate(small_run.path, split="all").n_series == 60
    whole = evaluate(small_run.path, waves_file)
    assert whole.n_series == 60
    assert "its training part included" in whole.notes[0]
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        evaluate(small_run.path, "nowhere.npz")
    with pytest.raises(ValueError, match="split"):
        evaluate(small_run.path, split="tset")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.json"):
        evaluate(waves_file.parent)


def test_predict_writes_a_table(small_run, waves_file, tmp_path):
    rows = predict(small_run.path, waves_file, tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 60
    assert [row["prediction"] for row in table] == [row["prediction"] for row in rows]
    shares = [sum(float(row[f"probability {label}"]) for label in "abc") for row in table]
    assert np.allclose(shares, 1, atol=1e-5)
    predict(small_run.path, waves_file, tmp_path / "answers.json")
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 60
    with pytest.raises(ValueError, match="output"):
        predict(small_run.path, waves_file, tmp_path / "answers.xlsx")


def save(path, values, **more):
    np.savez(path, values=np.concatenate(values), lengths=np.array([len(v) for v in values]), **more)
    return path


@pytest.mark.parametrize("use", [seqkit.predict, seqkit.evaluate])
def test_a_model_saved_by_itself_is_no_run(use, waves_file, tmp_path):
    info = seqkit.DataInfo("waves", "classification", n_channels=2, classes=("a", "b"))
    config = seqkit.ModelConfig.preset("gru", d_model=4, n_layers=1)
    save_model(seqkit.SequenceModel.from_config(config, info, seed=0), tmp_path / "saved")
    with pytest.raises(
        FileNotFoundError, match=r"saved holds a model without a config.yaml.* seqkit.load\(.*\).predict"
    ):
        use(tmp_path / "saved", waves_file)


def test_bad_series_at_predict_time(small_run, tmp_path):
    rng = np.random.default_rng(0)
    good = [rng.standard_normal((9, 2)).astype(np.float32) for _ in range(3)]
    wide = save(tmp_path / "wide.npz", [np.ones((5, 3), np.float32)])
    with pytest.raises(ValueError, match="trained on 2 channels"):
        predict(small_run.path, wide)
    broken = [good[0], good[1].copy()]
    broken[1][4, 1] = np.inf
    with pytest.raises(ValueError, match="has an infinite value"):
        predict(small_run.path, save(tmp_path / "inf.npz", broken))
    empty = save(tmp_path / "empty.npz", [good[0], np.empty((0, 2), np.float32)])
    with pytest.raises(ValueError, match=r"lengths\[1\] is 0; every series needs at least one sample"):
        predict(small_run.path, empty)
    unseen = save(tmp_path / "unseen.npz", good, y=np.array(["a", "zzz", "b"]))
    with pytest.raises(ValueError, match=r"'zzz'.*not seen in training"):
        evaluate(small_run.path, unseen)
    with pytest.raises(ValueError, match="no targets"):
        evaluate(small_run.path, save(tmp_path / "bare.npz", good))


def test_a_model_that_gives_nan_is_no_result(small_run, waves_file, tmp_path):
    folder = tmp_path / "nan"
    shutil.copytree(small_run.path, folder)
    model = seqkit.load(folder)
    next(model.head.parameters()).data.fill_(float("nan"))
    save_model(model, folder)
    for act in (lambda: evaluate(folder), lambda: predict(folder, waves_file, tmp_path / "out.csv")):
        with pytest.raises(FloatingPointError, match="its training diverged"):
            act()
    assert not (tmp_path / "out.csv").exists()


def test_regression_in_the_target_s_units(tmp_path):
    rng = np.random.default_rng(1)
    levels = rng.standard_normal(60)
    values = [level + 0.3 * rng.standard_normal((int(rng.integers(8, 20)), 1)).astype(np.float32) for level in levels]
    targets = (100 + 20 * levels).astype(np.float32)
    regression = save(tmp_path / "r.npz", values, y=targets)
    settings = {**SMALL, "epochs": 20, "batch_size": 8}
    run = train(str(regression), "s4d", out=tmp_path / "r", progress=False, **settings)
    assert run.metrics["rmse"] < 0.5 * targets.std()
    assert (run.path / "predictions.png").is_file()
    predicted = np.array([row["prediction"] for row in predict(run.path, regression)])
    assert np.corrcoef(predicted, targets)[0, 1] > 0.9
    assert abs(predicted.mean() - targets.mean()) < 5


def test_a_target_per_sample(tmp_path):
    rng = np.random.default_rng(2)
    lines = ["series,x,target"]
    for i in range(30):
        x = rng.standard_normal(int(rng.integers(8, 20)))
        lines += [f"{i},{a:.4f},{5 + 2 * a:.4f}" for a in x]
    (tmp_path / "s.csv").write_text("\n".join(lines) + "\n")
    settings = {**SMALL, "epochs": 20, "batch_size": 8}
    run = train(str(tmp_path / "s.csv"), "s4d", out=tmp_path / "s", progress=False, **settings)
    assert run.metrics["rmse"] < 1.0
    rows = predict(run.path, tmp_path / "s.csv")
    assert len(rows) == len(lines) - 1
    assert rows[1]["sample"] == 1


def test_existing_folder_is_not_overwritten(small_run, waves_file):
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(str(waves_file), "s4d", out=small_run.path, progress=False, **SMALL)


def test_resume_of_a_finished_run_and_of_none(small_run, tmp_path):
    assert train(out=small_run.path, resume=True, progress=False).metrics == small_run.metrics
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        train(out=tmp_path / "none", resume=True, progress=False)
    with pytest.raises(ValueError, match="keeps its own configuration"):
        train(out=small_run.path, resume=True, epochs=9, progress=False)


def test_config_of_a_run_repeats_it(small_run, tmp_path):
    again = train(config=small_run.path / "config.yaml", out=tmp_path / "again", progress=False)
    first, second = (load_file(run.path / "model.safetensors") for run in (small_run, again))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_uneven_times_are_taken_or_refused_before_anything_is_written(tmp_path):
    rng = np.random.default_rng(3)
    lines = ["series,time,x,target"]
    for i in range(12):
        times = np.cumsum(rng.uniform(0.1, 1, 6))
        lines += [f"{i},{t:.3f},{np.sin((1 + i % 2) * t):.3f},{'ab'[i % 2]}" for t in times]
    table = tmp_path / "u.csv"
    table.write_text("\n".join(lines) + "\n")
    run = train(str(table), "s4d", out=tmp_path / "run", progress=False, **{**SMALL, "epochs": 1})
    told, hidden = evaluate(run.path), evaluate(run.path, hide_rate=True)
    assert told.notes == ()
    assert "not evenly spaced in time, which the model was not told" in hidden.notes[0]
    assert told.metrics["loss"] != hidden.metrics["loss"]
    with pytest.raises(ValueError, match="says when each sample was taken, so it takes no sample_rate"):
        evaluate(run.path, table, sample_rate=3.0)
    with pytest.raises(ValueError, match="gru has no notion of the sampling step"):
        train(str(table), "gru", out=tmp_path / "gru", progress=False, epochs=1, d_model=8, n_layers=1)
    assert not (tmp_path / "gru").exists()


def test_parts_of_the_very_file_of_the_training(small_run, waves_file):
    part = evaluate(small_run.path, waves_file, split="test")
    assert part.n_series == 12
    assert part.metrics == pytest.approx(small_run.metrics, abs=1e-6)
    with pytest.raises(ValueError, match="`device` must be one of auto, cpu, cuda"):
        evaluate(small_run.path, device="gpu")


def test_predictions_never_replace_their_input(small_run, waves_file, tmp_path):
    table = shutil.copy(waves_file, tmp_path / "in.csv")
    (tmp_path / "folder.csv").mkdir()
    for output, words in {
        tmp_path / "in.csv": "is the input itself",
        tmp_path / "folder.csv": "is a folder; name a file",
        tmp_path / "in.csv" / "out.csv": "in.csv is a file, so",
        small_run.path / "model.json": "is a file of the run itself",
    }.items():
        with pytest.raises(FileExistsError, match=words):
            predict(small_run.path, table, output)


def test_predicting_with_a_baseline_warns_of_another_rate(waves_file, tmp_path):
    run = train(str(waves_file), "gru", out=tmp_path / "gru", progress=False, epochs=1, d_model=8, n_layers=1)
    with pytest.warns(UserWarning, match="gru has no notion of the sampling step"):
        predict(run.path, waves_file, sample_rate=5.0)


def test_killed_after_the_last_checkpoint(small_run, tmp_path):
    folder = tmp_path / "late"
    shutil.copytree(small_run.path, folder)
    for name in ("summary.json", "metrics.csv", "model.safetensors", "model.json"):
        (folder / name).unlink()
    again = train(out=folder, resume=True, progress=False)
    assert again.metrics == pytest.approx(small_run.metrics, abs=1e-6)
    assert (folder / "metrics.csv").read_bytes() == (small_run.path / "metrics.csv").read_bytes()
    (folder / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match=r"summary.json is damaged \(it lacks data\); remove it and resume"):
        train(out=folder, resume=True, progress=False)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "pickle", "other"])
def test_damaged_checkpoint_is_refused_in_one_sentence(small_run, tmp_path, damage):
    folder = tmp_path / "damaged"
    shutil.copytree(small_run.path, folder)
    (folder / "summary.json").unlink()
    checkpoint = folder / "checkpoints" / "last.ckpt"
    data = checkpoint.read_bytes()
    if damage == "other":
        torch.save({"state_dict": {}, "callbacks": {}, "epoch": 1}, checkpoint)
    else:
        junk = {"truncated": data[: len(data) // 2], "foreign": b"not a checkpoint", "pickle": b"\x80\x81junk"}
        checkpoint.write_bytes(junk[damage])
    with pytest.raises(ValueError, match="damaged or not a checkpoint"):
        train(out=folder, resume=True, progress=False)


def test_predictions_are_utf_8_wherever_they_are_written(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from seqkit.runs.prediction import write_predictions\n"
        "for name in sys.argv[1:]:\n"
        "    write_predictions([{'series': '0', 'prediction': 'n\\xe9'}], pathlib.Path(name))\n"
    )
    names = [str(tmp_path / name) for name in ("a.csv", "a.json")]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, *names], env=plain, check=True)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "series,prediction\n0,né\n"
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))[0]["prediction"] == "né"


def test_a_disk_that_fails_does_not_call_the_checkpoint_damaged(small_run, tmp_path, monkeypatch):
    """Who is told to delete it would lose a training that goes on after the disk is back."""
    folder = tmp_path / "unread"
    shutil.copytree(small_run.path, folder)
    (folder / "summary.json").unlink()

    def fails(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(OSError, match="Input/output error"):
        train(out=folder, resume=True, progress=False)


FOUR_EPOCHS = {"epochs": 4, "d_model": 8, "n_layers": 2, "order": 8, "dropout": 0.3, "device": "cpu", "keep": "last"}
# Holds on at the end of the last epoch, so that the kill comes before that whatever the machine is doing.
SCRIPT = f"""
import sys, time
from seqkit.runs import train, training
from seqkit.tasks.callbacks import Checkpoint

class Held(Checkpoint):
    def on_train_batch_end(self, trainer, *rest):
        super().on_train_batch_end(trainer, *rest)
        if trainer.current_epoch == 3 and trainer.is_last_batch:
            time.sleep(600)
training.Checkpoint = Held
train(sys.argv[1], "s4d", out=sys.argv[2], progress=False, **{FOUR_EPOCHS})
"""


@pytest.fixture(scope="module")
def unbroken(waves_file, tmp_path_factory):
    return train(str(waves_file), "s4d", out=tmp_path_factory.mktemp("unbroken") / "run", progress=False, **FOUR_EPOCHS)


@pytest.mark.parametrize(
    "epochs_done", [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_killed_and_resumed_equals_unbroken(waves_file, unbroken, tmp_path, epochs_done):
    broken = tmp_path / "broken"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(waves_file), str(broken)], env=environment)
    table = broken / "metrics.csv" if epochs_done else broken / "config.yaml"
    while not (table.is_file() and (not epochs_done or len(table.read_text().splitlines()) > epochs_done)):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    train(out=broken, resume=True, progress=False)
    first, second = (load_file(path / "model.safetensors") for path in (unbroken.path, broken))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len(Path(broken / "metrics.csv").read_text().splitlines()) == 5


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_is_said_in_one_sentence_and_leaves_nothing_half_written(waves_file, small_disk):
    with pytest.raises(OSError, match="the disk is full"):
        train(str(waves_file), "s4d", out=small_disk / "run", progress=False, **{**SMALL, "d_model": 64})
    left = [path for path in small_disk.rglob("*") if path.is_file()]
    assert [path for path in left if path.name.startswith(".part-")] == []
    assert not (small_disk / "run" / "summary.json").exists()
