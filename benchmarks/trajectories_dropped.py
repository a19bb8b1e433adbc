"""Letters with points dropped: the recipes beside other ways, MiniRocket, and the LSSL paper's figures.

    SEQKIT_DATA=... python benchmarks/trajectories_dropped.py --keep ROWS.jsonl --out PAGE.md    # goes on from ROWS

Points are dropped at random once for each series, in training and test alike, as in the papers. The recipes lay those
that are left on an even grid with lines between them. `hippo_legs` is given their times; so are the random features, as
gaps of an even grid. MiniRocket takes no times: it gets the whole grid, with the last point held.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numba are imported
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

import seqkit
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.figures import new_figure, save_figure

SHARES = (0.0, 0.3, 0.5, 0.7)
RECIPES = Path(__file__).resolve().parents[1] / "recipes"
PUBLISHED = {
    "LSSL": (99.30, 98.83, 98.83, 98.37),
    "CKCNN": (99.53, 98.83, 98.60, 98.14),
    "NCDE": (None, 98.7, 98.8, 98.6),
    "ODE-RNN": (None, 95.4, 96.0, 95.3),
    "GRU-D": (None, 94.2, 90.2, 91.9),
}
"""Accuracy in percent by share dropped, from the LSSL paper's table (arXiv:2110.13985)."""

NAMES = {
    "recipe": "recipes: S4D on frames, lines",
    "legs": "`hippo_legs`, told the times",
    "features": "`HiPPOFeaturesClassifier`",
    "minirocket": "MiniRocket, ridge",
}


def recipe_of(share: float) -> Path:
    """The recipe for a share of points dropped."""
    return RECIPES / ("trajectories.yaml" if share == 0 else f"trajectories_dropped_{100 * share:.0f}.yaml")


def by_recipe(share: float, seed: int) -> dict[str, Any]:
    """Trains by the recipe for this share."""
    with tempfile.TemporaryDirectory() as folder:
        config = seqkit.RunConfig.build(file=recipe_of(share), settings={"seed": seed})
        run = seqkit.train(config=config, out=f"{folder}/run", progress=False)
        sizes = {"series": run.summary["n_series"], "network": run.summary["model"]}
        return {"accuracy": run.metrics["accuracy"], **sizes}


def by_legs(share: float, seed: int) -> dict[str, Any]:
    """Trains the memory that is told the time of each point, on nine tenths of what is not held out."""
    settings = {
        "data.drop": share,
        "data.vary_drop": 0.5,
        "data.validation": 0.1,
        "data.bucket": True,
        "model.d_model": 256,
        "model.dropout": 0.5,
        "model.interpolate": True,
        "training.epochs": 40,
        "training.learning_rate": 0.004,
        "training.weight_decay": 0.1,
        "training.label_smoothing": 0.1,
        "training.input_noise": 0.1,
        "training.patience": None,
        "training.keep": "last",
    }
    with tempfile.TemporaryDirectory() as folder:
        config = seqkit.RunConfig.build("character_trajectories", "hippo_legs", settings={"seed": seed, **settings})
        run = seqkit.train(config=config, out=f"{folder}/run", progress=False)
        return {"accuracy": run.metrics["accuracy"], "network": run.summary["model"]}


def by_other_rate(share: float, seed: int) -> dict[str, Any]:
    """Trains by the recipe for another rate, on all points, and reads the test part at half its rate as well."""
    with tempfile.TemporaryDirectory() as folder:
        config = seqkit.RunConfig.build(file=RECIPES / "trajectories_other_rate.yaml", settings={"seed": seed})
        run = seqkit.train(config=config, out=f"{folder}/run", progress=False)
        found = {"accuracy": run.metrics["accuracy"]}
        for name, hide in (("half", False), ("half, not told", True)):
            found[name] = seqkit.evaluate(run.path, subsample=2, hide_rate=hide).metrics["accuracy"]
    return found


def grids(share: float, seed: int) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Known and test series on the whole grid, NaN where a point was dropped, and their letters."""
    module = SeriesDataModule(get_source("character_trajectories", drop=share, missing="nan"), seed=seed)
    module.setup()
    known = [one for part in ("train", "val") for one in module.sets[part].values]
    labels = [letter for part in ("train", "val") for letter in module.sets[part].target or []]
    test = module.sets["test"]
    return known, np.array(labels), list(test.values), np.array(test.target)


def by_features(share: float, seed: int) -> dict[str, float]:
    """Random state-space features and a ridge model."""
    import pandas as pd

    from seqkit.estimators import HiPPOFeaturesClassifier

    known, labels, test, truth = grids(share, seed)
    model = HiPPOFeaturesClassifier(random_state=seed).fit([pd.DataFrame(one) for one in known], labels)
    return {"accuracy": float(np.mean(model.predict([pd.DataFrame(one) for one in test]) == truth))}


def held(row: np.ndarray) -> np.ndarray:
    """The last point that is there in the place of each that is not; the first one before it."""
    there = ~np.isnan(row[:, 0])
    last = np.maximum.accumulate(np.where(there, np.arange(len(row)), there.argmax()))
    return row[last]


def by_minirocket(share: float, seed: int) -> dict[str, float]:
    """MiniRocket of sktime with a ridge model on held points, padded with zeros."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sktime.transformations.panel.rocket import MiniRocketMultivariate

    known, labels, test, truth = grids(share, seed)
    length = max(len(one) for one in [*known, *test])

    def cube(rows: list[np.ndarray]) -> np.ndarray:
        return np.stack([np.pad(held(one), ((0, length - len(one)), (0, 0))).T for one in rows]).astype(np.float64)

    transform = MiniRocketMultivariate(random_state=seed)
    features = transform.fit_transform(cube(known))
    ridge = RidgeClassifierCV(np.logspace(-3, 3, 10))
    model = make_pipeline(StandardScaler(with_mean=False), ridge).fit(features, labels)
    return {"accuracy": float(model.score(transform.transform(cube(test)), truth))}


MODELS: dict[str, Callable[[float, int], dict[str, Any]]] = {
    "recipe": by_recipe,
    "legs": by_legs,
    "other rate": by_other_rate,
    "features": by_features,
    "minirocket": by_minirocket,
}


PER_SHARE = [model for model in MODELS if model != "other rate"]
SHARES_OF = dict.fromkeys(MODELS, SHARES) | {"legs": SHARES[1:], "other rate": SHARES[:1]}


def spread(values: list[float]) -> str:
    """Mean and range in percent."""
    if not values:
        return ""
    percent = [100 * value for value in values]
    return f"{statistics.mean(percent):.2f} ({min(percent):.1f} to {max(percent):.1f})"


def of(rows: list[dict[str, Any]], model: str, share: float, key: str = "accuracy") -> list[float]:
    """A figure of a model at a share dropped, by seed."""
    return [row[key] for row in rows if (row["model"], row["share"]) == (model, share) and key in row]


def page(rows: list[dict[str, Any]], picture: str | None) -> str:
    """The page of results."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "sktime", "numpy"))
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))
    sizes = next((row["series"] for row in rows if "series" in row), None)
    cut = "" if sizes is None else f" ({', '.join(f'{count} {part}' for part, count in sizes.items())})"
    header = " | ".join(f"{share:.0%} dropped".replace("%", " %") for share in SHARES)
    lines = [
        "# Letters with points dropped",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread on {platform.machine()} ({os.cpu_count()} cores), "
        f"Python {platform.python_version()}, {versions}.",
        "`benchmarks/trajectories_dropped.py`; `recipes/trajectories.yaml` and `trajectories_dropped_*.yaml`.",
        "",
        "CharacterTrajectories, accuracy in percent on a fifth of the letters that is held out, mean and range over "
        f"seeds {seeds}; a seed fixes the cut, the weights and the batches. Which points a letter loses is the same "
        f"for all seeds. The set here has 1,001 letters{cut}; the papers' has 2,858. A letter is half a point of a "
        "seed and a sixth of one of a mean of three. The recipes have one set of settings at all shares, which was "
        "chosen for all points on validation parts of seeds 0 and 1 (a letter in such a part can be in another seed's "
        "test part), S4D when `hippo_legs` had been seen on the test part of seed 0. That points are joined by lines "
        "and that no validation part is kept was settled knowing how this S4D did on all points and `hippo_legs` on "
        "fewer, without a trial on a test part; each was looked at once. Settings of `hippo_legs` were chosen on the "
        "same validation parts. Features have their defaults, which were chosen on "
        "other sets.",
        "",
        f"| | {header} | s |",
        "|---" * (len(SHARES) + 2) + "|",
    ]
    for model in PER_SHARE:
        mine = [row for row in rows if row["model"] == model]
        if mine:
            cells = " | ".join(spread(of(rows, model, share)) for share in SHARES)
            lines.append(f"| {NAMES[model]} | {cells} | {statistics.median(row['seconds'] for row in mine):.0f} |")
    for name, figures in PUBLISHED.items():
        cells = " | ".join("" if value is None else f"{value:.2f}" for value in figures)
        lines.append(f"| {name}, published | {cells} | |")
    lines += [
        "",
        "Published: the LSSL paper's table (arXiv:2110.13985). s: processor time of a training and its test, median. "
        "`hippo_legs` trains on nine tenths of what is not held out, the others on all of it. The recipes are an S4D "
        "of two layers that takes four points in a step. MiniRocket is given the grid with the last point held.",
    ]
    if picture:
        lines += ["", f"![accuracy against share dropped]({picture})"]
    if of(rows, "other rate", 0.0):
        rates = [spread(of(rows, "other rate", 0.0, key)) for key in ("accuracy", "half", "half, not told")]
        lines += [
            "",
            "## At half the rate",
            "",
            "`recipes/trajectories_other_rate.yaml`, trained at 200 Hz on all points and read at 100 Hz "
            "(`seqkit evaluate RUN --subsample 2`).",
            "",
            "| as trained | half the rate, told | half the rate, not told (`--hide-rate`) |",
            "|---|---|---|",
            f"| {' | '.join(rates)} |",
        ]
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against the share dropped: ours as lines with their range, published dashed."""
    figure = new_figure(6.5, 4.2)
    axes = figure.subplots()
    places = [100 * share for share in SHARES]
    for name, figures in PUBLISHED.items():
        known = [(place, value) for place, value in zip(places, figures, strict=True) if value is not None]
        axes.plot(*zip(*known, strict=True), "--o", markersize=3, linewidth=1, label=f"{name}, published")
    for aside, model in zip((-1.2, 1.2, 2.4, 3.6), PER_SHARE, strict=True):
        found = [(place + aside, of(rows, model, share)) for place, share in zip(places, SHARES, strict=True)]
        found = [(place, [100 * one for one in values]) for place, values in found if values]
        if found:
            means = [statistics.mean(values) for _, values in found]
            below = [mean - min(values) for mean, (_, values) in zip(means, found, strict=True)]
            above = [max(values) - mean for mean, (_, values) in zip(means, found, strict=True)]
            label = NAMES[model].replace("`", "")
            axes.errorbar(
                [place for place, _ in found],
                means,
                [below, above],
                fmt="-s",
                markersize=4,
                linewidth=1,
                capsize=3,
                label=label,
            )
    axes.set(xlabel="points dropped, %", ylabel="accuracy, %", xticks=places, ylim=(89, 100.3))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    save_figure(figure, path, software="benchmarks/trajectories_dropped.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--report", action="store_true", help="write the page from what is kept; run nothing")
    parser.add_argument("--out", type=Path, default=None, help="the page; its picture goes beside it")
    args = parser.parse_args()
    torch.set_num_threads(1)

    rows: list[dict[str, Any]] = []
    if args.keep is not None and args.keep.exists():
        rows = [json.loads(line) for line in args.keep.read_text().splitlines()]
    cases = [(model, seed, share) for model in args.models for seed in range(args.seeds) for share in SHARES_OF[model]]
    for model, seed, share in [] if args.report else cases:
        if any((row["model"], row["seed"], row["share"]) == (model, seed, share) for row in rows):
            continue
        began = time.process_time()
        found = MODELS[model](share, seed)
        row = {"model": model, "seed": seed, "share": share, **found, "seconds": time.process_time() - began}
        print(json.dumps(row), flush=True)
        rows.append(row)
        if args.keep is not None:
            with args.keep.open("a") as file:
                file.write(json.dumps(row) + "\n")
    picture = None
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        draw(rows, args.out.with_suffix(".png"))
        picture = args.out.with_suffix(".png").name
    text = page(rows, picture)
    print(text)
    if args.out is not None:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
