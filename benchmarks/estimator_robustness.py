"""Estimators at another sampling rate than in training, and with half of the samples missing, by fit and predict alone.

    SEQKIT_DATA=... python benchmarks/estimator_robustness.py --out benchmarks/results/estimator_robustness.md
    SEQKIT_DATA=... python benchmarks/estimator_robustness.py --models features minirocket --seeds 1      # a minute

Letters written with a pen (CharacterTrajectories) come at 200 Hz. Estimators learn them at 100 Hz and read the test
part at 100, 50 and 200 Hz: no sample is made up at any rate. Missing: each sample, all channels at once, is NaN with a
probability of a half, in training and test; JapaneseVowels likewise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import features  # beside this file; sets the number of threads before torch is imported
import numpy as np
import pandas as pd

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.estimators import HiPPOFeaturesClassifier, LSSLClassifier

TRAIN_RATE = 100.0
RATES = {100.0: "as trained", 50.0: "half rate", 200.0: "double rate"}

# Those of `seqkit train character_trajectories`; one layer less for lssl, which takes longer. The rest is the defaults.
LETTERS: dict[str, Any] = {"d_model": 64, "order": 64, "epochs": 30, "dropout": 0.2}
MODELS: dict[str, dict[str, Any]] = {
    "s4d": {**LETTERS, "n_layers": 3},
    "lssl": {**LETTERS, "n_layers": 2},
    "hippo_legs": {"epochs": 40},
    "features": {},
    "minirocket": {},
}
TITLES = {
    "s4d": '`LSSLClassifier("s4d")`',
    "lssl": '`LSSLClassifier("lssl")`',
    "hippo_legs": '`LSSLClassifier("hippo_legs")`',
    "features": "`HiPPOFeaturesClassifier`",
    "minirocket": "MiniRocket and ridge",
}


class Data(NamedTuple):
    """Series, (L, C) each, with labels, and the rate at which they were recorded (Hz; 0 where it is unknown)."""

    train: list[np.ndarray]
    train_y: np.ndarray
    test: list[np.ndarray]
    test_y: np.ndarray
    rate: float


def data(name: str, seed: int) -> Data:
    """All training series, those that runs hold out too, and the test part; a seed cuts the letters."""
    module = SeriesDataModule(get_source(name), seed=seed)
    module.setup()
    sets = module.sets
    known = [part for part in ("train", "val") if part in sets]
    train = [np.asarray(one, dtype=float) for part in known for one in sets[part].values]
    labels = np.array([label for part in known for label in sets[part].target])
    test = [np.asarray(one, dtype=float) for one in sets["test"].values]
    return Data(train, labels, test, np.array(sets["test"].target), module.info.sample_rate or 0.0)


def frames(series: list[np.ndarray], every: int = 1) -> list[pd.DataFrame]:
    """A panel of sktime's, "df-list", that says nothing about time."""
    return [pd.DataFrame(one[::every]) for one in series]


def with_gaps(series: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    """Half of the samples gone, but never all of a series."""
    out = []
    for one in series:
        gone = random.random(len(one)) < 0.5
        gone[random.integers(len(one))] = False
        out.append(np.where(gone[:, None], np.nan, one))
    return out


def estimator(name: str, seed: int, on: str) -> Any:
    """A fresh estimator: what is not set here is left to its defaults."""
    if name == "minirocket":
        return features.MiniRocketRidge(seed, regression=False)
    rate = TRAIN_RATE if on == "character_trajectories" else None
    if name == "features":
        return HiPPOFeaturesClassifier(random_state=seed, sample_rate=rate)
    sizes = MODELS[name] if on == "character_trajectories" else {}
    return LSSLClassifier(name, random_state=seed, sample_rate=rate, **sizes)


def score(model: Any, X: Any, y: np.ndarray, rate: float | None = None) -> float:
    """Accuracy in percent."""
    found = model.predict(X) if rate is None else model.predict(X, sample_rate=rate)
    return 100 * float(np.mean(found == y))


def rates(name: str, seed: int) -> dict[str, float]:
    """Learns letters at 100 Hz and reads them at all rates, told and not."""
    sets = data("character_trajectories", seed)
    step = round(sets.rate / TRAIN_RATE)
    train = frames(sets.train, step)
    model, began = estimator(name, seed, "character_trajectories"), time.process_time()
    if name == "minirocket":  # it takes one length only: that of the longest series at any rate, so that none is cut
        longest = max(len(one) for one in sets.train + sets.test)
        train[0] = train[0].reindex(range(longest), fill_value=0.0)
    model.fit(train, sets.train_y)
    out = {"seconds": time.process_time() - began}
    for rate, words in RATES.items():
        X = frames(sets.test, round(sets.rate / rate))
        out[f"{words}, not told"] = score(model, X, sets.test_y)
        if name != "minirocket":
            out[f"{words}, told"] = score(model, X, sets.test_y, rate)
    return out


def gaps(name: str, seed: int, on: str) -> dict[str, float]:
    """Learns and reads a set as it is and with half of the samples missing."""
    sets = data(on, seed)
    step = round(sets.rate / TRAIN_RATE) if sets.rate else 1
    train, test = ([one[::step] for one in part] for part in (sets.train, sets.test))
    random = np.random.default_rng([seed, 5])
    out, began = {}, time.process_time()
    for words, change in (("complete", list), ("half missing", lambda part: with_gaps(part, random))):
        model = estimator(name, seed, on).fit(frames(change(train)), sets.train_y)
        out[words] = score(model, frames(change(test)), sets.test_y)
    return {**out, "seconds": time.process_time() - began}


def cell(values: list[float]) -> str:
    """Mean over seeds and their range."""
    if not values:
        return ""
    spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def table(rows: list[dict[str, Any]], columns: list[str], difference: tuple[str, str] | None = None) -> list[str]:
    """A line for each estimator."""
    head = [*columns, *(["points lost"] if difference else []), "CPU s"]
    lines = [f"| | seeds | {' | '.join(head)} |", "|---" * (len(head) + 2) + "|"]
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == name]
        cells = [cell([row[column] for row in mine if column in row]) for column in columns]
        if difference:
            cells.append(f"{np.mean([row[difference[0]] - row[difference[1]] for row in mine]):.2f}")
        cells.append(f"{np.mean([row['seconds'] for row in mine]):.0f}")
        lines.append(f"| {TITLES[name]} | {len(mine)} | {' | '.join(cells)} |")
    return lines


def report(rows: list[dict[str, Any]]) -> str:
    """The page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "sktime", "numpy"))
    seeds = sorted({row["seed"] for row in rows})
    lines = [
        "# Estimators at another sampling rate, and with half of the samples missing", "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread on {platform.machine()} ({os.cpu_count()} cores), Python "
        f"{platform.python_version()}, {versions}. `benchmarks/estimator_robustness.py`, seeds "
        f"{', '.join(map(str, seeds))}: accuracy of the test part in percent, mean and range. A seed fixes weights, "
        "batches, missing samples and, for the letters, which series are tested. CPU s: `fit`; with missing samples "
        "both fits and predictions.", "",
        "## Other rates", "",
        "CharacterTrajectories, learned at 100 Hz and read at 100, 50 and 200 Hz, all of them recorded samples. Told: "
        "`predict(X, sample_rate=...)`. Series carry no times. MiniRocket has no way to be told; all its series are "
        "padded with zeros to the longest at 200 Hz, so that none is cut.", "",
    ]  # fmt: skip
    words = list(RATES.values())
    columns = ["as trained, not told", *(f"{one}, {how}" for one in words[1:] for how in ("told", "not told"))]
    lines += table([row for row in rows if row["table"] == "rates"], columns)
    lines += ["", "Sizes of the networks: " + "; ".join(f"{n}: {v}" for n, v in MODELS.items() if v) + "."]
    for on, title in (
        ("character_trajectories", "CharacterTrajectories at 100 Hz"),
        ("japanese_vowels", "JapaneseVowels, default sizes"),
    ):
        mine = [row for row in rows if row["table"] == "gaps" and row["on"] == on]
        if mine:
            lines += ["", f"## Half of the samples missing: {title}", ""]
            lines += [
                "Each sample is NaN, in all channels, with a probability of a half, in training and test; where it "
                "was stays known.", "",
            ]  # fmt: skip
            lines += table(mine, ["complete", "half missing"], ("complete", "half missing"))
    return "\n".join(lines) + "\n"


def cases(models: list[str], seeds: int) -> list[tuple[dict[str, Any], Callable[[], dict[str, float]]]]:
    """What is to be run."""
    out: list[tuple[dict[str, Any], Callable[[], dict[str, float]]]] = []
    for seed in range(seeds):
        for name in models:
            case = {"table": "rates", "model": name, "seed": seed}
            out.append((case, lambda name=name, seed=seed: rates(name, seed)))  # type: ignore[misc]
    for on in ("japanese_vowels", "character_trajectories"):
        for seed in range(seeds):
            for name in models:
                if name != "minirocket":  # it takes no missing values
                    case = {"table": "gaps", "model": name, "seed": seed, "on": on}
                    out.append((case, lambda name=name, seed=seed, on=on: gaps(name, seed, on)))  # type: ignore[misc]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--report", action="store_true", help="write the page from what is kept; run nothing")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    kept = [json.loads(line) for line in args.keep.read_text().splitlines()] if args.keep and args.keep.exists() else []
    rows = []
    for case, run in cases(args.models, args.seeds):
        row = next((one for one in kept if case.items() <= one.items()), None)
        if row is None and args.report:
            continue
        if row is None:
            row = {**case, **run()}
            print(json.dumps(row), flush=True)
            if args.keep:
                with args.keep.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
    text = report(rows)
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
