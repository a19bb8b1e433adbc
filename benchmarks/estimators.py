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
import time
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


def rocket(seed: int, regression: bool = False) -> Any:
    from sktime.classification.kernel_based import RocketClassifier
    from sktime.regression.kernel_based import RocketRegressor

    return Padded((RocketRegressor if regression else RocketClassifier)(random_state=seed))


class Epochs:
    """A network of sktime's with as many epochs as fit a budget: its default at most, by the time of the first."""

    def __init__(self, make: Callable[..., Any], seconds: float, **settings: Any) -> None:
        self.make, self.seconds, self.settings = make, seconds, settings

    def fit(self, X: Any, y: np.ndarray) -> Epochs:
        """Fits it to the training part."""
        began = time.process_time()
        first = Padded(self.make(num_epochs=1, **self.settings)).fit(X, y)
        each = time.process_time() - began
        default = self.make().num_epochs
        self.epochs = int(min(default, max(1, self.seconds / each)))
        self.estimator = first if self.epochs == 1 else Padded(self.make(num_epochs=self.epochs, **self.settings))
        if self.epochs > 1:
            self.estimator.fit(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels or values."""
        return self.estimator.predict(X)


def inception(seed: int, seconds: float, regression: bool = False) -> Any:
    from sktime.classification.deep_learning import InceptionTimeClassifierTorch
    from sktime.regression.deep_learning import InceptionTimeRegressorTorch

    return Epochs(
        InceptionTimeRegressorTorch if regression else InceptionTimeClassifierTorch, seconds, random_state=seed
    )


def lstm_fcn(seed: int, seconds: float, regression: bool = False) -> Any:
    from sktime.classification.deep_learning.lstmfcn import LSTMFCNClassifierTorch
    from sktime.regression.deep_learning.lstmfcn import LSTMFCNRegressorTorch

    return Epochs(LSTMFCNRegressorTorch if regression else LSTMFCNClassifierTorch, seconds, random_state=seed)


def dtw(seed: int, regression: bool = False) -> Any:
    from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier
    from sktime.regression.distance_based import KNeighborsTimeSeriesRegressor

    kind = KNeighborsTimeSeriesRegressor if regression else KNeighborsTimeSeriesClassifier
    return Padded(kind(n_neighbors=1, distance="dtw"))


NETWORKS = {"InceptionTime": inception, "LSTM-FCN": lstm_fcn}
NEURAL = ("LSSLClassifier", "LSSLRegressor", *NETWORKS)
"""Trained networks, which are ranked among themselves too."""
FIXED = ("1-NN DTW",)
"""Methods without chance: one seed says all."""
REASONS = {
    "InceptionTime": "by an epoch's time on Covid3Month, going with series times samples, its default of 1500 epochs "
    "takes 1 hour (Tecator), 3 (OSULeaf), 6 (ACSF1) and 28 (PLAID) of processor time.",
    "LSTM-FCN": "likewise, its default of 2000 epochs takes 1 hour (OSULeaf), 2 (ACSF1) and 11 (PLAID).",
    "1-NN DTW": "by its time on OSULeaf, going with pairs of series and the square of their length, 50 minutes.",
}
"""Why a method may lack sets, on the one thread that was to be had."""


def contenders(seconds: float, regression: bool) -> dict[str, Callable[[int], Any]]:
    """A method for each name, made from a seed."""
    return {
        **({"LSSLRegressor": lambda seed: LSSLRegressor(random_state=seed)} if regression else {}),
        **({} if regression else {"LSSLClassifier": lambda seed: LSSLClassifier(random_state=seed)}),
        "HiPPOFeatures": lambda seed: (HiPPOFeaturesRegressor if regression else HiPPOFeaturesClassifier)(
            random_state=seed
        ),
        "MiniRocket + ridge": lambda seed: features.MiniRocketRidge(seed, regression=regression),
        "ROCKET + ridge": lambda seed: rocket(seed, regression),
        **{
            name: lambda seed, make=make: make(seed, seconds, regression)  # type: ignore[misc]
            for name, make in NETWORKS.items()
        },
        "1-NN DTW": lambda seed: dtw(seed, regression),
    }


def means_of(rows: list[dict[str, Any]], names: list[str]) -> dict[str, dict[str, float]]:
    """Mean score over seeds by method and set."""
    out: dict[str, dict[str, float]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        for name in names:
            found = [row["score"] for row in rows if (row["method"], row["set"]) == (method, name)]
            if found:
                out.setdefault(method, {})[name] = statistics.mean(found)
    return out


def ranks(means: dict[str, dict[str, float]], names: list[str], largest: bool) -> tuple[dict[str, float], int]:
    """Mean rank of each method over the sets that all were measured on, 1 for the best, and how many these are."""
    common = [name for name in names if all(name in mine for mine in means.values())]
    total = dict.fromkeys(means, 0.0)
    for name in common:
        values = {method: (-1 if largest else 1) * mine[name] for method, mine in means.items()}
        for method, value in values.items():
            below, equal = sum(v < value for v in values.values()), sum(v == value for v in values.values())
            total[method] += below + (equal + 1) / 2
    return {method: rank / max(1, len(common)) for method, rank in total.items()}, len(common)


def seeds_of(rows: list[dict[str, Any]]) -> str:
    """How many seeds each set was measured with, in words."""
    counts = sorted({sum(row["set"] == name for row in rows) for name in {row["set"] for row in rows}})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def table(rows: list[dict[str, Any]], names: list[str], scale: float, digits: int, largest: bool) -> list[str]:
    """A line for each method: mean over seeds for each set, ranks and seconds."""
    means = means_of(rows, names)
    every, n_every = ranks(means, names, largest)
    neural, n_neural = ranks({method: mine for method, mine in means.items() if method in NEURAL}, names, largest)
    columns = ["method", *names, "mean", "rank", "rank among networks", "seeds", "fit, s", "predict, s"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for method, mine in means.items():
        own = [row for row in rows if row["method"] == method]
        cells = [f"{scale * mine[name]:.{digits}f}" if name in mine else "" for name in names]
        cells.append(f"{scale * statistics.mean(mine.values()):.{digits}f}" if len(mine) == len(names) else "")
        cells += [f"{every[method]:.2f}" if n_every else "", f"{neural[method]:.2f}" if method in neural else ""]
        cells += [seeds_of(own), *(f"{statistics.mean(row[what] for row in own):.1f}" for what in ("fit", "predict"))]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return [*lines, "", f"Ranks over {n_every} sets that all methods were measured on, among networks over {n_neural}."]


def counts_table(
    rows: list[dict[str, Any]], names: list[str], row_names: list[str], cell: Callable[..., Any]
) -> list[str]:
    """A line for each method with something about its rows on each set; an empty cell where there are none."""
    lines = ["| method | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for method in row_names:
        found = {n: [row for row in rows if (row["method"], row["set"]) == (method, n)] for n in names}
        cells = [str(cell(found[n])) if found[n] else "" for n in names]
        if any(found.values()):
            lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def missing(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """What was not measured, with the reason."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        gone = [name for name in names if not any((row["method"], row["set"]) == (method, name) for row in rows)]
        if gone:
            lines.append(f"- {method} on {', '.join(gone)}: {REASONS[method]}")
    return ["", "Not measured:", "", *lines] if lines else []


def page(rows: list[dict[str, Any]]) -> str:
    """The page of results."""
    lines = [
        "# Estimators beside sktime's",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread. Sets bundled with sktime, archive splits, defaults of each method",
        "but for the epochs named below; series of unequal length padded with zeros for sktime's. Means over the seeds",
        "that were run; what was not measured stands below each table with the reason. Seconds are",
        "CPU time, mean over the sets measured, on a shared machine. The sizes of LSSL were chosen by cross-validation",
        "of training parts of these sets, when test parts had been seen with others; how those of HiPPOFeatures were,",
        "[its own page](features.md) says;",
        "[what was tried](estimators_tried.md) and left, another.",
        "`benchmarks/estimators.py`; each measurement is in `estimators_rows.jsonl`.",
    ]
    for kind, title, names, scale, digits in (
        ("class", "Accuracy, %", list(features.CLASSIFICATION), 100, 2),
        ("value", "Root mean squared error", list(features.REGRESSION), 1, 4),
    ):
        mine = [row for row in rows if row["kind"] == kind]
        order = list(contenders(0, kind == "value"))
        mine.sort(key=lambda row: order.index(row["method"]))
        if not mine:
            continue
        lines += ["", f"## {title}", "", *table(mine, names, scale, digits, largest=kind == "class")]
        lines += [
            *missing(mine, names),
            "",
            "Seeds that were run, as many as fit the processor time that was to be had",
        ]
        lines += ["(1-NN DTW has no chance in it):", ""]
        lines += counts_table(mine, names, order, len)
        if any(row.get("epochs") for row in mine):
            lines += [
                "",
                "Epochs of sktime's networks, by default 1500 (InceptionTime) and 2000 (LSTM-FCN): as many as fit",
                "the processor time that was to be had. **With fewer than the default they are not at their best**,",
                "and their rank says little.",
                "",
                *counts_table(mine, names, list(NETWORKS), lambda found: found[0].get("epochs", "")),
            ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = [*features.CLASSIFICATION, *features.REGRESSION]
    parser.add_argument("--sets", nargs="+", default=["ItalyPowerDemand", "Covid3Month"], choices=["all", *everything])
    parser.add_argument(
        "--methods", nargs="+", default=["LSSLClassifier", "LSSLRegressor", "HiPPOFeatures", "MiniRocket + ridge"]
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=480.0, help="CPU seconds for a fit of sktime's networks")
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    known = {**contenders(0, False), **contenders(0, True)}
    if unknown := [method for method in args.methods if method not in known]:
        parser.error(f"there is no method {unknown[0]!r}; the methods are {', '.join(known)}")
    rows = kept(args.keep)
    for name in everything if "all" in args.sets else args.sets:
        regression = name in features.REGRESSION
        loader = (features.REGRESSION if regression else features.CLASSIFICATION)[name]
        parts = None
        for method, make in contenders(args.seconds, regression).items():
            for seed in range(1 if method in FIXED else args.seeds):
                case = {"kind": "value" if regression else "class", "set": name, "method": method, "seed": seed}
                if method not in args.methods or any(case.items() <= row.items() for row in rows + kept(args.keep)):
                    continue
                parts = parts or features.parts(loader, regression)
                model = make(seed)
                score, fit, predict = features.measured(lambda _, model=model: model, *parts, seed, regression)
                row = {**case, "score": score, "fit": fit, "predict": predict}
                row |= {"epochs": model.epochs} if isinstance(model, Epochs) else {}
                rows.append(row)
                print(json.dumps(row), flush=True)
                if args.keep:
                    with args.keep.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    text = page(kept(args.keep) or rows)
    print(text)
    if args.out is not None:
        args.out.write_text(text)


def kept(path: Path | None) -> list[dict[str, Any]]:
    """What was measured so far, by this run or another."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path is not None and path.exists() else []


if __name__ == "__main__":
    main()
