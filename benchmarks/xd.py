"""Digits read pixel by pixel in several orders: a convolution network, and the same with its operations searched over.

    python benchmarks/xd.py --keep benchmarks/results/xd.jsonl --out benchmarks/results/xd.md

scikit-learn's 8x8 digits are series of 64 pixels: row by row, by columns (every 8th pixel), in the order of reversed
binary digits, or at random. A control is shift-invariant: a short wave of one of two shapes anywhere in noise. Beside
the network and its search: the network made so wide that it has as many parameters, and a perceptron, which knows no
order. Then the time of a training step. A stopped run goes on from the rows kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import seqkit
from seqkit.search import search_operations
from seqkit.structured.butterflies import bit_reversal
from seqkit.structured.xd import (
    describe_operation,
    draw_operations,
    model_parameters,
    operation_layers,
    operation_parameters,
    patch_convolutions,
    release_operations,
)

LENGTH, WIDTH, WIDE, KERNEL, EPOCHS, BATCH = 64, 16, 62, 5, 12, 64
RATE, OPERATION_RATES, DEPTH = 3e-3, {"searched": 1e-3, "searched, rate 0.01": 1e-2}, 3
ORDERS = ("row by row", "every 8th pixel", "bits reversed", "at random")
SETS = (*ORDERS, "waves anywhere")
NETWORKS = ("convolution", "searched", "searched, rate 0.01", "wide convolution", "perceptron")


class Data(NamedTuple):
    """Series (B, 1, 64) of mean 0 and deviation 1, and their labels."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def order_of(name: str, seed: int) -> Tensor:
    places = torch.arange(LENGTH)
    if name == "every 8th pixel":
        return places.view(8, 8).mT.flatten()
    if name == "bits reversed":
        return bit_reversal(LENGTH)
    return torch.randperm(LENGTH, generator=torch.Generator().manual_seed(seed)) if name == "at random" else places


def digits(order: str, seed: int) -> Data:
    """Half of the digits to learn from, half to test on."""
    found = load_digits()
    x = torch.as_tensor(found.images, dtype=torch.float32).flatten(1)
    x = ((x - x.mean()) / x.std())[:, None, order_of(order, seed)]
    y = torch.as_tensor(found.target)
    train, test = train_test_split(range(len(x)), test_size=0.5, random_state=seed, stratify=found.target)
    return Data(x[train], y[train], x[test], y[test])


def waves(seed: int, n: int = 900) -> Data:
    """A wave of 9 samples, rising or falling in pitch, at any place of a circle of noise."""
    random = torch.Generator().manual_seed(seed)
    time_ = torch.linspace(0, 1, 9)
    shape = torch.stack(
        [torch.sin(2 * torch.pi * (time_ + time_**2)), torch.sin(2 * torch.pi * (3 * time_ - time_**2))]
    )
    y = torch.randint(2, (2 * n,), generator=random)
    x = 0.7 * torch.randn(2 * n, LENGTH, generator=random)
    x[:, :9] += 1.5 * shape[y]
    shift = torch.randint(LENGTH, (2 * n, 1), generator=random)
    x = x.gather(1, (torch.arange(LENGTH) + shift) % LENGTH)[:, None]
    return Data(x[:n], y[:n], x[n:], y[n:])


class Block(nn.Module):
    """Two convolutions on a circle and a residual."""

    def __init__(self, channels: int, width: int, dilation: int) -> None:
        super().__init__()
        options = {"dilation": dilation, "padding": KERNEL // 2 * dilation, "padding_mode": "circular"}
        self.first = nn.Conv1d(channels, width, KERNEL, **options)
        self.second = nn.Conv1d(width, width, KERNEL, **options)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
        self.skip = nn.Conv1d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, channels, L) to (B, width, L)."""
        y = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        return (y + self.skip(x)).relu()


def network(name: str, classes: int) -> nn.Module:
    if name == "perceptron":
        layers = nn.Linear(LENGTH, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, classes)
        return nn.Sequential(nn.Flatten(), *layers)
    width = WIDE if name == "wide convolution" else WIDTH
    head = nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, classes)
    return nn.Sequential(Block(1, width, 1), Block(width, width, 2), *head)


def made(name: str, data: Data, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = network(name, int(data.train_labels.max()) + 1)
    if name in OPERATION_RATES:
        patch_convolutions(model, data.train[:2], depth=DEPTH, select=lambda _, layer: layer.kernel_size[0] > 1)
    return model


def batches(data: Data) -> list[tuple[Tensor, Tensor]]:
    return [(data.train[rows], data.train_labels[rows]) for rows in torch.randperm(len(data.train)).split(BATCH)]


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


class Shuffled:
    """The training batches, drawn anew each time they are gone through."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __iter__(self):
        return iter(batches(self.data))


def train(name: str, data: Data, seed: int) -> dict:
    """Trains one network; returns its accuracy, CPU time and, where operations were searched, what they became."""
    model, began = made(name, data, seed), time.process_time()
    searched = name in OPERATION_RATES
    weights = torch.optim.Adam(model_parameters(model), RATE)
    optimizers = (
        [weights, torch.optim.Adam(operation_parameters(model), OPERATION_RATES[name])] if searched else [weights]
    )
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, EPOCHS) for one in optimizers]
    if searched:
        epochs = search_operations(
            model, Shuffled(data), loss_of, optimizer=weights, operation_optimizer=optimizers[1], epochs=EPOCHS
        )
    else:
        epochs = (plain_epoch(model, data, weights) for _ in range(EPOCHS))
    for _ in epochs:
        for one in schedules:
            one.step()
    model.eval()
    with torch.no_grad():
        right = (model(data.test).argmax(1) == data.test_labels).double().mean().item()
    found = {"accuracy": right, "seconds": time.process_time() - began}
    found["parameters"] = sum(one.numel() for one in model.parameters())
    if searched:
        found["operations"] = {key: str(describe_operation(one)) for key, one in operation_layers(model).items()}
        found["model"] = model
    return found


def plain_epoch(model: nn.Module, data: Data, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for batch in batches(data):
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def step_times(rounds: int = 15) -> dict[str, float]:
    """Median CPU time of a training step on a batch, in ms, interleaved."""
    data = digits("row by row", 0)
    models = {
        "torch's convolution": made("convolution", data, 0),
        "frozen operations, by FFT": made("searched", data, 0),
    }
    models["searched operations, by butterflies"] = made("searched", data, 0)
    release_operations(models["searched operations, by butterflies"])
    models["wide convolution"] = made("wide convolution", data, 0)
    times: dict[str, list[float]] = {name: [] for name in models}
    batch = (data.train[:BATCH], data.train_labels[:BATCH])
    for _ in range(rounds):
        for name, model in models.items():
            began = time.process_time()
            loss_of(model, batch).backward()
            times[name].append(1e3 * (time.process_time() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def page(rows: list[dict], times: dict[str, float]) -> str:
    processor = platform.processor() or platform.machine()
    lines = [
        *("# Searched operations", ""),
        f"scikit-learn's digits as series of {LENGTH} pixels, half to learn from and half to test on, in four orders;",
        "and waves at any place, where a convolution is the right operation. Test accuracy in %, mean and deviation",
        "over seeds. "
        f"Two residual blocks of two convolutions of {KERNEL} taps, {WIDTH} channels, {EPOCHS} epochs of Adam for all.",
        f"Searched: K, L and M of depth {DEPTH} in place of the convolutions, from their Fourier transforms on, and",
        "an Adam of their own on the same loss, at rate 0.001 where no other is named. Wide: as many parameters as",
        "weights and operations together. The perceptron knows no order of samples. The accuracy of the convolution",
        "row by row is also what it would have if the order of the pixels were known and",
        f"undone. {datetime.now(UTC):%Y-%m-%d}, {processor}, one thread, torch {torch.__version__}, seqkit "
        f"{seqkit.__version__}.",
        "Written by `benchmarks/xd.py`.",
        "",
        "| order | " + " | ".join(NETWORKS) + " | searched better than convolution |",
        "|---|" + "---|" * (len(NETWORKS) + 1),
    ]
    for name in SETS:
        cells, wins, seeds = [], 0, sorted({row["seed"] for row in rows if row["set"] == name})
        at = {(row["network"], row["seed"]): row for row in rows if row["set"] == name}
        if not seeds:
            continue
        for kind in NETWORKS:
            values = [100 * at[kind, seed]["accuracy"] for seed in seeds if (kind, seed) in at]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.1f} ± {spread:.1f}" if values else "")
        both = [seed for seed in seeds if ("searched", seed) in at and ("convolution", seed) in at]
        wins = sum(at["searched", seed]["accuracy"] > at["convolution", seed]["accuracy"] for seed in both)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {wins} of {len(both)} seeds |")
    cost = {kind: [row for row in rows if row["network"] == kind] for kind in NETWORKS}
    lines += ["", "| network | parameters | CPU time of a training, s |", "|---|---|---|"]
    for kind, found in cost.items():
        if found:
            seconds = statistics.median(row["seconds"] for row in found)
            lines.append(f"| {kind} | {found[0]['parameters']} | {seconds:.1f} |")
    lines += ["", f"CPU time of a step on {BATCH} series, forward and backward:", "", "| layer | ms |", "|---|---|"]
    lines += [f"| {name} | {value:.1f} |" for name, value in times.items()]
    lines += ["", "## What was found", "", "First seed of each order, layer by layer.", ""]
    for row in rows:
        if row["network"] == "searched" and row["seed"] == 0:
            lines += [f"{row['set']}:", ""]
            lines += [f"- `{name}`: {said}" for name, said in row["operations"].items()]
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, required=True, help="rows, one JSON object a line; a stopped run goes on")
    parser.add_argument("--out", type=Path, required=True, help="where to write the page; the picture goes beside it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.keep.read_text().splitlines()] if options.keep.exists() else []
    # What is asked first comes first: a run that is stopped has whole rows of it.
    plan = [
        (kind, name, seed)
        for part in (("convolution", "searched", "perceptron"), ("searched, rate 0.01",), ("wide convolution",))
        for seed in range(options.seeds)
        for name in SETS
        for kind in part
    ]
    for kind, name, seed in plan:
        if any((row["set"], row["seed"], row["network"]) == (name, seed, kind) for row in rows):
            continue
        found = train(kind, waves(seed) if name == "waves anywhere" else digits(name, seed), seed)
        model = found.pop("model", None)
        rows.append({"set": name, "seed": seed, "network": kind, **found})
        with options.keep.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(name, seed, kind, round(found["accuracy"], 4), round(found["seconds"], 1), flush=True)
        if kind == "searched" and seed == 0 and name == "at random":
            draw_operations(operation_layers(model), options.out.with_suffix(".png"))
    text = page(rows, step_times())
    options.out.write_text(text + f"![K, L, M, pixels at random]({options.out.with_suffix('.png').name})\n")


if __name__ == "__main__":
    main()
