r"""Every mixer on the generated long-dependency tasks: equal parameters, equal processor time, by `seqkit.train`.

    python benchmarks/long_dependency.py                                       # s4d and gru on short copying
    python benchmarks/long_dependency.py --tasks suite --mixers all \
        --keep benchmarks/results/long_dependency_rows.jsonl --out benchmarks/results/long_dependency.md    # an hour

Each model gets the width whose number of parameters is nearest to the target, and as many steps as fit the processor
time, by the time of a few. One that has no time for ten steps, or needs more memory than allowed, has a row that says
so. What is kept in `--keep` is not measured again, so a run that was stopped goes on, and several runs make one page.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from long_dependency_page import draw, page
from long_dependency_tasks import MIXERS, OTHER_RATE, RATES, SUITE, TASKS, Task, reach

import seqkit
from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, get_source, loader
from seqkit.models.config import ModelConfig
from seqkit.models.sequence_model import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.steps import fit_step_sizes
from seqkit.streaming import Stream

LAYERS = 2
VALIDATION = 0.05
FEWEST = 10
"""Steps of a training that is worth its name."""


class TooLongError(Exception):
    """A training that does not fit what was given; says why, and how long a step takes where that is known."""

    def __init__(self, why: str, step: float | None = None) -> None:
        super().__init__(why)
        self.step = step


@contextmanager
def at_most(gib: float) -> Iterator[None]:
    """Lets the process take so much more memory than it has, on Linux; beyond, an allocation fails."""
    if not sys.platform.startswith("linux"):
        yield
        return
    resource = importlib.import_module("resource")
    status = Path("/proc/self/status").read_text()
    held = int(status.split("VmData:")[1].split()[0]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + int(gib * 2**30), before[1]))
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise TooLongError(f"needs more than {gib:g} GiB of memory") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def width(mixer: str, info: DataInfo, target: int, options: dict[str, Any]) -> int:
    """Width in steps of 8 whose number of parameters is nearest to the target."""
    counts: dict[int, int] = {}
    for d_model in range(8, 513, 8):
        config = ModelConfig.preset(mixer, d_model=d_model, n_layers=LAYERS, **options)
        counts[d_model] = sum(one.numel() for one in SequenceModel.from_config(config, info).parameters())
        if counts[d_model] > target:
            break
    return min(counts, key=lambda d_model: abs(counts[d_model] - target))


def step_seconds(config: RunConfig, module: SeriesDataModule, seconds: float) -> float:
    """Processor time of a training step, the median of three after one that does not count.

    A first step that takes a third of all the time is one of those that do not fit, whatever the others would take.
    """
    model = SequenceModel.from_config(fit_step_sizes(config, module).model, module.info)
    optimizer = torch.optim.AdamW(model.parameters())
    times = []
    for batch in islice(module.train_dataloader(), 4):
        began = time.process_time()
        optimizer.zero_grad()
        model(batch.values, batch.lengths).square().mean().backward()
        optimizer.step()
        times.append(time.process_time() - began)
        if times[0] > seconds / 3 or sum(times) > seconds:
            break
    return statistics.median(times[1:] or times)


def settings_for(
    task: Task, mixer: str, seed: int, seconds: float, parameters: int, learning_rate: float
) -> tuple[dict[str, Any], int, float]:
    """Settings of a training that takes so many seconds, its steps, and the time of one.

    Raises:
        TooLongError: fewer than ten steps fit.
    """
    source = get_source(task.data, **task.options)
    options = reach(mixer, task.length) if task.spans else {}
    settings: dict[str, Any] = {f"data.{key}": value for key, value in task.options.items()}
    settings |= {"data.batch_size": task.batch, "data.validation": VALIDATION, "seed": seed}
    settings |= {"model.d_model": width(mixer, source.info(), parameters, options), "model.n_layers": LAYERS}
    settings |= {"model.dropout": 0.0, "training.patience": None, "training.learning_rate": learning_rate}
    settings |= {f"model.{key}": value for key, value in options.items()}
    if task.pool is not None:
        settings["model.pool"] = task.pool
    few = {**task.options, "size": max(64, 4 * task.batch), "test_size": 1}
    module = SeriesDataModule(get_source(task.data, **few), batch_size=task.batch)
    module.setup()
    step = step_seconds(RunConfig.build(task.data, mixer, settings=settings), module, seconds)
    steps = int(seconds / step)
    if steps < FEWEST:
        raise TooLongError(f"a training step takes {step:.1f} s", step)
    training = int(source.describe()["series"]["train"] * (1 - VALIDATION))
    epochs = max(1, round(steps * task.batch / training))
    settings["training.epochs"] = epochs
    if steps * task.batch < training:
        settings["data.train_series"] = steps * task.batch
    return settings, epochs * -(-min(training, steps * task.batch) // task.batch), step


def repeated(model: SequenceModel, task: Task) -> float:
    """Accuracy over the samples whose target is a symbol."""
    source = get_source(task.data, **{**task.options, "size": 1})
    right = []
    for batch in loader(source.load()["test"], source.info(), batch_size=250):
        asked = batch.target > 0
        found = model.predict(batch.values, batch.lengths).argmax(-1)
        right.append((found == batch.target)[asked].float())
    return torch.cat(right).mean().item()


def stream_cost(model: SequenceModel) -> dict[str, Any]:
    """Median processor time of a sample of one stream, or why the model has none."""
    try:
        stream = Stream(model)
    except ValueError as error:
        return {"no_stream": str(error)}
    times = []
    for sample in np.random.default_rng(0).random((60, model.info.n_channels), dtype=np.float32):
        began = time.process_time()
        stream.push(sample)
        times.append(time.process_time() - began)
    return {"stream_us": 1e6 * statistics.median(times[20:])}


def measured(name: str, mixer: str, seed: int, seconds: float, args: argparse.Namespace) -> dict[str, Any]:
    """One training and its score on the test part, or why there is none."""
    task = TASKS[name]
    rate = args.learning_rate or RATES.get(mixer, OTHER_RATE)
    common = {"batch": task.batch, "learning_rate": rate}
    try:
        with at_most(args.memory), tempfile.TemporaryDirectory() as folder:
            settings, steps, step = settings_for(task, mixer, seed, seconds, args.parameters or task.parameters, rate)
            began = time.process_time()
            run = seqkit.train(task.data, mixer, out=Path(folder) / "run", progress=False, **settings)
            spent = time.process_time() - began
            if task.data == "copying":
                score = 100 * repeated(run.model, task)
            else:
                score = 100 * run.metrics["accuracy"] if "accuracy" in run.metrics else run.metrics["rmse"]
            streamed = stream_cost(run.model) if name == "short adding" else {}
    except TooLongError as why:
        return {**common, "note": str(why), **({} if why.step is None else {"step_ms": 1e3 * why.step})}
    except ArithmeticError as why:
        return {**common, "note": f"diverged: {why}"}
    return {
        "score": score,
        "steps": steps,
        "epochs": settings["training.epochs"],
        "step_ms": 1e3 * step,
        "cpu_seconds": spent,
        "d_model": settings["model.d_model"],
        "parameters": run.summary["n_parameters"],
        **streamed,
        **common,
    }


def too_long_already(rows: list[dict[str, Any]], case: dict[str, Any]) -> str | None:
    """Why a training need not be tried: with shorter series, and no more samples in a batch, it was too long."""
    kind, task = case["task"].split(", ")[0], TASKS[case["task"]]
    for row in rows:
        other = TASKS[row["task"]]
        same = row["task"].split(", ")[0] == kind and all(row[key] == case[key] for key in ("mixer", "seconds"))
        if same and other.length < task.length and "step_ms" in row and "note" in row:
            return f"a training step takes {row['step_ms'] / 1e3:.1f} s at {other.length:,} samples already"
    return None


def kept(path: Path | None) -> list[dict[str, Any]]:
    """What was measured so far, by this run or another."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path is not None and path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["short copying"], choices=["all", "suite", *TASKS])
    parser.add_argument("--mixers", nargs="+", default=["s4d", "gru"], choices=["all", *MIXERS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="processor time of a training; the task's own if left out")
    parser.add_argument("--parameters", type=int, help="parameters of each model; the task's own number if left out")
    parser.add_argument("--learning-rate", type=float, help="peak learning rate; the mixer's of RATES if left out")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that a training may take")
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None, help="page to write; its picture goes beside it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = kept(args.keep)
    named = {"all": list(TASKS), "suite": SUITE}
    for name in dict.fromkeys(one for given in args.tasks for one in named.get(given, [given])):
        for mixer in MIXERS if "all" in args.mixers else args.mixers:
            for seed in range(args.seeds):
                case = {"task": name, "mixer": mixer, "seed": seed, "seconds": args.seconds or TASKS[name].seconds}
                if any(case.items() <= row.items() for row in rows + kept(args.keep)):
                    continue
                already = too_long_already(rows + kept(args.keep), case)
                row = {**case, **({"note": already} if already else measured(name, mixer, seed, case["seconds"], args))}
                rows.append(row)
                print(json.dumps(row), flush=True)
                if args.keep:
                    with args.keep.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    rows = kept(args.keep) or rows
    picture = None if args.out is None else args.out.with_suffix(".png")
    if picture is not None:
        draw(rows, picture, "benchmarks/long_dependency.py")
    machine = platform.processor() or platform.machine()
    text = page(rows, picture and picture.name, LAYERS, machine)
    print(text)
    if args.out is not None:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
