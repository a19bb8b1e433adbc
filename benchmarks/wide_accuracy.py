"""A wide classifier, whose dense layers are most of it, replaced within budgets and trained through reverse sparsity.

    python benchmarks/wide_accuracy.py             # writes results/wide_accuracy.md
    python benchmarks/wide_accuracy.py --seeds 1   # prints, writes nothing

The data and the training are those of structured_accuracy.py, for half of the epochs at 512 features, from where on
structured products are faster than dense ones.
"""

from __future__ import annotations

import copy
import datetime
import time
from pathlib import Path

import torch
from structured_accuracy import MonarchSchedule, SequenceTask, differences, measure, new_model, test, train

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.structured import input_moments, sparsify

RESULTS = Path(__file__).parent / "results" / "wide_accuracy.md"
WIDTH, LAYERS, EPOCHS, RATE = 512, 1, 10, 0.001
FORMS = [("monarch", 0.1), ("pixelfly", 0.25)]


def block_layers(name: str, layer: torch.nn.Module) -> bool:
    return "blocks" in name


def one_seed(seed: int) -> dict[str, tuple[float, float, float]]:
    data = SeriesDataModule(get_source("japanese_vowels"), batch_size=16, seed=seed)
    data.setup()
    dense, found = new_model(data, seed, WIDTH, LAYERS), {}
    found["dense"] = train(dense, data, seed, EPOCHS, learning_rate=RATE)
    began = time.process_time()
    moments = input_moments(dense, data.train_dataloader())
    running = time.process_time() - began
    for structure, budget in FORMS:
        model, began = copy.deepcopy(dense), time.process_time()
        report = sparsify(model, budget, structure, data=moments)
        seconds = time.process_time() - began + running
        label = f"{structure}, {report.density:.1%} stored: projected with data"
        found[label] = (*test(SequenceTask(model, label_smoothing=0.1), data), seconds)
        found[f"{label}, a tenth of the steps more at a quarter of the rate"] = train(
            model, data, seed, EPOCHS // 10, learning_rate=RATE / 4
        )
    reverse = MonarchSchedule("dense", at=0.9, select=block_layers)
    label = "monarch, blocks of the root, from the start, dense for the last tenth"
    found[label] = train(new_model(data, seed, WIDTH, LAYERS), data, seed, EPOCHS, reverse, learning_rate=RATE)
    return found


def page(rows: dict[str, list[tuple[float, float, float]]], seeds: int) -> str:
    lines = [
        "# A wide classifier within budgets",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, CPU, one thread. Japanese Vowels, the preset `attention` "
        f"with {WIDTH} features and {LAYERS} layer, {EPOCHS} epochs; all layers but the encoder and the output are "
        "replaced. `with data` gives the projection the training series; seconds of projections are those of the "
        f"projection. The last columns are differences to the dense model of the same seed. Mean and standard "
        f"deviation over {seeds} seeds.",
        "",
        *differences(rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    measure(__doc__, one_seed, page, RESULTS)
