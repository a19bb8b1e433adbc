"""Monarch layers in a trained classifier: projected and fine-tuned, and made dense at the end of a training.

    python benchmarks/structured_accuracy.py             # writes results/structured_accuracy.md
    python benchmarks/structured_accuracy.py --seeds 1   # prints, writes nothing

A transformer of this toolkit learns Japanese Vowels. Seconds are CPU time, one thread.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import lightning as L
import torch

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.files import write_whole
from seqkit.models import ModelConfig, SequenceModel
from seqkit.structured import StructuredLinear, replace_linear
from seqkit.tasks import MonarchSchedule, SequenceTask

RESULTS = Path(__file__).parent / "results" / "structured_accuracy.md"
EPOCHS, LEARNING_RATE = 20, 0.002
FORMS = {"blocks of the root": {}, "4 blocks of rank 4": {"n_blocks": 4, "slice_rank": 4}}


def new_model(data: SeriesDataModule, seed: int, d_model: int = 64, n_layers: int = 2) -> SequenceModel:
    config = ModelConfig.preset("attention", d_model=d_model, n_layers=n_layers)
    model = SequenceModel.from_config(config, data.info, seed=seed)
    model.input_norm.set_statistics(*data.statistics())
    return model


def train(
    model: SequenceModel,
    data: SeriesDataModule,
    seed: int,
    epochs: int,
    *callbacks: L.Callback,
    learning_rate: float = LEARNING_RATE,
) -> tuple[float, float, float]:
    """Test accuracy, test loss and seconds of CPU time."""
    torch.manual_seed(seed)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    task = SequenceTask(model, learning_rate=learning_rate, label_smoothing=0.1)
    began = time.process_time()
    trainer.fit(task, train_dataloaders=data.train_dataloader())
    seconds = time.process_time() - began
    return (*test(task, data), seconds)


def test(task: SequenceTask, data: SeriesDataModule) -> tuple[float, float]:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (found,) = trainer.test(task, data.test_dataloader(), verbose=False)
    return found["test_accuracy"], found["test_loss"]


def share(model: SequenceModel) -> float:
    """Numbers of the structured layers' matrices by those of the dense ones in their place."""
    layers = [module.matrix for module in model.modules() if isinstance(module, StructuredLinear)]
    return sum(one.n_parameters for one in layers) / sum(one.in_features * one.out_features for one in layers)


def one_seed(seed: int) -> dict[str, tuple[float, float, float]]:
    data = SeriesDataModule(get_source("japanese_vowels"), batch_size=16, seed=seed)
    data.setup()
    dense, found = new_model(data, seed), {}
    found["dense"] = train(dense, data, seed, EPOCHS)
    for name, options in FORMS.items():
        model = copy.deepcopy(dense)
        replace_linear(model, "monarch", **options)
        label = f"{name}, {share(model):.0%} of the numbers: projected"
        found[label] = (*test(SequenceTask(model, label_smoothing=0.1), data), 0.0)
        found[f"{label}, a tenth of the steps more"] = train(model, data, seed, EPOCHS // 10)
        model, label, began = copy.deepcopy(dense), f"{label} with data", time.process_time()
        replace_linear(model, "monarch", data=data.train_dataloader(), **options)
        seconds = time.process_time() - began
        found[label] = (*test(SequenceTask(model, label_smoothing=0.1), data), seconds)
        found[f"{label}, a tenth of the steps more"] = train(model, data, seed, EPOCHS // 10)
    options = FORMS["4 blocks of rank 4"]
    reverse = MonarchSchedule("dense", at=0.9, **options)
    found["4 blocks of rank 4, dense for the last tenth"] = train(new_model(data, seed), data, seed, EPOCHS, reverse)
    return found


def spread(values: list[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def page(rows: dict[str, list[tuple[float, float, float]]], seeds: int) -> str:
    lines = [
        "# Monarch layers in a classifier",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, CPU, one thread. Japanese Vowels, the preset `attention` "
        f"with 64 features and 2 layers, {EPOCHS} epochs. Layers that become smaller are replaced; numbers are "
        "those of their matrices. `with data` gives the projection the training series, so that it is near where "
        f"inputs are; its seconds are those of the projection. Mean and standard deviation over {seeds} seeds.",
        "",
        "| | test accuracy, % | test loss | CPU seconds |",
        "|---|---:|---:|---:|",
    ]
    for name, values in rows.items():
        accuracy, loss, seconds = zip(*values, strict=True)
        lines.append(
            f"| {name} | {spread([100 * one for one in accuracy], 1)} | {spread(list(loss), 3)} | "
            f"{spread(list(seconds), 0)} |"
        )
    return "\n".join(lines) + "\n"


def differences(rows: dict[str, list[tuple[float, float, float]]]) -> list[str]:
    """A table of all rows with their differences to the row "dense" of the same seed."""
    lines = [
        "| | test accuracy, % | test loss | CPU seconds | points to dense | loss to dense |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, values in rows.items():
        accuracy, loss, seconds = zip(*values, strict=True)
        points = [100 * (one[0] - other[0]) for one, other in zip(values, rows["dense"], strict=True)]
        losses = [one[1] - other[1] for one, other in zip(values, rows["dense"], strict=True)]
        lines.append(
            f"| {name} | {spread([100 * one for one in accuracy], 1)} | {spread(list(loss), 3)} | "
            f"{spread(list(seconds), 1)} | {spread(points, 1)} | {spread(losses, 3)} |"
        )
    return lines


def measure(
    description: str | None,
    one_seed: Callable[[int], dict[str, tuple[float, float, float]]],
    page: Callable[[dict[str, list[tuple[float, float, float]]], int], str],
    results: Path,
) -> None:
    """Measures seed by seed and shows the page after each; one seed alone is not written."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(options.seeds):
        for name, values in one_seed(seed).items():
            rows.setdefault(name, []).append(values)
        print(page(rows, seed + 1), flush=True)
        if options.seeds > 1:
            text = page(rows, seed + 1)
            write_whole(results, lambda path, text=text: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    measure(__doc__, one_seed, page, RESULTS)
