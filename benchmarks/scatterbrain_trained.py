"""Scatterbrain's error against memory on the attention matrices of a trained transformer: the end of scatterbrain.md.

    SEQKIT_DATA=... python benchmarks/scatterbrain_trained.py    # trains spoken_transformer.py if need be

Each head of each layer is a matrix of 2,048 positions; each seed has a test recording and draws of its own.
"""

from __future__ import annotations

import argparse
import math
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from scatterbrain import (
    COLOURS,
    METHODS,
    TRAINED,
    WORDS,
    Errors,
    Place,
    errors,
    interval,
    mean,
    ratio,
    shown,
    table,
    written,
)
from spoken_transformer import LENGTH, cut, parts, train

from seqkit.attention import choose_share, estimate_attention
from seqkit.attention.replacing.calibrate import Recorder
from seqkit.attention.replacing.swapping import give
from seqkit.figures import new_figure, save_figure

PAGE = Path(__file__).parent / "results" / "scatterbrain.md"
PARTS, STEP = (1 / 64, 1 / 32, 1 / 16, 1 / 8), 16


def run(seeds: int) -> Errors:
    """Errors on a trained transformer's matrices, head by head; each seed has a recording and draws of its own."""
    model, test = train(), parts()["test"]
    order = torch.randperm(len(test.target), generator=torch.Generator().manual_seed(0))[:seeds]
    mixers, found = model.backbone.mixers(), dict[Place, dict[str, list[float]]]()
    for seed, index in enumerate(order.tolist()):
        recorders = [Recorder() for _ in mixers]
        give(model, mixers, recorders)
        with torch.no_grad():
            model(cut(test.waves[index])[None])
        for layer, recorder in enumerate(recorders):
            q, k = recorder.calls[0].q[:, STEP // 2 :: STEP], recorder.calls[0].k
            logits = torch.einsum("blhd,bmhd->bhlm", q, k) / math.sqrt(q.shape[3])
            spread = torch.special.entr(logits.softmax(-1)).sum(-1).mean((0, 2)) / math.log(LENGTH)
            norms = (q.norm(dim=-1).mean(1) + k.norm(dim=-1).mean(1))[0] / 2 / q.shape[3] ** 0.25
            for part in PARTS:
                given = {}
                for method in METHODS:
                    random, budget = torch.Generator().manual_seed(1000 + seed), round(part * LENGTH)
                    estimate = estimate_attention(q, k, budget, method=method, generator=random)
                    given[method] = estimate.error()[0]
                share = choose_share(q, k, budget, generator=torch.Generator().manual_seed(2000 + seed))
                random = torch.Generator().manual_seed(1000 + seed)
                given["chosen"] = estimate_attention(q, k, budget, share=share, generator=random).error()[0]
                for head in range(q.shape[2]):
                    place = Place(f"layer {layer + 1}, head {head + 1}", 1.0, budget)
                    at = found.setdefault(place, {name: [] for name in ("entropy", "norm", "share", *given)})
                    at["entropy"].append(float(spread[head]))
                    at["norm"].append(float(norms[head]))
                    at["share"].append(share)
                    for method, error in given.items():
                        at[method].append(float(error[head]))
        print(f"recording {seed + 1} of {seeds}", flush=True)
    give(model, mixers, [None] * len(mixers))
    return found


def report(found: Errors, seeds: int, seconds: float, picture: str) -> str:
    gains = {place: 1 / ratio(at, "scatterbrain")[0] for place, at in found.items()}
    worst = {name: max(ratio(at, name)[0] for at in found.values()) for name in (*METHODS, "chosen")}
    top = max(gains, key=lambda place: gains[place])
    ahead = [place for place, at in found.items() if sum(ratio(at, "scatterbrain")) < 1]
    was = "is found" if gains[top] >= 2.1 else "is not found"
    names = ["matrix", "entropy", "norm", "features + keys", "part of a row", *(WORDS[name] for name in METHODS)]
    rows = []
    for place, at in sorted(found.items()):
        part = f"{100 * place.budget / LENGTH:.1f} %"
        cells = [place.family, f"{mean(at['entropy']):.2f}", f"{mean(at['norm']):.1f}", str(place.budget), part]
        chosen = [f"{mean(at['share']):.2f}", shown(at["chosen"]), written(ratio(at, "chosen"))]
        rows.append([*cells, *errors(at), written(ratio(at, "scatterbrain")), *chosen])
    lines = [
        TRAINED,
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {seconds:.0f} s CPU time, torch {torch.__version__.split('+')[0]}. Both layers "
        f"and both heads of the transformer of [drop_in.md](drop_in.md), {LENGTH:,} positions, on {seeds} test "
        f"recordings, each with its own draws; errors on every {STEP}th row of each matrix; mean ± half of the 95 % "
        "interval over recordings. Memory as above. Norm: the mean of queries and keys times the square root "
        "of the scale: features need it near 1, and training has made it larger. Share chosen as above.",
        "",
        f"![error against memory]({picture})",
        "",
        "- Worst ratio to the better half over all matrices and budgets: "
        + ", ".join(f"{WORDS[name]} {value:.2f}" for name, value in worst.items())
        + ".",
        f"- Scatterbrain is ahead of both, the interval below 1, in {len(ahead)} of {len(found)} places"
        + ("".join(f"; {place.family} at {place.budget}" for place in ahead) or "")
        + ".",
        f"- An error 2.1 times smaller than that of both halves {was}: the largest gain is {gains[top]:.2f} times, at "
        f"{top.family}, {top.budget} features and keys.",
        "",
        *table([*names, "to the better half", "share chosen", "its error", "to the better half"], rows),
    ]
    return "\n".join(lines) + "\n"


def draw(found: Errors, path: Path) -> None:
    families = sorted({place.family for place in found})
    figure = new_figure(13, 3.5)
    for axis, family in zip(figure.subplots(1, len(families)), families, strict=True):
        places = sorted(place for place in found if place.family == family)
        for name in METHODS:
            values = [found[place][name] for place in places]
            budgets = [place.budget for place in places]
            axis.errorbar(
                budgets, list(map(mean, values)), list(map(interval, values)), label=WORDS[name], color=COLOURS[name]
            )
        axis.set(xscale="log", yscale="log", xlabel="features and keys", title=family)
        axis.set_xticks(budgets, [str(budget) for budget in budgets])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("relative error")
    figure.axes[0].legend(fontsize=8)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, picture = time.process_time(), PAGE.with_name("scatterbrain_trained.png")
    found = run(options.seeds)
    draw(found, picture)
    before = PAGE.read_text(encoding="utf-8").partition(TRAINED)[0].rstrip()
    page = report(found, options.seeds, time.process_time() - began, picture.name)
    PAGE.write_text(f"{before}\n\n{page}", encoding="utf-8")


if __name__ == "__main__":
    main()
