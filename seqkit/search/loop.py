"""The search over operations as plain training: weights and operations step on the same loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqkit.checks import NotFiniteError, check_not_negative, check_positive, check_positive_int
from seqkit.structured.xd import (
    freeze_operations,
    model_parameters,
    operation_layers,
    operation_parameters,
    release_operations,
)

__all__ = ["SearchEpoch", "search_operations"]


class SearchEpoch(NamedTuple):
    """One pass over the batches.

    Args:
        epoch: Its number, from 0.
        loss: Mean loss of its batches.
        moved: Mean relative distance of K, L and M from where they started, by layer.

    Example:
        >>> SearchEpoch(0, 0.7, {"conv": 0.1}).moved
        {'conv': 0.1}
    """

    epoch: int
    loss: float
    moved: dict[str, float]


def search_operations(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    *,
    optimizer: Optimizer | None = None,
    operation_optimizer: Optimizer | None = None,
    epochs: int = 10,
    warmup_epochs: int = 0,
    gradient_clip: float | None = 1.0,
) -> Iterator[SearchEpoch]:
    """Trains weights and operations of a model together, one epoch for each turn of the iterator.

    There is one network and one loss: no choice among candidates, no second level. In the first `warmup_epochs` the
    operations are frozen, and the network is computed and trained as the convolutional one that it started as.

    Args:
        model: A model with operations inside, such as `patch_convolutions` leaves it.
        batches: What is gone through once in each epoch; an iterable that can be gone through again.
        loss: Maps model and batch to the loss, a tensor of one number.
        optimizer: Optimizer of `model_parameters(model)`; Adam with rate 0.001 if None.
        operation_optimizer: Optimizer of `operation_parameters(model)`; Adam with rate 0.001 if None.
        epochs: Passes over the batches.
        warmup_epochs: Those with frozen operations.
        gradient_clip: Largest norm of the gradient of all parameters, a complex number counting as two; None for none.

    Yields:
        What each epoch brought. Whoever stops asking stops the training.

    Raises:
        ValueError: a model without operations, batches that give nothing, or a number out of range.
        FloatingPointError: the loss, or what an operation is given, is NaN or infinite.

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798), section 4: both optimizers on one loss.

    Example:
        >>> from seqkit.structured.xd import patch_convolutions
        >>> model, x = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1)), torch.randn(4, 1, 16)
        >>> report = patch_convolutions(model, x)
        >>> search = search_operations(model, [x], lambda net, x: (net(x) - x.flip(-1)).square().mean(), epochs=3)
        >>> [found.epoch for found in search]
        [0, 1, 2]
    """
    check_positive_int("epochs", epochs)
    check_not_negative("warmup_epochs", warmup_epochs)
    if gradient_clip is not None:
        check_positive("gradient_clip", gradient_clip)
    layers = operation_layers(model)
    if not layers:
        raise ValueError(
            f"`model` must hold operations to search over, got {type(model).__name__} with none; "
            "seqkit.structured.xd.patch_convolutions puts them in place of convolutions"
        )
    weights = optimizer or torch.optim.Adam(model_parameters(model), 1e-3)
    operations = operation_optimizer or torch.optim.Adam(operation_parameters(model), 1e-3)

    def turns() -> Iterator[SearchEpoch]:
        for epoch in range(epochs):
            (freeze_operations if epoch < warmup_epochs else release_operations)(model)
            mean = one_epoch(model, batches, loss, (weights, operations), gradient_clip)
            moved = {
                name: sum(one.distance for one in layer.matrices()) / len(list(layer.matrices()))
                for name, layer in layers.items()
            }
            yield SearchEpoch(epoch, mean, moved)

    return turns()


def one_epoch(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    optimizers: tuple[Optimizer, Optimizer],
    gradient_clip: float | None,
) -> float:
    """One pass: a backward, one clipping and a step of both optimizers a batch; returns the mean loss."""
    losses = []
    model.train()
    for batch in batches:
        for one in optimizers:
            one.zero_grad()
        try:
            value = loss(model, batch)
        except NotFiniteError as error:  # a butterfly met it before the loss did
            raise FloatingPointError(f"{error}; lower the rate of the operations") from error
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"the loss became {losses[-1]} in batch {len(losses)} of an epoch; lower the rate of the operations"
            )
        value.backward()  # type: ignore[no-untyped-call]
        if gradient_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), gradient_clip)
        for one in optimizers:
            one.step()
    if not losses:
        raise ValueError("`batches` must give at least one batch in each epoch, got none; a list or a loader does")
    return sum(losses) / len(losses)
