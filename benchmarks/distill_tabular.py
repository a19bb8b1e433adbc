"""Distillation on tables: a forest teaches small forests by each method; and what that does to probabilities.

    python benchmarks/distill_tabular.py --seeds 1                   # a minute
    python benchmarks/distill_tabular.py --seeds 10 --keep benchmarks/results/distill_tabular.jsonl \
        --out benchmarks/results/distill_tabular.md

Sets bundled with scikit-learn, a random forest of 50 trees as teacher, forests of 1, 3 and 10 regression trees as
students on the scale of probabilities, five folds. Generated data have known probabilities, so there the bias of the
student's is measured. What is in `--keep` is not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import sklearn
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_hastie_10_2
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from seqkit.distill import METHODS, distill
from seqkit.distill.estimators import fresh
from seqkit.version import __version__

FOREST = 50
TREES = (1, 3, 10)
FOLDS = 5
Array = np.ndarray[Any, Any]


class Case(NamedTuple):
    """A set and a teacher.

    Args:
        draw: X, y to train on and to test on, for a seed.
        depth: Depth of the teacher's trees; None for as deep as they grow.
        values: Whether the target is a number.
    """

    draw: Callable[[int], tuple[Array, Array, Array, Array]]
    depth: int | None = None
    values: bool = False


def halves(X: Array, y: Array, seed: int, *, values: bool = False) -> tuple[Array, Array, Array, Array]:
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=seed, stratify=None if values else y
    )
    return X_train, y_train, X_test, y_test


def digits(seed: int) -> tuple[Array, Array, Array, Array]:
    X, y = load_digits(return_X_y=True)
    return halves(X, y % 2, seed)


def hastie(seed: int) -> tuple[Array, Array, Array, Array]:
    """Ten Gaussians, the class by their length, 15 % of the training labels flipped."""
    X, y = make_hastie_10_2(4000, random_state=seed)
    random, train = np.random.default_rng(seed), np.arange(4000) < 2000
    label = (y > 0).astype(int)
    flipped = np.where(random.random(4000) < 0.15, 1 - label, label)
    return X[train], flipped[train], X[~train], label[~train]


def diabetes(seed: int) -> tuple[Array, Array, Array, Array]:
    X, y = load_diabetes(return_X_y=True)
    return halves(X, (y - y.mean()) / y.std(), seed, values=True)


CASES = {
    "digits odd/even": Case(digits),
    "digits odd/even, teacher of depth 3": Case(digits, depth=3),
    "breast_cancer": Case(lambda seed: halves(*load_breast_cancer(return_X_y=True), seed)),
    "wine": Case(lambda seed: halves(*load_wine(return_X_y=True), seed)),
    "hastie, 15 % flips": Case(hastie),
    "diabetes": Case(diabetes, values=True),
}


def score(case: Case, guess: Array, y: Array) -> float:
    """Area under the curve, of several classes each against the rest; or mean squared error."""
    if case.values:
        return float(((guess.reshape(-1) - y) ** 2).mean())
    return float(roc_auc_score(y, guess[:, 1] if guess.shape[1] == 2 else guess, multi_class="ovr"))


def measure(name: str, seed: int, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of one set and seed: the teacher alone, and students of each size by each method.

    What teachers said is kept in a folder for the run, since methods and sizes share it.
    """
    case = CASES[name]
    X, y, X_test, y_test = case.draw(seed)
    forest = RandomForestRegressor if case.values else RandomForestClassifier
    teacher = forest(FOREST, max_depth=case.depth, random_state=seed)
    if "teacher" in methods:
        alone = fresh(teacher, [seed]).fit(X, y)
        guess = alone.predict(X_test) if case.values else alone.predict_proba(X_test)
        yield {"set": name, "seed": seed, "method": "teacher", "trees": FOREST, "score": score(case, guess, y_test)}
    with tempfile.TemporaryDirectory() as folder:
        for trees, method in itertools.product(TREES, [one for one in METHODS if one in methods]):
            began = time.process_time()
            found = distill(
                teacher,
                RandomForestRegressor(trees, max_features=1 / 3, min_samples_leaf=5 if case.values else 1),
                *(X, y),
                method=method,
                folds=FOLDS,
                c=0.1 if method == "corrected" else "auto",
                folder=Path(folder) / ("in" if method in ("plain", "corrected") else "out"),
                task="regression" if case.values else "classification",
                seed=seed,
                force=method == "corrected",
            )
            guess = found.predict(X_test) if case.values else found.predict_proba(X_test)
            row = {"set": name, "seed": seed, "method": method, "trees": trees, "score": score(case, guess, y_test)}
            row |= {"c": found.c, "seconds": round(time.process_time() - began, 2)}
            if method == "crossfit" and found.targets is not None:
                row["overfit"] = found.targets.overfit()
            yield row


def generated(seed: int, n: int) -> tuple[Array, Array, Array]:
    """Two Gaussians in five dimensions with a bend: samples, labels and the probability of class 1 by Bayes."""
    random = np.random.default_rng([seed, 1])
    X = random.normal(size=(n, 5))
    p = 1 / (1 + np.exp(-(1.2 * X[:, 0] - 0.8 * X[:, 1] + 0.6 * (X[:, 2] ** 2 - 1))))
    return X, (random.random(n) < p).astype(int), p


TEACHERS: dict[str, dict[str, Any]] = {
    "one deep tree": {"n_estimators": 1, "bootstrap": False},
    "50 deep trees": {"n_estimators": 50},
    "50 trees, leaves of 60": {"n_estimators": 50, "min_samples_leaf": 60},
}


def measure_bias(name: str, seed: int, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Error of the probabilities of a student of ten trees with leaves of 20, where the true ones are known."""
    X, y, _ = generated(seed, 1000)
    points, _, p = generated(10_000, 4000)
    teacher = RandomForestClassifier(**TEACHERS[name])
    student = RandomForestRegressor(10, min_samples_leaf=20)
    for method in [one for one in METHODS if one in methods]:
        weight = 0.1 if method == "corrected" else "auto"
        found = distill(teacher, student, X, y, method=method, folds=FOLDS, c=weight, seed=seed, force=True)
        q = found.predict_proba(points)[:, 1]
        error, slope = q - p, np.polyfit(p - 0.5, q - 0.5, 1)[0]
        row = {"set": f"generated, teacher of {name}", "seed": seed, "method": method, "trees": 10, "c": found.c}
        row |= {"score": float((error**2).mean()), "bias": float(error.mean()), "slope": float(slope)}
        yield row | {"high": float(error[p > 0.8].mean()), "low": float(error[p < 0.2].mean())}


def kept(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mean_and_interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of the 95 % interval by Student's distribution."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(half)


def paired(rows: list[dict[str, Any]], method: str, base: str, **where: Any) -> tuple[float, float]:
    """Mean and interval of the difference of two methods, seed by seed."""

    def of(name: str) -> dict[int, float]:
        wanted = {**where, "method": name}
        return {row["seed"]: row["score"] for row in rows if wanted.items() <= row.items()}

    one, two = of(method), of(base)
    both = sorted(one.keys() & two.keys())
    return mean_and_interval([one[seed] - two[seed] for seed in both]) if len(both) > 1 else (0.0, 0.0)


def page(rows: list[dict[str, Any]]) -> str:
    seeds, chosen = (len({row["seed"] for row in rows if row["method"] == one}) for one in ("plain", "both"))
    fewer = f" (both: {chosen}, and compared on these)" if chosen < seeds else ""
    lines = [
        "# Distillation on tables",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread; seqkit {__version__}, "
        f"numpy {np.__version__}, scikit-learn {sklearn.__version__}. `benchmarks/distill_tabular.py`; each "
        "measurement is in `distill_tabular.jsonl`.",
        "",
        f"Teacher: a random forest of {FOREST} trees. Students: forests of 1, 3 and 10 regression trees, "
        f"a third of the features at each cut, on the scale of probabilities. {FOLDS} folds, "
        f"{seeds} seeds{fewer} of "
        "the split, the labels and the forests; mean ± half of the 95 % interval. Area under the curve on "
        "held-out samples "
        "(higher is better), for diabetes the mean squared error in units of the target's variance (lower is better). "
        "plain: the teacher saw every label. crossfit: it did not. "
        "corrected: plain with corrections, c = 0.1, which the toolkit refuses unless forced. both: out of fold with "
        "corrections, c chosen by labels that no teacher of the "
        "trial saw, the smallest within one standard error.",
        "",
        "| set | trees | " + " | ".join(["teacher", *METHODS]) + " | both, c | overfit |",
        "|---|---:|" + "---:|" * (len(METHODS) + 3),
    ]
    ahead: dict[str, list[str]] = {"crossfit": [], "both": []}
    behind: dict[str, list[str]] = {"crossfit": [], "both": []}
    for name, case in CASES.items():
        for trees in TREES:
            cells = [name, str(trees)]
            for method in ("teacher", *METHODS):
                wanted = {"set": name, "method": method, "trees": FOREST if method == "teacher" else trees}
                scores = [row["score"] for row in rows if wanted.items() <= row.items()]
                cells.append("{:.3f} ± {:.3f}".format(*mean_and_interval(scores)) if scores else "")
            mine = [row for row in rows if row["set"] == name and row["trees"] == trees]
            cs = sorted(row["c"] for row in mine if row["method"] == "both")
            overfit = [row["overfit"] for row in mine if row["method"] == "crossfit"]
            cells += [f"{cs[len(cs) // 2]:g}" if cs else "", f"{np.mean(overfit):.2f}" if overfit else ""]
            lines.append("| " + " | ".join(cells) + " |")
            for method in ("crossfit", "both"):
                gain, half = paired(rows, method, "plain", set=name, trees=trees)
                gain = -gain if case.values else gain
                words = f"{name}, {trees} tree{'s' if trees > 1 else ''} ({gain:+.3f} ± {half:.3f})"
                if abs(gain) > half > 0:
                    (ahead if gain > 0 else behind)[method].append(words)
    lines += [
        "",
        f"Against plain, seed by seed, of {len(CASES) * len(TREES)} sets and sizes:",
        "",
        *(
            f"- {method}, {what} beyond the interval in {len(found[method])}: "
            + ("; ".join(found[method]) or "none")
            + "."
            for method in ahead
            for what, found in (("better", ahead), ("worse", behind))
        ),
        "",
        "c of both is the median of the seeds. overfit: accuracy of the fold teachers on what they were trained on, "
        "less that on what they label; for diabetes one less the ratio of the two errors.",
        "",
        "## Where the true probabilities are known",
        "",
        "1,000 samples of a bent logistic model in five dimensions; students of ten trees with leaves of 20; errors "
        "against the true probabilities on 4,000 further points, times 1,000. high: mean error where the true "
        "probability is above 0.8; low: below 0.2. slope: of the student's probability against the true "
        "one, 1 where it is neither too sure nor too timid.",
        "",
        "| teacher | method | squared error | bias | high | low | slope | c |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in TEACHERS:
        for method in METHODS:
            mine = [r for r in rows if r["set"] == f"generated, teacher of {name}" and r["method"] == method]
            if not mine:
                continue
            cells = [name, method]
            for key in ("score", "bias", "high", "low"):
                cells.append("{:.1f} ± {:.1f}".format(*mean_and_interval([1000 * row[key] for row in mine])))
            cells.append("{:.2f} ± {:.2f}".format(*mean_and_interval([row["slope"] for row in mine])))
            cells.append(f"{sorted(row['c'] for row in mine)[len(mine) // 2]:g}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sets", nargs="*", default=None, help="names; all if left out")
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    rows = kept(args.keep)
    for seed in range(args.seeds):
        jobs = [(name, measure, name) for name in CASES]
        jobs += [(f"generated, teacher of {name}", measure_bias, name) for name in TEACHERS]
        for shown, job, name in jobs:
            done = {row["method"] for row in rows if row["set"] == shown and row["seed"] == seed}
            missing = [one for one in ("teacher", *METHODS) if one not in done]
            if (args.sets and shown not in args.sets) or missing in ([], ["teacher"]):
                continue
            found = list(job(name, seed, missing))
            rows += found
            if args.keep:
                with args.keep.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in found)
            print(f"{shown}, seed {seed}", flush=True)
    text = page(rows)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
