"""Which layers of a model are structured, as plain values for a file beside its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seqkit.structured.linear import StructuredLinear
from seqkit.structured.replace import densify, put
from seqkit.structured.xd.patch import freeze_operations, operation_for, operation_layers

__all__ = ["describe_structured", "restore_structured"]

OPERATION = "xd"


def describe_structured(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Family and options of each structured layer, XD-operations included, by its name, such as JSON can hold.

    Example:
        >>> describe_structured(nn.Sequential(StructuredLinear(8, 8, "low_rank", rank=2)))
        {'0': {'structure': 'low_rank', 'options': {'rank': 2}}}
    """
    found: dict[str, dict[str, Any]] = {
        name: {"structure": layer.structure, "options": dict(layer.options)}
        for name, layer in model.named_modules()
        if isinstance(layer, StructuredLinear)
    }
    for name, layer in operation_layers(model).items():
        options = {"size": list(layer.size), "depth": list(layer.depth), "causal": layer.causal}
        found[name] = {"structure": OPERATION, "options": options}
    return found


def restore_structured(model: nn.Module, description: dict[str, dict[str, Any]]) -> None:
    """Puts structured layers where a description has them, for weights that are loaded next.

    They take the places of dense layers, and XD-operations those of convolutions.

    Args:
        model: Model as its configuration builds it. Structured layers that it already has become what the
            description says, and dense where it is silent of them.
        description: What `describe_structured` gave.

    Raises:
        ValueError: a name that is no dense layer or convolution of the model, or a family or options that cannot be.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8))
        >>> restore_structured(model, {"0": {"structure": "low_rank", "options": {"rank": 2}}})
        >>> model[0].matrix.rank
        2
    """
    wanted = {name: what for name, what in description.items() if not _is(model, name, what)}
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):  # what is drawn is overwritten
        densify(model, select=lambda name, _: name in wanted or name not in description)
        layers = dict(model.named_modules())
        made: dict[int, nn.Module] = {}
        for name, what in wanted.items():
            layer = layers.get(name)
            if what["structure"] == OPERATION:
                made[id(layer)] = restored_operation(name, layer, **what["options"])
                continue
            if type(layer) is not nn.Linear:
                raise ValueError(f"`description` must name dense layers of the model, got {name!r}, which is none")
            new = StructuredLinear(
                layer.in_features,
                layer.out_features,
                what["structure"],
                layer.bias is not None,
                device=layer.weight.device,
                dtype=layer.weight.dtype,
                **what["options"],
            )
            made[id(layer)] = new.train(layer.training)
    put(model, made)


def _is(model: nn.Module, name: str, what: dict[str, Any]) -> bool:
    """Whether a layer is of this family already, with these options."""
    layer = dict(model.named_modules()).get(name)
    return isinstance(layer, StructuredLinear) and (layer.structure, layer.options) == (
        what["structure"],
        what["options"],
    )


def restored_operation(name: str, layer: nn.Module | None, size: list[int], depth: list[int], causal: str) -> nn.Module:
    """The operation in place of a convolution, frozen, as it is when it starts."""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d):
        raise ValueError(f"`description` must name convolutions of the model for operations, got {name!r}")
    made = operation_for(name, layer, tuple(size), (depth[0], depth[1], depth[2]), causal)
    freeze_operations(made)
    return made.train(layer.training)
