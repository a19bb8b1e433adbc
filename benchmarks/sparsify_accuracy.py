"""A classifier within a budget: sparsified after its training and fine-tuned, or sparse from the start.

    python benchmarks/sparsify_accuracy.py             # writes results/sparsify_accuracy.md
    python benchmarks/sparsify_accuracy.py --seeds 1   # prints, writes nothing

The model, the data and the training are those of structured_accuracy.py.
"""

from __future__ import annotations

import copy
import datetime
import time
from pathlib import Path

import torch
from structured_accuracy import EPOCHS, LEARNING_RATE, SequenceTask, measure, new_model, spread, test, train

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.structured import sparsify

RESULTS = Path(__file__).parent / "results" / "sparsify_accuracy.md"
FORMS = [("pixelfly", 0.25), ("low_rank", 0.25)]


def one_seed(seed: int) -> dict[str, tuple[float, float, float]]:
    data = SeriesDataModule(get_source("japanese_vowels"), batch_size=16, seed=seed)
    data.setup()
    dense, found = new_model(data, seed), {}
    found["dense"] = train(dense, data, seed, EPOCHS)
    for structure, budget in FORMS:
        model = copy.deepcopy(dense)
        report = sparsify(model, budget, structure)
        label = f"{structure}, budget {budget:.0%}, {report.density:.1%} stored"
        found[f"{label}: projected"] = (*test(SequenceTask(model, label_smoothing=0.1), data), 0.0)
        found[f"{label}: projected, a tenth of the steps more"] = train(model, data, seed, EPOCHS // 10)
        model, began = copy.deepcopy(dense), time.process_time()
        sparsify(model, budget, structure, data=data.train_dataloader())
        seconds = time.process_time() - began
        found[f"{label}: projected with data"] = (*test(SequenceTask(model, label_smoothing=0.1), data), seconds)
        found[f"{label}: projected with data, a tenth of the steps more at a quarter of the rate"] = train(
            model, data, seed, EPOCHS // 10, learning_rate=LEARNING_RATE / 4
        )
        fresh = new_model(data, seed)
        torch.manual_seed(seed)
        sparsify(fresh, budget, structure, fresh=True)
        found[f"{label}: from the start"] = train(fresh, data, seed, EPOCHS)
    return found


def page(rows: dict[str, list[tuple[float, float, float]]], seeds: int) -> str:
    lines = [
        "# A classifier within a budget",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, CPU, one thread. Japanese Vowels, the preset `attention` "
        f"with 64 features and 2 layers, {EPOCHS} epochs; `sparsify` on all layers but the encoder and the output. "
        "`with data` gives the projection the training series, so that it is near where inputs are; its seconds are "
        "those of the projection. The last column is "
        f"the accuracy less that of the dense model of the same seed. Mean and standard deviation over {seeds} seeds.",
        "",
        "| | test accuracy, % | test loss | CPU seconds | points to dense |",
        "|---|---:|---:|---:|---:|",
    ]
    reference = [one[0] for one in rows["dense"]]
    for name, values in rows.items():
        accuracy, loss, seconds = zip(*values, strict=True)
        points = [100 * (one - other) for one, other in zip(accuracy, reference, strict=True)]
        lines.append(
            f"| {name} | {spread([100 * one for one in accuracy], 1)} | {spread(list(loss), 3)} | "
            f"{spread(list(seconds), 0)} | {spread(points, 1)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    measure(__doc__, one_seed, page, RESULTS)
