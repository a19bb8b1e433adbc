"""Progress in its two forms: a line that moves on a terminal, one line per epoch elsewhere."""

import io
import re

import pytest
from rich.console import Console

from seqkit.tasks import SequenceTask
from seqkit.tasks import progress as module
from seqkit.tasks.callbacks import History, Progress
from seqkit.tasks.progress import ProgressLine, words_for_seconds

ROW = {"epoch": 0, "train_loss": 0.51234, "val_accuracy": 0.75, "lr_matrices": 0.1, "color_error": 2.0, "seconds": 9.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, legacy_windows=False)


WORDS = {0: "0 s", 59.4: "59 s", 59.6: "1 min 0 s", 75: "1 min 15 s", 3600: "1 h 0 min", 7384: "2 h 3 min", -3: "0 s"}


@pytest.mark.parametrize(("seconds", "words"), WORDS.items())
def test_words_for_seconds(seconds, words):
    assert words_for_seconds(seconds) == words


def test_one_line_per_epoch_without_a_terminal(clock):
    out = console(terminal=False)
    line = ProgressLine(out)
    line.start(epochs=3)
    clock[0] += 5
    line.move(0.5)
    clock[0] += 5
    line.epoch(0, ROW)
    clock[0] += 20
    line.epoch(1, ROW)
    line.epoch(2, {"epoch": 2, "train_loss": 0.25})
    line.stop()
    assert out.file.getvalue().splitlines() == [
        "epoch 1/3  train_loss 0.5123  val_accuracy 0.75  color_error 2  20 s left",
        "epoch 2/3  train_loss 0.5123  val_accuracy 0.75  color_error 2  15 s left",
        "epoch 3/3  train_loss 0.25",
    ]


def test_time_left_counts_from_where_a_resumed_run_began(clock):
    out = console(terminal=False)
    line = ProgressLine(out)
    line.start(epochs=10, done=6)
    clock[0] += 10
    line.epoch(6, {"train_loss": 1.0})
    assert out.file.getvalue() == "epoch 7/10  train_loss 1  30 s left\n"


def test_one_moving_line_on_a_terminal(clock):
    out = console(terminal=True)
    line = ProgressLine(out)
    line.start(epochs=2)
    clock[0] += 30
    line.move(0.5)
    line.epoch(0, ROW)
    line.stop()
    line.stop()  # a second end is no harm
    shown = out.file.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "epoch 1/2  train_loss 0.5123" in plain
    assert "30 s left" in plain
    assert shown.endswith("\x1b[2K") or "\x1b[?25h" in shown  # the line is taken away and the cursor comes back


def test_no_console_shows_nothing(capfd):
    line = ProgressLine(None)
    line.start(epochs=2)
    line.move(0.5)
    line.epoch(0, ROW)
    line.stop()
    assert capfd.readouterr() == ("", "")


def test_callback_shows_each_epoch_of_a_training(make_loader, make_model, make_trainer):
    out, history = console(terminal=False), History()
    callbacks = [history, Progress(history, ProgressLine(out))]
    make_trainer(max_epochs=2, callbacks=callbacks).fit(SequenceTask(make_model()), make_loader())
    lines = out.file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert f"train_loss {history.rows[1]['train_loss']:.4g}" in lines[1]
