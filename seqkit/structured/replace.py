"""Swaps the dense layers of any module for structured ones, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from seqkit.checks import check_finite
from seqkit.structured.linear import StructuredLinear
from seqkit.structured.matrix import fit_options
from seqkit.structured.moments import Moments, input_moments
from seqkit.structured.project import split_options
from seqkit.structured.registry import get_structure, structure_class, structure_names

__all__ = ["Select", "densify", "replace_linear"]

Select = Callable[[str, nn.Module], bool]
"""Takes a layer's name and the layer; says whether it is meant."""


def replace_linear(
    model: nn.Module,
    structure: str = "monarch",
    *,
    select: Select | None = None,
    fresh: bool = False,
    data: Iterable[Any] | Mapping[str, Moments] | None = None,
    **options: Any,
) -> list[str]:
    """Replaces `nn.Linear` layers inside a module by structured ones, in place.

    Biases stay the same parameters. A layer that stands in several places is replaced in all of them by one.

    With `data` the new weights are nearest where the layer's inputs are: they keep E|(W - M) x|^2 small instead of the
    Frobenius norm, and the bias takes up the mean of what changes. Activations fill few of their directions, so this
    loses far less than the weights alone would; docs/structured.md has numbers.

    Args:
        model: Module whose layers are replaced; it must not itself be the layer.
        structure: Name of a registered family.
        select: Which layers, by any of the names that a layer has; None for those that the structure makes smaller.
            Layers of a class derived from `nn.Linear`, whose owners read their weight, layers that share their weight
            with another module, and those whose weight or bias is computed (parametrized, normalised, pruned) are
            never taken.
        fresh: Whether to draw the new weights, as for training from the start, instead of taking the nearest to the
            old ones. Where a family's nearest is far off, its rows are also smaller: drawing keeps their size.
        data: What the model reads, as `input_moments` takes it, or what that returned. The model runs on it once,
            before anything is replaced. For families whose fit takes a `covariance`.
        **options: Options of the family and of its fit.

    Returns:
        Names of the replaced layers, of each its first.

    Raises:
        ValueError: an unknown family or option, no layer to replace, a weight that is not finite, or data that do not
            reach a layer, or that a family has no use for. The model is then unchanged.

    Example:
        >>> model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
        >>> replace_linear(model, "monarch")
        ['0']
        >>> model[0].matrix.density
        0.125
    """
    shape, _ = split_options(structure, options)
    chosen = select or (lambda name, layer: saves(layer, structure, shape))
    free, aliases = free_layers(model), names_of_layers(model)
    wanted = [(name, layer) for name, layer in free if any(chosen(alias, layer) for alias in aliases[id(layer)])]
    if not wanted:
        why = refusal(free, structure, shape)
        raise ValueError(
            f"`model` must hold an nn.Linear layer to replace, got {type(model).__name__} with none that "
            f"{'is selected' if select else f'{structure!r} makes smaller'}{why}; give `select` or other options"
        )
    for name, layer in () if fresh else wanted:
        check_weight(f"{name}.weight", layer.weight)
    owners = owners_of(model)
    moments = moments_of(model, structure, [name for name, _ in wanted], data, fresh)
    made: dict[int, nn.Module] = {}
    shifts: list[tuple[Tensor, Tensor]] = []
    for name, layer in wanted:
        known = moments.get(name)
        own_bias = layer.bias is not None and owners[id(layer.bias)] == 1  # which may take up a mean
        made[id(layer)] = new = new_layer(layer, structure, fresh, options | covariance(known, own_bias))
        if known is not None and own_bias:
            shifts.append((layer.bias, (layer.weight - new.weight).detach() @ known.mean.to(layer.weight)))
    for bias, shift in shifts:  # once every layer is made, so that a failure changes nothing
        bias.data += shift
    put(model, made)
    return [name for name, _ in wanted]


def densify(model: nn.Module, *, select: Select | None = None) -> list[str]:
    """Replaces structured layers by `nn.Linear` layers that compute the same, in place; biases stay what they are.

    Args:
        model: Module whose layers are replaced.
        select: Which layers; all if None.

    Returns:
        Names of the replaced layers; none is no error.

    Example:
        >>> model = nn.Sequential(StructuredLinear(16, 16, "low_rank"), nn.Tanh())
        >>> densify(model), type(model[0]).__name__
        (['0'], 'Linear')
    """
    aliases = names_of_layers(model)
    wanted = [
        (name, layer)
        for name, layer in model.named_modules()
        if name and isinstance(layer, StructuredLinear)
        if select is None or any(select(alias, layer) for alias in aliases[id(layer)])
    ]
    made: dict[int, nn.Module] = {}
    for _, layer in wanted:
        dense = layer.to_linear()
        if layer.bias is not None:
            dense.bias = layer.bias
        made[id(layer)] = dense
    put(model, made)
    return [name for name, _ in wanted]


def moments_of(
    model: nn.Module,
    structure: str,
    names: Sequence[str],
    data: Iterable[Any] | Mapping[str, Moments] | None,
    fresh: bool,
) -> Mapping[str, Moments]:
    """Moments of the inputs of the named layers; none without data."""
    if data is None:
        return {}
    if fresh:
        raise ValueError("`data` must be None with fresh=True, which draws new weights; leave one of them out")
    if "covariance" not in fit_options(structure_class(structure)):
        able = [name for name in structure_names() if "covariance" in fit_options(structure_class(name))]
        raise ValueError(
            f"`data` must be None for {structure!r}, whose fit weighs all inputs alike; {' or '.join(able)} take it"
        )
    moments = data if isinstance(data, Mapping) else input_moments(model, data)
    missing = next((name for name in names if name not in moments), None)
    if missing is not None:
        raise ValueError(
            f"`data` must reach every layer that is replaced, got nothing that {missing!r} reads; leave that layer out"
        )
    return moments


def covariance(moments: Moments | None, own_bias: bool) -> dict[str, Tensor]:
    """How the fit weighs errors: a bias that is the layer's own takes up the error at the mean."""
    if moments is None:
        return {}
    return {"covariance": moments.covariance if own_bias else moments.second}


def free_layers(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Linear layers that nothing keeps from being replaced."""
    owners = owners_of(model)
    return [
        (name, layer)
        for name, layer in model.named_modules()
        if name and isinstance(layer, nn.Linear) and reason_to_stay(layer, owners) is None
    ]


def reason_to_stay(layer: nn.Linear, owners: Counter[int]) -> str | None:
    """Why a linear layer cannot be replaced, or None."""
    if parametrize.is_parametrized(layer) or not {"weight", "bias"} <= set(layer._parameters):
        return "its weight or bias is computed from others"
    if type(layer) is not nn.Linear:
        return f"its owner may read its weight, as it is a {type(layer).__name__}"
    return "its weight is shared" if owners[id(layer.weight)] > 1 else None


def owners_of(model: nn.Module) -> Counter[int]:
    """How many modules hold each parameter."""
    owners: Counter[int] = Counter()
    for module in model.modules():
        owners.update(id(parameter) for parameter in module.parameters(recurse=False))
    return owners


def names_of_layers(model: nn.Module) -> dict[int, list[str]]:
    """All names of each module, which has several where it stands in several places."""
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    return names


def check_weight(name: str, weight: Tensor) -> None:
    """Refuses weights that no matrix is near to."""
    if weight.is_meta:
        raise ValueError(f"`{name}` must hold numbers, got the device meta; load them first, or draw with fresh=True")
    check_finite(name, weight.detach(), "no structured matrix is near to it")


def refusal(layers: Sequence[tuple[str, nn.Linear]], structure: str, shape: dict[str, Any]) -> str:
    """What the family says to the first layer, in brackets, if it refuses its sizes or options."""
    for _, layer in layers[:1]:
        try:
            get_structure(structure)(layer.in_features, layer.out_features, **shape, device="meta")
        except ValueError as error:
            return f" ({error})"
    return ""


def saves(layer: nn.Module, structure: str, shape: dict[str, Any]) -> bool:
    """Whether a family has fewer parameters for this layer; one that cannot serve its sizes has not."""
    try:
        return get_structure(structure)(layer.in_features, layer.out_features, **shape, device="meta").density < 1
    except ValueError:
        return False


def new_layer(layer: nn.Linear, structure: str, fresh: bool, options: dict[str, Any]) -> StructuredLinear:
    """The structured layer for a dense one, with the same bias parameter."""
    if fresh:
        new = StructuredLinear(
            layer.in_features,
            layer.out_features,
            structure,
            bias=False,
            **split_options(structure, options)[0],
            device=layer.weight.device,
            dtype=layer.weight.dtype,
        ).train(layer.training)
    else:
        new = StructuredLinear.from_linear(layer, structure, **options)
    new.bias = layer.bias
    new.matrix.requires_grad_(layer.weight.requires_grad)
    return new


def put(model: nn.Module, made: dict[int, nn.Module]) -> None:
    """Sets each new layer in every place where the old one stands; order and names of the children stay."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if id(child) in made:
                parent._modules[name] = made[id(child)]
