"""Distillation of a regression: the fat of meat from its spectrum (Tecator), by a student of a thirtieth of its size.

    python benchmarks/distill_values.py --seeds 1
    python benchmarks/distill_values.py --seeds 5 --keep benchmarks/results/distill_values.jsonl \
        --out benchmarks/results/distill_values.md

Each seed is one `seqkit distill`, which trains students of labels alone and of the plain teacher beside its own. What
is in `--keep` is not measured again, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from seqkit.models import SequenceModel, load_model
from seqkit.runs import train_distilled
from seqkit.runs.config import RunConfig
from seqkit.runs.distill_config import DistillConfig
from seqkit.version import __version__

FOLDS = 3
STUDENT = {"d_model": 16, "order": 8, "epochs": 50, "learning_rate": 0.01, "batch_size": 64, "device": "cpu"}
TEACHERS = {
    "dropout of 0.1": {"teacher.dropout": 0.1},
}
THEIRS = {"epochs": 50, "learning_rate": 0.01, "batch_size": 64, "device": "cpu"}
METHODS = ("labels only", "plain", "crossfit")


def measure(name: str, seed: int) -> dict[str, Any]:
    """Errors of the three students, and what the teachers are worth, of one seed."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        theirs = {**TEACHERS[name], **{f"teacher.{key}": value for key, value in THEIRS.items()}}
        found = train_distilled(
            "tecator", "hippo_legs", "hippo_legs", method="crossfit", folds=FOLDS, out=Path(folder) / "run",
            offline=True, progress=False, seed=seed, **STUDENT, **theirs,
        )  # fmt: skip
        report, info = found.summary["distillation"], load_model(found.path).info
        teacher = RunConfig.from_dict(DistillConfig.read(found.path).teachers[0])
        size = SequenceModel.from_config(teacher.model, info).n_parameters
    report["crossfit"] = report.pop("student")
    return {
        "teacher": name, "seed": seed, "seconds": time.process_time() - began, "size": size,
        "parameters": report["n_parameters"], "overfit": report["overfit"],
        "seen": math.sqrt(report["teacher"]["seen"]), "unseen": math.sqrt(report["teacher"]["unseen"]),
        **{method: report[method]["rmse"] for method in METHODS},
    }  # fmt: skip


def mean_and_interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval by Student's distribution."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.2f} ± {half:.2f}"


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Distillation of a regression",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread; seqkit {__version__}, torch "
        f"{torch.__version__.split('+')[0]}. `benchmarks/distill_values.py`; each measurement is in "
        "`distill_values.jsonl`.",
        "",
        "Tecator, per cent of fat in meat from its infrared spectrum, the archive's own test part. Teacher and student "
        f"are of the kind `hippo_legs`. {FOLDS} folds. plain: the teacher saw every value. crossfit: it did not. Root "
        "mean squared error ± half of the 95 % interval over seeds of weights and cuts; gain: plain's error less that "
        "of the student, seed by seed.",
    ]
    for name in TEACHERS:
        mine = [row for row in rows if row["teacher"] == name]
        if not mine:
            continue
        seen, unseen = (np.mean([row[key] for row in mine]) for key in ("seen", "unseen"))
        lines += [
            "",
            f"## A teacher with {name}",
            "",
            f"{len(mine)} seed{'s' if len(mine) > 1 else ''}. The student has {mine[0]['parameters']:,} parameters, "
            f"the teacher {mine[0]['size']:,}, whose error is {seen:.2f} on what it was trained on and {unseen:.2f} on "
            "what it labels.",
            "",
            "| method | error | gain on plain |",
            "|---|---:|---:|",
        ]
        for method in METHODS:
            gain = mean_and_interval([row["plain"] - row[method] for row in mine]) if method != "plain" else ""
            lines.append(f"| {method} | {mean_and_interval([row[method] for row in mine])} | {gain} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if args.keep and args.keep.exists():
        rows = [json.loads(line) for line in args.keep.read_text(encoding="utf-8").splitlines()]
    for name in TEACHERS:
        for seed in range(args.seeds):
            if any(row["teacher"] == name and row["seed"] == seed for row in rows):
                continue
            rows.append(measure(name, seed))
            if args.keep:
                with args.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            print(
                {key: value if isinstance(value, str) else round(value, 3) for key, value in rows[-1].items()},
                flush=True,
            )
    text = page(rows)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
