"""Accuracy of a trained transformer against the memory that its attention is left with, without training it again.

    SEQKIT_DATA=... python benchmarks/drop_in.py           # trains if need be, measures what is missing, reports
    SEQKIT_DATA=... python benchmarks/drop_in.py --report  # reports what was measured

The model is that of spoken_transformer.py, and `seqkit.attention.replace` changes both of its layers. Each measurement
is kept in runs/drop_in.jsonl, so that it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from spoken_transformer import LENGTH, RUN, Part, cut, parts, predictions, train
from torch import Tensor

from seqkit.attention import replace, restore
from seqkit.figures import new_figure, save_figure
from seqkit.models import SequenceModel

ROWS = Path("runs/drop_in.jsonl")
PAGE = Path(__file__).parent / "results" / "drop_in.md"
ROUNDS, CALIBRATION = 4, 4  # rounds of hashing; recordings that the chosen share is chosen on
MEMORIES = (1 / 256, 1 / 64, 0.02, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
WORDS = {
    "exact": "exact",
    "scatterbrain": "Scatterbrain, halves",
    "chosen": "Scatterbrain, share chosen",
    "lsh": "LSH",
    "performer": "Performer",
    "local": "local window",
    "itself": "each sample itself alone",
}


class Measurement(NamedTuple):
    """One way to attend, on the first recordings of the test part in a fixed order."""

    method: str
    memory: float
    seed: int
    count: int


def plan() -> list[Measurement]:
    """What is measured, the most telling first; wide searches on fewer recordings, as they take the longest."""
    made = [Measurement("exact", 1.0, 0, 250), Measurement("itself", 1 / LENGTH, 0, 250)]
    halves = ("scatterbrain", "lsh")
    made += [Measurement("chosen", 0.02, 0, 250), *(Measurement("scatterbrain", 0.02, s, 250) for s in range(3))]
    for memory in (0.02, 1 / 64, 1 / 256):
        made += [Measurement(name, memory, 0, 250) for name in (*halves, "local")]
        made += [Measurement("performer", memory, seed, 250) for seed in range(3)]
    for memory in (1 / 8, 1 / 2, 1 / 32, 1 / 16, 1 / 4):
        made += [Measurement("performer", memory, 0, 250), Measurement("local", memory, 0, 250)]
        made += [Measurement("performer", memory, seed, 250) for seed in (1, 2)]
    made += [Measurement(name, 1 / 32, 0, 250) for name in halves]
    made += [Measurement(name, 0.02, seed, 250) for seed in range(3) for name in ("chosen", *halves)]
    made += [Measurement(name, memory, 0, 50) for memory in (1 / 16, 1 / 8) for name in halves]
    return list(dict.fromkeys(made))


def changed(model: SequenceModel, what: Measurement, calibration: Tensor) -> list[str]:
    """Replaces the attention of the model, and says what each layer got."""
    options: dict[str, Any] = {"memory": what.memory, "seed": 100 * what.seed}
    if what.method == "itself":
        options, method = {"n_keys": 1}, "local"
    elif what.method == "chosen":
        options, method = {**options, "rounds": ROUNDS, "calibration": calibration}, "scatterbrain"
    else:
        method = what.method
        options.update({"rounds": ROUNDS} if method in ("scatterbrain", "lsh") else {})
        options.update({"keys": "both"} if method == "lsh" else {})
    done = [one.recipe for one in replace(model, method, **options)]
    sizes = [(recipe.method, *recipe.sizes(LENGTH)) for recipe in done if recipe is not None]
    return [f"{name} {n_keys}+2x{n_features}" for name, n_features, n_keys in sizes]


def measure(model: SequenceModel, what: Measurement, test: Part, calibration: Tensor) -> dict[str, Any]:
    """Digits found, and what they cost."""
    began, got = time.process_time(), ["exact"]
    if what.method != "exact":
        got = changed(model, what, calibration)
    values = torch.stack([cut(wave) for wave in test.waves[: what.count]])
    try:
        found = predictions(model, values)
    finally:
        restore(model)
    return {**what._asdict(), "layers": got, "found": found.tolist(), "seconds": time.process_time() - began}


def shuffled(part: Part) -> Part:
    """In a fixed order that mixes digits and speakers, so that the first ones stand for all."""
    order = torch.randperm(len(part.target), generator=torch.Generator().manual_seed(0))
    return Part([part.waves[i] for i in order], part.target[order])


def known() -> dict[Measurement, dict[str, Any]]:
    """What was measured already."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    rows = [json.loads(line) for line in lines]
    return {Measurement(*(row[name] for name in Measurement._fields)): row for row in rows}


def run(test: Part) -> None:
    """Measures what is missing."""
    model = train()
    calibration = torch.stack([cut(wave) for wave in shuffled(parts()["choices"]).waves[:CALIBRATION]])
    there = known()
    for what in plan():
        if what in there:
            continue
        row = measure(model, what, test, calibration)
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        right = float((torch.tensor(row["found"]) == test.target[: what.count]).double().mean())
        print(f"{what}: {100 * right:.1f} %, {row['layers']}, {row['seconds']:.0f} s", flush=True)


class Result(NamedTuple):
    """Of all draws of a method at a memory."""

    draws: int
    count: int
    right: list[float]  # percent, of each draw
    lost: list[float]  # points, against exact attention on the same recordings
    worse: float  # mean number of recordings that were right and are not
    better: float  # mean number that were not and are
    layers: list[str]


def results(test: Part) -> dict[tuple[str, float], Result]:
    """Draws put together."""
    rows, made = known(), {}
    exact = torch.tensor(rows[Measurement("exact", 1.0, 0, 250)]["found"])
    for name, memory in dict.fromkeys((what.method, what.memory) for what in rows):
        same = [row for what, row in rows.items() if (what.method, what.memory) == (name, memory)]
        count = same[0]["count"]
        wanted, before = test.target[:count], exact[:count] == test.target[:count]
        after = [torch.tensor(row["found"]) == wanted for row in same]
        made[name, memory] = Result(
            draws=len(same),
            count=count,
            right=[100 * float(one.double().mean()) for one in after],
            lost=[100 * float(before.double().mean() - one.double().mean()) for one in after],
            worse=sum(int((before & ~one).sum()) for one in after) / len(after),
            better=sum(int((~before & one).sum()) for one in after) / len(after),
            layers=list(dict.fromkeys("; ".join(dict.fromkeys(row["layers"])) for row in same)),
        )
    return made


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def spread(values: list[float]) -> str:
    """The mean, and the range of the draws where there are several."""
    if len(values) == 1 or max(values) == min(values):
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def share(memory: float) -> str:
    return "2 %" if memory == 0.02 else "1" if memory == 1 else f"1/{round(1 / memory)}"


def table(found: dict[tuple[str, float], Result]) -> list[str]:
    names = [
        "memory",
        "attention",
        "keys + 2 x features of each layer",
        "draws",
        "recordings",
        "right, %",
        "points lost",
    ]
    names += ["right before, not now", "the other way"]
    lines = ["| " + " | ".join(names) + " |", "|---|---|---|---:|---:|---:|---:|---:|---:|"]
    for name, memory in sorted(found, key=lambda key: (-key[1], list(WORDS).index(key[0]))):
        at = found[name, memory]
        layers = ", or ".join(at.layers)
        cells = [share(memory), WORDS[name], layers, str(at.draws), str(at.count), spread(at.right), spread(at.lost)]
        lines.append("| " + " | ".join([*cells, f"{at.worse:.1f}", f"{at.better:.1f}"]) + " |")
    return lines


def claim(found: dict[tuple[str, float], Result]) -> list[str]:
    """What is to be shown: 98 % of the memory removed, at most one point lost."""
    lines = []
    for name in ("chosen", "scatterbrain", "lsh", "performer", "local"):
        at = found.get((name, 0.02))
        if at is None:
            continue
        kept = "at most one point is lost" if mean(at.lost) <= 1 else "more than one point is lost"
        draws = f"{at.draws} draws" if at.draws > 1 else "one draw"
        lines.append(f"- {WORDS[name]} at 2 % of the memory, {draws}: {kept}, {spread(at.lost)}.")
    return lines


def page(test: Part) -> None:
    found, stored = results(test), torch.load(RUN / "checkpoint.pt", weights_only=True)
    seconds = sum(row["seconds"] for row in known().values())
    exact = found["exact", 1.0]
    few = min(one.count for one in found.values())
    wider = math.sqrt(exact.right[0] * (100 - exact.right[0]) / exact.count)
    lines = [
        "# A trained transformer with less memory for its attention",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread on {platform.machine()}, torch {torch.__version__.split('+')[0]}. "
        f"`benchmarks/drop_in.py`: {stored['seconds']:.0f} s of CPU time to train, {seconds:.0f} s to measure.",
        "",
        "Spoken digits of the Free Spoken Digit Dataset, ten classes, the 250 recordings that the set keeps for tests "
        f"(0 to 4 of each digit and speaker; the speakers are heard in training). {LENGTH:,} samples at 8 kHz where a "
        "recording is loudest, one position a sample: a trained bank of filters that reads 256 samples around each, "
        "then two blocks of exact two-sided attention, 64 channels, 2 heads, rotary positions, and the mean. Trained "
        "with exact attention on samples drawn from each series (`benchmarks/spoken_transformer.py`, seed 0). Nothing "
        "is trained after attention is replaced, in both layers.",
        "",
        f"Memory is numbers per query and head, of which exact attention holds {LENGTH:,}: one for each key, two for "
        "each random feature, as queries and keys both have it; the paper counts so. Positions of keys (whole "
        "numbers), the features' sums, which do not grow with the series, and what a search holds while it runs are "
        f"not counted. Keys are the strongest of {ROUNDS} rounds of hashing and of a window. Share chosen: the split "
        f"between keys and features, and where keys are looked for, are chosen for each layer by the error of its "
        f"output on {CALIBRATION} recordings of the training part (`calibration=`), and may end in keys alone.",
        "",
        f"Exact attention has {exact.right[0]:.1f} % right, with a standard error of {wider:.1f} points; losses are "
        "differences on the same recordings and smaller in error. Draws differ in features and hashes; their range is "
        f"in brackets. Wide searches were measured on the first {few} recordings of the same random order.",
        "",
        "![accuracy against memory](drop_in.png)",
        "",
        *claim(found),
        "",
        *table(found),
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(test: Part) -> None:
    """Accuracy against memory; what was measured on fewer recordings is drawn as the loss from the exact accuracy."""
    found = results(test)
    whole = found["exact", 1.0].right[0]
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    styles = {"chosen": "tab:red", "scatterbrain": "tab:green", "lsh": "tab:orange", "performer": "tab:blue"}
    for name, colour in {**styles, "local": "tab:purple"}.items():
        memories = sorted(memory for one, memory in found if one == name)
        if not memories:
            continue
        at = [[whole - lost for lost in found[name, memory].lost] for memory in memories]
        middle = [mean(one) for one in at]
        bars = [[m - min(one) for m, one in zip(middle, at, strict=True)]]
        bars.append([max(one) - m for m, one in zip(middle, at, strict=True)])
        axes.errorbar(memories, middle, bars, marker="o", ms=4, lw=1.2, capsize=2, color=colour, label=WORDS[name])
    axes.axhline(whole, color="black", lw=1, label="exact")
    axes.axhspan(whole - 1, whole, color="black", alpha=0.1, label="within one point")
    axes.axvline(0.02, color="grey", ls=":", lw=1)
    axes.set(xscale="log", xlabel="share of the attention memory kept", ylabel="right, %")
    axes.set_title("Spoken digits, 2,048 samples, attention replaced without training")
    axes.set_xticks(MEMORIES, [share(memory) for memory in MEMORIES], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, PAGE.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    test = shuffled(parts()["test"])
    if not options.report:
        run(test)
    page(test)
    draw(test)
    print("\n".join(claim(results(test))))


if __name__ == "__main__":
    main()
