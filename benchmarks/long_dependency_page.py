"""The page and the picture of `benchmarks/long_dependency.py`, from its rows."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from long_dependency_tasks import MIXERS, SAMPLES, SUITE, TASKS

from seqkit.figures import new_figure, save_figure

Rows = list[dict[str, Any]]

KINDS = {
    "state space": ("#1f77b4", ["s4", "s4d", "lssl"]),
    "recurrent": ("#d62728", ["hippo_rnn", "lmu", "lstm", "gru"]),
    "attention": ("#2ca02c", ["attention", "block_sparse", "performer", "lsh", "scatterbrain"]),
    "convolution": ("#ff7f0e", ["tcn", "monarch"]),
}


def mean(rows: Rows, what: str) -> float | None:
    """Mean over the rows that have it."""
    values = [row[what] for row in rows if row.get(what) is not None]
    return statistics.mean(values) if values else None


def absent(rows: Rows) -> str:
    """What stands where a score would."""
    notes = [row["note"] for row in rows if row.get("note")]
    return "" if not notes else "diverged" if notes[0].startswith("diverged") else "too long"


def cell(rows: Rows, task: str) -> str:
    """Mean score over the seeds and steps of a training, or why there is none."""
    score, steps = mean(rows, "score"), mean(rows, "steps")
    if score is None or steps is None:
        return absent(rows)
    return f"{score:.{3 if TASKS[task].data == 'adding' else 1}f} ({steps:,.0f})"


def words(name: str) -> str:
    """The command that trains on a task."""
    options = [f"{key}={str(value).lower()}" for key, value in TASKS[name].options.items()]
    return " ".join(["seqkit train --data", TASKS[name].data, *options])


def at(rows: Rows, **wanted: Any) -> Rows:
    """The rows with these values."""
    return [row for row in rows if wanted.items() <= row.items()]


def suite(rows: Rows) -> Rows:
    """The rows of the suite's tasks with their own seconds of training."""
    return [row for row in rows if row["task"] in SUITE and row["seconds"] == TASKS[row["task"]].seconds]


def table(mine: Rows, title: str) -> list[str]:
    """What was measured in the same time: scores, and why cells are empty."""
    tasks = [name for name in TASKS if at(mine, task=name)]
    rates: dict[float, list[str]] = {}
    for mixer in MIXERS:
        for rate in {row["learning_rate"] for row in at(mine, mixer=mixer) if "learning_rate" in row}:
            rates.setdefault(rate, []).append(mixer)
    lines = ["", f"## {title}", ""]
    if rates:
        said = "; ".join(f"{rate:g} for {', '.join(mixers)}" for rate, mixers in rates.items())
        lines += [f"Peak learning rates: {said}.", ""]
    took = {name: at(mine, task=name)[0]["seconds"] for name in tasks}
    lines += [
        f"- {name}: {took[name]:g} s; {TASKS[name].measure}; without memory {TASKS[name].chance:g}; `{words(name)}`"
        for name in tasks
    ]
    lines += ["", f"| mixer | {' | '.join(tasks)} | parameters | seeds |", "|---" * (len(tasks) + 3) + "|"]
    for mixer in MIXERS:
        own = at(mine, mixer=mixer)
        if own:
            counts = sorted({row["parameters"] for row in own if row.get("parameters")})
            span = "" if not counts else f"{counts[0]:,}" + (f" to {counts[-1]:,}" if counts[1:] else "")
            cells = " | ".join(cell(at(own, task=name), name) for name in tasks)
            lines.append(f"| {mixer} | {cells} | {span} | {len({row['seed'] for row in own})} |")
    without = sorted((row for row in mine if row.get("note")), key=lambda row: tasks.index(row["task"]))
    notes = [f"- {row['mixer']}, {row['task']}: {row['note']}" for row in without]
    return [*lines, *(["", "Not trained, or not to the end:", "", *notes] if notes else [])]


def costs(rows: Rows) -> list[str]:
    """Time of a training step by length, and of a sample in a stream."""
    timed = [name for name in TASKS if any(row.get("step_ms") for row in at(rows, task=name))]
    if not timed:
        return []
    lines = ["", "## Time of a step", ""]
    lines += [
        "Milliseconds of processor time of a training step (forward, backward, AdamW) on a batch, and microseconds"
    ]
    lines += ["of a sample of one stream by the model trained on short adding, or why there is none.", ""]
    lines += [f"| mixer | {' | '.join(timed)} | stream |", "|---" * (len(timed) + 2) + "|"]
    for mixer in MIXERS:
        own = at(rows, mixer=mixer)
        steps = [mean(at(own, task=name), "step_ms") for name in timed]
        stream, why = mean(own, "stream_us"), {row["no_stream"] for row in own if row.get("no_stream")}
        last = f"{stream:,.0f}" if stream is not None else "; ".join(sorted(why))
        if any(steps):
            lines.append(f"| {mixer} | {' | '.join(f'{one:,.0f}' if one else '' for one in steps)} | {last} |")
    return lines


def page(rows: Rows, picture: str | None, layers: int, machine: str) -> str:
    """The whole page."""
    lines = [
        "# Mixers on tasks of long dependency",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, torch {torch.__version__}, one thread, shared with other work.",
        f"{layers} layers, no dropout, otherwise the defaults of `seqkit train` but for the learning rate where one is",
        "named. Widths are the multiples of 8 at which all have nearly the same number of parameters, and a model has",
        "as many steps as its training has time for, by the time of a few of them, so that all trainings take the same",
        "processor time; the number is rounded to whole passes over the training series where there is more than one;",
        "reading, validating and testing come on top.",
        f"In brackets, the steps. A batch has 32 series, or {SAMPLES:,} samples in the tasks with a length in their",
        "name, but one series at least. In these and in the short ones, windows and dilations are set so that one",
        "layer spans the series, and where a series has one answer it is read from the last sample. Means over the",
        "seeds that were run; an empty cell was not measured.",
        "Sets: [docs/data.md](../../docs/data.md#made-from-a-seed). Made by",
        "`benchmarks/long_dependency.py`; each measurement is in `long_dependency_rows.jsonl`.",
        "",
        "Such budgets are seconds on a processor for small models: they show which mixers begin to learn a task",
        "soonest for their cost, and not which is best in the end. A mixer whose training would have fewer than ten",
        "steps in the time, or take more memory than allowed, was not trained. A model that knows which symbols were",
        "shown but not their order is right in 62.5 % of short copying, in 41 % of copying; one that always gives the",
        "same answer in 47 or 53 % of recall. Of one seed, a score at chance shows little: whether a model had begun",
        "to learn by then is partly luck, the more so at 16,384 samples and beyond, where a batch is one series.",
        *(["", f"![scores by task and mixer]({picture})"] if picture else []),
    ]
    if suite(rows):
        lines += table(suite(rows), "The suite")
    others = [row for row in rows if row not in suite(rows)]
    for seconds in sorted({row["seconds"] for row in others}):
        lines += table(at(others, seconds=seconds), f"{seconds:g} seconds of training")
    return "\n".join([*lines, *costs(rows)]) + "\n"


def draw(rows: Rows, path: Path, software: str) -> None:
    """One panel for each task of the suite, and two for times."""
    mine = suite(rows)
    tasks = [name for name in TASKS if at(mine, task=name)]
    ordered = [mixer for _, mixers in KINDS.values() for mixer in mixers if at(mine, mixer=mixer)]
    colours = {mixer: colour for colour, mixers in KINDS.values() for mixer in mixers}
    across = min(4, len(tasks) + 2)
    down = -(-(len(tasks) + 2) // across)
    figure = new_figure(3.6 * across + 1, 0.26 * len(ordered) * down + 1.2 * down)
    axes = figure.subplots(down, across, sharey=True, squeeze=False).flatten()
    for panel, name in zip(axes, tasks, strict=False):
        for row, mixer in enumerate(ordered):
            own = at(mine, task=name, mixer=mixer)
            score = mean(own, "score")
            if score is not None:
                panel.plot([TASKS[name].chance, score], [row, row], color=colours[mixer], linewidth=2, alpha=0.4)
                panel.plot(score, row, "o", color=colours[mixer])
            elif own:
                panel.text(0.5, row, absent(own), color="0.5", fontsize=7, ha="center", va="center",
                           transform=panel.get_yaxis_transform())  # fmt: skip
        panel.axvline(TASKS[name].chance, color="0.6", linestyle="--", linewidth=1)
        accuracy = TASKS[name].data != "adding"
        panel.set(title=name, xlabel=TASKS[name].measure + ("" if accuracy else " (less is better)"))
        if accuracy:
            panel.set_xlim(0.8 * TASKS[name].chance, 103)
    times = [("training step, recall of 1,024", "milliseconds", "step_ms", "recall, 1,024")]
    times += [("a sample of a stream", "microseconds", "stream_us", "short adding")]
    for panel, (title, unit, what, name) in zip(axes[len(tasks) :], times, strict=False):
        for row, mixer in enumerate(ordered):
            found = mean(at(mine, task=name, mixer=mixer), what)
            if found is not None:
                panel.plot(found, row, "s", color=colours[mixer])
        panel.set(title=title, xlabel=unit, xscale="log")
    shown = len(tasks) + len(times)
    for panel in axes[shown:]:
        panel.set_visible(False)
    for panel in axes[:shown]:
        panel.grid(axis="y", linewidth=0.3)
    axes[0].set_yticks(range(len(ordered)), ordered)
    axes[0].invert_yaxis()
    figure.suptitle("Small models after some seconds of training on one core; dashed: without memory")
    save_figure(figure, path, software=software)
