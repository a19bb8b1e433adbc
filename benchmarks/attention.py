"""Attention on a CPU: the plain form, torch's own and ours, dense and by masks of blocks; time and peak memory.

    python benchmarks/attention.py                 # writes results/attention.md and results/attention.png
    python benchmarks/attention.py --length 2048   # prints, writes nothing

Times are of one process's CPU clock on one thread, the median over rounds in which all take turns. Peak memory is the
growth of the process's largest resident size, each measured in a process of its own.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor

from seqkit.bench.probe import highest, start_counting
from seqkit.kernels.attention import attention, butterfly_mask, local_mask, mask_of_tiles, strided_mask

RESULTS = Path(__file__).parent / "results" / "attention.md"
LENGTH, SIZE = 8192, 64
TILE = 128
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
Call = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The formula as it is usually written, with its matrix."""
    q, k, v = (value.transpose(1, 2) for value in (q, k, v))
    return ((q @ k.mT * SIZE**-0.5).softmax(-1) @ v).transpose(1, 2)


def by(backend: str, **options: object) -> Call:
    return lambda q, k, v: attention(q, k, v, backend=backend, **options)


def heads(length: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, length, 1, SIZE).requires_grad_() for _ in range(3)]


def once(call: Call, tensors: list[Tensor]) -> tuple[float, float]:
    """CPU seconds of a forward alone, and of a forward and a backward."""
    began = time.process_time()
    with torch.no_grad():
        call(*tensors)
    middle = time.process_time()
    torch.autograd.grad(call(*tensors).sum(), tensors)
    return middle - began, time.process_time() - middle


def in_turns(calls: dict[str, Call], length: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Medians of both over rounds in which all take turns, the first not counted."""
    tensors = heads(length)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            times = once(call, tensors)
            if turn:
                found[name].append(times)
    return {name: tuple(torch.tensor(times).median(0).values.tolist()) for name, times in found.items()}


FORMS: dict[str, Call] = {"plain": plain, "sdpa": by("sdpa"), "cpu": by("cpu")}


def grown(form: str, length: int) -> None:
    """Prints by how many MiB a forward and a backward raise the peak of this process, after smaller ones."""
    small = heads(1024)
    torch.autograd.grad(FORMS[form](*small).sum(), small)
    tensors = heads(length)
    before = start_counting("cpu")
    torch.autograd.grad(FORMS[form](*tensors).sum(), tensors)
    print((highest("cpu") - before) / 2**20)


def peak(form: str, length: int) -> float | None:
    """MiB by `grown` in a process of its own; None for the plain form above 16,384, which needs tens of GiB."""
    if form == "plain" and length > 16384:
        return None
    command = [sys.executable, __file__, "--grown", form, "--length", str(length)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def masks(length: int) -> dict[str, Call]:
    """Ours by masks of about a tenth of the tiles."""
    n_tiles = length // TILE
    drawn = torch.rand(n_tiles, n_tiles, generator=torch.Generator().manual_seed(0)) < 0.1
    made = {
        "drawn tiles": mask_of_tiles(drawn, (length, length), TILE),
        "butterfly": butterfly_mask(length, max(1, n_tiles // 10 - 1), tile=TILE),
        "local + global": local_mask(length, 2, tile=TILE, n_global=1),
        "strided": strided_mask(length, max(2, n_tiles // 5), tile=TILE, width=1),
    }
    return {f"{name}, {mask.density:.1%} of the tiles": by("cpu", mask=mask) for name, mask in made.items()}


def densities(length: int) -> dict[float, Call]:
    """Ours by tiles drawn with each density."""
    n_tiles = length // TILE
    numbers = torch.rand(n_tiles, n_tiles, generator=torch.Generator().manual_seed(1))
    return {
        share: by("cpu", mask=mask_of_tiles(numbers < numbers.flatten().quantile(share), (length, length), TILE))
        for share in DENSITIES
    }


def ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--longest", type=int, default=32768, help="where the curve of peak memory ends")
    parser.add_argument("--grown", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.grown:
        grown(options.grown, options.length)
        return
    length = options.length
    sizes = f"N = {length:,}, head size {SIZE}, float32, one head"
    lines = ["## Time", "", f"{sizes}. Milliseconds; in brackets, how many times as fast as torch's own.", ""]
    lines += ["| form | forward | forward and backward |", "|---|---:|---:|"]
    causal = {"sdpa, causal": by("sdpa", causal=True), "cpu, causal": by("cpu", causal=True)}
    times = in_turns({**FORMS, **causal, **masks(length)}, length, options.rounds)
    for name, (forward, both) in times.items():
        than = times["sdpa, causal" if "causal" in name else "sdpa"]
        lines.append(f"| {name} | {ms(forward)} ({than[0] / forward:.2f}) | {ms(both)} ({than[1] / both:.2f}) |")
    lines.append("")
    lines.append(
        f"Forward and backward, ours is {times['plain'][1] / times['cpu'][1]:.1f} times as fast as the plain form."
    )
    print("\n".join(lines), flush=True)
    by_density = in_turns({str(share): call for share, call in densities(length).items()}, length, options.rounds)
    more = ["", "## Time against density", "", f"{sizes}, drawn tiles of {TILE} by {TILE}. Milliseconds.", ""]
    more += ["| share of the tiles | forward | forward and backward |", "|---|---:|---:|"]
    more += [f"| {float(share):.0%} | {ms(a)} | {ms(b)} |" for share, (a, b) in by_density.items()]
    print("\n".join(more), flush=True)
    lines += more
    if length != LENGTH:
        return
    lines += ["", "![time against density](attention.png)", "", "## Peak memory", ""]
    lines += ["Growth of the process in a forward and a backward beyond its inputs, MiB;"]
    lines += [f"head size {SIZE}, float32, one head.", ""]
    lines += ["| N | plain | sdpa | cpu |", "|---:|---:|---:|---:|"]
    for size in [2**power for power in range(11, options.longest.bit_length())]:
        row = [peak(form, size) for form in FORMS]
        lines.append(f"| {size:,} | " + " | ".join("-" if value is None else f"{value:,.0f}" for value in row) + " |")
        print(lines[-1], flush=True)
    write(lines)
    picture({float(share): both for share, both in by_density.items()}, times["sdpa"])


def write(lines: list[str]) -> None:
    head = [
        "# Attention on a CPU",
        "",
        "The plain form (its matrix made, as it is usually written), torch's `scaled_dot_product_attention` (sdpa) and "
        "our tiles (cpu), by CPU time on one thread, medians of rounds in which all take turns. Made by "
        f"`benchmarks/attention.py` on {datetime.date.today()}, torch {torch.__version__}, {platform.machine()}, "
        f"{torch.backends.cpu.get_cpu_capability()}; the machine was shared with other work.",
        "",
    ]
    RESULTS.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


def picture(found: dict[float, tuple[float, float]], dense: tuple[float, float]) -> None:
    """Time against density, with torch's dense time as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, color) in enumerate((("forward", "C0"), ("forward and backward", "C1"))):
        axes.plot(list(found), [1000 * value[place] for value in found.values()], "o-", color=color, label=name)
        axes.axhline(1000 * dense[place], color=color, linestyle=":", label=f"torch, dense, {name}")
    axes.set(xlabel="share of the tiles", ylabel="ms", title=f"N = {LENGTH:,}, head size {SIZE}, float32, one thread")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(RESULTS.with_suffix(".png"), dpi=100)


if __name__ == "__main__":
    main()
