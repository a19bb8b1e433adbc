"""Peak memory of attention on a CPU against length: the plain form, torch's own and ours, also by masks.

    python benchmarks/attention_memory.py                   # writes results/attention_memory.md and .png
    python benchmarks/attention_memory.py --longest 8192    # prints, writes nothing

Each point is measured in a process of its own: by how much a call raises the process's largest resident size beyond its
inputs, after a call at a small size. The plain form is measured as long as its matrices fit a bound.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import platform
from pathlib import Path

import attention  # beside this file; sets the number of threads before torch is imported
import torch

from seqkit.bench.probe import highest, start_counting
from seqkit.kernels.attention import butterfly_mask

RESULTS = Path(__file__).parent / "results" / "attention_memory.md"
LONGEST = 65536
BOUND = 4.0
"""GiB that the plain form may take."""

FLOOR = 4096
"""Length from which slopes are fitted; below it the working space of fixed size decides."""

WINDOW = 512
FORMS = ("plain", "sdpa", "cpu", f"cpu, window {WINDOW}", "cpu, butterfly")
PASSES = ("forward", "forward and backward")
Rows = dict[tuple[str, str], dict[int, float]]


def call_of(form: str, length: int) -> attention.Call:
    """The form, with its mask made for the length."""
    if form == "cpu, butterfly":
        tiles = (length // attention.TILE - 1).bit_length()
        return attention.by("cpu", mask=butterfly_mask(length, tiles, tile=attention.TILE))
    if form.startswith("cpu, window"):
        return attention.by("cpu", window=WINDOW)
    return attention.FORMS[form]


def grown(form: str, backward: bool, length: int) -> float:
    """MiB by which a call raises the peak of this process, after a smaller one."""

    def run(size: int) -> None:
        tensors = inputs[size]
        if backward:
            torch.autograd.grad(calls[size](*tensors).sum(), tensors)
        else:
            with torch.no_grad():
                calls[size](*tensors)

    inputs = {size: attention.heads(size) for size in (512, length)}
    calls = {size: call_of(form, size) for size in (512, length)}
    run(512)
    before = start_counting("cpu")
    run(length)
    return (highest("cpu") - before) / 2**20


def peak(form: str, backward: bool, length: int) -> float | None:
    """MiB by `grown` in a process of its own; None for the plain form where three or two matrices exceed the bound."""
    matrices = (3 if backward else 2) * 4 * length**2
    if form == "plain" and matrices > BOUND * 2**30:
        return None
    with multiprocessing.get_context("fork").Pool(1) as process:
        return process.apply(grown, (form, backward, length))


def slope(points: dict[int, float]) -> float:
    """Least squares of the logarithm of the peak against that of the length, from `FLOOR` on."""
    kept = {size: mib for size, mib in points.items() if size >= FLOOR and mib > 0}
    x, y = (torch.tensor(list(one), dtype=torch.float64).log() for one in (kept.keys(), kept.values()))
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x)) if len(x) > 1 else float("nan")


def table(rows: Rows, lengths: list[int], which: str) -> list[str]:
    """Lengths down, forms across, and the slopes at the end."""
    lines = ["", f"## {which.capitalize()}", "", f"| N | {' | '.join(FORMS)} |", "|---:" * (len(FORMS) + 1) + "|"]
    for size in lengths:
        cells = [f"{rows[form, which][size]:,.1f}" if size in rows[form, which] else "-" for form in FORMS]
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    slopes = [f"{slope(rows[form, which]):.2f}" for form in FORMS]
    return [*lines, f"| exponent from {FLOOR:,} on | {' | '.join(slopes)} |"]


def page(rows: Rows, lengths: list[int]) -> str:
    head = [
        "# Memory of attention on a CPU",
        "",
        f"Peak beyond the inputs, MiB; head size {attention.SIZE}, float32, one head, one thread: by how much a call "
        "raises the largest resident size of a process of its own. The output and, with the backward, three gradients "
        "are part of it. The plain form makes its matrix, and is left out where two of them (three with the backward) "
        f"would take more than {BOUND:g} GiB; sdpa is torch's `scaled_dot_product_attention`, cpu our tiles, dense, "
        f"with a window of {WINDOW} keys on each side, and with all butterfly factors of tiles of {attention.TILE}. "
        f"The exponent is the slope of a line through the logarithms. Made by `benchmarks/attention_memory.py` on "
        f"{datetime.date.today()}, torch {torch.__version__}, {platform.machine()}; the machine was shared with other "
        "work.",
        "",
        "![peak memory against length](attention_memory.png)",
    ]
    return "\n".join([*head, *table(rows, lengths, PASSES[0]), *table(rows, lengths, PASSES[1])]) + "\n"


def picture(rows: Rows) -> None:
    """Both passes on logarithmic axes, with the fitted exponents in the legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, which in zip(figure.subplots(1, 2, sharey=True), PASSES, strict=True):
        for form in FORMS:
            points = rows[form, which]
            axes.loglog(list(points), list(points.values()), "o-", ms=4, label=f"{form}: N^{slope(points):.2f}")
        axes.set(xlabel="length N", title=which)
        axes.grid(alpha=0.3)
        axes.set_ylim(top=2e5)  # leaves room for the legend
        axes.legend(loc="upper left")
    figure.axes[0].set_ylabel("peak beyond the inputs, MiB")
    figure.savefig(RESULTS.with_suffix(".png"), dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=LONGEST, help="where the curves end; a power of two from 1024")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lengths = [2**power for power in range(10, options.longest.bit_length())]
    rows: Rows = {}
    with torch.no_grad():
        call_of("cpu", 512)(*attention.heads(512))  # compiles, so that the processes below need not
    for length in lengths:
        for which in PASSES:
            for form in FORMS:
                mib = peak(form, which == PASSES[1], length)
                rows.setdefault((form, which), {})
                if mib is not None:
                    rows[form, which][length] = mib
                print(length, which, form, mib, flush=True)
    print(page(rows, lengths))
    if options.longest == LONGEST:
        RESULTS.write_text(page(rows, lengths), encoding="utf-8")
        picture(rows)


if __name__ == "__main__":
    main()
