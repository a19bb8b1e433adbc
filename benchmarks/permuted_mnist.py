"""Permuted MNIST by the gated HiPPO-RNN, for as long as there is time; with a learning curve.

    SEQKIT_DATA=... python benchmarks/permuted_mnist.py --minutes 15 --out benchmarks/results/permuted_mnist.md
    SEQKIT_DATA=... python benchmarks/permuted_mnist.py --width 512 --order 512 --epochs 50 --minutes 600 --device cuda

The second line is the paper's recipe (arXiv:2008.07669; Adam at 0.001, batches of 100, a tenth of the training part for
validation, pixels as they are, the bit-reversal permutation), whose LegS cell has 98.3 %.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.targets import encode_targets
from seqkit.models import ModelConfig, SequenceModel


def tensors(module: SeriesDataModule, part: str) -> tuple[Tensor, Tensor]:
    """All images of a part as series (n, 784, 1), and their digits."""
    target = encode_targets(module.sets[part], module.info)
    assert isinstance(target, Tensor)  # one digit for each image
    return torch.stack([torch.from_numpy(one) for one in module.sets[part].values]), target


@torch.no_grad()
def accuracy(model: SequenceModel, values: Tensor, target: Tensor) -> float:
    """Share of images whose digit is right, in percent."""
    model.eval()
    device = next(model.parameters()).device
    right = sum(
        int((model(x.to(device)).argmax(-1).cpu() == y).sum())
        for x, y in zip(values.split(250), target.split(250), strict=True)
    )
    model.train()
    return 100 * right / len(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128, help="hidden size H")
    parser.add_argument("--order", type=int, default=128, help="coefficients N")
    parser.add_argument("--measure", default="legs")
    parser.add_argument("--epochs", type=int, default=50, help="passes over the training part at most")
    parser.add_argument("--minutes", type=float, default=15.0, help="training time at most")
    parser.add_argument("--images", type=int, default=None, help="training images to use; all if left out")
    parser.add_argument("--every", type=int, default=100, help="steps from point to point of the learning curve")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()

    module = SeriesDataModule(get_source("permuted_mnist"), validation=0.1, seed=args.seed)
    module.prepare_data()
    module.setup()
    values, target = tensors(module, "train")
    values, target = values[: args.images], target[: args.images]
    few = slice(0, 1000)
    val, test = tensors(module, "val"), tensors(module, "test")
    window = None if args.measure in ("legs", "lagt") else 784.0
    sizes = {"d_model": args.width, "order": args.order, "measure": args.measure, "window": window}
    model = SequenceModel.from_config(ModelConfig.preset("hippo_rnn", **sizes), module.info, seed=args.seed)
    model.to(args.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.learning_rate)
    generator = torch.Generator().manual_seed(args.seed)
    curve, spent, steps, began = [], 0.0, 0, time.monotonic()
    limit = 60 * args.minutes
    for _ in range(args.epochs):
        for places in torch.randperm(len(target), generator=generator).split(100):
            if spent >= limit:
                break
            loss = F.cross_entropy(model(values[places].to(args.device)), target[places].to(args.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps, spent = steps + 1, time.monotonic() - began
            if steps % args.every == 0:
                curve.append((steps, spent, float(loss), accuracy(model, val[0][few], val[1][few])))
                print(*curve[-1], flush=True)
                began += time.monotonic() - began - spent  # looking is no training
    score = accuracy(model, *test)
    machine = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} threads"
    lines = [
        "# Permuted MNIST, HiPPO-RNN",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, torch {version('torch')}.",
        f"Measure {args.measure}, H = {args.width}, N = {args.order}, {model.n_parameters:,} weights, Adam at "
        f"{args.learning_rate}, batches of 100, seed {args.seed}.",
        f"**{score:.2f} %** of the {len(test[1]):,} test images after {steps:,} steps, "
        f"{steps * 100 / len(target):.2f} passes over {len(target):,} images, {spent / 60:.1f} minutes.",
        "",
        f"| steps | minutes | loss of the batch | first {few.stop:,} validation images, % |",
        "|---|---|---|---|",
        *(f"| {n:,} | {t / 60:.1f} | {value:.3f} | {share:.1f} |" for n, t, value, share in curve),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
