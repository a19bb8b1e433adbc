"""Random state-space features beside sktime's MiniRocket with a ridge model, on every set bundled with sktime.

    python benchmarks/features.py --out benchmarks/results/features.md

Archive splits; seeds fix filters and kernels. Times are CPU time on one thread, compiled code warm, of the whole `fit`
and `predict` of both. Series of equal length come as one array; of unequal length as a list of frames, which
MiniRocket has padded with zeros within its time.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numba are imported
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import torch

from seqkit.estimators import HiPPOFeaturesClassifier, HiPPOFeaturesRegressor
from seqkit.estimators.frame_check import ChecksFrames

CLASSIFICATION = {
    "ACSF1": "load_acsf1",
    "ArrowHead": "load_arrow_head",
    "BasicMotions": "load_basic_motions",
    "GunPoint": "load_gunpoint",
    "ItalyPowerDemand": "load_italy_power_demand",
    "JapaneseVowels": "load_japanese_vowels",
    "OSULeaf": "load_osuleaf",
    "PLAID": "load_plaid",
}
REGRESSION = {"Covid3Month": "load_covid_3month", "Tecator": "load_tecator"}
Part = tuple[Any, np.ndarray]


class MiniRocketRidge:
    """MiniRocket and a ridge model, as sktime's examples put them together; unequal series are padded with zeros."""

    def __init__(self, seed: int, regression: bool) -> None:
        self.seed, self.regression = seed, regression

    def fit(self, X: Any, y: np.ndarray) -> MiniRocketRidge:
        """Features of the training series, and the model."""
        from sklearn.linear_model import RidgeClassifierCV, RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sktime.transformations.panel.rocket import MiniRocketMultivariate

        self.length = longest(X)
        self.transform = MiniRocketMultivariate(random_state=self.seed)
        features = self.transform.fit_transform(cube(X, self.length))
        ridge = RidgeCV if self.regression else RidgeClassifierCV
        self.model = make_pipeline(StandardScaler(with_mean=False), ridge(alphas=np.logspace(-3, 3, 10)))
        self.model.fit(features, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels or values."""
        return self.model.predict(self.transform.transform(cube(X, self.length)))


def nothing(regression: bool) -> Any:
    """An estimator of sktime's that takes the same panels and does nothing: what `fit` costs at least."""
    from sktime.classification.base import BaseClassifier
    from sktime.regression.base import BaseRegressor

    own, base = (HiPPOFeaturesRegressor, BaseRegressor) if regression else (HiPPOFeaturesClassifier, BaseClassifier)

    class Nothing(ChecksFrames, base):  # type: ignore[misc, valid-type] # sktime has no types
        _tags = own._tags

        def _fit(self, X: Any, y: np.ndarray) -> Any:
            return self

        def _predict(self, X: Any) -> np.ndarray:
            return np.zeros(len(X))

    return Nothing()


def longest(X: Any) -> int:
    """Samples of the longest series."""
    return X.shape[-1] if isinstance(X, np.ndarray) else max(map(len, X))


def cube(X: Any, length: int) -> np.ndarray:
    """(n, C, length), padded with zeros or cut."""
    if isinstance(X, np.ndarray):
        return X
    out = np.zeros((len(X), X[0].shape[1], length))
    for i, frame in enumerate(X):
        cut = frame.to_numpy()[:length]
        out[i, :, : len(cut)] = cut.T
    return out


def parts(loader: str, regression: bool) -> tuple[Part, Part]:
    """Training and test part: an array where the lengths are equal, a list of frames otherwise."""
    import pandas as pd
    import sktime.datasets as sets

    def one(split: str) -> Part:
        X, y = getattr(sets, loader)(split=split, return_X_y=True)
        rows = [[X.iat[i, c].to_numpy() for c in range(X.shape[1])] for i in range(len(X))]
        equal = len({len(row[0]) for row in rows}) == 1
        panel = np.array(rows) if equal else [pd.DataFrame(dict(enumerate(row))) for row in rows]
        return panel, np.asarray(y, float if regression else None)

    return one("train"), one("test")


def measured(make: Callable[[int], Any], train: Part, test: Part, seed: int, regression: bool) -> tuple[float, ...]:
    """Score, and CPU seconds of fit and predict."""
    model = make(seed)
    began = time.process_time()
    model.fit(*train)
    fitted = time.process_time()
    predicted = model.predict(test[0])
    ended = time.process_time()
    good = np.sqrt(np.mean((predicted - test[1]) ** 2)) if regression else np.mean(predicted == test[1])
    return float(good), fitted - began, ended - fitted


def shifted(seed: int) -> list[tuple[str, float]]:
    """Accuracy on trajectories of pens as recorded, at other rates, and with gaps; needs the folder SEQKIT_DATA."""
    import pandas as pd

    from seqkit.datasets import SeriesDataModule, get_source

    module = SeriesDataModule(get_source("character_trajectories"), seed=seed)
    module.setup()
    sets, random = module.sets, np.random.default_rng(seed)
    known = [one for part in ("train", "val") for one in sets[part].values]
    labels = np.array([label for part in ("train", "val") for label in sets[part].target])
    values, truth = list(sets["test"].values), np.array(sets["test"].target)

    def frames(series: Any) -> Any:
        return [pd.DataFrame(np.asarray(one)) for one in series]

    def without(share: float, whole: bool) -> Any:
        gone = [random.random((len(one), 1 if whole else one.shape[1])) < share for one in values]
        return frames(
            [
                np.where(hide & (np.arange(len(one)) > 0)[:, None], np.nan, one)
                for one, hide in zip(values, gone, strict=True)
            ]
        )

    def doubled(one: np.ndarray) -> np.ndarray:
        times = np.arange(0, len(one) - 0.5, 0.5)
        return np.stack([np.interp(times, np.arange(len(one)), channel) for channel in one.T], axis=1)

    model = HiPPOFeaturesClassifier(random_state=seed, sample_rate=1.0).fit(frames(known), labels)
    halved = frames([one[::2] for one in values])
    rows = {
        "as recorded": model.predict(frames(values)),
        "half rate, told": model.predict(halved, sample_rate=0.5),
        "half rate, not told": model.predict(halved),
        "double rate, told": model.predict(frames([doubled(one) for one in values]), sample_rate=2.0),
        "half of the samples missing": model.predict(without(0.5, True)),
        "half of the values missing": model.predict(without(0.5, False)),
    }
    return [(name, float(np.mean(found == truth))) for name, found in rows.items()]


def shift_table(seeds: int) -> list[str]:
    """Lines of the table of rates and gaps."""
    runs = [shifted(seed) for seed in range(seeds)]
    lines = ["", "## Other rates and gaps", ""]
    lines += [f"CharacterTrajectories, trained as recorded, {seeds} seeds of cut and filters; accuracy in %.", ""]
    lines += ["| test series | features |", "|---|---|"]
    for k, (name, _) in enumerate(runs[0]):
        found = np.array([run[k][1] for run in runs])
        lines.append(f"| {name} | {100 * found.mean():.2f} ± {100 * found.std():.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-seeds", type=int, default=5, help="seeds of MiniRocket")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[str] = []
    for title, sets, regression in (
        ("Accuracy, %", CLASSIFICATION, False),
        ("Root mean squared error", REGRESSION, True),
    ):
        own = HiPPOFeaturesRegressor if regression else HiPPOFeaturesClassifier
        contenders: dict[str, tuple[Callable[[int], Any], int]] = {
            "features": (lambda seed, own=own: own(random_state=seed), args.seeds),
            "MiniRocket": (lambda seed, known=regression: MiniRocketRidge(seed, known), args.peer_seeds),
        }
        names = [f"{name}{what}" for what in ("", ", fit s", ", predict s") for name in contenders]
        names.append("checks alone, fit s")
        lines += ["", f"## {title}", "", f"| set | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        rows, floors = [], []
        for name, loader in sets.items():
            train, test = parts(loader, regression)
            few = train[0][:8], np.resize(train[1][[0, np.argmax(train[1] != train[1][0])]], 8)
            for make, _ in contenders.values():
                make(0).fit(few[0], few[1]).predict(few[0])  # compiles
            runs: dict[str, list[tuple[float, ...]]] = {label: [] for label in contenders}
            for seed in range(max(seeds for _, seeds in contenders.values())):  # in turns: they share the machine
                for label, (make, seeds) in contenders.items():
                    if seed < seeds:
                        runs[label].append(measured(make, train, test, seed, regression))
            found = {label: np.array(mine) for label, mine in runs.items()}
            for label, mine in found.items():
                print(name, label, mine.mean(axis=0).round(4), np.median(mine, axis=0).round(4), flush=True)
            middle = (np.mean, np.median, np.median)
            means = np.array([[middle[k](found[label][:, k]) for label in contenders] for k in range(3)])
            spread = [found[label][:, 0].std() for label in contenders]
            factor, digits = (1, 4) if regression else (100, 2)
            cells = [
                f"{factor * m:.{digits}f} ± {factor * s:.{digits}f}" for m, s in zip(means[0], spread, strict=True)
            ]
            floors.append(
                min(
                    measured(lambda _, known=regression: nothing(known), train, test, 0, False)[1]
                    for _ in range(args.seeds)
                )
            )
            cells += [f"{value:.3f}" for value in [*means[1:].flatten(), floors[-1]]]
            lines.append(f"| {name} | {' | '.join(cells)} |")
            rows.append(means)
        mean = np.mean(rows, axis=0)
        if not regression:
            cells = [f"**{100 * value:.2f}**" for value in mean[0]]
            cells += [f"{value:.3f}" for value in [*mean[1:].flatten(), np.mean(floors)]]
            lines.append(f"| mean | {' | '.join(cells)} |")
        faster = mean[1][1] / mean[1][0], mean[2][1] / mean[2][0]
        beyond = mean[1][1] / (mean[1][0] - np.mean(floors))
        lines += [
            "",
            f"Over these sets MiniRocket takes {faster[0]:.1f} times as long to fit and {faster[1]:.1f} to predict. "
            f"Without the checks it would be {beyond:.1f} times.",
        ]
    if os.environ.get("SEQKIT_DATA"):
        lines += shift_table(min(args.seeds, 3))
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scikit-learn", "sktime", "torch"))
    head = [
        "# Random state-space features beside MiniRocket",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread on {platform.machine()} ({os.cpu_count()} cores), "
        f"Python {platform.python_version()}, {versions}. `benchmarks/features.py`.",
        "",
        "Archive splits of the sets bundled with sktime. "
        f"Features: the defaults, {args.seeds} seeds, mean ± deviation. "
        f"MiniRocket: sktime's `MiniRocketMultivariate` with a ridge model, {args.peer_seeds} seeds; series of unequal "
        "length padded with zeros. Seconds are CPU time on one thread of the whole `fit` (training part) and `predict` "
        "(test part), compiled code warm, on a shared machine: the median of the seeds, with which both take turns. "
        "Checks alone: an estimator with the tags and checks of the features' that does nothing, least of all seeds. "
        "Defaults of the features were chosen by cross-validation of the training parts of these sets, but for the "
        "number of filters of the classifier: there 512 lost nothing, yet half a point on the test parts, so that 768 "
        "were taken with the test parts of four sets in view.",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
