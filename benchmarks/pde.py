"""Operators of two partial differential equations: convolutions, XD-operations found from them, and Fourier layers.

    python benchmarks/pde.py --keep benchmarks/results/pde_rows.jsonl --out benchmarks/results/pde.md   # 15 minutes
    python benchmarks/pde.py --tasks darcy --seeds 1 --epochs 2                                         # prints

The frame is the same for all, `NeuralOperator`, with circular layers. Learning rates are chosen on the last fifth of
the training functions; then all of them are trained on, and the test part is seen once. What is in `--keep` is not
measured again, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch import Tensor

from seqkit.bench.machine import describe_machine, headline
from seqkit.datasets.burgers import Burgers
from seqkit.datasets.darcy import Darcy
from seqkit.files import write_whole
from seqkit.nn import NeuralOperator, relative_l2
from seqkit.structured.xd import (
    model_parameters,
    operation_layers,
    operation_parameters,
    patch_convolutions,
    release_operations,
)

WIDTH, BATCH, TUNING_SEED = 16, 20, 100
RATES = [(1e-3, 0.0), (3e-3, 0.0), (1e-2, 0.0), (3e-2, 0.0)]
RATES_OF_BOTH = [(1e-3, 1e-3), (1e-3, 3e-3), (1e-3, 1e-2), (3e-3, 3e-3), (3e-3, 1e-2), (1e-2, 1e-2)]
"""Learning rates to try: of the weights, and of K, L and M."""

SEARCHED, STARTED_FROM = "XD-operations from it", "convolution"
FOURIER = "Fourier, equal in all"
ROUNDS = 12

Net = Callable[[], NeuralOperator]


class Data(NamedTuple):
    """Functions at time 0 or coefficients, and what they lead to: (n, places..., 1) each."""

    inputs: Tensor
    targets: Tensor

    def part(self, first: int, stop: int | None = None) -> Data:
        """Functions `first` to `stop`, excluded."""
        return Data(self.inputs[first:stop], self.targets[first:stop])


class Task(NamedTuple):
    """A map to learn: functions to train and test on at a grid, the networks, and how long they learn."""

    title: str
    load: Callable[[int, str, int], Data]
    grid: int
    finer: tuple[int, ...]
    train: int
    test: int
    epochs: int
    nets: dict[str, Net]
    guess: Callable[[Data, Data], Tensor]
    guessed: str


def burgers(viscosity: float) -> Callable[[int, str, int], Data]:
    def load(length: int, part: str, n: int) -> Data:
        source = Burgers(length=length, viscosity=viscosity, size=n, test_size=n)
        inputs = np.stack([source.samples(part, k) for k in range(n)])
        return Data(torch.as_tensor(inputs), torch.as_tensor(np.stack(source.targets(part, n))))

    return load


def darcy(side: int, part: str, n: int) -> Data:
    a, u = Darcy(side=side).fields(part, n)
    return Data(torch.as_tensor(a)[..., None], torch.as_tensor(u)[..., None])


def own_mean(_: Data, test: Data) -> Tensor:
    """The mean of each input, which stays."""
    return test.inputs.mean(1, keepdim=True).expand_as(test.targets)


def mean_of_all(train: Data, test: Data) -> Tensor:
    """The mean of the training targets at each place."""
    return train.targets.mean(0).expand_as(test.targets)


def one_axis(modes: int = 0, taps: int = 0) -> Net:
    if modes:
        return lambda: NeuralOperator.fourier(1, 1, modes=modes, width=WIDTH)
    return lambda: NeuralOperator.convolutional(1, 1, kernel_size=taps, width=WIDTH)


def two_axes(modes: int | tuple[int, int] = 0, taps: int = 0) -> Net:
    if modes:
        return lambda: NeuralOperator.fourier(1, 1, modes=modes, width=WIDTH, n_axes=2)
    return lambda: NeuralOperator.convolutional(1, 1, kernel_size=taps, width=WIDTH, n_axes=2)


ON_A_CIRCLE: dict[str, Net] = {
    STARTED_FROM: one_axis(taps=7),
    SEARCHED: one_axis(taps=7),
    FOURIER: one_axis(modes=25),
    "Fourier, equal in weights": one_axis(modes=4),
}
ON_A_SQUARE: dict[str, Net] = {
    STARTED_FROM: two_axes(taps=3),
    SEARCHED: two_axes(taps=3),
    FOURIER: two_axes(modes=(2, 3)),
    "Fourier, equal in weights": two_axes(modes=2),
    "Fourier, 6 x 6 modes": two_axes(modes=6),
}
OWN, ALL = "the mean of its start", "the mean of all pressures"
FINER = (64, 256, 512)
TASKS = {
    "burgers": Task(
        "Burgers' equation, viscosity 0.1", burgers(0.1), 128, FINER, 400, 100, 20, ON_A_CIRCLE, own_mean, OWN
    ),
    "darcy": Task("Darcy flow", darcy, 16, (32,), 200, 100, 20, ON_A_SQUARE, mean_of_all, ALL),
    "thin": Task(
        "Burgers' equation, viscosity 0.01", burgers(0.01), 128, FINER, 400, 100, 20, ON_A_CIRCLE, own_mean, OWN
    ),
}


def build(task: Task, name: str, data: Data, seed: int) -> NeuralOperator:
    """The network of a seed; the searched one starts as the convolutions of the same seed."""
    torch.manual_seed(seed)
    net = task.nets[name]()
    net.set_statistics(*data)
    if name == SEARCHED:
        patch_convolutions(net, data.inputs[:1], depth=1)
        release_operations(net)
    return net


def optimizers(net: NeuralOperator, rate: float, operation_rate: float) -> list[torch.optim.Optimizer]:
    found: list[torch.optim.Optimizer] = [torch.optim.Adam(model_parameters(net), rate)]
    if operation_layers(net):
        found.append(torch.optim.Adam(operation_parameters(net), operation_rate))
    return found


def train_step(net: NeuralOperator, batch: Data, searches: list[torch.optim.Optimizer]) -> float:
    for one in searches:
        one.zero_grad()
    loss = relative_l2(net(batch.inputs), batch.targets)
    loss.backward()
    for one in searches:
        one.step()
    return loss.item()


def train(net: NeuralOperator, data: Data, epochs: int, rate: float, operation_rate: float, seed: int) -> float:
    """Trains, with rates that fall to 0 along half a cosine; the mean loss of the last epoch."""
    searches = optimizers(net, rate, operation_rate)
    steps = epochs * -(-len(data.inputs) // BATCH)
    plans = [torch.optim.lr_scheduler.CosineAnnealingLR(one, steps) for one in searches]
    random, losses = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(len(data.inputs), generator=random).split(BATCH):
            losses.append(train_step(net, Data(data.inputs[rows], data.targets[rows]), searches))
            for plan in plans:
                plan.step()
    return statistics.mean(losses)


@torch.no_grad()
def error(net: NeuralOperator, data: Data) -> float:
    return float(relative_l2(net(data.inputs), data.targets))


def counts(net: NeuralOperator) -> tuple[int, int]:
    """Numbers in the weights, and in K, L and M."""
    operations = sum(one.numel() for one in operation_parameters(net))
    return sum(one.numel() for one in model_parameters(net)), operations


def elsewhere(net: NeuralOperator, grids: dict[int, Data]) -> dict[str, float | None]:
    """Errors on the same test functions on other grids, None where the network refuses."""
    found: dict[str, float | None] = {}
    for grid, data in grids.items():
        try:
            found[str(grid)] = error(net, data)
        except ValueError:
            found[str(grid)] = None
    return found


def times(task: Task, data: Data) -> dict[str, float]:
    """Milliseconds of processor time of a training step, medians of rounds in which each network has its turn."""
    nets = {name: build(task, name, data, 0) for name in task.nets}
    searches = {name: optimizers(net, 1e-4, 1e-4) for name, net in nets.items()}
    spent: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(ROUNDS):
        for name, net in nets.items():
            began = time.process_time()
            train_step(net, data.part(0, BATCH), searches[name])
            spent[name].append(time.process_time() - began)
    return {name: 1e3 * statistics.median(one) for name, one in spent.items()}


class Rows:
    """What was measured, in a file too if there is one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]

    def find(self, **case: Any) -> list[dict[str, Any]]:
        """Those of a case."""
        return [row for row in self.rows if case.items() <= row.items()]

    def once(self, measure: Callable[[], dict[str, Any]], **case: Any) -> dict[str, Any]:
        """The row of a case, measured unless it is there."""
        found = self.find(**case)
        if not found:
            found = [{**case, **measure()}]
            self.rows.append(found[0])
            print(found[0], flush=True)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps(found[0]) + "\n")
        return found[0]


def choose(rows: Rows, task: Task, label: str, epochs: int, data: Data) -> None:
    """Tries learning rates on the last fifth of the training functions; the other networks take those of their kin."""
    cut = len(data.inputs) * 4 // 5
    for name in (STARTED_FROM, FOURIER, SEARCHED):
        for rate, operation_rate in RATES_OF_BOTH if name == SEARCHED else RATES:

            def measure(name: str = name, rate: float = rate, operation_rate: float = operation_rate) -> dict[str, Any]:
                net = build(task, name, data.part(0, cut), TUNING_SEED)
                train(net, data.part(0, cut), epochs, rate, operation_rate, TUNING_SEED)
                return {"validation": error(net, data.part(cut)), "epochs": epochs}

            rows.once(measure, what="tuning", task=label, net=name, rate=rate, operation_rate=operation_rate)


def chosen(rows: Rows, label: str, name: str) -> list[float]:
    """The rates with the lowest error on the validation functions."""
    kin = name if name in (STARTED_FROM, FOURIER, SEARCHED) else FOURIER if "Fourier" in name else STARTED_FROM
    best = min(rows.find(what="tuning", task=label, net=kin), key=lambda row: row["validation"])
    return [best["rate"], best["operation_rate"]]


def run(rows: Rows, label: str, seeds: int, epochs: int | None) -> None:
    task = TASKS[label]
    epochs = task.epochs if epochs is None else epochs
    data, test = task.load(task.grid, "train", task.train), task.load(task.grid, "test", task.test)
    grids = {grid: task.load(grid, "test", task.test) for grid in task.finer}
    rows.once(lambda: {"ms": times(task, data), **describe_machine("cpu", 1, tuned=False)}, what="time", task=label)
    rows.once(lambda: {"error": float(relative_l2(task.guess(data, test), test.targets))}, what="guess", task=label)
    choose(rows, task, label, max(1, epochs // 2), data)
    for seed in range(seeds):
        for name in task.nets:
            rate, operation_rate = chosen(rows, label, name)

            def measure(
                name: str = name, seed: int = seed, rate: float = rate, operation_rate: float = operation_rate
            ) -> dict[str, Any]:
                net = build(task, name, data, seed)
                began = time.process_time()
                loss = train(net, data, epochs, rate, operation_rate, seed)
                seconds = time.process_time() - began
                weights, operations = counts(net)
                layers = [[one.distance for one in layer.matrices()] for layer in operation_layers(net).values()]
                return {
                    **{"weights": weights, "operations": operations, "test": error(net, test), "train": loss},
                    **{"seconds": seconds, "distances": layers, "elsewhere": elsewhere(net, grids)},
                }

            rates = {"rate": rate, "operation_rate": operation_rate}
            rows.once(measure, what="trained", task=label, net=name, seed=seed, epochs=epochs, **rates)


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.2f} ± {100 * deviation:.2f}"


def table(rows: Rows, label: str) -> list[str]:
    task, found = TASKS[label], rows.find(what="trained", task=label)
    if not found:
        return []
    epochs, ms = found[-1]["epochs"], rows.find(what="time", task=label)[0]["ms"]
    found = [row for row in found if row["epochs"] == epochs]
    seeds, guess = len({row["seed"] for row in found}), rows.find(what="guess", task=label)[0]["error"]
    lines = [
        *(f"## {task.title}", ""),
        f"On {task.grid if len(task.finer) > 1 else f'{task.grid} x {task.grid}'} places, "
        f"{task.train} functions to train on, {task.test} to test; {epochs} epochs, batches of {BATCH}; {seeds} seeds. "
        f"Answering each with {task.guessed} has an error of {100 * guess:.2f} %.",
        "",
        "| layers over places | weights | K, L, M | all | test error, % | training error, % | ms a step "
        + "".join(f"| % on {grid} " for grid in task.finer)
        + "|",
        "|---" + "|---:" * (6 + len(task.finer)) + "|",
    ]
    for name in task.nets:
        rate, operation_rate = chosen(rows, label, name)
        own = [row for row in found if (row["net"], row["rate"], row["operation_rate"]) == (name, rate, operation_rate)]
        if own:
            weights, operations = own[0]["weights"], own[0]["operations"]
            grids = [[row["elsewhere"][str(grid)] for row in own] for grid in task.finer]
            cells = [
                *(name, f"{weights:,}", f"{operations:,}", f"{weights + operations:,}"),
                *(spread([row["test"] for row in own]), f"{100 * statistics.mean(row['train'] for row in own):.2f}"),
                f"{ms[name]:.1f}",
                *("refused" if None in one else f"{100 * statistics.mean(one):.2f}" for one in grids),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    tried = rows.find(what="tuning", task=label)
    words = [
        f"{row['net']} {row['rate']:g}"
        + (f" and {row['operation_rate']:g}" if row["net"] == SEARCHED else "")
        + f": {100 * row['validation']:.2f} %"
        for row in tried
    ]
    lasting = " and ".join(str(one) for one in sorted({row["epochs"] for row in tried}))
    return [*lines, "", f"Validation errors by learning rate, {lasting} epochs: {'; '.join(words)}.", ""]


def page(rows: Rows) -> str:
    machine = rows.find(what="time")[0]
    lines = [
        *("# Operators of partial differential equations", ""),
        f"{headline(machine)}. Written by `benchmarks/pde.py`; the machine was shared with other work.",
        "",
        f"One frame for all, `NeuralOperator` of width {WIDTH}, four layers over places, coordinates as channels; only",
        "the layers differ. The searched network starts as the convolutions of its seed, untrained; weights and K, L",
        "and M (depth 1) learn from the same loss from the first step on, each by Adam with its own rate. Errors are",
        "mean relative L2 errors and standard deviations over seeds, which change starting weights and batches, not",
        "the data. Counts are of real numbers; equal in all: as many as the searched network has in weights and K, L",
        "and M together; equal in weights: as many as in its weights alone. Times are processor time of one thread for",
        "forward, backward and the step of Adam, each network in its turn. Last columns: the same test functions on",
        "other grids, without training again.",
        "",
    ]
    for label in TASKS:
        lines += table(rows, label)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=None, help="instead of each task's own")
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--out", type=Path, default=None, help="Markdown page to write; printed otherwise")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows(args.keep)
    for label in args.tasks:
        run(rows, label, args.seeds, args.epochs)
    text = page(rows)
    if args.out is None:
        print(text)
    else:
        write_whole(args.out, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
