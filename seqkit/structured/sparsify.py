"""A model's dense layers made sparse within a budget, and what each became."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy

from seqkit.structured.budget import choices, smallest_share
from seqkit.structured.moments import Moments
from seqkit.structured.registry import structure_class
from seqkit.structured.replace import (
    Select,
    check_weight,
    free_layers,
    moments_of,
    names_of_layers,
    owners_of,
    reason_to_stay,
    replace_linear,
)

__all__ = ["SparseLayer", "Sparsified", "sparsify"]

HEADS = {"head", "heads", "classifier", "lm_head"}
NARROW = 32
"""Layers with a smaller side stay dense if not told otherwise: encoders of few channels, which a budget would ruin."""


class SparseLayer(NamedTuple):
    """One replaced layer.

    Args:
        name: Its name in the model.
        in_features: Columns.
        out_features: Rows.
        options: Options of the family.
        density: Numbers stored by numbers of the dense weight, as the layer itself counts them.
    """

    name: str
    in_features: int
    out_features: int
    options: dict[str, Any]
    density: float


class Sparsified(NamedTuple):
    """What `sparsify` did.

    Args:
        structure: Name of the family.
        layers: The replaced layers.
        kept: Names of linear layers that stay dense, and why.
        density: Numbers of all replaced weights by those that they had.
        model_density: Parameters of the whole model by those that it had.
    """

    structure: str
    layers: list[SparseLayer]
    kept: dict[str, str]
    density: float
    model_density: float

    def __str__(self) -> str:
        """A line for each layer."""
        lines = [f"{self.structure}: {self.density:.1%} of {len(self.layers)} layers, {self.model_density:.1%} of all"]
        for name, columns, rows, options, density in self.layers:
            given = ", ".join(f"{key}={value}" for key, value in options.items())
            lines.append(f"  {name}: {columns} to {rows}, {density:.1%} ({given})")
        lines += [f"  {name}: dense, {why}" for name, why in self.kept.items()]
        return "\n".join(lines)


def sparsify(
    model: nn.Module,
    budget: float = 0.25,
    structure: str = "pixelfly",
    *,
    skip: Select | Sequence[str] | None = None,
    fresh: bool = False,
    data: Iterable[Any] | Mapping[str, Moments] | None = None,
) -> Sparsified:
    """Replaces the dense layers of any module by structured ones that cost a share of them, in place.

    Each layer gets a budget in proportion to its dense cost, and the family's options that spend it best: for
    `pixelfly` a quarter on the low rank and the rest on the largest mask. Only `nn.Linear` layers are touched:
    embeddings, norms and convolutions stay what they are, and so do layers of derived classes, with shared weights, or
    whose weight or bias is computed.

    Args:
        model: Module whose layers are replaced; it must not itself be the layer.
        budget: Share of each layer's dense cost, between 0 and 1.
        structure: Name of a registered family.
        skip: Layers that stay dense: names of layers or of modules with all inside, or a function of name and layer; of
            a layer that stands in several places any of its names counts. If None, output layers: those inside a module
            named head, heads, classifier or lm_head, or where there is none, the last linear layer; and layers with
            fewer than 32 rows or columns, such as encoders of few channels, which have little to give and much to lose.
            An empty list skips none.
        fresh: Whether to draw new weights, for a training from the start, instead of taking those nearest to the old.
        data: What the model reads, as for `replace_linear`: new weights are then nearest where inputs are. Of a trained
            model this keeps far more than its weights alone do.

    Returns:
        The replaced layers with their true densities, and those that stay dense with the reason.

    Raises:
        ValueError: a budget outside 0 to 1 or too small for every layer, no layer to replace, a name to skip that the
            model does not have, lazy layers, an unknown family, a weight that is not finite, or data that do not reach
            a layer. The model is then unchanged.

    Source: Chen et al. 2021, Pixelated Butterfly (arXiv:2112.00029), the rule of thumb for budgets.

    Cost: one projection for each layer, in float64; none with `fresh`.

    Example:
        >>> model = nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256), nn.Linear(256, 10))
        >>> print(sparsify(model, 0.25))
        pixelfly: 24.6% of 2 layers, 25.2% of all
          0: 256 to 1024, 24.6% (block_size=16, n_factors=2, rank=12)
          2: 1024 to 256, 24.6% (block_size=16, n_factors=2, rank=12)
          3: dense, output layer
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < 1:
        raise ValueError(f"`budget` must be a share above 0 and below 1, got {budget!r}")
    structure_class(structure)
    unknown = next((name for name, parameter in model.named_parameters() if is_lazy(parameter)), None)
    if unknown is not None:
        raise ValueError(f"`model` must know all its sizes, got the lazy {unknown}; run the model once before")
    kept = skipped(model, skip)
    layers, owners = dict(free_layers(model)), owners_of(model)
    kept |= {
        name: reason_to_stay(layer, owners) or ""
        for name, layer in model.named_modules()
        if name and isinstance(layer, nn.Linear) and name not in layers and name not in kept
    }
    wanted = {name: layer for name, layer in layers.items() if name not in kept}
    if not wanted:
        raise ValueError(
            f"`model` must hold an nn.Linear layer to replace, got {type(model).__name__} with none that is not "
            "skipped; give `skip`, or a model with such layers"
        )
    plan = {name: choices(structure, layer.in_features, layer.out_features, budget) for name, layer in wanted.items()}
    kept |= {name: "too small for the budget" for name, options in plan.items() if options is None}
    chosen = {name: options for name, options in plan.items() if options is not None}
    if not chosen:
        least = min(smallest_share(structure, layer.in_features, layer.out_features) for layer in wanted.values())
        raise ValueError(
            f"`budget` must be at least {least:.3g} for {structure!r} to serve one of the {len(wanted)} layers, got "
            f"{budget!r}; raise it"
        )
    for name in () if fresh else chosen:
        check_weight(f"{name}.weight", wanted[name].weight)
    moments = moments_of(model, structure, list(chosen), data, fresh)
    return replaced(model, structure, chosen, kept, fresh, moments)


def replaced(
    model: nn.Module,
    structure: str,
    chosen: dict[str, dict[str, Any]],
    kept: dict[str, str],
    fresh: bool,
    moments: Mapping[str, Moments],
) -> Sparsified:
    """Carries a plan out."""
    before = sum(parameter.numel() for parameter in model.parameters())
    done: list[SparseLayer] = []
    for name, options in chosen.items():
        here: Select = lambda other, _, name=name: other == name  # type: ignore[misc]  # noqa: E731
        replace_linear(model, structure, select=here, fresh=fresh, data=moments or None, **options)
        layer = model.get_submodule(name)
        matrix: Any = layer.matrix
        done.append(SparseLayer(name, matrix.in_features, matrix.out_features, options, matrix.density))
    dense = sum(layer.in_features * layer.out_features for layer in done)
    stored = sum(layer.density * layer.in_features * layer.out_features for layer in done)
    after = sum(parameter.numel() for parameter in model.parameters())
    return Sparsified(structure, done, kept, stored / dense, after / before)


def skipped(model: nn.Module, skip: Select | Sequence[str] | None) -> dict[str, str]:
    """Names of the linear layers that are to stay dense, and why."""
    linear = {name: layer for name, layer in model.named_modules() if name and isinstance(layer, nn.Linear)}
    names = names_of_layers(model)
    aliases = {name: names[id(layer)] for name, layer in linear.items()}
    if skip is None:
        heads = [name for name in linear if any(HEADS & set(alias.split(".")) for alias in aliases[name])]
        narrow = [name for name, one in linear.items() if min(one.in_features, one.out_features) < NARROW]
        words = f"narrower than {NARROW}"
        return dict.fromkeys(narrow, words) | dict.fromkeys(heads or list(linear)[-1:], "output layer")
    if callable(skip):
        return {name: "skipped" for name, layer in linear.items() if any(skip(alias, layer) for alias in aliases[name])}
    skip = [skip] if isinstance(skip, str) else skip
    unknown = set(skip) - {alias for all_names in names.values() for alias in all_names}
    if unknown:
        raise ValueError(f"`skip` must name modules of the model, got {min(unknown)!r}, which it does not have")
    return {
        name: "skipped"
        for name in linear
        if any(f"{alias}.".startswith(f"{prefix}.") for alias in aliases[name] for prefix in skip)
    }
