"""Distillation of series with wrong labels: an ensemble of LSSL models teaches a tenth of its size that streams.

    SEQKIT_DATA=... python benchmarks/distill_sequences.py --sets japanese_vowels --seeds 1
    SEQKIT_DATA=... python benchmarks/distill_sequences.py --sets all --seeds 10 \
        --keep benchmarks/results/distill_sequences.jsonl --out benchmarks/results/distill_sequences.md

A fifth of the training labels is wrong, in the validation part too; test labels are right. The student learns from its
answer after every sample. What is in `--keep` is not measured again, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch.nn import functional as F

from seqkit.datasets import SeriesSet, loader
from seqkit.distill import CrossFitTeacher, in_sample_fold, prefix_scores, smallest_within_one_error
from seqkit.models import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module
from seqkit.runs.distill_data import goals_of, series_folds, series_ids, truth_of
from seqkit.runs.distill_task import DistillTask
from seqkit.runs.distill_teacher import RunTeacher, fit_model
from seqkit.runs.steps import fit_step_sizes
from seqkit.version import __version__

WRONG, FOLDS, MEMBERS = 0.2, 5, 2
WEIGHTS = (0.1, 0.3)
"""Fixed weights of the correction; the teacher alone is 0 and labels alone infinity."""
PLAIN = {"validation": 0.2, "label_smoothing": 0.0, "input_noise": 0.0, "keep": "last", "patience": None}
STUDENT = {"d_model": 8, "n_layers": 1, "order": 8, "dropout": 0.0, "epochs": 30, "learning_rate": 0.01}
TEACHER = {"d_model": 32, "n_layers": 1, "order": 8, "learning_rate": 0.01}
FEW = {"train_series": 200, "data.frame": 4, "batch_size": 50}
FEW_WORDS = "200 letters train, ten of each of 20 kinds, and four points of the pen are one step of the models."
LETTERS = {"d_model": 64, "order": 16, "learning_rate": 0.015, "weight_decay": 0.1}
PUPIL = {"d_model": 16, "order": 16, "learning_rate": 0.03, "epochs": 60}


class Case(NamedTuple):
    """A set and how teacher and student are trained on it.

    Args:
        data: Name of the set.
        teacher: Settings of the teacher that differ from `TEACHER`.
        student: Settings of the student that differ from `STUDENT`.
        both: Settings of both that differ from `PLAIN`.
        words: What the page says of the case.
    """

    data: str
    teacher: dict[str, Any]
    student: dict[str, Any]
    both: Mapping[str, Any] = MappingProxyType({})
    words: str = ""


SETS = {
    "japanese_vowels": Case("japanese_vowels", {"dropout": 0.2, "epochs": 15}, {}),
    "japanese_vowels, teacher trained too long": Case("japanese_vowels", {"dropout": 0.0, "epochs": 60}, {}),
    "letters": Case("character_trajectories", {**LETTERS, "dropout": 0.2, "epochs": 30}, PUPIL, FEW, FEW_WORDS),
    "letters, teacher trained too long": Case(
        "character_trajectories", {**LETTERS, "dropout": 0.0, "epochs": 50}, PUPIL, FEW, FEW_WORDS
    ),
}


def with_wrong_labels(series: SeriesSet, classes: tuple[str, ...], seed: int) -> SeriesSet:
    """The series with a share of the labels replaced by another class each."""
    random, labels = np.random.default_rng([seed, 7]), [str(one) for one in series.target or []]
    for i in np.flatnonzero(random.random(len(labels)) < WRONG):
        labels[i] = str(random.choice([one for one in classes if one != labels[i]]))
    return SeriesSet(
        series.values, labels, series.timestamps, series.names, series.sample_rate, series.channels, series.origin
    )


@torch.no_grad()
def scores_of(model: SequenceModel, series: SeriesSet) -> dict[str, float]:
    """Accuracy and log loss at the end of each series, and accuracy after a quarter and half of its samples."""
    found: dict[str, list[torch.Tensor]] = {"accuracy": [], "loss": [], "half": [], "quarter": []}
    for batch in loader(series, model.info, batch_size=64):
        scores, _ = prefix_scores(model, batch)
        assert batch.target is not None  # test parts have labels
        rows = torch.arange(len(scores))
        for name, share in (("accuracy", 1.0), ("half", 0.5), ("quarter", 0.25)):
            last = (batch.lengths * share).ceil().long().clamp(min=1) - 1
            found[name].append((scores[rows, last].argmax(1) == batch.target).double())
        found["loss"].append(F.cross_entropy(scores[rows, batch.lengths - 1], batch.target, reduction="none").double())
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


@torch.no_grad()
def streamed(model: SequenceModel, series: SeriesSet, n: int = 5) -> float:
    """RMS difference between the scores of whole series and those of `step`, sample after sample, over their RMS."""
    batch = next(iter(loader(series, model.info, batch_size=n)))
    whole, streams = model(batch.values, batch.lengths), []
    for row, length in zip(batch.values, batch.lengths.tolist(), strict=True):
        state, scores = model.initial_state(1), torch.empty(0)
        for sample in row[:length]:
            scores, state = model.step(sample[None], state)
        streams.append(scores)
    return float((torch.cat(streams) - whole).square().mean().sqrt() / whole.square().mean().sqrt())


def measure(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of one set and seed: the ensemble that saw all labels, and students by each method."""
    case = SETS[name]
    shared = {**PLAIN, "seed": seed, "device": "cpu", **case.both}
    teacher = RunConfig.build(case.data, "lssl", settings={**shared, **TEACHER, **case.teacher})
    student = RunConfig.build(case.data, "s4d", settings={**shared, **STUDENT, **case.student})
    module = build_data_module(student, offline=True)
    teacher, student = fit_step_sizes(teacher, module), fit_step_sizes(student, module)
    info = module.info
    train, val = (with_wrong_labels(module.sets[part], info.classes, seed) for part in ("train", "val"))
    test, truth, labels = module.sets["test"], truth_of(train, info), np.array(train.target)
    began = time.process_time()
    made = RunTeacher(teacher, info, None)
    folds = series_folds(train, FOLDS, seed=seed)
    said = {
        "plain": CrossFitTeacher(made, in_sample_fold(len(train)), n_members=MEMBERS, seed=seed),
        "crossfit": CrossFitTeacher(made, folds, n_members=MEMBERS, seed=seed),
    }
    told = {method: one.targets(train, labels, ids=series_ids(train)) for method, one in said.items()}
    seconds = time.process_time() - began
    guess = said["plain"].predict(test)[:, [told["plain"].classes.index(label) for label in info.classes]]
    right = truth_of(test, info)
    members = said["plain"].teachers_[0] or []
    yield {
        "set": name, "seed": seed, "method": "teacher", "seconds": seconds,
        "parameters": sum(one.model_.n_parameters for one in members),
        "accuracy": float((guess.argmax(1) == right.argmax(1)).mean()),
        "loss": float(-np.log(np.clip((guess * right).sum(1), 1e-12, 1)).mean()),
        "seen": float(np.mean(told["plain"].unseen)), "unseen": float(np.mean(told["crossfit"].unseen)),
    }  # fmt: skip
    goals = {
        "labels": torch.from_numpy(np.stack([truth, truth, np.ones_like(truth)], axis=1)),
        **{method: goals_of(one, truth, info) for method, one in told.items()},
    }
    jobs = [("labels", "labels", 0.0), ("plain", "plain", 0.0), ("crossfit", "crossfit", 0.0)]
    jobs += [(f"corrected, c = {c:g}", "plain", c) for c in WEIGHTS[:1]]
    jobs += [(f"both, c = {c:g}", "crossfit", c) for c in WEIGHTS]
    losses, rows = {}, {}
    for method, source, c in jobs:
        began = time.process_time()
        task = partial(DistillTask, c=c)
        model = fit_model(student, train, info, None, seed=seed, goals=goals[source].float(), make_task=task)
        rows[method] = {"set": name, "seed": seed, "method": method, "parameters": model.n_parameters}
        rows[method] |= {**scores_of(model, test), "seconds": time.process_time() - began}
        rows[method]["stream"] = streamed(model, test)
        yield rows[method]
        scores = torch.cat([model(b.values, b.lengths).detach() for b in loader(val, info, with_target=False)])
        wrong_too = torch.from_numpy(truth_of(val, info).argmax(1))
        losses[method] = F.cross_entropy(scores, wrong_too, reduction="none").numpy()
    order = ["crossfit", *(f"both, c = {c:g}" for c in WEIGHTS), "labels"]
    chosen = smallest_within_one_error(np.stack([losses[one] for one in order]), (0.0, *WEIGHTS, math.inf))
    which = order[(0.0, *WEIGHTS, math.inf).index(chosen)]
    yield {**rows[which], "method": "both, c chosen", "c": which}


def kept(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mean_and_interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of the 95 % interval by Student's distribution."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(half)


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Distillation of series with wrong labels",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread; seqkit {__version__}, torch "
        f"{torch.__version__.split('+')[0]}. `benchmarks/distill_sequences.py`; each measurement is in "
        "`distill_sequences.jsonl`.",
        "",
        f"{100 * WRONG:.0f} % of the training labels are wrong, in the validation part too; test labels are right. "
        f"Teacher: {MEMBERS} LSSL models, their probabilities averaged; student: one layer of S4D that learns by "
        f"cross-entropy from its answer after every sample. {FOLDS} folds. plain: the teacher saw every label. "
        "crossfit: it did not. corrected: plain with corrections. both: crossfit with corrections of the weight c; "
        "chosen: by the validation part's "
        "labels, wrong ones included, the smallest of 0, "
        + ", ".join(f"{c:g}" for c in WEIGHTS)
        + " and infinity (labels alone) within one standard error. Mean ± half of the 95 % interval over seeds of "
        "weights, cuts and wrong labels; gain: accuracy less that of plain, seed by seed, in points.",
    ]
    for name in SETS:
        mine = [row for row in rows if row["set"] == name]
        if not mine:
            continue
        seeds = sorted({row["seed"] for row in mine if row["method"] == "both, c chosen"})
        mine = [row for row in mine if row["seed"] in seeds]
        teacher = [row for row in mine if row["method"] == "teacher"]
        size = next(row["parameters"] for row in mine if row["method"] == "plain")
        streams = [row["stream"] for row in mine if "stream" in row]
        meter = [mean_and_interval([row[key] for row in teacher])[0] for key in ("seen", "unseen")]
        lines += [
            "",
            f"## {name}",
            "",
            f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}. {SETS[name].words}"
            f"{' ' if SETS[name].words else ''}The student has {size:,} parameters, the ensemble "
            f"{teacher[0]['parameters']:,}. Agreement of the teacher with the labels, wrong ones included: "
            f"{meter[0]:.3f} on those that it saw, {meter[1]:.3f} out of fold."
            + (
                f" Sample after sample students give the same scores within {max(streams):.0e} of their size."
                if streams
                else ""
            ),
            "",
            "| method | accuracy, % | gain on plain | log loss | after half, % | after a quarter, % |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        plain = {row["seed"]: row for row in mine if row["method"] == "plain"}
        names = dict.fromkeys(row["method"] for row in mine)
        for method in names:
            found = {row["seed"]: row for row in mine if row["method"] == method}
            cells = [
                method,
                "{:.1f} ± {:.1f}".format(*mean_and_interval([100 * r["accuracy"] for r in found.values()])),
            ]
            gains = [100 * (found[seed]["accuracy"] - plain[seed]["accuracy"]) for seed in seeds]
            cells.append("" if method in ("plain", "teacher") else "{:+.1f} ± {:.1f}".format(*mean_and_interval(gains)))
            cells.append("{:.3f} ± {:.3f}".format(*mean_and_interval([r["loss"] for r in found.values()])))
            for key in ("half", "quarter"):
                known = [100 * r[key] for r in found.values() if key in r]
                cells.append("{:.1f} ± {:.1f}".format(*mean_and_interval(known)) if known else "")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["japanese_vowels"], choices=[*SETS, "all"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = kept(args.keep)
    for seed in range(args.seeds):
        for name in SETS if "all" in args.sets else args.sets:
            if any(row["set"] == name and row["seed"] == seed for row in rows):
                continue
            found = list(measure(name, seed))
            rows += found
            if args.keep:
                with args.keep.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in found)
            print(name, seed, {row["method"]: round(row["accuracy"], 3) for row in found}, flush=True)
    text = page(rows)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
