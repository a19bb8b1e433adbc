"""HiPPO memory in five pictures, written to runs/examples/hippo or to the folder given.

    python examples/08_hippo_in_pictures.py [FOLDER]

Expect the path of each picture, and the errors that two of them draw.

measures.png   how much each moment of the past counts, and the functions that remember it
online.png     a signal as it arrives: what 8 and 32 numbers remember of everything so far
memory.png     the same signal under four measures
rules.png      how far the three rules of LegS are from the exact projection
timescale.png  a signal and the same one twice as fast leave the same LegS coefficients, and no others do
"""

import math
import sys
from pathlib import Path

import torch

from seqkit import HiPPOMemory
from seqkit.figures import new_figure, save_figure
from seqkit.hippo import density, draw_memory, evaluate_basis, recall

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples/hippo")
SECONDS, STEP = 10.0, 0.005
WINDOWS = {"legs": None, "legt": 2.5, "fourier": 2.5, "lagt": 0.5}


def signal(time: torch.Tensor) -> torch.Tensor:
    """A slow wave, and one that becomes faster."""
    return torch.sin(0.9 * time) + 0.5 * torch.sin(1.1 * time**2)


def series(n_samples: int, seconds: float = SECONDS) -> torch.Tensor:
    """The signal at the middles of `n_samples` even stretches, (L,)."""
    return signal(seconds / n_samples * (torch.arange(n_samples, dtype=torch.float64) + 0.5))


def save(figure: object, name: str) -> None:
    save_figure(figure, folder / name)
    print(folder / name)


def draw_measures() -> None:
    figure = new_figure(13, 5.6)
    figure.suptitle(
        "Four measures: the weight of the past at three moments, and the functions that remember it at 10 s"
    )
    for (name, window), (above, below) in zip(WINDOWS.items(), figure.subplots(2, 4, sharex=True).T, strict=True):
        # Both functions take lags in the measure's own unit, which is the window unless the measure stretches.
        legs, unit = window is None, window or 1.0
        for shade, now in enumerate((2.5, 5.0, 10.0)):
            lags = torch.linspace(now, 0, 1001, dtype=torch.float64)
            weights = density(name, lags / unit, elapsed=now if legs else None) / unit
            above.fill_between(now - lags, weights, alpha=0.15, color="C2", linewidth=0)
            above.plot([*(now - lags), now], [*weights, 0], color="C2", alpha=0.4 + 0.3 * shade)
        lags = torch.linspace(0, window if name in ("legt", "fourier") else SECONDS, 501)
        functions = evaluate_basis(name, 6, lags / unit, elapsed=SECONDS if legs else None)
        kept = (0, 2, 3, 4) if name == "fourier" else range(4)  # the sine of frequency 0 is nothing
        for n in kept:
            below.plot(SECONDS - lags, functions[:, n], label=f"$g_{n}$")
        above.set_title(name if legs else f"{name}, window {window:g} s")
        above.set_ylim(0)
        below.set(xlabel="time, s", xlim=(0, SECONDS))
        place = {"legs": "lower center", "lagt": "upper left"}.get(name, "lower left")
        below.legend(loc=place, ncols=4 if legs else 1, fontsize=8)
        for axes in (above, below):
            axes.grid(alpha=0.3)
        if legs:
            above.set_ylabel("weight, 1/s")
            below.set_ylabel("basis function")
    save(figure, "measures.png")


def draw_online() -> None:
    u = series(round(SECONDS / STEP))
    times = STEP * (torch.arange(len(u), dtype=torch.float64) + 0.5)
    counts = [len(u) // 4, len(u) // 2, 3 * len(u) // 4, len(u)]
    figure = new_figure(9, 8)
    figure.suptitle("LegS, online: the whole past in a fixed number of coefficients, ever more coarsely")
    column = figure.subplots(4, 1, sharex=True, sharey=True)
    for axes in column:
        axes.plot(times, u, color="0.85", linewidth=1, label="signal, still to come")
        axes.set_ylabel("signal")
        axes.grid(alpha=0.3)
    for colour, order in (("C1", 8), ("C0", 32)):
        memory = HiPPOMemory(order)
        for axes, count, row in zip(column, counts, memory.project(u[None, :, None], at=counts)[0], strict=True):
            now = STEP * count
            past = memory.reconstruct(row[None], times[:count] / STEP, elapsed=float(count))[0, :, 0]
            if order == 8:
                axes.plot(times[:count], u[:count], color="0.7", linewidth=3, label="signal so far")
                axes.axvline(now, color="black", linewidth=1, linestyle="--")
                axes.set_title(f"after {now:g} s", loc="left", fontsize=9)
            axes.plot(times[:count], past, color=colour, linewidth=1.3, label=f"remembered, order {order}")
    column[-1].set(xlabel="time, s", xlim=(0, SECONDS), ylim=(-2, 2))
    column[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8, frameon=False, borderaxespad=0)
    save(figure, "online.png")


def draw_four() -> None:
    u = series(round(SECONDS / STEP))
    recalls = [recall(HiPPOMemory(32, name, window=window), u, rate=STEP) for name, window in WINDOWS.items()]
    save(draw_memory(recalls, unit="s", title="32 coefficients under four measures"), "memory.png")


def projection(u: torch.Tensor, order: int) -> torch.Tensor:
    """The LegS coefficients of a held signal by integrating Legendre polynomials over each stretch, (N,)."""
    z = torch.linspace(-1, 1, len(u) + 1, dtype=torch.float64)
    values = [torch.ones_like(z), z]
    for n in range(1, order):
        values.append(((2 * n + 1) * z * values[n] - n * values[n - 1]) / (n + 1))
    integrals = [z, *((values[n + 1] - values[n - 1]) / (2 * n + 1) for n in range(1, order))]
    return torch.stack([math.sqrt(2 * n + 1) / 2 * (integrals[n].diff() @ u) for n in range(order)])


def draw_rules() -> None:
    lengths, order = [2**k for k in range(6, 15)], 16
    figure = new_figure(7, 5)
    axes = figure.subplots()
    for rule, words in (
        ("reciprocal", "reciprocal, as published"), ("midpoint", "midpoint, the default"), ("exact", "exact")
    ):  # fmt: skip
        memory, errors = HiPPOMemory(order, rule=rule), []
        for length in lengths:
            u = series(length)
            exact = projection(u, order)
            errors.append(float((memory.project(u[None, :, None])[0, 0] - exact).norm() / exact.norm()))
        axes.loglog(lengths, errors, marker="o", label=words)
        print(f"{rule:10} error falls by {errors[-2] / errors[-1]:.2f} with twice the samples, to {errors[-1]:.1e}")
    for power, start in ((1, 0.2), (2, 0.008)):
        guide = [start * (lengths[0] / length) ** power for length in lengths]
        axes.loglog(lengths, guide, ":", color="0.5")
        axes.annotate(f"1/L{'²' if power == 2 else ''}", (lengths[-1], guide[-1]), fontsize=9, color="0.4",
                      xytext=(5, 0), textcoords="offset points", va="center")  # fmt: skip
    axes.set(xlabel="samples L of the same 10 s", ylabel="relative error of the coefficients",
             title=f"LegS, order {order}: distance from the exact projection of the held series")  # fmt: skip
    axes.set_xlim(right=2.2 * lengths[-1])
    axes.legend(loc="center left", bbox_to_anchor=(0, 0.35))
    axes.grid(alpha=0.3)
    save(figure, "rules.png")


def draw_timescale() -> None:
    slow, fast = series(2000), series(1000)  # the same course in half the samples; nobody tells the memory
    figure = new_figure(11, 6)
    figure.suptitle("Played twice as fast: LegS keeps the same coefficients, a window does not")
    left, right = figure.subplots(2, 2, width_ratios=(1, 1.2)).T
    names, window = ("as it was", "twice as fast"), 500.0
    for axes, u, colour, words in zip(left, (slow, fast), ("C0", "C1"), names, strict=True):
        axes.plot(u, color=colour, linewidth=1)
        axes.set(xlim=(0, len(slow)), ylabel="signal", title=words)
        axes.grid(alpha=0.3)
    left[1].set_xlabel("samples")
    for axes, memory in zip(right, (HiPPOMemory(32), HiPPOMemory(32, "legt", window=window)), strict=True):
        one, two = (memory.project(u[None, :, None])[0, 0] for u in (slow, fast))
        difference = float((one - two).norm() / one.norm())
        axes.plot(one, "o", markersize=7, markerfacecolor="none", color="C0", label=names[0])
        axes.plot(two, "x", markersize=5, color="C1", label=names[1])
        kind = "legs" if memory.measure.time_varying else f"legt, window {window:g} samples"
        axes.set_title(f"{kind}: they differ by {100 * difference:.2g} %" if difference < 1 else
                       f"{kind}: they differ by {100 * difference:.0f} %")  # fmt: skip
        axes.set_ylabel("coefficient")
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right")
        print(f"{kind}: coefficients at double speed differ by {100 * difference:.3g} %")
        assert (difference < 0.002) == memory.measure.time_varying
    right[1].set_xlabel("n")
    save(figure, "timescale.png")


for draw in (draw_measures, draw_online, draw_four, draw_rules, draw_timescale):
    draw()
