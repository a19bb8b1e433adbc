"""How fast each data set is loaded, beside how fast its default model takes it, and how much of it is padding.

    SEQKIT_DATA=/path/to/data python benchmarks/loading.py        # every set that is there
    python benchmarks/loading.py --only japanese_vowels plaid     # some; prints, writes nothing

PLAID is read by sktime; the other sets by seqkit. Sets that are not there are left out.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, SeriesSet, Source, get_source, source_names, source_options
from seqkit.datasets.batching import training_loader
from seqkit.datasets.loading import TrainingLoader
from seqkit.datasets.order import EpochBatches, padded_share
from seqkit.models import ModelConfig, SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.steps import fit_step_sizes, step_size_range
from seqkit.tasks import SequenceTask

RESULTS = Path(__file__).parent / "results" / "loading.md"


def loading_rate(batches: TrainingLoader, seconds: float = 2.0) -> float:
    """Series per second that the loader gives, over whole epochs or `seconds`, after a first batch."""
    next(iter(batches))
    began, count = time.perf_counter(), 0
    for epoch in itertools.count():
        batches.sampler.set_epoch(epoch)
        for batch in batches:
            count += len(batch.lengths)
            if time.perf_counter() - began > seconds:
                return count / (time.perf_counter() - began)
    raise AssertionError


def training_rate(name: str, module: SeriesDataModule, seconds: float = 4.0) -> tuple[str, float]:
    """Default model of a set, and series per second of its training step on one thread, with steps of AdamW."""
    config = fit_step_sizes(RunConfig.build(name), module)
    model = SequenceModel.from_config(config.model, module.info, seed=0)
    return config.model.name, step_rate(SequenceTask(model), module.train_dataloader(), seconds)


def step_rate(task: SequenceTask, batches: TrainingLoader, seconds: float) -> float:
    """Series per second of forward, backward and optimiser, without the loading; the first step does not count."""
    optimizer = torch.optim.AdamW(task.parameters())
    spent, count, first = 0.0, 0, True
    for batch in itertools.chain.from_iterable(itertools.repeat(batches)):
        began = time.perf_counter()
        loss, _, _ = task.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not first:
            spent, count = spent + time.perf_counter() - began, count + len(batch.lengths)
        first = False
        if spent > seconds:
            break
    return count / spent


def shares(lengths: np.ndarray, batch_size: int) -> tuple[float, float]:
    """Padded share without and with batches of similar length, mean of ten epochs, in percent."""
    out = []
    for bucket in (False, True):
        order = EpochBatches(lengths, batch_size, seed=0, bucket=bucket)
        each = []
        for epoch in range(10):
            order.set_epoch(epoch)
            each.append(padded_share(lengths, list(order)))
        out.append(100 * float(np.mean(each)))
    return out[0], out[1]


def plaid() -> tuple[SeriesSet, DataInfo]:
    """PLAID's training part: 537 currents of appliances, 100 to 1,344 samples."""
    from sktime.datasets import load_plaid

    X, y = load_plaid(split="train", return_X_y=True)
    series = SeriesSet([np.asarray(one)[:, None] for one in X.iloc[:, 0]], [str(label) for label in y], origin="PLAID")
    classes = tuple(sorted(set(map(str, y)), key=float))
    return series, DataInfo(
        "plaid", "classification", n_channels=1, classes=classes, max_length=int(max(series.lengths))
    )


def there(name: str) -> Source:
    """The set, in the first version of it that is there.

    Raises:
        FileNotFoundError: none is.
    """
    versions = ({}, {"version": "0.01"}) if "version" in source_options(name) else ({},)
    for options in versions:
        source = get_source(name, **options)
        try:
            source.prepare(offline=True)
        except FileNotFoundError as error:
            missing = error
        else:
            return source
    raise missing


def row(name: str) -> str:
    """The row of a set."""
    if name == "plaid":
        series, info = plaid()
        low, high = step_size_range(float(np.median(series.lengths)))
        batch_size, model = 32, ModelConfig.preset("s4d", dt_min=low, dt_max=high)
        batches = training_loader(series, info, batch_size=batch_size, seed=0)
        fed = loading_rate(batches)
        taken = step_rate(SequenceTask(SequenceModel.from_config(model, info, seed=0)), batches, 4.0)
        began = opened = 0.0  # sktime reads it
        used = model.name
    else:
        source = there(name)
        batch_size = RunConfig.build(name).data.batch_size
        module = SeriesDataModule(source, batch_size=batch_size)
        began = time.perf_counter()
        module.setup()
        opened = time.perf_counter()
        series = module.sets["train"]
        fed = loading_rate(module.train_dataloader())
        used, taken = training_rate(name, module)
    plain, bucketed = shares(series.lengths, batch_size)
    longest = f"{int(series.lengths.min()):,} to {int(series.lengths.max()):,}"
    return (
        f"| {name} | {len(series):,} | {longest} | {opened - began:.1f} | {batch_size} | {fed:,.0f} | {used} "
        f"| {taken:,.0f} | {fed / taken:,.0f} | {plain:.1f} | {bucketed:.1f} |"
    )


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="these sets only")
    names = parser.parse_args().only
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    lines = [
        "# Loading",
        "",
        "Series a second that the loader gives (no worker processes) and that a training step of the set's default "
        "model takes (forward, backward, AdamW), both on one CPU thread, and padding with batches of random and of "
        "similar length. Made by `benchmarks/loading.py`.",
        "",
        "| set | series | samples | set up, s | batch | loaded /s | model | trained /s | times | padded, random, % "
        "| padded, similar, % |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name in names or [*(name for name in source_names() if name != "folder"), "plaid"]:
        try:
            lines.append(row(name))
        except (FileNotFoundError, ImportError) as error:
            print(f"{name} is left out: {str(error)[:100]}")
            continue
        print(lines[-1], flush=True)
    if not names:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
