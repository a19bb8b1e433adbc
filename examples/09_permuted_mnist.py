"""Permuted MNIST by the gated HiPPO-RNN, in the time given; stopped, it goes on where it was when called again.

    SEQKIT_DATA=... python examples/09_permuted_mnist.py                            # a look, some seconds of training
    SEQKIT_DATA=... python examples/09_permuted_mnist.py --width 128 --minutes 30 --images 10000
    SEQKIT_DATA=... python examples/09_permuted_mnist.py --width 512 --minutes 5 --batch-size 500 --learning-rate 2e-3 \
        --images 10000 --device cuda

Expect little of a look, and 98 % after some minutes on a GPU. --out (runs/permuted_mnist) gets result.md,
learning_curve.png and a checkpoint.

The paper's set-up (arXiv:2008.07669, section 4.1; its LegS cell has 98.3 %): pixels as they are, permuted by bit
reversal, a tenth of the training part for validation, Adam; there 50 epochs at 0.001 in batches of 100, H = N = 512.
Here the rate falls to 0 along a cosine over the time given. On a GPU a training step is recorded once as a CUDA graph
and replayed: 784 small steps of a recurrence wait for the processor that starts them, not for the GPU.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.targets import encode_targets
from seqkit.figures import new_figure, save_figure
from seqkit.files import write_whole
from seqkit.models import ModelConfig, SequenceModel

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--width", type=int, default=64, help="hidden size H and coefficients N")
parser.add_argument("--minutes", type=float, default=0.15, help="training time")
parser.add_argument("--batch-size", type=int, default=100)
parser.add_argument("--learning-rate", type=float, default=1e-3, help="at the start")
parser.add_argument("--images", type=int, default=500, help="images of the validation and of the test part to look at")
parser.add_argument("--every", type=int, default=None, help="steps from point to point of the curve; an epoch's fifth")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--out", type=Path, default=Path("runs/permuted_mnist"))


def tensors(module: SeriesDataModule, part: str) -> tuple[Tensor, Tensor]:
    """All images of a part as series (n, 784, 1), and their digits."""
    target = encode_targets(module.sets[part], module.info)
    assert isinstance(target, Tensor)  # one digit for each image
    return torch.stack([torch.from_numpy(one) for one in module.sets[part].values]), target


@torch.no_grad()
def accuracy(model: SequenceModel, values: Tensor, target: Tensor) -> float:
    """Share of images whose digit is right, in percent."""
    device = next(model.parameters()).device
    pairs = zip(values.split(500), target.split(500), strict=True)
    return 100 * sum(int((model(x.to(device)).argmax(-1).cpu() == y).sum()) for x, y in pairs) / len(target)


def recorded(step: Callable[[], Tensor], device: str) -> Callable[[], object]:
    """A function that repeats `step`; on a GPU as a graph, recorded after three steps taken as they are."""
    if device != "cuda":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def draw(curve: list[tuple[float, ...]], args: argparse.Namespace) -> None:
    """The learning curve as a picture."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    axes.plot([point[1] for point in curve], [point[4] for point in curve], marker=".")
    axes.set(xlabel="passes over the training images", ylabel="validation accuracy, %", ylim=(None, 100))
    axes.set_title(f"Permuted MNIST, HiPPO-RNN, H = N = {args.width}")
    axes.grid(alpha=0.3)
    save_figure(figure, args.out / "learning_curve.png")


def main() -> None:
    args = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    module = SeriesDataModule(get_source("permuted_mnist"), validation=0.1, seed=args.seed, prepared=False)
    try:
        module.prepare_data()
    except FileNotFoundError as error:
        print(f"skipped: {error}")
        return
    module.setup()
    values, target = (part.to(args.device) for part in tensors(module, "train"))
    held_out = {part: [one[: args.images] for one in tensors(module, part)] for part in ("val", "test")}
    every = args.every or max(1, len(target) // (5 * args.batch_size))

    config = ModelConfig.preset("hippo_rnn", d_model=args.width, order=args.width)
    model = SequenceModel.from_config(config, module.info, seed=args.seed).to(args.device)
    on_gpu = args.device == "cuda"
    rate = torch.tensor(args.learning_rate, device=args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, capturable=on_gpu)
    batch = values[: args.batch_size].clone(), target[: args.batch_size].clone()
    loss = torch.zeros((), device=args.device)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=not on_gpu)  # a graph writes to the gradients that it was recorded with
        found = F.cross_entropy(model(batch[0]), batch[1])
        found.backward()
        optimizer.step()
        return loss.copy_(found.detach())

    settings = {name: getattr(args, name) for name in ("width", "batch_size", "learning_rate", "seed")}
    kept: dict[str, Any] = {"steps": 0, "spent": 0.0, "curve": [], "settings": settings}
    place, fresh = args.out / "checkpoint.pt", {name: value.clone() for name, value in model.state_dict().items()}
    step()  # the optimiser makes its state
    replay = recorded(step, args.device)
    stored = torch.load(place, map_location=args.device, weights_only=True) if place.exists() else None
    if stored is not None and stored["settings"] != settings:
        raise SystemExit(f"{place} was made with other settings, {stored['settings']}; give another --out")
    if stored is not None:
        kept = {name: stored[name] for name in kept}
        print(f"going on after {kept['steps']:,} steps")
    # In place, where the graph finds it; what was learned until now was a rehearsal.
    model.load_state_dict(stored["model"] if stored else fresh)
    for number, state in enumerate(optimizer.state.values()):
        for name, value in state.items():
            value.copy_(stored["optimizer"][number][name] if stored else torch.zeros_like(value))

    def store() -> None:
        whole = {**kept, "model": model.state_dict(), "optimizer": list(optimizer.state.values())}
        write_whole(place, lambda part: torch.save(whole, part))

    per_epoch, limit = len(target) // args.batch_size, 60 * args.minutes
    while kept["spent"] < limit:
        epoch, first = divmod(kept["steps"], per_epoch)
        order = torch.randperm(len(target), generator=torch.Generator().manual_seed(args.seed + epoch)).to(args.device)
        began = time.monotonic() - kept["spent"]
        for k in range(first, per_epoch):
            rate.fill_(args.learning_rate * (1 + math.cos(math.pi * min(1.0, kept["spent"] / limit))) / 2)
            places = order[k * args.batch_size : (k + 1) * args.batch_size]
            batch[0].copy_(values[places])
            batch[1].copy_(target[places])
            replay()
            kept["steps"] += 1
            shown = kept["steps"] % every == 0
            if shown or (on_gpu and kept["steps"] % 10 == 0):
                float(loss)  # waits, or the clock would run ahead of the GPU
            kept["spent"] = time.monotonic() - began
            if shown or kept["spent"] >= limit:
                share = accuracy(model, *held_out["val"])
                point = (kept["steps"], kept["steps"] / per_epoch, kept["spent"] / 60, float(loss), share)
                kept["curve"].append(point)
                print("step {}, epoch {:.2f}, {:.2f} min: loss {:.4f}, validation {:.2f} %".format(*point), flush=True)
                store()
                began = time.monotonic() - kept["spent"]  # looking is no training
            if kept["spent"] >= limit:
                break

    score = accuracy(model, *held_out["test"])
    draw(kept["curve"], args)
    machine = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    lines = [
        f"**{score:.2f} %** of {len(held_out['test'][1]):,} test images, {kept['steps']:,} steps of {args.batch_size} "
        f"images ({kept['steps'] / per_epoch:.1f} epochs) in {kept['spent'] / 60:.1f} min, H = N = {args.width}, "
        f"{model.n_parameters:,} weights, learning rate {args.learning_rate}, seed {args.seed}, "
        f"{machine}, torch {torch.__version__}.",
        "",
        f"| step | epoch | minutes | loss of the batch | {len(held_out['val'][1]):,} validation images, % |",
        "|---|---|---|---|---|",
        *("| {} | {:.2f} | {:.2f} | {:.4f} | {:.2f} |".format(*point) for point in kept["curve"]),
    ]
    write_whole(args.out / "result.md", lambda part: part.write_text("\n".join(lines) + "\n"))
    print(lines[0], args.out / "learning_curve.png", sep="\n")


if __name__ == "__main__":
    main()
