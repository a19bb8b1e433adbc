"""Spoken digits from raw samples: the recipes' S4D beside MiniRocket with ridge regression, on the same parts.

    SEQKIT_DATA=... python benchmarks/spoken_digits.py --keep benchmarks/results/spoken_digits.jsonl \
        --out benchmarks/results/spoken_digits.md

By recording, every speaker is heard in training; by speaker, neither the one to be tested on is nor the one to choose
the epoch by. S4D is trained by `seqkit train --config recipes/spoken_digits_raw.yaml` or `..._speaker.yaml`, with the
changes that a case names. What is kept in `--keep` is not measured again; a training that was stopped goes on from its
last epoch. `--cases` names the cases to measure, all by default: an hour and more on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

from seqkit.bench.machine import describe_machine, headline
from seqkit.datasets import get_source
from seqkit.datasets.series import SeriesSet
from seqkit.files import write_whole

ROOT = Path(__file__).parents[1]
SAMPLES = 8000
"""Samples that MiniRocket reads, which needs one length for all: one second, zeros where a recording is shorter."""

SPEAKERS = {"yweweler": "theo", "theo": "nicolas", "nicolas": "yweweler"}
"""Speakers to test on, each with the one to choose the epoch by."""


class Way(NamedTuple):
    """A model, as the page names it.

    Args:
        name: Its name.
        settings: What differs from the recipe; None for MiniRocket.
        scaled: Whether each recording is first brought to mean 0 and deviation 1; only for MiniRocket.
    """

    name: str
    settings: tuple[str, ...] | None
    scaled: bool = False


WAYS = {
    "s4d": Way("S4D, training recordings varied", ()),
    "speed": Way("the same, speed varied by 35 %", ("vary_speed=0.35",)),
    "minirocket": Way("MiniRocket + ridge", None),
    "scaled": Way("MiniRocket + ridge, each recording scaled to deviation 1", None, scaled=True),
}


def case_names(seeds: int) -> list[str]:
    """SPLIT-WAY-SEED, where SPLIT is recording or the speaker to test on."""
    splits = ("recording", *SPEAKERS)
    return [f"{split}-{way}-{seed}" for seed in range(seeds) for split in splits for way in WAYS]


def measure(case: str, runs: Path) -> dict[str, Any]:
    """One row."""
    split, way, seed = case.split("-")
    if WAYS[way].settings is None:
        return {"case": case, **minirocket(split, int(seed), scaled=WAYS[way].scaled)}
    return {"case": case, **trained(split, WAYS[way].settings or (), int(seed), runs / case)}


def trained(split: str, settings: tuple[str, ...], seed: int, run: Path) -> dict[str, Any]:
    """Trains by the command that a user types, or goes on, and reads what the run folder says."""
    recipe = "spoken_digits_raw" if split == "recording" else "spoken_digits_speaker"
    command = [sys.executable, "-m", "seqkit", "train"]
    if (run / "config.yaml").exists():
        command += ["--resume", "--out", str(run)]
    else:
        speakers = () if split == "recording" else (f"test_speakers={split}", f"val_speakers={SPEAKERS[split]}")
        command += ["--config", str(ROOT / "recipes" / f"{recipe}.yaml"), "--out", str(run)]
        command += [*speakers, *settings, f"seed={seed}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    kept = run / "processor_seconds.txt"  # of the processes before, where training was stopped between two of them
    spent += float(kept.read_text()) if kept.exists() else 0.0
    kept.write_text(f"{spent:.0f}\n")
    summary = json.loads((run / "summary.json").read_text())
    return {
        "accuracy": summary["metrics"]["accuracy"],
        "parameters": summary["n_parameters"],
        "seconds": spent,
    }


def minirocket(split: str, seed: int, *, scaled: bool) -> dict[str, Any]:
    """The transform of sktime with its own pipeline behind it, on the very same recordings."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sktime.transformations.panel.rocket import MiniRocket

    parts = parts_of(split)
    train, test = (array(parts[part], scaled=scaled) for part in ("train", "test"))
    MiniRocket(num_kernels=84, random_state=0).fit(train[:2])  # compiles
    began = time.process_time()
    transform = MiniRocket(random_state=seed)
    features = np.asarray(transform.fit_transform(train), dtype=np.float32)
    model = make_pipeline(StandardScaler(with_mean=False), RidgeClassifierCV(alphas=np.logspace(-3, 3, 10)))
    model.fit(features, list(parts["train"].target or []))
    spent = time.process_time() - began
    found = model.score(np.asarray(transform.transform(test), dtype=np.float32), list(parts["test"].target or []))
    return {"accuracy": float(found), "parameters": int(model[-1].coef_.size), "seconds": spent}


def parts_of(split: str) -> dict[str, SeriesSet]:
    """The parts that the recipe of a split trains, validates and tests on, by the seed that it names."""
    options = {"split": "recording"}
    if split != "recording":
        options = {"split": "speaker", "test_speakers": split, "val_speakers": SPEAKERS[split]}
    source = get_source("spoken_digits", **options)
    return source.cut(source.load(), validation=0.1, test=0.2, seed=0)


def array(series: SeriesSet, *, scaled: bool) -> np.ndarray[Any, Any]:
    """Recordings of one length, (n, 1, SAMPLES)."""
    out = np.zeros((len(series), 1, SAMPLES), dtype=np.float32)
    for place, row in zip(out, series.values, strict=True):
        part = np.asarray(row)[:SAMPLES, 0]
        place[0, : len(part)] = (part - part.mean()) / part.std() if scaled else part
    return out


def cell(rows: list[dict[str, Any]], split: str, way: str, what: str) -> str:
    """Mean over seeds, with their spread and number."""
    values = [row[what] for row in rows if row["case"].rsplit("-", 1)[0] == f"{split}-{way}"]
    if not values:
        return ""
    if what != "accuracy":
        return f"{statistics.mean(values):,.0f}"
    spread = f" ± {100 * statistics.stdev(values):.1f} ({len(values)})" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def page(rows: list[dict[str, Any]]) -> str:
    """The page that `--out` holds."""
    speakers = [one for one in SPEAKERS if any(row["case"].startswith(one) for row in rows)]
    lines = [
        "# Spoken digits from raw samples",
        "",
        headline(describe_machine("cpu", 1, False)),
        "",
        "Free Spoken Digit Dataset, 8 kHz, five speakers, 50 recordings of each digit by each. Accuracy in % of whole "
        "recordings, where there are several seeds their mean, standard deviation and number. By recording: the set's "
        "own test part, 250 recordings by speakers who are all heard in training; 2,025 to learn from and 225 to "
        "choose the epoch by. By speaker: 500 recordings of one who is not heard at all, 1,500 of three to learn from, "
        "500 of another one to choose the epoch by. S4D is `recipes/spoken_digits_raw.yaml` and "
        "`spoken_digits_speaker.yaml`, trained by `seqkit train`: steps of 32 raw samples, no spectrum. "
        "Varied: loudness and start of each training recording are drawn anew each time; by recording speed too, by "
        "15 %; by speaker loudness 16-fold either way, since theo was recorded a thirteenth as loud as jackson. "
        "Settings were chosen on validation parts: for yweweler on theo, where varying speed by 35 % in as many "
        "passes had 70.6 % and not varying it 82.8 %. "
        f"MiniRocket is sktime's on the first {SAMPLES:,} samples, with "
        "its own pipeline (scaling, ridge regression with cross-validation). Processor time is that of training, on "
        "one thread of a machine that did other work too. Written by `benchmarks/spoken_digits.py`.",
        "",
        f"| | by recording | {' | '.join(f'unheard: {one}' for one in speakers)} | numbers learned | train, CPU s |",
        "|---|---:|" + "---:|" * (len(speakers) + 2),
    ]
    for way, (name, *_) in WAYS.items():
        cells = [cell(rows, split, way, "accuracy") for split in ("recording", *speakers)]
        sizes = [cell(rows, "recording", way, what) for what in ("parameters", "seconds")]
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} | {' | '.join(sizes)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="file of rows, so that a stopped run goes on")
    parser.add_argument("--out", type=Path, help="page to write")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "spoken_digits", help="folder of trainings")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cases", nargs="*", metavar="SPLIT-WAY-SEED", help="which to measure; all if left out")
    options = parser.parse_args()
    there = options.keep and options.keep.exists()
    rows: list[dict[str, Any]] = [json.loads(line) for line in options.keep.read_text().splitlines()] if there else []
    for case in case_names(options.seeds) if options.cases is None else options.cases:
        if any(row["case"] == case for row in rows):
            continue
        rows.append(measure(case, options.runs))
        print(rows[-1], flush=True)
        if options.keep:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    if options.out:
        write_whole(options.out, lambda path: path.write_text(page(rows), encoding="utf-8"))
    print(page(rows))


if __name__ == "__main__":
    main()
