"""What a fixed mask costs a small network: flat butterflies beside bands, random blocks and low rank, equally large.

    python benchmarks/block_masks.py --out PAGE.md --keep rows.jsonl   # writes both
    python benchmarks/block_masks.py --seeds 1                         # prints

Series of Japanese Vowels, padded to 32 samples and flattened to 384 numbers, are classified by two layers of 256 and
ReLU, whose weights have the same share of the dense ones in each form. Beside the accuracy stands how far the neural
tangent kernel at the start is from that of dense networks: of one hidden layer, kernels scaled to the same trace.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, nn

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.files import write_whole
from seqkit.structured import StructuredLinear

N_IN, WIDTH, CLASSES = 32 * 12, 256, 9
SHARES = {"3/16": (16, 3), "1/16": (32, 2)}  # share of the numbers: blocks a side, blocks kept in a row
EPOCHS, BATCH, RATE = 20, 16, 1e-3
POINTS = 40


class Masked(nn.Module):
    """A dense layer of which a mask keeps part; the start keeps the size of rows."""

    def __init__(self, n_in: int, n_out: int, mask: Tensor) -> None:
        super().__init__()
        dense = nn.Linear(n_in, n_out)
        self.register_buffer("mask", mask)
        self.weight = nn.Parameter(dense.weight.detach() * mask / mask.double().mean().sqrt())
        self.bias = dense.bias

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class WithLowRank(nn.Module):
    """A mask and a low rank, each with half of the start's variance."""

    def __init__(self, masked: Masked, n_in: int, n_out: int, rank: int) -> None:
        super().__init__()
        self.masked, self.low = masked, StructuredLinear(n_in, n_out, "low_rank", bias=False, rank=rank)

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return (self.masked(x) + self.low(x)) * 0.5**0.5


def stretched(tiles: Tensor, n_in: int, n_out: int) -> Tensor:
    n = len(tiles)
    return tiles.repeat_interleave(n_out // n, 0).repeat_interleave(n_in // n, 1).float()


def tiles_of(kind: str, n: int, kept: int) -> Tensor:
    rows = torch.arange(n)
    tiles = torch.zeros(n, n)
    if kind == "random blocks":
        for row in range(n):
            tiles[row, torch.randperm(n)[:kept]] = 1
        return tiles
    apart = (rows[:, None] ^ rows) if kind == "flat" else (rows[:, None] - rows) % n
    near = [0, 1, 2, 4, 8][:kept] if kind == "flat" else [0, 1, n - 1][:kept]
    return torch.isin(apart, torch.tensor(near)).float()


def layer(kind: str, share: str, n_in: int, n_out: int) -> nn.Module:
    """A layer of the named kind with the share's numbers."""
    n, kept = SHARES[share]
    budget = kept / n * n_in * n_out
    if kind == "low rank":
        return StructuredLinear(n_in, n_out, "low_rank", rank=int(budget / (n_in + n_out)))
    if kind == "random entries":
        return Masked(n_in, n_out, (torch.rand(n_out, n_in) < kept / n).float())
    if kind.endswith(" and low rank"):
        masked = Masked(n_in, n_out, stretched(tiles_of(kind.split()[0], n, kept - 1), n_in, n_out))
        return WithLowRank(masked, n_in, n_out, int(budget / kept / (n_in + n_out)))
    return Masked(n_in, n_out, stretched(tiles_of(kind, n, kept), n_in, n_out))


KINDS = (
    *("flat and low rank", "flat", "band and low rank", "band", "random blocks", "random entries"),
    *("low rank", "dense, narrower"),
)


def network(kind: str, share: str, hidden: int) -> nn.Sequential:
    """`hidden` layers of ReLU and a dense output."""
    width, make = WIDTH, nn.Linear
    if kind == "dense, narrower":
        n, kept = SHARES[share]
        whole = N_IN * WIDTH + (hidden - 1) * WIDTH**2
        width = next(w for w in range(WIDTH, 0, -1) if N_IN * w + (hidden - 1) * w * w <= kept / n * whole)
    elif kind != "dense":
        make = lambda n_in, n_out: layer(kind, share, n_in, n_out)  # type: ignore[assignment]  # noqa: E731
    layers: list[nn.Module] = []
    for depth in range(hidden):
        layers += [make(width if depth else N_IN, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def flattened() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test rows and classes, channels scaled by the training set's."""
    data = SeriesDataModule(get_source("japanese_vowels"), batch_size=1000, seed=0)
    data.setup()
    mean, scale = data.statistics()
    found: list[Tensor] = []
    for loader in (data.train_dataloader(), data.test_dataloader()):
        rows, classes = [], []
        for batch in loader:
            inside = torch.arange(batch.values.shape[1]) < batch.lengths[:, None]
            values = (batch.values - mean) / scale * inside.unsqueeze(-1)
            rows.append(nn.functional.pad(values, (0, 0, 0, 32 - values.shape[1])).flatten(1))
            classes.append(batch.target)
        found += [torch.cat(rows), torch.cat(classes)]
    return found[0], found[1], found[2], found[3]


def accuracy(model: nn.Module, data: tuple[Tensor, Tensor, Tensor, Tensor]) -> float:
    """Test accuracy after training."""
    X, y, X_test, y_test = data
    steps = EPOCHS * -(-len(X) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X[rows]), y[rows], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return (model(X_test).argmax(1) == y_test).double().mean().item()


def kernel(model: nn.Module, X: Tensor) -> Tensor:
    """<df(x) / dtheta, df(x') / dtheta> of the first output, scaled to trace 1."""
    gradients = []
    for row in X:
        found = torch.autograd.grad(model(row[None])[0, 0], list(model.parameters()))
        gradients.append(torch.cat([one.flatten() for one in found]))
    whole = torch.stack(gradients).double()
    found = whole @ whole.mT
    return found / found.trace()


def spread(values: list[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def page(rows: list[dict[str, object]], seeds: int, draws: int) -> str:
    lines = [
        "# Fixed masks in a small network",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, CPU. Japanese Vowels flattened to {N_IN} numbers, two "
        f"layers of {WIDTH} and ReLU, {EPOCHS} epochs, {seeds} seeds; both layers have the named form and equally "
        "many numbers. Difference: points to the dense network of the same seed. NTK: distance of the tangent kernel "
        f"at the start to the mean of {draws} dense ones, relative, over {draws} draws, {POINTS} test series and one "
        "hidden layer.",
        "",
        "| share | form | numbers in hidden layers | test accuracy, % | difference | NTK distance |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['share']} | {row['kind']} | {row['numbers']:,} | {spread(row['accuracy'], 1)} | "  # type: ignore[arg-type]
            f"{spread(row['difference'], 1)} | {spread(row['distance'], 3)} |"  # type: ignore[arg-type]
        )
    return "\n".join(lines) + "\n"


def numbers(model: nn.Sequential) -> int:
    """Those of the hidden layers' matrices that count: what a mask leaves out does not."""
    total = 0
    for one in model[:-1]:
        for name, value in one.named_parameters():
            owner = one.get_submodule(name.rpartition(".")[0])
            if not name.endswith("bias"):
                total += int(owner.mask.sum()) if isinstance(owner, Masked) else value.numel()
    return total


def seeded(make: Callable[[], nn.Sequential], seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return make()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="file of rows, one JSON line a form")
    parser.add_argument("--out", type=Path, help="page to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = flattened()
    points = data[2][:: len(data[2]) // POINTS][:POINTS]
    dense = [kernel(seeded(lambda: network("dense", "", 1), 100 + draw), points) for draw in range(options.draws)]
    center = torch.stack(dense).mean(0)
    rows: list[dict[str, object]] = []
    reference: list[float] = []
    for share, kind in [("1", "dense"), *((share, kind) for share in SHARES for kind in KINDS)]:
        models = [seeded(lambda kind=kind, share=share: network(kind, share, 2), seed) for seed in range(options.seeds)]
        scores = [100 * accuracy(model, data) for model in models]
        reference = reference or scores
        kernels = [
            kernel(seeded(lambda kind=kind, share=share: network(kind, share, 1), 200 + draw), points)
            for draw in range(options.draws)
        ]
        row = {
            "share": share,
            "kind": kind,
            "numbers": numbers(models[0]),
            "accuracy": scores,
            "difference": [one - other for one, other in zip(scores, reference, strict=True)],
            "distance": [float(torch.linalg.norm(one - center) / torch.linalg.norm(center)) for one in kernels],
        }
        rows.append(row)
        print(page([row], options.seeds, options.draws).splitlines()[-1], flush=True)
    text = page(rows, options.seeds, options.draws)
    print(text)
    if options.out:
        write_whole(options.out, lambda path: path.write_text(text, encoding="utf-8"))
    if options.keep:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_whole(options.keep, lambda path: path.write_text(lines, encoding="utf-8"))


if __name__ == "__main__":
    main()
