"""Recovers a latent permutation of scikit-learn's digits, and what a small convolution network regains by it.

    python benchmarks/latent_permutation.py --out benchmarks/results/latent_permutation.md

Images of 8x8 pixels are permuted, rows and columns each by a permutation of their own, or all 64 pixels at once. A
relaxed permutation P is learned without labels, so that places that end up neighbours were alike in the training
images:  sum over neighbours (i, j) of sum_ab P[i, a] P[j, b] (1 - correlation of a and b).  The expectation under P,
other than the roughness of the mixed image, is not lowered by mixing. The best of several descents by that number is
hardened and given to the network. Beside that, P is learned with the labels alone, together with the network.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from seqkit.figures import new_figure, save_figure
from seqkit.structured.butterflies.latent import LatentPermutation, SinkhornPermutation, SwapPermutation

SIDE, EPOCHS, BATCH, STARTS, STEPS = 8, 20, 64, 60, 100
SEEDS = {"rows and columns": 5, "all pixels": 5}
WAYS: dict[str, Callable[[int], LatentPermutation]] = {
    "swaps": SwapPermutation,
    "sinkhorn": partial(SinkhornPermutation, iterations=10),
}
PATH = [(i, i + 1) for i in range(SIDE - 1)]
GRID = [(SIDE * i + j, SIDE * i + j + 1) for i in range(SIDE) for j in range(SIDE - 1)]
GRID += [(SIDE * i + j, SIDE * i + j + SIDE) for i in range(SIDE - 1) for j in range(SIDE)]


class Digits(NamedTuple):
    """Images (B, 8, 8) between 0 and 1 and their labels."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def digits(seed: int) -> Digits:
    """Half of the images to learn from, half to test on."""
    found = load_digits()
    images = (found.images / 16).astype(np.float32)
    parts = train_test_split(images, found.target, test_size=0.5, random_state=seed, stratify=found.target)
    train, test, train_labels, test_labels = (torch.as_tensor(part) for part in parts)
    return Digits(train, train_labels, test, test_labels)


def network() -> nn.Module:
    """Three convolutions and a mean over places: it sees neighbourhoods alone."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )


class Pixels(nn.Module):
    """Relaxed permutations of rows and columns, or of all pixels, before anything else."""

    def __init__(self, kind: str, make: Callable[[int], LatentPermutation]) -> None:
        super().__init__()
        self.parts = nn.ModuleList([make(SIDE), make(SIDE)] if kind == "rows and columns" else [make(SIDE * SIDE)])

    def forward(self, x: Tensor, hard: bool = False, temperature: float = 1.0) -> Tensor:
        """Images (B, 8, 8) in another order."""

        def apply(part: LatentPermutation, value: Tensor) -> Tensor:
            return part.hard(value) if hard else part(value, temperature)

        if len(self.parts) == 1:
            return apply(self.parts[0], x.flatten(1)).view_as(x)
        return apply(self.parts[0], apply(self.parts[1], x).mT).mT


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((model(images[:, None]).argmax(1) == labels).double().mean())


def train(data: Digits, seed: int) -> float:
    """Test accuracy of a network trained on these images."""
    torch.manual_seed(seed)
    model = network()
    search = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data.train)).split(BATCH):
            loss = nn.functional.cross_entropy(model(data.train[rows, None]), data.train_labels[rows])
            search.zero_grad()
            loss.backward()
            search.step()
    return accuracy(model, data.test, data.test_labels)


def train_together(data: Digits, kind: str, way: str, seed: int) -> Pixels:
    """Permutations learned with the network, from the labels: their rate is a tenth of a swap, and they sharpen."""
    torch.manual_seed(seed)
    model, pixels = network(), Pixels(kind, WAYS[way])
    search = torch.optim.Adam([{"params": model.parameters(), "lr": 3e-3}, {"params": pixels.parameters(), "lr": 3e-2}])
    for epoch in range(EPOCHS):
        temperature = 0.1 ** (epoch / (EPOCHS - 1))
        for rows in torch.randperm(len(data.train)).split(BATCH):
            mixed = pixels(data.train[rows], temperature=temperature)
            loss = nn.functional.cross_entropy(model(mixed[:, None]), data.train_labels[rows])
            search.zero_grad()
            loss.backward()
            search.step()
    return pixels


def unlikeness(x: Tensor) -> Tensor:
    """One less the correlation of columns of x (rows, n), of mean 0: (n, n); what never changes is like nothing."""
    covariance = x.mT @ x / len(x)
    size = covariance.diagonal().sqrt()
    still = size < 1e-3
    found = 1 - covariance / (size[:, None] * size).clamp(min=1e-6)
    return found.masked_fill(still, 1).masked_fill(still[:, None], 1).fill_diagonal_(0)


def roughness(P: Tensor, unlike: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Expected unlikeness of neighbours under P."""
    return ((P[left] @ unlike) * P[right]).sum() / len(left)


def start_near(part: LatentPermutation, best: Tensor | None) -> None:
    """Scatters the parameters, around the best permutation so far if there is one."""
    with torch.no_grad():
        if isinstance(part, SwapPermutation):
            if best is not None:
                part.set(best, certainty=1.0)
                part.logit.add_(torch.randn_like(part.logit))
        else:
            centre = 0 if best is None else torch.eye(part.n)[best]
            part.scores.copy_(centre + torch.randn(part.n, part.n))


def by_neighbours(unlike: Tensor, edges: list[tuple[int, int]], way: str, seed: int) -> LatentPermutation:
    """The best of several descents by its hardened roughness; the later ones start near the best so far."""
    left, right = torch.tensor(edges).unbind(1)
    torch.manual_seed(seed)
    best, lowest = WAYS[way](len(unlike)), float("inf")
    for start in range(STARTS):
        part = WAYS[way](len(unlike))
        start_near(part, best.harden() if start >= STARTS // 4 else None)
        search = torch.optim.Adam(part.parameters(), 0.1)
        for step in range(STEPS):
            loss = roughness(part.dense(0.05 ** (step / (STEPS - 1))), unlike, left, right)
            search.zero_grad()
            loss.backward()
            search.step()
        value = roughness(torch.eye(len(unlike))[part.harden()], unlike, left, right).item()
        if value < lowest:
            best, lowest = part, value
    return best


def learn(data: Digits, kind: str, way: str, seed: int) -> Pixels:
    """Permutations learned from neighbours, without labels."""
    pixels, x = Pixels(kind, WAYS[way]), data.train - data.train.mean(0)
    if kind == "rows and columns":
        rows, columns = x.mT.reshape(-1, SIDE), x.reshape(-1, SIDE)
        parts = [by_neighbours(unlikeness(x), PATH, way, seed) for x in (rows, columns)]
    else:
        parts = [by_neighbours(unlikeness(x.flatten(1)), GRID, way, seed)]
    pixels.parts = nn.ModuleList(parts)
    return pixels


def neighbours_found(kind: str, pixels: Pixels, orders: list[Tensor]) -> float:
    """Share of neighbours in the recovered image that were neighbours before they were permuted."""
    edges = PATH if kind == "rows and columns" else GRID
    true = {frozenset(edge) for edge in edges}
    found = [
        frozenset((int(order[hard[i]]), int(order[hard[j]]))) in true
        for order, part in zip(orders, pixels.parts, strict=True)
        for hard in [part.harden()]
        for i, j in edges
    ]
    return sum(found) / len(found)


def permuted(x: Tensor, orders: list[Tensor]) -> Tensor:
    if len(orders) == 1:
        return x.flatten(1)[:, orders[0]].view_as(x)
    return x[:, orders[0]][:, :, orders[1]]


def run(kind: str, seed: int) -> dict[str, tuple[float, float | None]]:
    """Accuracy, and share of neighbours found, of each way."""
    data, random = digits(seed), torch.Generator().manual_seed(seed)
    sizes = [SIDE, SIDE] if kind == "rows and columns" else [SIDE * SIDE]
    orders = [torch.randperm(size, generator=random) for size in sizes]
    mixed = data._replace(train=permuted(data.train, orders), test=permuted(data.test, orders))
    found: dict[str, tuple[float, float | None]] = {"as they are": (train(data, seed), None)}
    found["permuted"] = (train(mixed, seed), None)
    for way in WAYS:
        learned = {f"{way}, neighbours": learn(mixed, kind, way, seed)}
        if kind == "rows and columns":
            learned[f"{way}, labels"] = train_together(mixed, kind, way, seed)
        for name, pixels in learned.items():
            with torch.no_grad():
                back = mixed._replace(train=pixels(mixed.train, hard=True), test=pixels(mixed.test, hard=True))
            found[name] = (train(back, seed), neighbours_found(kind, pixels, orders))
    return found


def page(results: dict[str, list[dict[str, tuple[float, float | None]]]]) -> str:
    lines = [
        *("# A latent permutation of digits", ""),
        "scikit-learn's digits, half to learn from, half to test on; a seed gives split, permutation and starts. A",
        "permutation is learned from the likeness of neighbours, without labels, as the best of "
        f"{STARTS} descents, the later",
        "ones from near the best so far; or from the labels, together with the network. Then it is hardened, and the",
        f"same small network is trained from the start, {EPOCHS} epochs, on the images put in order. Regained: the",
        "part of what the permutation cost. Neighbours: the share of neighbouring places that were neighbours before;",
        "a mirrored image counts as recovered. Written by `benchmarks/latent_permutation.py`.",
    ]
    for kind, runs in results.items():
        if not runs:
            continue
        lines += [
            "",
            f"## Permuted: {kind} ({len(runs)} seeds)",
            "",
            "| images | accuracy, % | regained | neighbours |",
            "|---|---|---|---|",
        ]
        mean = {name: float(np.mean([one[name][0] for one in runs])) for name in runs[0]}
        for name in runs[0]:
            values = np.array([one[name][0] for one in runs]) * 100
            spread = values.std(ddof=min(1, len(values) - 1))
            shares = [one[name][1] for one in runs]
            lost = mean["as they are"] - mean["permuted"]
            regained = "" if shares[0] is None else f"{(mean[name] - mean['permuted']) / lost:.2f}"
            near = "" if shares[0] is None else f"{np.mean(shares):.2f}"
            lines.append(f"| {name} | {values.mean():.2f} ± {spread:.2f} | {regained} | {near} |")
    return "\n".join(lines) + "\n"


def picture(path: Path) -> None:
    """One image of the test set in each state, for the first seed."""
    data, random = digits(0), torch.Generator().manual_seed(0)
    orders = [torch.randperm(SIDE, generator=random) for _ in range(2)]
    mixed = data._replace(train=permuted(data.train, orders), test=permuted(data.test, orders))
    shown = {"as they are": data.test[:4], "permuted": mixed.test[:4]}
    for way in WAYS:
        shown[way] = learn(mixed, "rows and columns", way, 0)(mixed.test[:4], hard=True)
    figure = new_figure(5.5, 1.5 * len(shown))
    for row, (name, images) in enumerate(shown.items()):
        for column, image in enumerate(images):
            axes = figure.add_subplot(len(shown), 4, 4 * row + column + 1)
            axes.imshow(image.detach().numpy(), cmap="gray_r")
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where to write the page; the picture goes beside it")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    kept = out.with_suffix(".jsonl")  # so that a stopped run goes on
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for kind, seeds in SEEDS.items():
        for seed in range(seeds):
            if not any(row["kind"] == kind and row["seed"] == seed for row in rows):
                rows.append({"kind": kind, "seed": seed, "found": run(kind, seed)})
                with kept.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(rows[-1], flush=True)
    text = page({kind: [row["found"] for row in rows if row["kind"] == kind] for kind in SEEDS})
    out.write_text(text + f"\n![Digits, permuted and put in order]({out.with_suffix('.png').name})\n")
    picture(out.with_suffix(".png"))


if __name__ == "__main__":
    main()
