"""Forecasts of bundled series by expanding windows, beside forecasts that anybody can make.

    python benchmarks/forecasting.py                    # minutes
    python benchmarks/forecasting.py --out PAGE

Each method is fitted anew at each origin to all samples before it, and forecasts the next steps; the last samples of a
series are held out for the origins. All series come with sktime. ETS runs where statsmodels is installed.
"""

from __future__ import annotations

import argparse
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
    from sktime.datasets import load_airline, load_lynx, load_PBS_dataset, load_uschange
    from sktime.forecasting.compose import make_reduction
    from sktime.forecasting.naive import NaiveForecaster

from seqkit.estimators import LSSLForecaster


class Series(NamedTuple):
    """A series, how far to forecast, its season, how many samples are held out, and samples between origins."""

    y: pd.Series
    horizon: int
    season: int
    held_out: int
    step: int


class Score(NamedTuple):
    """Mean absolute error, share of values inside the 90 % intervals (NaN without), and seconds a fit."""

    error: float
    cover: float
    seconds: float


def bundled() -> dict[str, Series]:
    """The series by name."""
    return {
        "airline": Series(load_airline(), 12, 12, 36, 4),
        "lynx": Series(load_lynx(), 5, 10, 30, 5),
        "pbs": Series(load_PBS_dataset(), 12, 12, 36, 6),
        "uschange": Series(load_uschange()[0], 4, 4, 36, 8),
    }


def methods(season: int, seed: int) -> dict[str, Callable[[], Any]]:
    """What is compared, by name."""
    peers: dict[str, Callable[[], Any]] = {
        "last value": lambda: NaiveForecaster("last"),
        "drift": lambda: NaiveForecaster("drift"),
        f"last season ({season})": lambda: NaiveForecaster("last", sp=season),
        "ridge, one a step": lambda: make_reduction(
            RidgeCV(np.logspace(-3, 3, 13)), window_length=2 * season, strategy="direct"
        ),
    }
    if find_spec("statsmodels"):
        from sktime.forecasting.ets import AutoETS

        peers["ETS"] = lambda: AutoETS(auto=True, sp=season)
    own: dict[str, Callable[[], Any]] = {
        f"LSSLForecaster({mixer!r})": lambda mixer=mixer: LSSLForecaster(mixer, random_state=seed)  # type: ignore[misc]
        for mixer in ("lssl", "s4d", "gru")
    }
    own["its linear part alone"] = lambda: LSSLForecaster(epochs=0)
    return peers | own


def score(make: Callable[[], Any], series: Series) -> Score:
    """Forecasts from each origin."""
    y, errors, inside, began = series.y.astype(float), [], [], time.monotonic()
    origins = range(len(y) - series.held_out, len(y) - series.horizon + 1, series.step)
    for origin in origins:
        model = make().fit(y.iloc[:origin], fh=range(1, series.horizon + 1))
        truth = y.iloc[origin : origin + series.horizon].to_numpy()
        errors.append(np.abs(model.predict().to_numpy() - truth))
        if isinstance(model, LSSLForecaster):
            bounds = model.predict_interval(coverage=0.9).to_numpy()
            inside.append((bounds[:, 0] <= truth) & (truth <= bounds[:, 1]))
    seconds = (time.monotonic() - began) / len(origins)
    return Score(float(np.mean(errors)), float(np.mean(inside)) if inside else float("nan"), seconds)


def compared(sets: dict[str, Series], seed: int) -> list[str]:
    """A table for each series."""
    lines = []
    for name, series in sets.items():
        count = len(range(len(series.y) - series.held_out, len(series.y) - series.horizon + 1, series.step))
        lines += [
            f"## {name}: {len(series.y)} samples, {series.horizon} steps ahead, {count} origins in the last "
            f"{series.held_out}", "",
            "| method | MAE | inside 90 % intervals | fit and forecast, s |", "|---|---:|---:|---:|",
        ]  # fmt: skip
        for method, make in methods(series.season, seed).items():
            with warnings.catch_warnings(record=True):  # sktime says at each fit what a later version will change
                found = score(make, series)
            cover = "" if np.isnan(found.cover) else f"{100 * found.cover:.0f} %"
            lines.append(f"| {method} | {found.error:.4g} | {cover} | {found.seconds:.2f} |")
            print(name, lines[-1], flush=True)
        lines.append("")
    return lines


def defaults(sets: dict[str, Series]) -> list[str]:
    """Errors of the linear part by what a window counts from and in: the reason for the defaults."""
    choices = [(difference, scale) for difference in (True, False) for scale in ("series", "window")]
    names = [f"{'changes' if d else 'values'}, in units of the {s}" for d, s in choices]
    lines = ["## What a window counts from, by the linear part alone (MAE)", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|"]
    for name, series in sets.items():
        found = [
            score(lambda d=d, s=s: LSSLForecaster(epochs=0, difference=d, scale=s), series).error  # type: ignore[misc]
            for d, s in choices
        ]
        lines.append(f"| {name} | {' | '.join(f'{error:.4g}' for error in found)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=None, help="names of series; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = {name: series for name, series in bundled().items() if args.data is None or name in args.data}
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "sktime", "scikit-learn", "numpy"))
    ets = "" if find_spec("statsmodels") else " statsmodels is not installed, so there is no ETS."
    machine = f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"
    head = [
        "# Forecasting", "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {versions}. Seed {args.seed}.{ets} Made by "
        "`benchmarks/forecasting.py`; fitted anew at each origin to all samples before it, with default settings.", "",
        "What windows count from and in was chosen with these series (last table), so the rows of `LSSLForecaster` are "
        "not blind to them. The end of pbs does not change at all.", "",
    ]  # fmt: skip
    text = "\n".join([*head, *compared(sets, args.seed), *defaults(sets)]) + "\n"
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
