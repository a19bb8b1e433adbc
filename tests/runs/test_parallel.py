"""Runs of several processes: what the command line says, equality with one process, and going on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqkit.batch import DataInfo
from seqkit.runs import RunConfig, train
from seqkit.runs.loss_share import count_targets, loss_share
from seqkit.runs.parallel import train_parallel
from seqkit.runs.parallel_config import ParallelConfig
from seqkit.streaming import Stream

SETTINGS = {"epochs": 2, "d_model": 8, "n_layers": 2, "order": 8, "device": "cpu", "dropout": 0.0, "bucket": False}


@pytest.mark.parametrize(
    ("parallel", "compress", "words"),
    [
        ("pipe=2", None, "parallel has no key 'pipe'; did you mean pipeline?"),
        ("pipeline", None, "`parallel` must look like pipeline=2, got 'pipeline'"),
        ("pipeline=two", None, "`pipeline` must be a whole number of at least 1, got 'two'"),
        ("pipeline=1", None, "`parallel` must ask for at least two ranks"),
        ("fsdp=2,ddp=2", None, "`fsdp` must stand alone, got pipeline=1, ddp=2 and compress None"),
        ("fsdp=2", "dp=8", "`fsdp` must stand alone, got pipeline=1, ddp=1 and compress 'dp=8'"),
        ("pipeline=2", "fw=9", "`forward` must be 1 to 8 bits, or 32 for none, got 9"),
        ("pipeline=2", "4/8", "`compress` must look like fw=4,bw=8, got '4/8'"),
        ("pipeline=2", "fw=4,dp=8", "`compress` must have no dp where there is one pipeline"),
        ("ddp=2", "fw=4", "`compress` must be dp=BITS where there is no pipeline"),
        ("pipeline=2", "bw=8,max_error=0.5", "`max_error` must be left out where activations are sent as they are"),
        ("pipeline=2", "fw=2,max_error=some", "`max_error` must be a finite number above 0, got 'some'"),
        ("pipeline=2,buffers=tape", "fw=2", "`buffers` must be one of memory, disk, got 'tape'"),
        ("pipeline=2,buffers=disk", "bw=8", "`buffers` must be left out where there are none, got disk"),
        ("pipeline=2,buffers=disk", "fw=2,mode=direct", "`buffers` must be left out where there are none"),
        ("ddp=2,buffers=disk", "dp=8", "`buffers` must be left out where there are none"),
        ("ddp=2,timeout=soon", None, "`timeout` must be a finite number above 0, got 'soon'"),
    ],
)
def test_words_that_do_not_fit_are_refused(parallel: str, compress: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ParallelConfig.parse(parallel, compress)


@pytest.mark.parametrize(
    ("parallel", "settings", "words"),
    [
        ("pipeline=4", {}, "`n_layers` must be at least the number of stages 4, got 2"),
        ("pipeline=2,micro_batches=5", {}, "`micro_batches` must divide the 32 series"),
        ("pipeline=2,micro_batches=1", {}, "`micro_batches` must be at least the number of stages 2"),
        ("pipeline=2", {"precision": "bf16-mixed"}, "`precision` must be 32 in a pipeline"),
        ("pipeline=2,schedule=interleaved", {}, "`n_layers` must be at least the number of stages 4"),
        ("ddp=3", {}, "`batch_size` must be a multiple of ddp=3, got 32"),
    ],
)
def test_runs_that_cannot_be_spread_are_refused_before_ranks_start(
    parallel: str, settings: dict[str, Any], words: str, waves_file: Path, tmp_path: Path
) -> None:
    config = RunConfig.build(str(waves_file), "s4d", settings={**SETTINGS, **settings})
    with pytest.raises(ValueError, match=re.escape(words)):
        train_parallel(config, ParallelConfig.parse(parallel), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("parallel", ["ddp=2", "fsdp=2"])
def test_statistics_of_a_batch_are_not_those_of_its_parts(parallel: str, waves_file: Path, tmp_path: Path) -> None:
    config = RunConfig.build(str(waves_file), "hippo_legs", settings={"epochs": 1, "norm": "batch"})
    with pytest.raises(ValueError, match="`norm` must not be batch where processes share each batch"):
        train_parallel(config, ParallelConfig.parse(parallel), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", ["classification", "regression", "sequence", "sequence of classes"])
def test_shares_of_a_loss_add_up_to_the_loss_of_the_task(task: str) -> None:
    from seqkit.batch import Batch
    from seqkit.models import ModelConfig, SequenceModel
    from seqkit.tasks import SequenceTask

    classes = ("a", "b", "c") if task.endswith(("classification", "classes")) else ()
    kind: Any = "sequence" if task.startswith("sequence") else task
    info = DataInfo("toy", kind, n_channels=2, classes=classes, n_targets=1 if classes else 2)
    model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1, dropout=0.0), info, seed=0)
    if not classes:
        model.head.set_statistics(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]))  # type: ignore[operator]
    values, lengths = torch.randn(5, 7, 2), torch.tensor([7, 3, 5, 1, 6])
    shape = (5, 7) if kind == "sequence" else (5,)
    target = torch.randint(0, 3, shape) if classes else torch.randn(*shape, 2)
    batch = Batch(values, target, lengths)
    expected = SequenceTask(model).loss(batch)[0]
    outputs, count = model(values, lengths), count_targets(info, lengths)
    scale = None if classes else model.head.scale
    parts = [
        loss_share(info, outputs[part], target[part], lengths[part], count=count, scale=scale)  # type: ignore[arg-type]
        for part in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    assert torch.allclose(sum(parts), expected, rtol=1e-6)  # type: ignore[arg-type]


def test_a_pipeline_writes_the_run_that_one_process_would(waves_file: Path, tmp_path: Path) -> None:
    config = RunConfig.build(str(waves_file), "s4d", settings=SETTINGS)
    alone = train(config=config, out=tmp_path / "alone", progress=False)
    spread = train_parallel(config, ParallelConfig.parse("pipeline=2"), out=tmp_path / "spread", progress=False)
    assert spread.metrics == pytest.approx(alone.metrics, rel=1e-3)
    one, other = (load_file(folder.path / "model.safetensors") for folder in (alone, spread))
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=2e-4), name
    stream = Stream(spread.model)
    assert stream.push(torch.zeros(5, 2)) is not None
    assert spread.summary["parallel"]["pipeline"] == 2


@pytest.mark.slow
def test_copies_write_the_run_that_one_process_would(waves_file: Path, tmp_path: Path) -> None:
    config = RunConfig.build(str(waves_file), "s4d", settings=SETTINGS)
    alone = train(config=config, out=tmp_path / "alone", progress=False)
    spread = train_parallel(config, ParallelConfig.parse("ddp=2"), out=tmp_path / "spread", progress=False)
    assert spread.metrics == pytest.approx(alone.metrics, rel=1e-3)
    one, other = (load_file(folder.path / "model.safetensors") for folder in (alone, spread))
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=2e-4), name
    coded = train_parallel(config, ParallelConfig.parse("ddp=2", "dp=8"), out=tmp_path / "coded", progress=False)
    assert coded.summary["parallel"]["gradient_bytes"] > 0
    assert coded.metrics == pytest.approx(alone.metrics, rel=0.1)


@pytest.mark.slow
def test_copies_with_parts_of_the_weights_write_the_run_that_one_process_would(
    waves_file: Path, tmp_path: Path
) -> None:
    config = RunConfig.build(str(waves_file), "s4d", settings={**SETTINGS, "checkpoint_steps": 1})
    alone = train(config=config, out=tmp_path / "alone", progress=False)
    spread = train_parallel(config, ParallelConfig.parse("fsdp=2"), out=tmp_path / "spread", progress=False)
    assert spread.metrics == pytest.approx(alone.metrics, rel=1e-3)
    one, other = (load_file(folder.path / "model.safetensors") for folder in (alone, spread))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=2e-4), name


@pytest.mark.slow
def test_pipelines_side_by_side_train(waves_file: Path, tmp_path: Path) -> None:
    config = RunConfig.build(str(waves_file), "s4d", settings=SETTINGS)
    spread = ParallelConfig.parse("pipeline=2,ddp=2", "fw=4,bw=8,dp=8")
    found = train_parallel(config, spread, out=tmp_path / "run", progress=False)
    assert len(found.summary["parallel"]["ranks"]) == 4
    assert all(rank["gradient_bytes"] > 0 for rank in found.summary["parallel"]["ranks"])


def whole_and_resumed(words: list[str], data: Path, folder: Path, started: Callable[[Path], bool]) -> None:
    """Trains in "whole", and in "broken" until it is killed and goes on; both end with the same weights."""
    command = [sys.executable, "-m", "seqkit", "train", "--data", str(data), "--model", "s4d", *words]
    subprocess.run([*command, "--out", str(folder / "whole")], check=True, capture_output=True)
    broken = subprocess.Popen(
        [*command, "--out", str(folder / "broken")], stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not started(folder / "broken"):
        assert broken.poll() is None
        time.sleep(0.02)
    os.killpg(broken.pid, signal.SIGKILL)
    broken.wait()
    assert not (folder / "broken" / "summary.json").exists()
    resume = [sys.executable, "-m", "seqkit", "train", "--resume", "--out", str(folder / "broken")]
    subprocess.run(resume, check=True, capture_output=True)
    whole, again = (load_file(folder / name / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.slow
def test_a_killed_pipeline_goes_on_bit_for_bit(waves_file: Path, tmp_path: Path) -> None:
    def started(run: Path) -> bool:
        latest = run / "checkpoints" / "latest"
        return latest.is_file() and latest.read_text() >= "step-00000003"

    words = [f"{key}={value}" for key, value in {**SETTINGS, "epochs": 5, "checkpoint_steps": 1}.items()]
    spread_over = ["--parallel", "pipeline=2,buffers=disk", "--compress", "fw=2,bw=4,max_error=0.45"]
    whole_and_resumed([*spread_over, *words], waves_file, tmp_path, started)
    assert json.loads((tmp_path / "broken" / "parallel.json").read_text())["compress"] == "fw=2,bw=4,max_error=0.45"
    spread = [json.loads((tmp_path / name / "summary.json").read_text())["parallel"] for name in ("whole", "broken")]
    assert spread[0]["cuts"] == spread[1]["cuts"]  # bits were raised after the same epochs
    assert spread[0]["cuts"][0][0]["bits"] == 2 < spread[0]["cuts"][-1][0]["bits"]
    for rank in spread[0]["ranks"]:  # late are the series that end one epoch and begin the next
        assert 0 <= rank["rows_read_late"] < 0.2 * rank["rows_read_ahead"]
    assert not list((tmp_path / "whole" / "buffers").glob("rank*"))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--parallel", "ddp=2", "--compress", "dp=3"], ["--parallel", "fsdp=2"]])
def test_killed_copies_go_on_bit_for_bit(words: list[str], waves_file: Path, tmp_path: Path) -> None:
    def started(run: Path) -> bool:
        metrics = run / "metrics.csv"
        return metrics.is_file() and len(metrics.read_text().splitlines()) > 2  # two epochs and the names

    settings = [f"{key}={value}" for key, value in {**SETTINGS, "epochs": 4, "checkpoint_steps": 1}.items()]
    whole_and_resumed([*words, *settings], waves_file, tmp_path, started)


@pytest.mark.slow
def test_torchrun_starts_the_same_training(waves_file: Path, tmp_path: Path) -> None:
    words = [f"{key}={value}" for key, value in SETTINGS.items()]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "seqkit"]
    command += ["train", "--data", str(waves_file), "--model", "s4d", "--parallel", "pipeline=2", *words]
    subprocess.run([*command, "--out", str(tmp_path / "run")], check=True, capture_output=True)
    assert (tmp_path / "run" / "summary.json").is_file()
