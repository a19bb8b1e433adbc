"""Comparisons: what is run, with which epochs and widths, and what is made of the results."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from seqkit.runs import RunConfig, compare
from seqkit.runs.comparison.budget import epochs_within, parse_duration
from seqkit.runs.comparison.matching import width_for
from seqkit.runs.comparison.plan import mixer_models, plan
from seqkit.runs.comparison.record import Record, Request
from seqkit.runs.comparison.report import lines, write_report
from seqkit.runs.comparison.row import Row, ranks, summaries
from seqkit.runs.data import build_data_module
from seqkit.runs.training import build_model

SMALL = {"d_model": 8, "n_layers": 1, "epochs": 1, "batch_size": 64}


@pytest.fixture(scope="module")
def vowels():
    return build_data_module(RunConfig.build("japanese_vowels", "gru"))


def test_every_model_of_a_seed_comes_before_the_next_seed():
    entries = plan(["japanese_vowels", "digits"], ["gru", "s4d"], 2)
    assert [(one.data, one.config.seed, one.model) for one in entries[:5]] == [
        ("japanese_vowels", 0, "gru"),
        ("japanese_vowels", 0, "s4d"),
        ("japanese_vowels", 1, "gru"),
        ("japanese_vowels", 1, "s4d"),
        ("digits", 0, "gru"),
    ]
    assert len(entries) == 8
    assert len({one.place for one in entries}) == 8


def test_a_setting_reaches_the_models_that_have_it_and_one_models_own_wins():
    gru, s4d, lssl = (
        one.config.model
        for one in plan(["digits"], ["gru", "s4d", "lssl"], 1, {"s4d.order": 4, "order": 8, "d_model": 24})
    )
    assert "order" not in gru.options
    assert s4d.options["order"] == 4
    assert lssl.options["order"] == 8
    assert {gru.d_model, s4d.d_model, lssl.d_model} == {24}


@pytest.mark.parametrize(
    ("data", "models", "seeds", "settings", "words"),
    [
        ([], ["gru"], 1, {}, "at least one data set"),
        (["digits"], [], 1, {}, "at least one model"),
        (["digits"], ["grv"], 1, {}, "did you mean gru"),
        (["digits"], ["gru", "gru"], 1, {}, "gru twice"),
        (["digits", "digits"], ["gru"], 1, {}, "different data sets"),
        (["digits"], ["gru"], 0, {}, "seeds"),
        (["digits"], ["gru"], 1, {"seed": 3}, "`seeds` says"),
        (["digits"], ["gru"], 1, {"ordr": 3}, "no key 'ordr'"),
        (["digits"], ["gru"], 1, {"order": 3}, "no key 'order'"),
        (["digits"], ["gru"], 1, {"s4d.order": 3}, "not compared"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_runs(data, models, seeds, settings, words):
    with pytest.raises(ValueError, match=words):
        plan(data, models, seeds, settings)


def test_all_leaves_out_the_sizes_of_papers():
    assert {"s4d", "gru", "attention", "hippo_legs"} <= set(mixer_models())
    assert not {"lssl_small", "lssl_large"} & set(mixer_models())


@pytest.mark.parametrize("text", ["", "0s", "-3m", "ten", "5 days", "nan", "inf"])
def test_a_budget_is_a_positive_time(text):
    with pytest.raises(ValueError, match="budget"):
        parse_duration(text)


def test_epochs_follow_the_budget(vowels):
    config = RunConfig.build("japanese_vowels", "gru", settings={**SMALL, "epochs": 50})
    before = torch.random.get_rng_state()
    assert epochs_within(config, vowels, 1e-6) == 1
    assert epochs_within(config, vowels, 1e6) == 50
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("model", ["gru", "s4d", "attention"])
def test_widths_meet_the_number_of_parameters(vowels, model):
    own = {"s4d": {"dt_min": 0.1, "dt_max": 1.0}, "attention": {"window": 20}}.get(model, {})
    config = RunConfig.build("japanese_vowels", model, settings={"n_layers": 2, **own})
    width = width_for(config, vowels, 20_000)
    counts = {
        d: build_model(RunConfig.from_dict(_with_width(config, d)), vowels).n_parameters
        for d in (width - 8, width, width + 8)
        if d > 0
    }
    assert min(counts, key=lambda d: abs(counts[d] - 20_000)) == width


def test_a_papers_size_is_not_matched(vowels):
    config = RunConfig.build("japanese_vowels", "lssl_small")
    with pytest.raises(ValueError, match="paper's size"):
        width_for(config, vowels, 20_000)


def test_too_few_parameters_are_refused(vowels):
    with pytest.raises(ValueError, match="at least about"):
        width_for(RunConfig.build("japanese_vowels", "gru", settings={"n_layers": 2}), vowels, 50)


def _with_width(config, d_model):
    values = config.to_dict()
    return {**values, "model": {**values["model"], "d_model": d_model}}


def test_ranks_count_only_sets_that_all_models_finished():
    rows = [
        Row("a", "gru", 0, "accuracy", 0.9),
        Row("a", "s4d", 0, "accuracy", 0.8),
        Row("b", "gru", 0, "rmse", 1.0),
        Row("b", "s4d", 0, "rmse", 2.0),
        Row("c", "gru", 0, "rmse", 5.0),
        Row("c", "s4d", 0, note="diverged"),
    ]
    assert ranks(summaries(rows)) == {"gru": 1.0, "s4d": 2.0}
    assert ranks(summaries(rows[:2])) == {}


def test_the_best_stands_first_also_where_less_is_better():
    rows = [Row("b", name, 0, "rmse", value) for name, value in (("gru", 2.0), ("s4d", 1.0), ("lstm", math.nan))]
    assert [one.model for one in summaries(rows)] == ["s4d", "gru", "lstm"]


def test_the_report_says_what_failed(tmp_path):
    rows = [
        Row("digits", "gru", seed, "accuracy", value, 0.5, 3, 1000, 2.0, 0.5, math.nan, 300.0, "does not stream")
        for seed, value in enumerate((0.9, 0.8))
    ]
    rows.append(Row("digits", "s4d", 0, note="it diverged"))
    names = write_report(tmp_path, rows)
    page = (tmp_path / "table.md").read_text()
    assert "| gru | 85.0 ± 7.1 | 2 | 1,000 | 3 | 2.0 | 0.50 | no | 300 |" in page
    assert "- gru: does not stream" in page
    assert "- s4d: it diverged" in page
    assert "| s4d | failed |" in page
    with (tmp_path / "rows.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["value"] for row in read] == ["0.9", "0.8", ""]
    assert set(names) <= {path.name for path in tmp_path.iterdir()}
    assert lines(summaries(rows))[0][0] == "gru"


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    Record.open(tmp_path / "comparison.json", Request({}, 60.0, None)).write()
    with pytest.raises(FileExistsError, match=r"budget 60\.0"):
        compare("japanese_vowels", "gru", budget="2m", out=tmp_path, progress=False)
    (tmp_path / "comparison.json").write_text('{"request": 3}')
    with pytest.raises(ValueError, match="damaged"):
        compare("japanese_vowels", "gru", out=tmp_path, progress=False)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no comparison wrote"):
        compare("japanese_vowels", "gru", out=tmp_path, progress=False, overwrite=True)
    with pytest.raises(FileExistsError, match="is a file"):
        compare("japanese_vowels", "gru", out=tmp_path / "thesis.txt", progress=False)


def test_a_comparison_goes_on_and_takes_further_models(tmp_path):
    """One training is run, the second call trains the other model alone, and a model that fails stops nobody."""
    first = compare("japanese_vowels", "gru", settings=SMALL, out=tmp_path, progress=False)
    (row,) = first.rows
    assert not row.note
    summary = json.loads((tmp_path / "runs/japanese_vowels/gru/seed-0/summary.json").read_text())
    assert row.value == summary["metrics"]["accuracy"]
    assert row.n_parameters == summary["n_parameters"]
    assert row.step_us > 0
    assert row.predict_ms > 0
    assert row.memory_mib > 50
    weights = tmp_path / "runs/japanese_vowels/gru/seed-0/model.safetensors"
    written = weights.stat().st_mtime_ns
    again = compare("japanese_vowels", ["gru"], settings=SMALL, out=tmp_path, progress=False)
    assert again.rows == first.rows
    assert weights.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_model_that_fails_stops_nobody(tmp_path):
    settings = {**SMALL, "gru.learning_rate": 1e30, "gru.gradient_clip": None}
    found = compare("japanese_vowels", ["gru", "lstm"], settings=settings, out=tmp_path, progress=False)
    gru, lstm = found.rows
    assert gru.failed
    assert "NaN or infinite" in gru.note
    assert not lstm.failed


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on_with_the_same_training(tmp_path):
    """Ctrl-C in the middle of a training; the second call resumes it and ends with an undisturbed one's weights."""
    settings = [f"{key}={value}" for key, value in {**SMALL, "epochs": 12}.items()]
    command = [sys.executable, "-m", "seqkit", "compare", "--data", "japanese_vowels", "--models", "gru", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([*command, "--out", str(tmp_path / "a")], env=environment, stderr=subprocess.PIPE)
    run = tmp_path / "a" / "runs" / "japanese_vowels" / "gru" / "seed-0"
    deadline = time.monotonic() + 240
    while not (run / "checkpoints" / "last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=240)
    assert child.returncode == 130
    assert b"the same command goes on" in said
    assert not (run / "summary.json").is_file()
    for folder in ("a", "b"):
        subprocess.run([*command, "--out", str(tmp_path / folder)], env=environment, check=True, capture_output=True)
    whole = tmp_path / "b" / "runs" / "japanese_vowels" / "gru" / "seed-0"
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
