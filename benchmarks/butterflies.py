"""Butterfly products beside `nn.Linear` and the form level by level, on one CPU thread, and where they begin to gain.

    python benchmarks/butterflies.py --out benchmarks/results/butterflies.md

"Level by level" is what the published package computes where its compiled extension is missing, written anew: for each
level a broadcast product with the 2x2 factors and a sum. Times are CPU time, medians of rounds in which all forms take
turns; a backward gives the gradients of rows and parameters.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
from torch import Tensor

from seqkit.structured import Butterfly, Kaleidoscope, StructuredMatrix

SIZES, SMALL, BATCHES, ROUNDS = (256, 512, 1024, 2048, 4096, 8192, 16384), (32, 64, 128, 256, 512), (1, 16, 64, 256), 3
LARGEST_DENSE = 4096


def level_by_level(x: Tensor, twiddle: Tensor) -> Tensor:
    """Increasing strides in plain torch, x (B, n) and twiddle (m, n/2, 2, 2); autograd keeps every level."""
    y, n = x, x.shape[1]
    for index, factors in enumerate(twiddle):
        stride = 1 << index
        wide = factors.view(n // (2 * stride), stride, 2, 2).permute(0, 2, 3, 1)
        y = (wide * y.view(-1, n // (2 * stride), 1, 2, stride)).sum(3)
    return y.view(x.shape)


class LevelByLevel(torch.nn.Module):
    """The same as a layer."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.twiddle = Butterfly(n, n).twiddle

    def forward(self, x: Tensor) -> Tensor:
        """Rows (B, n)."""
        return level_by_level(x, self.twiddle[0, 0])


def forms(n: int, dense: bool = True) -> dict[str, torch.nn.Module]:
    found: dict[str, torch.nn.Module] = {"nn.Linear": torch.nn.Linear(n, n, bias=False)} if dense else {}
    makers: dict[str, Callable[[int, int], StructuredMatrix]] = {"B": Butterfly, "BB*": Kaleidoscope}
    return {**found, "level by level": LevelByLevel(n), **{name: make(n, n) for name, make in makers.items()}}


def milliseconds(n: int, batch: int, backward: bool) -> dict[str, float]:
    """Medians of each form."""
    torch.manual_seed(0)
    layers, x = forms(n, n <= LARGEST_DENSE), torch.randn(batch, n, requires_grad=backward)
    ahead = torch.ones(batch, n)
    repeats = max(1, min(50, (1 << 19) // (batch * n)))
    times: dict[str, list[float]] = {name: [] for name in layers}
    with torch.set_grad_enabled(backward):
        for turn in range(ROUNDS + 1):
            for name, layer in layers.items():
                begin = time.process_time()
                for _ in range(repeats):
                    y = layer(x)
                    if backward:
                        torch.autograd.grad(y, [x, *layer.parameters()], ahead)
                if turn:
                    times[name].append((time.process_time() - begin) / repeats)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def table(sizes: tuple[int, ...], batches: tuple[int, ...], backward: bool) -> list[str]:
    lines = [
        "| n | rows | nn.Linear, ms | level by level, ms | B, ms | BB*, ms | B: nn.Linear by it | level by level |"
    ]
    lines.append("|" + "---:|" * 8)
    for n in sizes:
        for batch in batches:
            one = milliseconds(n, batch, backward)
            dense = one.get("nn.Linear")
            shown = [f"{one[name]:.3g}" if name in one else "" for name in ("nn.Linear", "level by level", "B", "BB*")]
            gains = [f"{dense / one['B']:.1f}" if dense else "", f"{one['level by level'] / one['B']:.0f}"]
            lines.append(f"| {n} | {batch} | {' | '.join([*shown, *gains])} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where to write the page")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    lines = [
        *("# Butterfly products", ""),
        f"float32, one thread of {platform.processor() or platform.machine()}, torch {torch.__version__}, CPU time,",
        f"medians of {ROUNDS} rounds. B has log2 n levels, BB* twice as many. The last columns say how many times",
        'as fast as each other form B is. "Level by level" is the published form in plain torch, written anew.',
        "Written by `benchmarks/butterflies.py`.",
        *("", "## Forward, 256 rows", "", *table(SIZES, (256,), False)),
        *("", "## Forward and backward, 256 rows", "", *table(SIZES[:-1], (256,), True)),
        *("", "## Small sizes and few rows, forward", "", *table(SMALL, BATCHES, False)),
        *("", "## 4096 numbers, few rows, forward", "", *table((4096,), BATCHES[:-1], False)),
    ]
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
