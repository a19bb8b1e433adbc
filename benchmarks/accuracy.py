"""Test accuracy of the recipes over seeds, beside MiniRocket from sktime on the same data.

    python benchmarks/accuracy.py japanese_vowels --seeds 5 --out benchmarks/results/japanese_vowels.md
    SEQKIT_DATA=... python benchmarks/accuracy.py character_trajectories --seeds 3 --out ...

For sets with a sample rate each run is also evaluated at half of it, told and not told.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import numpy as np

import seqkit
from seqkit.datasets import SeriesDataModule, get_source


def minirocket(data: str, seed: int, subsample: int) -> tuple[float, float]:
    """Accuracy of sktime's MiniRocket with a ridge classifier, as trained and on every k-th sample of the test part."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sktime.transformations.panel.rocket import MiniRocketMultivariate

    module = SeriesDataModule(get_source(data), seed=seed)
    module.setup()
    sets = module.sets
    # It has no validation part, so it gets those series to train on as well; shorter series are padded with zeros.
    length = max(len(values) for part in sets.values() for values in part.values)

    def cube(parts: list[str], k: int = 1) -> np.ndarray:
        values = [v[::k] for part in parts for v in sets[part].values]
        return np.stack([np.pad(v, ((0, length - len(v)), (0, 0))).T for v in values]).astype(np.float64)

    train_y = [label for part in ("train", "val") for label in sets[part].target]
    transform = MiniRocketMultivariate(random_state=seed)
    features = transform.fit_transform(cube(["train", "val"]))
    classifier = make_pipeline(StandardScaler(with_mean=False), RidgeClassifierCV(np.logspace(-3, 3, 10)))
    classifier.fit(features, train_y)
    scores = [classifier.score(transform.transform(cube(["test"], k)), sets["test"].target) for k in (1, subsample)]
    return scores[0], scores[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="japanese_vowels")
    parser.add_argument("--model", default=None, help="model by name; the recipe's if left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true", help="leave MiniRocket out")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()

    rated = get_source(args.data).info().sample_rate is not None
    names = ["test", *(["half rate, told", "half rate, not told"] if rated else []), "training, s"]
    rows: list[list[float]] = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = seqkit.train(args.data, args.model, out=f"{folder}/run", seed=seed)
            row = [run.metrics["accuracy"]]
            if rated:
                row.append(seqkit.evaluate(run.path, subsample=2).metrics["accuracy"])
                row.append(seqkit.evaluate(run.path, subsample=2, hide_rate=True).metrics["accuracy"])
            rows.append([*row, run.summary["seconds"]])
            model, sizes = run.summary["model"], run.summary["n_series"]
    lines = [f"| {model}, seed | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for seed, row in enumerate(rows):
        lines.append(f"| {seed} | {' | '.join(f'{100 * v:.2f} %' for v in row[:-1])} | {row[-1]:.0f} |")
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    lines.append(f"| mean | {' | '.join(f'{100 * v:.2f} %' for v in means[:-1])} | {means[-1]:.0f} |")
    if not args.no_peer:
        lines += ["", f"| MiniRocket, seed | test{' | half rate' if rated else ''} | whole, s |"]
        lines.append("|---" * (4 if rated else 3) + "|")
        for seed in range(args.seeds):
            began = time.monotonic()
            full, half = minirocket(args.data, seed, 2)
            cells = [full, half] if rated else [full]
            seconds = time.monotonic() - began
            lines.append(f"| {seed} | {' | '.join(f'{100 * v:.2f} %' for v in cells)} | {seconds:.0f} |")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "sktime", "numpy"))
    head = [
        f"# {args.data}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}.",
        f"Series: {', '.join(f'{n} {part}' for part, n in sizes.items())}. The recipe of `seqkit train`; a seed fixes "
        "splits, weights and batches. MiniRocket trains on the validation series too.",
        "",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
