"""How often descent finds a known transform from a random start, by structure and size.

    python benchmarks/learn_transforms.py --out benchmarks/results/learn_transforms.md

The target matrix is known; the factors start as random rotations (unitary matrices) and follow Adam on the squared
relative error, in float32. A seed succeeds below a
relative error of 1e-3 in the Frobenius norm. Rows are kept in a file beside the page, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import scipy.fft
import scipy.linalg
import torch
from torch import Tensor

from seqkit.figures import new_figure, save_figure
from seqkit.kernels.butterfly import butterfly
from seqkit.structured.butterflies import LatentPermutation, SinkhornPermutation, SwapPermutation, bit_reversal
from seqkit.structured.butterflies.factors import random_factors

SEEDS, STEPS, RATE, GOAL, Z = 5, 1500, 0.05, 1e-3, 1.96
STRUCTURES = {
    "B": (1, "increasing"),
    "BB*": (2, "decreasing"),
    "(BB*)^2": (4, "decreasing"),
}


class Task(NamedTuple):
    """What is learned: a transform, the structure, whether its permutation is given, which numbers."""

    transform: str
    structure: str
    permuted: bool
    complex: bool


TASKS = [
    Task("DFT", "B", True, True),
    Task("DFT", "BB*", False, True),
    Task("Hadamard", "B", False, False),
    Task("Hadamard", "BB*", False, False),
    Task("DCT", "B", True, True),
    Task("DCT", "(BB*)^2", False, True),
    Task("DST", "B", True, True),
    Task("DST", "(BB*)^2", False, True),
    Task("circular convolution", "BB*", False, True),
    Task("permutation", "BB*", False, False),
    Task("permutation", "relaxed swaps of BB*", False, False),
    Task("permutation", "Sinkhorn", False, False),
]
RELAXED: dict[str, Callable[[int], LatentPermutation]] = {
    "relaxed swaps of BB*": SwapPermutation,
    "Sinkhorn": SinkhornPermutation,
}


def target(name: str, n: int, seed: int) -> Tensor:
    """The matrix (n, n); convolutions and permutations are drawn by the seed."""
    eye, random = np.eye(n), np.random.default_rng(seed)
    if name == "circular convolution":
        return torch.as_tensor(scipy.linalg.circulant(random.standard_normal(n)))
    if name == "permutation":
        return torch.as_tensor(eye[random.permutation(n)])
    if name == "Hadamard":
        return torch.as_tensor(scipy.linalg.hadamard(n)).double()
    forms = {"DFT": np.fft.fft, "DCT": scipy.fft.dct, "DST": scipy.fft.dst}
    return torch.as_tensor(forms[name](eye, axis=0))


def given_permutation(name: str, n: int) -> Tensor:
    """The order in which a fast algorithm of one butterfly reads its input."""
    places = torch.arange(n)
    order = places if name == "DFT" else torch.cat([places[::2], places[1::2].flip(0)])
    return order[bit_reversal(n)]


def attempts(task: Task, n: int) -> tuple[list[float], float]:
    """Relative error of every seed after Adam, and seconds in all; the seeds are stacks of one product."""
    wanted = [target(task.transform, n, seed) for seed in range(SEEDS)]
    n_blocks, first = STRUCTURES[task.structure]
    real_part = task.complex and not wanted[0].is_complex() and task.transform != "circular convolution"
    dtype = torch.complex64 if task.complex else torch.float32
    want = torch.stack(wanted).to(torch.float32 if real_part else dtype)
    sizes = torch.linalg.matrix_norm(want)
    factors = torch.empty(SEEDS, n_blocks, n.bit_length() - 1, n // 2, 2, 2, dtype=dtype)
    for seed in range(SEEDS):
        random_factors(factors[seed : seed + 1], float(sizes[seed]) / n**0.5, torch.Generator().manual_seed(seed))
    factors.requires_grad_()
    rows = torch.eye(n, dtype=dtype)
    if task.permuted:
        rows = rows[:, given_permutation(task.transform, n)]
    search = torch.optim.Adam([factors], RATE)  # number by number: the seeds do not meet
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(search, STEPS)
    begin = time.process_time()
    for _ in range(STEPS):
        got = butterfly(rows, factors, first).permute(1, 2, 0)
        errors = ((got.real if real_part else got) - want).abs().square().sum((1, 2)) / sizes.square()
        search.zero_grad()
        errors.sum().backward()
        search.step()
        slower.step()
    return errors.detach().sqrt().tolist(), time.process_time() - begin


def relaxed_attempts(task: Task, n: int) -> tuple[list[float], float]:
    """The same of relaxed permutations, which sharpen while they learn and are hardened before they are compared."""
    errors, begin = [], time.process_time()
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        want, part = target(task.transform, n, seed).float(), RELAXED[task.structure](n)
        search = torch.optim.Adam(part.parameters(), RATE)
        slower = torch.optim.lr_scheduler.CosineAnnealingLR(search, STEPS)
        for step in range(STEPS):
            loss = (part.dense(0.05 ** (step / (STEPS - 1))) - want).square().sum() / n
            search.zero_grad()
            loss.backward()
            search.step()
            slower.step()
        found = torch.eye(n)[part.harden()]
        errors.append(float(torch.linalg.matrix_norm(found - want)) / n**0.5)
    return errors, time.process_time() - begin


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate."""
    p, square = successes / trials, Z * Z / trials
    middle, half = p + square / 2, Z * (p * (1 - p) / trials + square / (4 * trials)) ** 0.5
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def row_name(task: Task) -> str:
    words = [task.structure, *([] if task.structure in RELAXED else ["complex" if task.complex else "real"])]
    return ", ".join([*words, *(["permutation given"] if task.permuted else [])])


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        *("# Transforms learned from random starts", ""),
        f"Adam, rate {RATE} falling along a cosine over {STEPS} steps, float32, {SEEDS} seeds a row; success: relative",
        f"error below {GOAL:g} (Frobenius). Of the DCT and DST the real part of a complex product is compared.",
        '"Permutation given": the butterfly gets its input in the order of the fast algorithm. Written by',
        "`benchmarks/learn_transforms.py`; convolutions and permutations are drawn anew for each seed. Relaxed swaps",
        "and Sinkhorn's matrices sharpen (temperature 1 to 0.05) and are hardened before they are compared. Every",
        "transform here has an exact member of the structure of its row that a constructor makes, but for DFT by one",
        "BB*, of which none is written down.",
        *("", "| transform | structure | n | successes | 95 % interval | best error | median error | s a seed |"),
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (TASKS.index(Task(*row["task"])), row["n"])):
        task, errors = Task(*row["task"]), sorted(row["errors"])
        won = sum(error < GOAL for error in errors)
        low, high = wilson(won, len(errors))
        lines.append(
            f"| {task.transform} | {row_name(task)} | {row['n']} | {won} of {len(errors)} | {low:.2f} to {high:.2f} | "
            f"{errors[0]:.1e} | {errors[len(errors) // 2]:.1e} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Error of every seed, by transform and structure."""
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot(1, 1, 1)
    sizes = sorted({row["n"] for row in rows})
    for shift, n in enumerate(sizes):
        own = [(TASKS.index(Task(*row["task"])), error) for row in rows if row["n"] == n for error in row["errors"]]
        places = [place + 0.2 * (shift - (len(sizes) - 1) / 2) for place, _ in own]
        axes.semilogy(places, [error for _, error in own], "o", alpha=0.6, markersize=5, label=f"n = {n}")
    axes.axhline(GOAL, color="gray", linewidth=1, linestyle="--", label="counts as found")
    axes.set_xticks(range(len(TASKS)), [f"{task.transform}\n{row_name(task)}" for task in TASKS], rotation=90)
    axes.set_ylabel("relative error")
    axes.tick_params(axis="x", labelsize=7)
    axes.legend()
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where to write the page; the picture goes beside it")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 64])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = arguments.out.with_suffix(".jsonl")
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(*row["task"], row["n"]) for row in rows}
    for task in TASKS:
        for n in arguments.sizes:
            if (*task, n) not in done:
                learn = relaxed_attempts if task.structure in RELAXED else attempts
                errors, seconds = learn(task, n)
                rows.append({"task": list(task), "n": n, "errors": errors, "seconds": seconds / SEEDS})
                with kept.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(task, n, [f"{error:.1e}" for error in errors], f"{seconds:.1f} s", flush=True)
    text = page(rows)
    arguments.out.write_text(text + f"\n![Error of every seed]({arguments.out.with_suffix('.png').name})\n")
    picture(rows, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
