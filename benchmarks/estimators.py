"""The estimators beside sktime's, on every classification and regression set bundled with sktime, archive splits.

    python benchmarks/estimators.py                                    # ItalyPowerDemand and Covid3Month, one seed
    python benchmarks/estimators.py --sets all --seeds 5 --keep rows.jsonl --out PAGE.md    # hours

All with their defaults. Times are CPU time on one thread. What is kept in `--keep` is not measured again, so a run that
was stopped goes on, and several runs make one page.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import features  # beside this file; sets the number of threads before torch is imported
import numpy as np

from seqkit import HiPPOFeaturesClassifier, HiPPOFeaturesRegressor, LSSLClassifier, LSSLRegressor


class Padded:
    """An estimator of sktime that takes series of one length: unequal ones are padded with zeros."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: np.ndarray) -> Padded:
        """Fits it to the training part."""
        self.length = features.longest(X)
        self.estimator.fit(features.cube(X, self.length), y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels or values."""
        return np.asarray(self.estimator.predict(features.cube(X, self.length)))


def rocket(seed: int) -> Any:
    from sktime.classification.kernel_based import RocketClassifier

    return Padded(RocketClassifier(random_state=seed))


def inception(seed: int) -> Any:
    from sktime.classification.deep_learning import InceptionTimeClassifierTorch

    return Padded(InceptionTimeClassifierTorch(random_state=seed))


def lstm_fcn(seed: int) -> Any:
    from sktime.classification.deep_learning import LSTMFCNClassifierTorch

    return Padded(LSTMFCNClassifierTorch(random_state=seed))


def dtw(seed: int) -> Any:
    from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier

    return Padded(KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw"))


CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "LSSLClassifier": lambda seed: LSSLClassifier(random_state=seed),
    "HiPPOFeatures": lambda seed: HiPPOFeaturesClassifier(random_state=seed),
    "MiniRocket + ridge": lambda seed: features.MiniRocketRidge(seed, regression=False),
    "ROCKET + ridge": rocket,
    "InceptionTime": inception,
    "LSTM-FCN": lstm_fcn,
    "1-NN DTW": dtw,
}
REGRESSORS: dict[str, Callable[[int], Any]] = {
    "LSSLRegressor": lambda seed: LSSLRegressor(random_state=seed),
    "HiPPOFeatures": lambda seed: HiPPOFeaturesRegressor(random_state=seed),
    "MiniRocket + ridge": lambda seed: features.MiniRocketRidge(seed, regression=True),
}


def table(rows: list[dict[str, Any]], names: list[str], scale: float, digits: int) -> list[str]:
    """A line for each method: mean over seeds for each set, and seconds."""
    lines = [f"| method | {' | '.join(names)} | mean | fit, s | predict, s |", "|---" * (len(names) + 4) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        means: list[float | None] = []
        for name in names:
            found = [row["score"] for row in mine if row["set"] == name]
            means.append(scale * statistics.mean(found) if found else None)
        cells = [f"{mean:.{digits}f}" if mean is not None else "" for mean in means]
        known = [mean for mean in means if mean is not None]
        whole = f"{statistics.mean(known):.{digits}f}" if len(known) == len(names) else ""
        times = [f"{statistics.mean(row[what] for row in mine):.1f}" for what in ("fit", "predict")]
        lines.append(f"| {method} | {' | '.join(cells)} | {whole} | {' | '.join(times)} |")
    return lines


def page(rows: list[dict[str, Any]]) -> str:
    """The page of results."""
    seeds = {kind: sorted({row["seed"] for row in rows if row["kind"] == kind}) for kind in ("class", "value")}
    lines = [
        "# Estimators beside sktime's",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread. Sets bundled with sktime, archive splits, defaults of each method,",
        "series of unequal length padded with zeros for sktime's. Means over the seeds that were run (classification",
        f"{seeds['class']}, values {seeds['value']}); an empty cell was not measured. Seconds are CPU time, mean over",
        "the sets measured. `benchmarks/estimators.py`.",
    ]
    for kind, title, names, scale, digits in (
        ("class", "Accuracy, %", list(features.CLASSIFICATION), 100, 2),
        ("value", "Root mean squared error", list(features.REGRESSION), 1, 4),
    ):
        mine = [row for row in rows if row["kind"] == kind]
        lines += ["", f"## {title}", "", *table(mine, names, scale, digits)] if mine else []
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = [*features.CLASSIFICATION, *features.REGRESSION]
    parser.add_argument("--sets", nargs="+", default=["ItalyPowerDemand", "Covid3Month"], choices=["all", *everything])
    parser.add_argument(
        "--methods", nargs="+", default=["LSSLClassifier", "LSSLRegressor", "HiPPOFeatures", "MiniRocket + ridge"]
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    there = args.keep is not None and args.keep.exists()
    rows = [json.loads(line) for line in args.keep.read_text().splitlines()] if there else []
    for name in everything if "all" in args.sets else args.sets:
        regression = name in features.REGRESSION
        loader = (features.REGRESSION if regression else features.CLASSIFICATION)[name]
        train, test = features.parts(loader, regression)
        for method, make in (REGRESSORS if regression else CLASSIFIERS).items():
            for seed in range(args.seeds):
                case = {"kind": "value" if regression else "class", "set": name, "method": method, "seed": seed}
                if method not in args.methods or any(case.items() <= row.items() for row in rows):
                    continue
                score, fit, predict = features.measured(make, train, test, seed, regression)
                rows.append({**case, "score": score, "fit": fit, "predict": predict})
                print(json.dumps(rows[-1]), flush=True)
                if args.keep:
                    with args.keep.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    print(page(rows))
    if args.out is not None:
        args.out.write_text(page(rows))


if __name__ == "__main__":
    main()
