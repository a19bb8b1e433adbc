r"""Every mixer on the generated long-dependency tasks: equal parameters, equal processor time, by `seqkit.train`.

    python benchmarks/long_dependency.py                                       # s4d and gru on copying, a minute each
    python benchmarks/long_dependency.py --tasks all --mixers all --seeds 3 --seconds 600 \
        --keep benchmarks/results/long_dependency_rows.jsonl --out benchmarks/results/long_dependency.md    # hours

Each model gets the width whose number of parameters is nearest to the target, and as many steps as fit the processor
time, by the time of a few. What is kept in `--keep` is not measured again, so a run that was stopped goes on, and
several runs make one page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

import seqkit
from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, get_source, loader
from seqkit.models.config import PRESETS, ModelConfig
from seqkit.models.sequence_model import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.steps import fit_step_sizes

BATCH = 32
LAYERS = 2
VALIDATION = 0.05


class Task(NamedTuple):
    """A set with its options, what is measured, and what needs no memory at all."""

    data: str
    options: dict[str, Any]
    measure: str
    chance: str


TASKS = {
    "copying": Task("copying", {"length": 64, "tokens": 4}, "accuracy of repeated symbols, %", "12.5"),
    "copying from the start": Task(
        "copying", {"length": 64, "tokens": 4, "selective": False}, "accuracy of repeated symbols, %", "12.5"
    ),
    "adding": Task("adding", {"length": 200}, "root mean squared error", "0.408"),
    "delayed recall": Task("delayed_recall", {"length": 1024}, "accuracy, %", "12.5"),
    "pathfinder": Task("pathfinder", {"size": 2000, "test_size": 500}, "accuracy, %", "50"),
}
MIXERS = list({preset.mixer: name for name, preset in reversed(PRESETS.items()) if preset.mixer}.values())[::-1]
"""The first preset of each mixer of the registry."""


def width(mixer: str, info: DataInfo, target: int) -> tuple[int, int]:
    """Width in steps of 8 whose number of parameters is nearest to the target, and that number."""
    counts: dict[int, int] = {}
    for d_model in range(8, 513, 8):
        config = ModelConfig.preset(mixer, d_model=d_model, n_layers=LAYERS)
        counts[d_model] = sum(one.numel() for one in SequenceModel.from_config(config, info).parameters())
        if counts[d_model] > target:
            break
    best = min(counts, key=lambda d_model: abs(counts[d_model] - target))
    return best, counts[best]


def step_seconds(config: RunConfig, module: SeriesDataModule) -> float:
    """Processor time of a training step, the median of three after one that does not count."""
    model = SequenceModel.from_config(fit_step_sizes(config, module).model, module.info)
    optimizer = torch.optim.AdamW(model.parameters())
    times = []
    for number, batch in enumerate(module.train_dataloader()):
        began = time.process_time()
        optimizer.zero_grad()
        model(batch.values, batch.lengths).square().mean().backward()
        optimizer.step()
        times.append(time.process_time() - began)
        if number == 3:
            break
    return statistics.median(times[1:])


def settings_for(task: Task, mixer: str, seed: int, seconds: float, parameters: int) -> tuple[dict[str, Any], int]:
    """Settings of a training that takes so many seconds, and its steps."""
    source = get_source(task.data, **task.options)
    d_model, _ = width(mixer, source.info(), parameters)
    settings: dict[str, Any] = {f"data.{key}": value for key, value in task.options.items()}
    settings |= {"data.batch_size": BATCH, "data.validation": VALIDATION, "seed": seed}
    settings |= {"model.d_model": d_model, "model.n_layers": LAYERS, "model.dropout": 0.0, "training.patience": None}
    few = {**task.options, "size": 8 * BATCH, "test_size": 1}
    module = SeriesDataModule(get_source(task.data, **few), batch_size=BATCH)
    module.setup()
    steps = max(1, int(seconds / step_seconds(RunConfig.build(task.data, mixer, settings=settings), module)))
    training = int(source.describe()["series"]["train"] * (1 - VALIDATION))
    epochs = max(1, round(steps * BATCH / training))
    settings["training.epochs"] = epochs
    if steps * BATCH < training:
        settings["data.train_series"] = steps * BATCH
    return settings, epochs * -(-min(training, steps * BATCH) // BATCH)


def repeated(model: SequenceModel, task: Task) -> float:
    """Accuracy over the samples whose target is a symbol."""
    source = get_source(task.data, **{**task.options, "size": 1})
    right = []
    for batch in loader(source.load()["test"], source.info(), batch_size=250):
        asked = batch.target > 0
        found = model.predict(batch.values, batch.lengths).argmax(-1)
        right.append((found == batch.target)[asked].float())
    return torch.cat(right).mean().item()


def measured(name: str, mixer: str, seed: int, seconds: float, parameters: int) -> dict[str, Any]:
    """One training and its score on the test part."""
    task = TASKS[name]
    settings, steps = settings_for(task, mixer, seed, seconds, parameters)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run = seqkit.train(task.data, mixer, out=Path(folder) / "run", progress=False, **settings)
        spent = time.process_time() - began
        if task.data == "copying":
            score = 100 * repeated(run.model, task)
        else:
            score = 100 * run.metrics["accuracy"] if "accuracy" in run.metrics else run.metrics["rmse"]
    return {
        "score": score,
        "steps": steps,
        "epochs": settings["training.epochs"],
        "cpu_seconds": spent,
        "d_model": settings["model.d_model"],
        "parameters": run.summary["n_parameters"],
    }


def cell(rows: list[dict[str, Any]], task: str) -> str:
    """Mean score over the seeds and steps of a training."""
    if not rows:
        return ""
    digits = 3 if TASKS[task].data == "adding" else 1
    score, steps = (statistics.mean(row[what] for row in rows) for what in ("score", "steps"))
    return f"{score:.{digits}f} ({steps:,.0f})"


def words(name: str) -> str:
    """The command that trains on a task."""
    options = [f"{key}={str(value).lower()}" for key, value in TASKS[name].options.items()]
    return " ".join(["seqkit train --data", TASKS[name].data, *options])


def page(rows: list[dict[str, Any]]) -> str:
    """The page of results, a table for each budget."""
    lines = [
        "# Mixers on tasks of long dependency",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}, one thread. {LAYERS} layers, batches of {BATCH}, no",
        "dropout, otherwise the defaults of `seqkit train`. Widths are chosen so that all have nearly the same number",
        "of parameters, and steps so that training takes the named processor time, by the time of a few of them;",
        "reading, validating and testing come on top. In brackets, the steps. Means over the seeds that were run; an",
        "empty cell was not measured. Sets: [docs/data.md](../../docs/data.md#made-from-a-seed).",
        "`benchmarks/long_dependency.py`; each measurement is in `long_dependency_rows.jsonl`.",
        "",
        "In copying, a model that knows which symbols were shown but nothing of their order is right in 41 %, and one",
        "below 12.5 % still says blank where it is asked. Half a minute is too short for order: a table of so small a",
        "budget shows that learning begins, not which mixer is better.",
    ]
    for seconds in sorted({row["seconds"] for row in rows}):
        mine = [row for row in rows if row["seconds"] == seconds]
        tasks = [name for name in TASKS if any(row["task"] == name for row in mine)]
        lines += ["", f"## {seconds:g} seconds of training", ""]
        lines += [
            f"- {name}: {TASKS[name].measure}; without memory {TASKS[name].chance}; `{words(name)}`" for name in tasks
        ]
        lines += ["", f"| mixer | {' | '.join(tasks)} | parameters | seeds |", "|---" * (len(tasks) + 3) + "|"]
        for mixer in MIXERS:
            own = [row for row in mine if row["mixer"] == mixer]
            if own:
                cells = [cell([row for row in own if row["task"] == name], name) for name in tasks]
                counts = sorted({row["parameters"] for row in own})
                span = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
                lines.append(f"| {mixer} | {' | '.join(cells)} | {span} | {len({row['seed'] for row in own})} |")
    return "\n".join(lines) + "\n"


def kept(path: Path | None) -> list[dict[str, Any]]:
    """What was measured so far, by this run or another."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path is not None and path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["copying"], choices=["all", *TASKS])
    parser.add_argument("--mixers", nargs="+", default=["s4d", "gru"], choices=["all", *MIXERS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time of a training")
    parser.add_argument("--parameters", type=int, default=50_000)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = kept(args.keep)
    for name in TASKS if "all" in args.tasks else args.tasks:
        for mixer in MIXERS if "all" in args.mixers else args.mixers:
            for seed in range(args.seeds):
                case = {"task": name, "mixer": mixer, "seed": seed, "seconds": args.seconds}
                if any(case.items() <= row.items() for row in rows + kept(args.keep)):
                    continue
                row = {**case, **measured(name, mixer, seed, args.seconds, args.parameters)}
                rows.append(row)
                print(json.dumps(row), flush=True)
                if args.keep:
                    with args.keep.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    text = page(kept(args.keep) or rows)
    print(text)
    if args.out is not None:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
