"""Puts operations in place of a model's convolutions, and tells the parameters of both kinds apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice
from seqkit.structured.replace import Select, put
from seqkit.structured.xd.convolution import XDConv1d, XDConv2d
from seqkit.structured.xd.layer import XDConv
from seqkit.structured.xd.refusals import Depth

__all__ = [
    "Patched",
    "PatchedLayer",
    "freeze_operations",
    "model_parameters",
    "operation_layers",
    "operation_parameters",
    "patch_convolutions",
    "release_operations",
]

LIMITS = {torch.float32: 1e-4, torch.float64: 1e-10}


class PatchedLayer(NamedTuple):
    """One replaced convolution.

    Args:
        name: Its name in the model.
        size: Size of its input along each axis.
        circle: Places of the transforms along each axis.
        n_operation_parameters: Real numbers in its K, L and M.
        error: RMS of the difference between its output and the convolution's, by the RMS of the latter.

    Example:
        >>> PatchedLayer("0", (60,), (64,), 1152, 1e-7).circle
        (64,)
    """

    name: str
    size: tuple[int, ...]
    circle: tuple[int, ...]
    n_operation_parameters: int
    error: float


class Patched(NamedTuple):
    """What `patch_convolutions` did.

    Args:
        layers: The replaced convolutions, in the order of the model.
        kept: Names of convolutions that stay what they are, and why.

    Example:
        >>> print(Patched([PatchedLayer("0", (60,), (64,), 1152, 1e-7)], {"2": "not selected"}))
        1 operations, 1152 numbers in K, L and M
          0: 60 on a circle of 64, 1152 numbers, error 1.0e-07
          2: kept, not selected
    """

    layers: list[PatchedLayer]
    kept: dict[str, str]

    def __str__(self) -> str:
        """A line for each layer."""
        total = sum(layer.n_operation_parameters for layer in self.layers)
        lines = [f"{len(self.layers)} operations, {total} numbers in K, L and M"]
        for name, size, circle, count, error in self.layers:
            shown = " x ".join(str(one) for one in size), " x ".join(str(one) for one in circle)
            lines.append(f"  {name}: {shown[0]} on a circle of {shown[1]}, {count} numbers, error {error:.1e}")
        lines += [f"  {name}: kept, {why}" for name, why in self.kept.items()]
        return "\n".join(lines)


def patch_convolutions(
    model: nn.Module,
    sample: Any,
    *,
    depth: Depth = 3,
    causal: str = "none",
    select: Select | None = None,
) -> Patched:
    """Replaces the convolutions inside a model by operations that equal them, in place.

    The model is run once on a sample to learn the size of every convolution's input. Weights and biases stay the same
    parameters, and the model computes what it computed before; K, L and M are frozen until `release_operations`.

    Args:
        model: Module whose `nn.Conv1d` and `nn.Conv2d` layers are replaced; it must not itself be the layer.
        sample: Input of the model, or a tuple of several. Its sizes become those of the operations.
        depth: Number of butterflies of K, L and M, or one number for all: 1 holds convolutions and what lies near, 3
            also permutations of what K, L and M meet.
        causal: "none", or "stack" for layers over time whose outputs must not depend on the future, see `XDConv1d`;
            two-dimensional ones are then refused.
        select: Which convolutions; all if None. Transposed and three-dimensional ones are never taken.

    Returns:
        The replaced layers with the relative error of each, and those that stay.

    Raises:
        ValueError: no convolution to replace, one that no operation equals, one that ran on several sizes, or an
            operation whose output is not the convolution's. The model is then unchanged.

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798).

    Cost: one run of the model, and one of each layer.

    Example:
        >>> model = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 3, padding=1))
        >>> report = patch_convolutions(model, torch.randn(2, 1, 16), depth=1)
        >>> [layer.name for layer in report.layers], model[0].is_convolution
        (['0', '2'], True)
    """
    check_choice("causal", causal, ("none", "stack"))
    found: dict[str, nn.Module] = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, nn.modules.conv._ConvNd)
    }
    inside = {id(layer.conv) for layer in operation_layers(model).values()}
    found = {name: layer for name, layer in found.items() if id(layer) not in inside}
    kept = {name: why for name, layer in found.items() if (why := reason_to_keep(name, layer, select))}
    wanted = {name: layer for name, layer in found.items() if name and name not in kept}
    if not wanted:
        raise ValueError(
            f"`model` must hold an nn.Conv1d or nn.Conv2d to replace, got {type(model).__name__} with "
            f"{'none that is selected' if select else 'none'}; operations start as convolutions"
        )
    inputs = inputs_of(model, sample, wanted)
    made: dict[int, nn.Module] = {}
    layers = []
    for name, conv in wanted.items():
        if name not in inputs:
            kept[name] = "the sample does not reach it"
            continue
        new = operation_for(name, conv, tuple(inputs[name].shape[-axes_in(conv) :]), depth, causal)
        error = compare(name, conv, new, inputs[name])
        made[id(conv)] = new.train(conv.training)
        count = sum(one.factors.numel() for one in new.matrices())
        layers.append(PatchedLayer(name, new.size, tuple(axis.n for axis in new.axes), count, error))
    if not made:
        raise ValueError("`sample` must reach a convolution of `model`, got one that reaches none; give another")
    put(model, made)
    return Patched(layers, kept)


def reason_to_keep(name: str, layer: nn.Module, select: Select | None) -> str | None:
    """Why a convolution is not replaced, or None."""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d):
        return f"no operation here replaces a {type(layer).__name__}"
    if select is not None and not select(name, layer):
        return "not selected"
    return None


def axes_in(conv: nn.Module) -> int:
    """Number of axes along which a layer convolves."""
    return 1 if isinstance(conv, nn.Conv1d) else 2


def operation_for(name: str, conv: nn.Module, size: tuple[int, ...], depth: Depth, causal: str) -> XDConv:
    """The operation that equals one convolution; a refusal says which layer it means."""
    try:
        if isinstance(conv, nn.Conv1d):
            return XDConv1d.from_convolution(conv, *size, depth=depth, causal=causal)
        if causal == "stack":
            raise ValueError("`causal` must be 'none' for layers in two dimensions, got 'stack'; leave them out")
        return XDConv2d.from_convolution(conv, size, depth=depth)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"layer {name}: {error}") from error


@torch.no_grad()
def inputs_of(model: nn.Module, sample: Any, layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Runs the model once, without a trace in its statistics, and returns the input of each layer."""
    seen: dict[str, Tensor] = {}
    sizes: dict[str, set[torch.Size]] = {}
    several: set[str] = set()

    def record(name: str, given: Tensor) -> None:
        spatial = given.shape[-axes_in(layers[name]) :]
        if sizes.setdefault(name, {spatial}) != {spatial}:
            several.add(name)
        seen[name] = given

    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, named, name=name: record(name, (args[0] if args else named["input"]).detach()),
            with_kwargs=True,
        )
        for name, layer in layers.items()
    ]
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()  # so that running means and random numbers stay what they are
        model(*sample) if isinstance(sample, tuple) else model(sample)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    if several:
        raise ValueError(
            f"layer {min(several)}: its input must have one size, got several in one run of the model; "
            "leave it out with `select`"
        )
    return seen


@torch.no_grad()
def compare(name: str, conv: nn.Module, new: XDConv, x: Tensor) -> float:
    """Relative error of an operation's output by butterflies and, frozen, by FFT; refuses one above rounding."""
    wanted = conv(x)
    scale = wanted.square().mean().sqrt().clamp(min=torch.finfo(wanted.dtype).tiny)
    errors = [float((new(x) - wanted).square().mean().sqrt() / scale)]
    freeze_operations(new)
    errors.append(float((new(x) - wanted).square().mean().sqrt() / scale))
    if not max(errors) <= LIMITS[wanted.dtype]:
        raise ValueError(
            f"layer {name}: the operation must give what the convolution gives, got a relative error of "
            f"{max(errors):.1e}; its input may hold values that are not finite, or its class changes what nn.Conv does"
        )
    return max(errors)


def operation_layers(model: nn.Module) -> dict[str, XDConv]:
    """The operations of a model by name.

    Example:
        >>> list(operation_layers(nn.Sequential(nn.ReLU(), XDConv1d(1, 1, 3, length=8))))
        ['1']
    """
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, XDConv)}


def operation_parameters(model: nn.Module) -> list[nn.Parameter]:
    """K, L and M of all operations of a model: with `model_parameters` all of its parameters, each once.

    Example:
        >>> len(operation_parameters(XDConv1d(1, 1, 3, length=8)))
        3
    """
    found = {one.factors: None for layer in operation_layers(model).values() for one in layer.matrices()}
    return list(found)


def model_parameters(model: nn.Module) -> list[nn.Parameter]:
    """All parameters of a model but K, L and M of its operations: the weights.

    Example:
        >>> len(model_parameters(XDConv1d(1, 1, 3, length=8)))  # weight and bias of the convolution
        2
    """
    operations = {id(one) for one in operation_parameters(model)}
    return [one for one in model.parameters() if id(one) not in operations]


def freeze_operations(model: nn.Module) -> None:
    """Lets K, L and M be trained no longer; operations that were never changed are computed by FFT.

    Example:
        >>> layer = XDConv1d(1, 1, 3, length=8)
        >>> freeze_operations(layer)
        >>> layer.is_convolution
        True
    """
    for one in operation_parameters(model):
        one.requires_grad_(False)


def release_operations(model: nn.Module) -> None:
    """Lets K, L and M be trained: from now on they are computed as butterflies.

    Example:
        >>> layer = XDConv1d(1, 1, 3, length=8)
        >>> freeze_operations(layer)
        >>> release_operations(layer)
        >>> layer.is_convolution
        False
    """
    for one in operation_parameters(model):
        one.requires_grad_(True)
