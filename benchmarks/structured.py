"""Structured linear layers beside `nn.Linear` on a CPU: time by size, by rows, and where each begins to gain.

    python benchmarks/structured.py                  # writes results/structured.md
    python benchmarks/structured.py --family pixelfly  # writes results/structured_pixelfly.md
    python benchmarks/structured.py --largest 1024   # prints, writes nothing

Times are of one process's CPU clock on one thread, or of the wall clock with --threads 2, the median over rounds in
which all forms take turns. A family adds its line to FORMS.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, nn

from seqkit.structured import StructuredLinear

RESULTS = Path(__file__).parent / "results" / "structured.md"
SIZES = (256, 512, 1024, 2048, 4096, 8192)
SMALL = (16, 32, 64, 128, 256)
ROWS = (1, 4, 16, 64, 256, 1024)

# Name in tables -> family and its options at n features.
FORMS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "monarch": ("monarch", lambda n: {}),
    "monarch, 4 blocks": ("monarch", lambda n: {"n_blocks": 4, "slice_rank": n // 16}),
    "monarch, order 3": ("monarch", lambda n: {"order": 3}),
    "low_rank, n/16": ("low_rank", lambda n: {"rank": n // 16}),
    "pixelfly, 1/8": ("pixelfly", lambda n: pixelfly(n)),
    "pixelfly": ("pixelfly", lambda n: {}),
}


def pixelfly(n: int) -> dict[str, Any]:
    """About an eighth of the numbers: a mask of blocks of 64, or n/8 where n is small, and a low rank of n/128."""
    block = min(64, max(1, n // 8))
    bits = (n // block).bit_length() - 1
    return {"block_size": block, "n_factors": min(bits, (n // block) // 8 - 1), "rank": max(1, n // 128)}


def layers(n: int) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    made: dict[str, nn.Module] = {"nn.Linear": nn.Linear(n, n)}
    for name, (structure, options) in FORMS.items():
        made[name] = StructuredLinear(n, n, structure, **options(n))
    return made


def once(layer: nn.Module, x: Tensor, repeats: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds of a forward alone, and of a forward and a backward to rows and parameters."""
    began = clock()
    with torch.no_grad():
        for _ in range(repeats):
            layer(x)
    middle = clock()
    for _ in range(repeats):
        y = layer(x)
        torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y))
    return (middle - began) / repeats, (clock() - middle) / repeats


def in_turns(n: int, n_rows: int, rounds: int, threads: int) -> dict[str, tuple[float, float]]:
    """Medians of both over rounds in which all take turns, the first not counted."""
    made, x = layers(n), torch.randn(n_rows, n).requires_grad_()
    repeats = max(1, round(2e8 / (n * n * n_rows)))
    clock = time.process_time if threads == 1 else time.perf_counter
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for turn in range(rounds + 1):
        for name, layer in made.items():
            times = once(layer, x, min(repeats, 200), clock)
            if turn:
                found[name].append(times)
    return {
        name: (statistics.median(forward for forward, _ in times), statistics.median(both for _, both in times))
        for name, times in found.items()
    }


def table(label: str, cells: Iterable[tuple[int, int, int]], rounds: int, threads: int) -> list[str]:
    """A line for each (shown, n, rows): milliseconds of nn.Linear and how many times as fast each form is."""
    names = list(FORMS)
    lines = [f"| {label} | nn.Linear, ms | {' | '.join(names)} |", f"|---:|---:|{'---:|' * len(names)}"]
    print("\n".join(lines), flush=True)
    for shown, n, n_rows in cells:
        times = in_turns(n, n_rows, rounds, threads)
        dense = times["nn.Linear"]
        ratios = [f"{dense[0] / times[name][0]:.2f}, {dense[1] / times[name][1]:.2f}" for name in names]
        lines.append(f"| {shown:,} | {1e3 * dense[0]:.3g}, {1e3 * dense[1]:.3g} | {' | '.join(ratios)} |")
        print(lines[-1], flush=True)
    return lines


def densities() -> list[str]:
    lines = ["| n | " + " | ".join(FORMS) + " |", "|---:|" + "---:|" * len(FORMS)]
    for n in SIZES:
        made = layers(n) if n <= 4096 else {}
        if made:
            share = [f"{made[name].matrix.density:.1%}" for name in FORMS]  # type: ignore[union-attr]
            lines.append(f"| {n:,} | {' | '.join(share)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--family", choices=sorted({family for family, _ in FORMS.values()}))
    options = parser.parse_args()
    results = RESULTS
    if options.family:
        results = RESULTS.with_name(f"structured_{options.family}.md")
        for name in [name for name, (family, _) in FORMS.items() if family != options.family]:
            del FORMS[name]
    pages = ["# Structured linear layers" + (f": {options.family}" if options.family else ""), ""]
    pages += [
        f"{datetime.date.today()}, {platform.machine()} CPU, torch {torch.__version__}, float32. Each cell has two "
        "ratios: how many times as fast as `nn.Linear` a forward without gradients is, and a forward with a backward "
        "to the rows and all parameters. Below 1 the dense layer is faster.",
        "",
    ]
    sizes = [n for n in SIZES if n <= options.largest]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        clock = "one thread, CPU time" if threads == 1 else "two threads, wall time"
        pages += [f"## n by n, {options.rows} rows, {clock}", ""]
        if threads > 1:
            pages += ["Other processes lengthen wall times; on a busy machine these ratios are rough.", ""]
        pages += [*table("n", ((n, n, options.rows) for n in sizes), options.rounds, threads), ""]
    torch.set_num_threads(1)
    pages += [f"## Small layers, {options.rows} rows, one thread", ""]
    pages += [*table("n", ((n, n, options.rows) for n in SMALL), options.rounds, 1), ""]
    for n in (1024, 4096):
        if n <= options.largest:
            pages += [f"## Rows at n = {n:,}, one thread", ""]
            pages += [*table("rows", ((rows, n, rows) for rows in ROWS), options.rounds, 1), ""]
    pages += ["## Parameters", "", "Share of the dense layer's.", "", *densities(), ""]
    if options.largest == SIZES[-1]:
        results.write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    main()
