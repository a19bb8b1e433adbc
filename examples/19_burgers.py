"""Three networks learn what a viscous fluid does in a unit of time, from functions made here.

A network of small convolutions, the same one with its convolutions freed to become other operations (XD), and one of
Fourier layers. The starts and ends of Burgers' equation are made from a seed.

    python examples/19_burgers.py [FOLDER]

Expect small convolutions to be worst, and the Fourier layers to hold on grids that are finer than the training's.
At this viscosity, 0.1, most of a start's shape is gone at the end, and its mean is what stays. FOLDER
(runs/examples) gets 19_burgers.png: three new starts, their ends, and what the networks say.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import sys
from pathlib import Path

import numpy as np
import torch

from seqkit.datasets import get_source
from seqkit.figures import new_figure, save_figure
from seqkit.nn import NeuralOperator, relative_l2
from seqkit.structured.xd import model_parameters, operation_parameters, patch_convolutions, release_operations

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
LENGTH, EPOCHS, BATCH = 64, 25, 20


def functions(length: int, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Starts and ends, (n, length, 1) each: the same functions at every length."""
    series = get_source("burgers", length=length, size=100, test_size=40).load()[part]
    return torch.as_tensor(np.stack(list(series.values))), torch.as_tensor(np.stack(list(series.target)))


def train(net: NeuralOperator) -> None:
    """Weights by one Adam and, where there are any, K, L and M by another, from the same loss."""
    searches = [torch.optim.Adam(model_parameters(net), 3e-3)]
    if operation_parameters(net):
        searches.append(torch.optim.Adam(operation_parameters(net), 3e-3))
    steps = EPOCHS * -(-len(starts) // BATCH)
    plans = [torch.optim.lr_scheduler.CosineAnnealingLR(one, steps) for one in searches]
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(starts)).split(BATCH):
            for one in searches:
                one.zero_grad()
            relative_l2(net(starts[rows]), ends[rows]).backward()
            for one, plan in zip(searches, plans, strict=True):
                one.step()
                plan.step()


starts, ends = functions(LENGTH, "train")
new_starts, new_ends = functions(LENGTH, "test")
torch.manual_seed(0)
nets = {
    "convolutions": NeuralOperator.convolutional(1, 1, kernel_size=7, width=16),
    "XD-operations": NeuralOperator.convolutional(1, 1, kernel_size=7, width=16),
    "Fourier layers": NeuralOperator.fourier(1, 1, modes=12, width=16),
}
nets["XD-operations"].load_state_dict(nets["convolutions"].state_dict())
print(patch_convolutions(nets["XD-operations"], starts[:1], depth=1))
release_operations(nets["XD-operations"])

guesses = {}
for name, net in nets.items():
    net.set_statistics(starts, ends)
    train(net)
    with torch.no_grad():
        guesses[name] = net(new_starts)
    count = sum(one.numel() for one in net.parameters())
    print(f"{name}: error {float(relative_l2(guesses[name], new_ends)):.1%} of new functions, {count:,} numbers")

for length in (256, 1024):  # the grid is four and sixteen times as fine, the network the same
    with torch.no_grad():
        finer = functions(length, "test")
        print(
            f"Fourier layers on {length} places: {float(relative_l2(nets['Fourier layers'](finer[0]), finer[1])):.1%}"
        )
try:
    nets["XD-operations"](finer[0])
except ValueError as error:
    print(f"XD-operations: {error}")

figure = new_figure(11, 3.6)
figure.suptitle("Burgers' equation: three new starts, and their ends by the equation and by three networks")
x = np.arange(LENGTH) / LENGTH
for place, axes in enumerate(figure.subplots(1, 3, sharey=True)):
    axes.plot(x, new_starts[place, :, 0], color="0.7", label="start")
    axes.plot(x, new_ends[place, :, 0], color="black", label="end")
    for name, guess in guesses.items():
        axes.plot(x, guess[place, :, 0], linestyle="--", label=name)
    axes.set_xlabel("place, a period is 1")
    axes.grid(alpha=0.3)
    if place == 0:
        axes.set_ylabel("speed of the fluid")
axes.legend(fontsize=8)
save_figure(figure, folder / "19_burgers.png")
print("picture:", folder / "19_burgers.png")
