"""Attention on a CPU: the plain form, torch's own and ours, dense and by masks of tiles; time and errors.

    python benchmarks/attention.py                 # writes results/attention.md and results/attention.png
    python benchmarks/attention.py --length 2048   # prints, writes nothing

Times are of one process's CPU clock on one thread, the median over rounds in which all take turns. Errors are
RMS(difference) / RMS(reference) against the plain form in float64 on the same rounded inputs. What attention takes of
memory is measured by attention_memory.py.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor

from seqkit.kernels.attention import (
    BlockMask,
    attention,
    butterfly_mask,
    local_mask,
    mask_of_tiles,
    strided_mask,
)

RESULTS = Path(__file__).parent / "results" / "attention.md"
LENGTH, SIZE = 8192, 64
TILE = 128
DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
ERROR_LENGTH = 2048
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


def masks(length: int) -> dict[str, Call]:
    """Ours by masks of about a tenth of the tiles."""
    n_tiles = length // TILE
    made = {
        "random tiles": random_tiles(length, 0.1),
        "butterfly": butterfly_mask(length, max(1, n_tiles // 10 - 1), tile=TILE),
        "local + global": local_mask(length, 2, tile=TILE, n_global=1),
        "strided": strided_mask(length, max(2, n_tiles // 5), tile=TILE, width=1),
    }
    return {f"{name}, {mask.density:.1%} of the tiles": by("cpu", mask=mask) for name, mask in made.items()}


def random_tiles(length: int, density: float) -> BlockMask:
    """That share of the tiles, drawn; those of a smaller share are among those of a larger one."""
    n_tiles = length // TILE
    numbers = torch.rand(n_tiles, n_tiles, generator=torch.Generator().manual_seed(0)).flatten()
    tiles = torch.zeros(n_tiles**2, dtype=torch.bool)
    tiles[numbers.argsort()[: max(1, round(density * n_tiles**2))]] = True
    return mask_of_tiles(tiles.view(n_tiles, n_tiles), (length, length), TILE)


def local_tiles(length: int, density: float) -> BlockMask:
    """The narrowest band of tiles around the diagonal that has at least that share."""
    bands = (local_mask(length, width, tile=TILE) for width in range(length // TILE))
    return next(mask for mask in bands if mask.density >= density)


def butterfly_tiles(length: int, density: float) -> BlockMask:
    """The fewest butterfly factors, and with all of them the fewest global tiles, that have at least that share."""
    n_factors = (length // TILE - 1).bit_length()
    factors = [(count, 0) for count in range(n_factors + 1)] + [(n_factors, more) for more in range(1, length // TILE)]
    made = (butterfly_mask(length, count, tile=TILE, n_global=more) for count, more in factors)
    return next(mask for mask in made if mask.density >= density)


PATTERNS = {"random": random_tiles, "local": local_tiles, "butterfly": butterfly_tiles}


def by_density(length: int, rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """For each pattern its densities and the medians of both; "sdpa" in the same turns, dense."""
    made = {(name, share): make(length, share) for name, make in PATTERNS.items() for share in DENSITIES}
    calls = {"sdpa": by("sdpa"), **{f"{name} {share}": by("cpu", mask=mask) for (name, share), mask in made.items()}}
    times = in_turns(calls, length, rounds)
    found = {"sdpa": [(1.0, *times["sdpa"])]}
    for (name, share), mask in made.items():
        row = (mask.density, *times[f"{name} {share}"])
        if row[0] not in [one[0] for one in found.setdefault(name, [])]:
            found[name].append(row)
    return found


def error(found: Tensor, wanted: Tensor) -> float:
    """RMS of the difference by RMS of the reference."""
    return ((found.double() - wanted).square().mean() / wanted.square().mean()).sqrt().item()


def errors(length: int, spread: float) -> list[str]:
    """A row for each dtype, of outputs and gradients of torch's and ours; `spread` is that of the scores."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(1, length, 1, SIZE, generator=generator, dtype=torch.float64) for _ in range(4)]
    drawn[0], drawn[1] = drawn[0] * spread**0.5, drawn[1] * spread**0.5
    lines = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        rounded = [one.to(dtype) for one in drawn]
        wide = [one.double().requires_grad_() for one in rounded[:3]]
        wanted = plain(*wide)
        wanted_grads = torch.autograd.grad(wanted, wide, rounded[3].double())
        cells = []
        for backend in ("sdpa", "cpu"):
            given = [one.clone().requires_grad_() for one in rounded[:3]]
            found = by(backend)(*given)
            grads = torch.autograd.grad(found, given, rounded[3])
            pairs = [(found, wanted), *zip(grads, wanted_grads, strict=True)]
            cells.append([error(*pair) for pair in pairs])
        words = [f"{one:.1e} / {two:.1e}" for one, two in zip(*cells, strict=True)]
        lines.append(f"| {str(dtype).removeprefix('torch.')} | {spread:g} | {' | '.join(words)} |")
    return lines


def ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}"


def time_lines(length: int, rounds: int) -> list[str]:
    lines = ["## Time", "", f"{sizes(length)}. Milliseconds; in brackets, how many times as fast as torch's own.", ""]
    lines += ["| form | forward | forward and backward |", "|---|---:|---:|"]
    causal = {"sdpa, causal": by("sdpa", causal=True), "cpu, causal": by("cpu", causal=True)}
    times = in_turns({**FORMS, **causal, **masks(length)}, length, rounds)
    for name, (forward, both) in times.items():
        than = times["sdpa, causal" if "causal" in name else "sdpa"]
        lines.append(f"| {name} | {ms(forward)} ({than[0] / forward:.2f}) | {ms(both)} ({than[1] / both:.2f}) |")
    ratio = times["plain"][1] / times["cpu"][1]
    return [*lines, "", f"Forward and backward, ours is {ratio:.1f} times as fast as the plain form."]


def density_lines(length: int, found: dict[str, list[tuple[float, float, float]]]) -> list[str]:
    dense = found["sdpa"][0]
    lines = ["## Time against density", "", f"{sizes(length)}, tiles of {TILE} by {TILE}. Milliseconds; in brackets,"]
    lines += ["how many times as fast as torch's own without a mask in the same turns"]
    lines += [f"({ms(dense[1])} and {ms(dense[2])}). Random tiles; a band around the diagonal; butterfly factors, and"]
    lines += ["where all of them are too few, rows and columns that exist whole.", ""]
    lines += ["| pattern | share of the tiles | forward | forward and backward |", "|---|---:|---:|---:|"]
    for name in PATTERNS:
        for share, forward, both in found[name]:
            cells = f"{ms(forward)} ({dense[1] / forward:.2f}) | {ms(both)} ({dense[2] / both:.2f})"
            lines.append(f"| {name} | {share:.1%} | {cells} |")
    return lines


def sizes(length: int) -> str:
    return f"N = {length:,}, head size {SIZE}, float32, one head"


def error_lines(length: int) -> list[str]:
    lines = ["## Errors", "", f"Torch's own / ours, N = {length:,}, head size {SIZE}: RMS(difference) / RMS(reference)"]
    lines += ["against the plain form in float64 on the same rounded inputs, of the output and of each gradient, for"]
    lines += ["normal queries and keys whose scores have a deviation of 1 or 8.", ""]
    lines += ["| dtype | deviation | y | dq | dk | dv |", "|---|---:|---:|---:|---:|---:|"]
    return [*lines, *errors(length, 1.0), *errors(length, 8.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = time_lines(options.length, options.rounds)
    print("\n".join(lines), flush=True)
    found = by_density(options.length, options.rounds)
    more = ["", *density_lines(options.length, found)]
    print("\n".join(more), flush=True)
    last = ["", *error_lines(min(options.length, ERROR_LENGTH))]
    print("\n".join(last), flush=True)
    if options.length == LENGTH:
        write([*lines, *more, "", "![time against density](attention.png)", *last])
        picture(found)


def write(lines: list[str]) -> None:
    head = [
        "# Attention on a CPU",
        "",
        "The plain form (its matrix made, as it is usually written), torch's `scaled_dot_product_attention` (sdpa) and "
        "our tiles (cpu), by CPU time on one thread, medians of rounds in which all take turns. Made by "
        f"`benchmarks/attention.py` on {datetime.date.today()}, torch {torch.__version__}, {platform.machine()}, "
        f"{torch.backends.cpu.get_cpu_capability()}; the machine was shared with other work. "
        "[Memory](attention_memory.md) has a page of its own.",
        "",
    ]
    RESULTS.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


def picture(found: dict[str, list[tuple[float, float, float]]]) -> None:
    """Time against density on logarithmic axes, with torch's dense time as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for place, (axes, name) in enumerate(zip(figure.subplots(1, 2), ("forward", "forward and backward"), strict=True)):
        for pattern in PATTERNS:
            shares = [100 * row[0] for row in found[pattern]]
            axes.loglog(shares, [1000 * row[1 + place] for row in found[pattern]], "o-", ms=4, label=pattern)
        axes.axhline(1000 * found["sdpa"][0][1 + place], color="black", linestyle=":", label="torch, without a mask")
        axes.set(xlabel="share of the tiles, %", ylabel="ms", title=name)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{sizes(LENGTH)}, one thread")
    figure.savefig(RESULTS.with_suffix(".png"), dpi=100)


if __name__ == "__main__":
    main()
