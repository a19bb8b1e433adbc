"""Forecasts of bundled series by expanding windows, beside forecasts that anybody can make, and what intervals cover.

    python benchmarks/forecasting.py --data airline longley                    # minutes
    python benchmarks/forecasting.py --keep rows.jsonl --out PAGE              # half an hour; goes on from what is kept

Each method is fitted anew at each origin to all samples before it, and forecasts the next steps; the last samples of a
series are held out for the origins. All series come with sktime. ETS runs where statsmodels is installed.
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
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import numpy as np
import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sklearn.linear_model import RidgeCV
    from sktime.datasets import (
        load_airline,
        load_longley,
        load_lynx,
        load_PBS_dataset,
        load_shampoo_sales,
        load_uschange,
    )
    from sktime.forecasting.compose import make_reduction
    from sktime.forecasting.naive import NaiveForecaster

from seqkit.estimators import LSSLForecaster

COVERAGES = (0.5, 0.8, 0.9)


class Series(NamedTuple):
    """A series, how far to forecast, its season, how many samples are held out, and samples between origins."""

    y: pd.Series
    horizon: int
    season: int
    held_out: int
    step: int

    @property
    def origins(self) -> range:
        """Numbers of samples that are known where forecasts start."""
        return range(len(self.y) - self.held_out, len(self.y) - self.horizon + 1, self.step)


def bundled() -> dict[str, Series]:
    """The series by name."""
    return {
        "airline": Series(load_airline(), 12, 12, 60, 6),
        "lynx": Series(load_lynx(), 5, 10, 50, 5),
        "pbs": Series(load_PBS_dataset(), 12, 12, 60, 6),
        "uschange": Series(load_uschange()[0], 4, 4, 60, 6),
        "longley": Series(load_longley()[0], 2, 1, 6, 1),
        "shampoo": Series(load_shampoo_sales(), 4, 12, 14, 1),
    }


def methods(season: int, seed: int) -> dict[str, Callable[[], Any]]:
    """What is compared, by name."""
    peers: dict[str, Callable[[], Any]] = {
        "last value": lambda: NaiveForecaster("last"),
        "drift": lambda: NaiveForecaster("drift"),
    }
    if season > 1:
        peers[f"last season ({season})"] = lambda: NaiveForecaster("last", sp=season)
    peers["ridge, one a step"] = lambda: make_reduction(
        RidgeCV(np.logspace(-3, 3, 13)), window_length=max(2 * season, 4), strategy="direct"
    )
    if find_spec("statsmodels"):
        from sktime.forecasting.ets import AutoETS

        peers["ETS"] = lambda: AutoETS(auto=True, sp=season)
    own: dict[str, Callable[[], Any]] = {
        f"LSSLForecaster({mixer!r})": lambda mixer=mixer: LSSLForecaster(mixer, random_state=seed)  # type: ignore[misc]
        for mixer in ("lssl",)
    }
    own["the same without a network"] = lambda: LSSLForecaster(epochs=0)
    return peers | own


def score(make: Callable[[], Any], series: Series) -> dict[str, Any]:
    """Mean absolute error, shares of values inside the intervals, CPU seconds a fit, and what was chosen."""
    y, errors, began = series.y.astype(float), [], time.process_time()
    inside: dict[float, list[Any]] = {coverage: [] for coverage in COVERAGES}
    weights, naives, networks = [], 0, 0
    for origin in series.origins:
        try:
            model = make().fit(y.iloc[:origin], fh=range(1, series.horizon + 1))
        except ValueError:  # sktime's reduction needs more samples than there are
            return {}
        truth = y.iloc[origin : origin + series.horizon].to_numpy()
        errors.append(np.abs(model.predict().to_numpy() - truth))
        if isinstance(model, LSSLForecaster):
            for coverage, found in inside.items():
                low, high = model.predict_interval(coverage=coverage).to_numpy().T
                found.append((low <= truth) & (truth <= high))
            weights.append(model.sizes_["weight"])
            naives += model.sizes_["naive"] > 1
            networks += model.best_epoch_ > 0
    out: dict[str, Any] = {"error": float(np.mean(errors)), "seconds": (time.process_time() - began) / len(errors)}
    if weights:
        out |= {f"{100 * coverage:.0f} %": 100 * float(np.mean(found)) for coverage, found in inside.items()}
        out |= {"weight": float(np.mean(weights)), "season": naives, "network": networks}
    return out


def table(series: Series, rows: list[dict[str, Any]]) -> list[str]:
    """A line for each method on one series."""
    levels = [f"{100 * coverage:.0f} %" for coverage in COVERAGES]
    lines = [
        f"## {rows[0]['data']}: {len(series.y)} samples, {series.horizon} steps ahead, "
        f"{len(series.origins)} origins in the last {series.held_out}", "",
        f"| method | MAE | inside {' | inside '.join(levels)} | mean weight | with network | CPU s |",
        "|---" + "|---:" * (len(levels) + 4) + "|",
    ]  # fmt: skip
    for row in rows:
        if "error" not in row:
            lines.append(f"| {row['method']} | too few samples |{' |' * (len(levels) + 3)}")
            continue
        cells = [f"{row[level]:.0f} %" if level in row else "" for level in levels]
        own = "weight" in row
        cells += [f"{row['weight']:.2f}" if own else "", f"{row['network']} of {len(series.origins)}" if own else ""]
        lines.append(f"| {row['method']} | {row['error']:.4g} | {' | '.join(cells)} | {row['seconds']:.2f} |")
    return [*lines, ""]


def mean_coverage(rows: list[dict[str, Any]]) -> list[str]:
    """Coverage over all series, each counted alike."""
    levels = [f"{100 * coverage:.0f} %" for coverage in COVERAGES]
    lines = ["## What intervals cover, mean over the series", "", f"| | {' | '.join(levels)} |"]
    lines.append("|---" + "|---:" * len(levels) + "|")
    for method in dict.fromkeys(row["method"] for row in rows if "weight" in row):
        mine = [row for row in rows if row["method"] == method]
        cells = [f"{np.mean([row[level] for row in mine]):.0f} %" for level in levels]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return [*lines, ""]


def defaults(sets: dict[str, Series]) -> list[str]:
    """Errors without a network by what a window counts from and in: the reason for the defaults."""
    choices = [(difference, scale) for difference in (True, False) for scale in ("series", "window")]
    names = [f"{'changes' if d else 'values'}, in units of the {s}" for d, s in choices]
    lines = ["## What a window counts from, without a network (MAE)", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|"]
    for name, series in sets.items():
        found = [
            score(lambda d=d, s=s: LSSLForecaster(epochs=0, difference=d, scale=s), series)["error"]  # type: ignore[misc]
            for d, s in choices
        ]
        lines.append(f"| {name} | {' | '.join(f'{error:.4g}' for error in found)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=None, help="names of series; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--report", action="store_true", help="write the page from what is kept; measure no method")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = {name: series for name, series in bundled().items() if args.data is None or name in args.data}
    kept = [json.loads(line) for line in args.keep.read_text().splitlines()] if args.keep and args.keep.exists() else []
    rows = []
    for name, series in sets.items():
        for method, make in methods(series.season, args.seed).items():
            case = {"data": name, "method": method, "seed": args.seed}
            row = next((one for one in kept if case.items() <= one.items()), None)
            if row is None and args.report:
                continue
            if row is None:
                with warnings.catch_warnings(record=True):  # sktime says at each fit what a later version will change
                    row = {**case, **score(make, series)}
                print(json.dumps(row), flush=True)
                if args.keep:
                    with args.keep.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            rows.append(row)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "sktime", "scikit-learn", "numpy"))
    ets = "" if find_spec("statsmodels") else " statsmodels is not installed, so there is no ETS."
    machine = f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"
    lines = [
        "# Forecasting", "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {versions}. Seed {args.seed}.{ets} Made by "
        "`benchmarks/forecasting.py`; fitted anew at each origin to all samples before it, with default settings. "
        "Inside: share of later values in the intervals of that coverage. Weight: of ridge regression and network "
        "against the naive forecast, as chosen at each origin, and at how many of them the network was of use. CPU s: "
        "one fit with its forecasts.", "",
        "What windows count from and in (last table) and how the weight is chosen were settled with these series, so "
        "the rows of `LSSLForecaster` are not blind to them. Origins are a few samples apart and their horizons "
        "overlap: a share of values inside is of fewer independent cases than it looks. Of the last 60 months of pbs "
        "53 are 0.", "",
    ]  # fmt: skip
    for name, series in sets.items():
        lines += table(series, [row for row in rows if row["data"] == name])
    text = "\n".join([*lines, *mean_coverage(rows), *defaults(sets)]) + "\n"
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
