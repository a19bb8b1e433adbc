"""Means and covariances of what the linear layers of a module read, collected while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqkit.batch import Batch
from seqkit.checks import check_finite

__all__ = ["Moments", "input_moments"]

Forward = Callable[[nn.Module, Any], Any]
"""Takes the model and one item of the data; runs the model on it."""


class Moments(NamedTuple):
    """Moments of the rows that a layer read.

    Args:
        mean: (in,), double precision.
        covariance: E[x x^H] - mean mean^H, (in, in), double precision.
        n_rows: Number of rows.
    """

    mean: Tensor
    covariance: Tensor
    n_rows: int

    @property
    def second(self) -> Tensor:
        """E[x x^H], (in, in), the mean not taken away: what counts where no bias can make up for it."""
        return self.covariance + torch.outer(self.mean, self.mean.conj())


class Sums:
    """Running sums of one layer; a call before its forward."""

    def __init__(self) -> None:
        self.n_rows, self.first, self.second = 0, torch.zeros(()), torch.zeros(())

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Adds the rows (..., in) that the layer is given."""
        rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        rows = rows.to(torch.complex128 if rows.is_complex() else torch.float64)
        self.n_rows += len(rows)
        self.first = self.first.to(rows.device) + rows.sum(0)
        self.second = self.second.to(rows.device) + rows.mT @ rows.conj()

    def moments(self) -> Moments:
        """Divides by the number of rows."""
        mean = self.first / self.n_rows
        return Moments(mean, self.second / self.n_rows - torch.outer(mean, mean.conj()), self.n_rows)


@torch.no_grad()
def input_moments(model: nn.Module, data: Iterable[Any], forward: Forward | None = None) -> dict[str, Moments]:
    """Runs a module on data and returns the moments of what each of its linear layers read.

    With them a fit knows which errors matter: `replace_linear` and `sparsify` take them, and data itself.

    Args:
        model: Module that holds `nn.Linear` layers. It runs in evaluation mode without gradients and is left as it was.
        data: Items to run it on, some hundreds of rows for each feature of the widest layer or as many as there are: a
            tensor, a tuple of arguments, a mapping of named arguments, or a `Batch` for a model of this toolkit.
            Padded samples count as the others do.
        forward: How to run the model on an item, where that is none of these.

    Returns:
        By name, those of layers that the data reached. Layers of derived classes are left out.

    Raises:
        ValueError: no data, or inputs of a layer that are NaN or infinite.

    Cost: a forward for each item, and for each layer O(rows in^2) in double precision.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> found = input_moments(model, [torch.tensor([[1.0, 0.0], [3.0, 0.0]])])
        >>> found["0"].mean.tolist(), found["0"].covariance.tolist(), list(found)
        ([2.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], ['0', '2'])
    """
    layers = {name: layer for name, layer in model.named_modules() if type(layer) is nn.Linear}
    sums = {name: Sums() for name in layers}
    modes = [(module, module.training) for module in model.modules()]
    hooks = [layer.register_forward_pre_hook(sums[name]) for name, layer in layers.items()]
    run, n_items = forward or run_on, 0
    try:
        model.eval()
        for item in data:
            run(model, item)
            n_items += 1
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    if not n_items:
        raise ValueError("`data` must hold at least one item to run the model on, got none")
    found = {name: one.moments() for name, one in sums.items() if one.n_rows}
    for name, one in found.items():
        check_finite(f"the covariance of what {name} reads", one.covariance, "run the model on finite data")
    return found


def run_on(model: nn.Module, item: Any) -> Any:
    """Runs a module on one item by its type."""
    if isinstance(item, Batch):
        return model(item.values, item.lengths, timestamps=item.timestamps, observed=item.observed)
    if isinstance(item, Mapping):
        return model(**item)
    return model(*item) if isinstance(item, tuple | list) else model(item)
