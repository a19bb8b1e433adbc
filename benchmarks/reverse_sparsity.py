"""Reverse sparsification at 512 features: Monarch layers first, multiplied out for the last steps.

    python benchmarks/reverse_sparsity.py             # writes results/reverse_sparsity.md
    python benchmarks/reverse_sparsity.py --seeds 1   # prints, writes nothing

Data and training are those of wide_accuracy.py. A first epoch is trained before the clock, and the order of the methods
turns from seed to seed.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import torch
from structured_accuracy import MonarchSchedule, differences, measure, new_model, train
from wide_accuracy import EPOCHS, LAYERS, RATE, WIDTH, block_layers

from seqkit.datasets import SeriesDataModule, get_source

RESULTS = Path(__file__).parent / "results" / "reverse_sparsity.md"
METHODS: dict[str, dict[str, float] | None] = {
    "dense": None,
    "blocks of the root, dense for the last 10 %": {"at": 0.9},
    "blocks of the root, dense for the last 30 %": {"at": 0.7},
    "4 blocks of rank 32, dense for the last 30 %": {"at": 0.7, "n_blocks": 4, "slice_rank": 32},
}


def one_seed(seed: int) -> dict[str, tuple[float, float, float]]:
    data = SeriesDataModule(get_source("japanese_vowels"), batch_size=16, seed=seed)
    data.setup()
    train(new_model(data, seed, WIDTH, LAYERS), data, seed, 1, learning_rate=RATE)
    names = list(METHODS)
    found = {}
    for name in names[seed % len(names) :] + names[: seed % len(names)]:
        options = METHODS[name]
        callbacks = [] if options is None else [MonarchSchedule("dense", select=block_layers, **options)]
        found[name] = train(new_model(data, seed, WIDTH, LAYERS), data, seed, EPOCHS, *callbacks, learning_rate=RATE)
    return {name: found[name] for name in names}


def page(rows: dict[str, list[tuple[float, float, float]]], seeds: int) -> str:
    lines = [
        "# Reverse sparsification",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, CPU, one thread. Japanese Vowels, the preset `attention` "
        f"with {WIDTH} features and {LAYERS} layer, {EPOCHS} epochs for all; layers of the blocks begin as Monarch "
        "matrices and are multiplied out. The last columns are differences to the dense training of the same seed. "
        f"Mean and standard deviation over {seeds} seeds. The forms were chosen on two other seeds.",
        "",
        *differences(rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    measure(__doc__, one_seed, page, RESULTS)
