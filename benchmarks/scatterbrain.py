"""Scatterbrain's error against memory, beside Performer alone and hashing alone, from flat to sharp attention.

    python benchmarks/scatterbrain.py --out benchmarks/results/scatterbrain.md

Matrices are generated: queries near one key each ("planted"), or queries and keys in clusters ("clustered"), all of
norm one, with logits `beta q . k`. Errors are Frobenius, relative to exact softmax attention. The methods of one seed
share the matrix and the hashes. The picture is written beside the table. The end of the page, on the matrices of a
trained transformer, is written by scatterbrain_trained.py and left as it is.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
from torch import Tensor

from seqkit.attention import choose_share, estimate_attention
from seqkit.figures import new_figure, save_figure

LENGTH, SIZE, NOISE, CLUSTERS, BUDGET = 512, 32, 0.5, 16, 72
BETAS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 32.0)
BUDGETS = (16, 32, 64, 128, 256)
BUDGET_BETAS = (1.0, 4.0, 8.0)
METHODS = ("performer", "lsh", "scatterbrain")
WORDS = {"performer": "Performer", "lsh": "LSH", "scatterbrain": "Scatterbrain", "chosen": "share chosen"}

COLOURS = {"performer": "tab:blue", "lsh": "tab:orange", "scatterbrain": "tab:green", "chosen": "tab:red"}
TRAINED = "## On a trained transformer"


class Place(NamedTuple):
    """Where errors were measured."""

    family: str
    beta: float
    budget: int


Errors = dict[Place, dict[str, list[float]]]


def unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1)


def planted(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each query is one key with noise."""
    k = unit(torch.randn(LENGTH, SIZE, generator=random))
    near = k[torch.randperm(LENGTH, generator=random)]
    return unit(near + NOISE / math.sqrt(SIZE) * torch.randn(LENGTH, SIZE, generator=random)), k


def clustered(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Queries and keys lie around the same centres."""
    centres = unit(torch.randn(CLUSTERS, SIZE, generator=random))

    def draw() -> Tensor:
        at = centres[torch.randint(CLUSTERS, (LENGTH,), generator=random)]
        return unit(at + NOISE / math.sqrt(SIZE) * torch.randn(LENGTH, SIZE, generator=random))

    return draw(), draw()


FAMILIES: dict[str, Callable[[torch.Generator], tuple[Tensor, Tensor]]] = {"planted": planted, "clustered": clustered}


def entropy(q: Tensor, k: Tensor, beta: float) -> float:
    """Mean entropy of the rows, as a part of the largest possible."""
    rows = (beta * q @ k.mT).double().softmax(-1)
    return float(torch.special.entr(rows).sum(-1).mean()) / math.log(LENGTH)


def measure(place: Place, seed: int, chosen: bool) -> dict[str, float]:
    """Errors of all methods on one matrix; all search keys with the same hashes."""
    q, k = FAMILIES[place.family](torch.Generator().manual_seed(seed))
    found = {"entropy": entropy(q, k, place.beta)}
    q, k = (x[None, :, None] for x in (q, k))
    options = {"scale": place.beta}
    for method in METHODS:
        random = torch.Generator().manual_seed(1000 + seed)
        found[method] = float(
            estimate_attention(q, k, place.budget, method=method, generator=random, **options).error()
        )
    if chosen:
        random = torch.Generator().manual_seed(2000 + seed)
        found["share"] = choose_share(q, k, place.budget, generator=random, **options)
        random = torch.Generator().manual_seed(1000 + seed)
        estimate = estimate_attention(q, k, place.budget, share=found["share"], generator=random, **options)
        found["chosen"] = float(estimate.error())
    return found


def run(seeds: int) -> Errors:
    """All places, all seeds."""
    places = [Place(family, beta, BUDGET) for family in FAMILIES for beta in BETAS]
    places += [Place(family, beta, budget) for family in FAMILIES for beta in BUDGET_BETAS for budget in BUDGETS]
    found: Errors = {}
    for place in places:
        rows = [measure(place, seed, place.budget == BUDGET) for seed in range(seeds)]
        found[place] = {name: [row[name] for row in rows] for name in rows[0]}
        print(place, {name: round(mean(values), 3) for name, values in found[place].items()}, flush=True)
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def interval(values: list[float]) -> float:
    """Half the width of the 95 % interval of the mean, by Student's t."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1)) * float(torch.tensor(values, dtype=torch.float64).std()) / math.sqrt(n)


def shown(values: list[float]) -> str:
    digits = 3 if mean(values) < 1 else 2
    return f"{mean(values):.{digits}f} ± {interval(values):.{digits}f}"


def ratio(at: dict[str, list[float]], method: str) -> tuple[float, float]:
    """Mean error over the smaller mean error of the two halves, and half of its 95 % interval by the jackknife."""
    from scipy.stats import t

    def of(rows: list[int]) -> float:
        own, *halves = (mean([at[name][row] for row in rows]) for name in (method, *METHODS[:2]))
        return own / min(halves)

    rows = list(range(len(at[method])))
    without = [of(rows[:row] + rows[row + 1 :]) for row in rows]
    n, middle = len(rows), mean(without)
    deviation = math.sqrt((n - 1) / n * sum((one - middle) ** 2 for one in without))
    return of(rows), float(t.ppf(0.975, n - 1)) * deviation


def written(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f} ± {pair[1]:.2f}"


def errors(at: dict[str, list[float]]) -> list[str]:
    """Cells of the three methods, the least in bold."""
    best = min(METHODS, key=lambda name: mean(at[name]))
    return [f"**{shown(at[name])}**" if name == best else shown(at[name]) for name in METHODS]


def table(names: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (names, ["---"] * len(names), *rows)]


def temperature_lines(found: Errors, family: str) -> list[str]:
    names = ["beta", "entropy", *(WORDS[name] for name in METHODS), "to the better half"]
    names += ["share chosen", "its error", "to the better half"]
    rows = []
    for beta in BETAS:
        at = found[Place(family, beta, BUDGET)]
        row = [f"{beta:g}", f"{mean(at['entropy']):.2f}", *errors(at), written(ratio(at, "scatterbrain"))]
        rows.append([*row, f"{mean(at['share']):.2f}", shown(at["chosen"]), written(ratio(at, "chosen"))])
    return table(names, rows)


def budget_lines(found: Errors, family: str) -> list[str]:
    names = ["beta", "features + keys", "part of a row", *(WORDS[name] for name in METHODS), "to the better half"]
    rows = []
    for beta in BUDGET_BETAS:
        for budget in BUDGETS:
            at = found[Place(family, beta, budget)]
            part = f"{100 * budget / LENGTH:.0f} %"
            rows.append([f"{beta:g}", str(budget), part, *errors(at), written(ratio(at, "scatterbrain"))])
    return table(names, rows)


def claims(found: Errors) -> list[str]:
    lines = []
    for family in FAMILIES:
        at = {beta: found[Place(family, beta, BUDGET)] for beta in BETAS}
        parts = []
        for method in (*METHODS, "chosen"):
            beta = max(BETAS, key=lambda one: ratio(at[one], method)[0])
            parts.append(f"{WORDS[method]} {written(ratio(at[beta], method))} (beta {beta:g})")
        lines.append(f"- {family}: worst ratio to the better half over all temperatures: {', '.join(parts)}.")
        over = {beta: ratio(one, "scatterbrain") for beta, one in at.items()}
        ahead = [f"{beta:g} ({1 / one[0]:.2f} times)" for beta, one in over.items() if sum(one) < 1]
        places = ", ".join(ahead) or "none"
        lines.append(f"- {family}: Scatterbrain is ahead of both, the interval below 1, at beta: {places}.")
    gains = {place: 1 / ratio(at, "scatterbrain")[0] for place, at in found.items()}
    top = max(gains, key=lambda place: gains[place])
    was = "was found" if gains[top] >= 2.1 else "was not found"
    lines.append(
        "- An error 2.1 times smaller than that of both halves, which the paper reports on attention of BigGAN and "
        f"T2T-ViT, {was} on these matrices: the largest gain is {gains[top]:.2f} times, at {top.family}, "
        f"beta {top.beta:g}, {top.budget} features and keys."
    )
    return lines


def report(found: Errors, seeds: int, seconds: float, picture: str) -> str:
    machine = f"one thread on {platform.machine()} ({os.cpu_count()} cores)"
    versions = f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}"
    lines = [
        "# Scatterbrain beside its two halves",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {versions}. `benchmarks/scatterbrain.py`, {seconds:.0f} s CPU time.",
        "",
        f"Relative Frobenius error of the softmax matrix, mean of {seeds} seeds ± half of its 95 % interval; the "
        f"least of the first three in bold. {LENGTH} positions, size {SIZE}, queries and keys of norm one, logits "
        "beta q . k.",
        "",
        "Memory is the number of features plus keys per query, equal for all: Performer has features alone, LSH keys "
        "alone, Scatterbrain half of each. Keys come from 8 rounds of hashing into buckets of about as many keys as "
        "the budget, after each of which the strongest are kept, for LSH and Scatterbrain alike. Share chosen: the "
        "part of the budget for keys is the best of 0, 1/4, 1/2, 3/4 and 1 on 32 rows (`choose_share`), its mean "
        "shown. Ratios are of mean errors, to the smaller of Performer's and LSH's, with intervals by the jackknife.",
        "",
        f"![error against beta and memory]({picture})",
        "",
        "## In short",
        "",
        *claims(found),
    ]
    for family in FAMILIES:
        lines += ["", f"## {family}: {BUDGET} features and keys, from flat to sharp", ""]
        lines += temperature_lines(found, family)
        lines += ["", f"## {family}: error against memory", "", *budget_lines(found, family)]
    return "\n".join(lines) + "\n"


def draw(found: Errors, path: Path) -> None:
    figure = new_figure(13, 7)
    axes = figure.subplots(2, 1 + len(BUDGET_BETAS))
    for row, family in zip(axes, FAMILIES, strict=True):
        panels = [
            (BETAS, [Place(family, beta, BUDGET) for beta in BETAS], "beta", f"{family}, {BUDGET} features and keys")
        ]
        panels += [
            (
                BUDGETS,
                [Place(family, beta, budget) for budget in BUDGETS],
                "features and keys",
                f"{family}, beta {beta:g}",
            )
            for beta in BUDGET_BETAS
        ]
        for axis, (x, places, label, title) in zip(row, panels, strict=True):
            for name, colour in COLOURS.items():
                if name not in found[places[0]]:
                    continue
                values = [found[place][name] for place in places]
                axis.errorbar(
                    x, list(map(mean, values)), list(map(interval, values)), label=WORDS[name], color=colour, lw=1.2
                )
            axis.set(xscale="log", yscale="log", xlabel=label, title=title)
            ticks = BUDGETS if x is BUDGETS else (0.25, 1, 4, 16)
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
            axis.grid(alpha=0.3)
        row[0].set_ylabel("relative error")
    axes[0][0].legend(fontsize=8)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scatterbrain.md"))
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began, out = time.process_time(), arguments.out
    found = run(arguments.seeds)
    picture = out.with_suffix(".png")
    draw(found, picture)
    before = out.read_text(encoding="utf-8") if out.exists() else ""
    page = report(found, arguments.seeds, time.process_time() - began, picture.name)
    out.write_text(page + "".join(("\n", *before.partition(TRAINED)[1:])).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
