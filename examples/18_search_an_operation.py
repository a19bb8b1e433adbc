"""Digits whose pixels arrive in an unknown order: a convolution network, and the operation found in its place.

Each 8x8 digit is a series of 64 pixels, permuted the same way for all. A convolution over time sees neighbours that
mean nothing. Its operation K diag(L w) M starts as that convolution, and K, L and M are then trained with the weights.

    python examples/18_search_an_operation.py [FOLDER]

Expect the searched network well above the convolutions. FOLDER (runs/examples) gets 18_search_an_operation.png: the
operations that were found.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import copy
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from seqkit.search import search_operations
from seqkit.structured.xd import (
    describe_operation,
    draw_operations,
    model_parameters,
    operation_layers,
    operation_parameters,
    patch_convolutions,
)

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
torch.manual_seed(0)
digits = load_digits()
order = torch.randperm(64)
x = torch.as_tensor(digits.images, dtype=torch.float32).flatten(1)[:, None, order]
x, y = (x - x.mean()) / x.std(), torch.as_tensor(digits.target)
x, y, x_test, y_test = x[:1200], y[:1200], x[1200:], y[1200:]
batches = list(zip(x.split(64), y.split(64), strict=True))

network = nn.Sequential(
    *(nn.Conv1d(1, 12, 5, padding=2, padding_mode="circular"), nn.BatchNorm1d(12), nn.ReLU()),
    *(nn.Conv1d(12, 12, 5, padding=2, padding_mode="circular"), nn.BatchNorm1d(12), nn.ReLU()),
    *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 10)),
)
searched = copy.deepcopy(network)
print(patch_convolutions(searched, x[:1], depth=3))  # computes what the network computes


def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of a batch of series and labels."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def accuracy(model: nn.Module) -> float:
    """Share of the held-out digits that are recognised."""
    with torch.no_grad():
        return float((model.eval()(x_test).argmax(1) == y_test).double().mean())


optimizer = torch.optim.Adam(network.parameters(), 0.005)
for _ in range(8):
    network.train()
    for batch in batches:
        optimizer.zero_grad()
        loss(network, batch).backward()
        optimizer.step()
print(f"convolution: {accuracy(network):.1%} of the held-out digits")

search = search_operations(
    searched,
    batches,
    loss,
    optimizer=torch.optim.Adam(model_parameters(searched), 0.005),
    operation_optimizer=torch.optim.Adam(operation_parameters(searched), 0.01),
    epochs=8,
)
for found in search:
    moved = ", ".join(f"{name} {distance:.2f}" for name, distance in found.moved.items())
    print(f"epoch {found.epoch + 1}: loss {found.loss:.3f}, moved {moved}")
print(f"searched: {accuracy(searched):.1%}")
for name, layer in operation_layers(searched).items():
    print(f"{name}: {describe_operation(layer)}")

draw_operations(operation_layers(searched), folder / "18_search_an_operation.png")
print("picture:", folder / "18_search_an_operation.png")
