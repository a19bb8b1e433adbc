"""Attention of trained models, replaced in place by a cheaper one and put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqkit.attention.replacing.calibrate import Recorder, best_recipe
from seqkit.attention.replacing.recipe import METHODS, Recipe
from seqkit.attention.replacing.swapping import all_attention, find_attention, give, is_replaced, matches
from seqkit.checks import check_choice

__all__ = ["Replacement", "replace", "restore"]


class Replacement(NamedTuple):
    """What `replace` did to one module.

    Args:
        name: Of the module in the model.
        method: "scatterbrain", "performer", "lsh", "local" or "exact".
        memory: Share of the keys that a query's memory may hold; None where numbers were given.
        recipe: All that the method was told, with what calibration chose; None for "exact".
    """

    name: str
    method: str
    memory: float | None
    recipe: Recipe | None


def replace(
    model: nn.Module,
    method: str = "scatterbrain",
    *,
    memory: float | None = None,
    n_keys: int | None = None,
    n_features: int | None = None,
    share: float | None = None,
    keys: str | None = None,
    rounds: int = 8,
    names: str | Sequence[str] = "*",
    seed: int = 0,
    calibration: Any = None,
) -> list[Replacement]:
    """Replaces the attention of a trained model in place by one of less memory, without training.

    It finds `torch.nn.MultiheadAttention` and the mixer `attention` of this toolkit, keeps them and their weights where
    they are, and changes how they attend: parameters, names in `state_dict`, hooks and optimizers stay as they were.
    Memory is counted as in `Recipe`: keys, and features twice, per query and head.

    Attention across two series (`multihead_attn` of torch's decoder layers) is left as it is, as are classes derived
    from those two. A model with replaced attention maps whole series; it does not stream. What is saved are the
    weights, which are the original's.

    Args:
        model: Any module that holds attention, such as a `SequenceModel`, or `model_` of a fitted estimator.
        method: "scatterbrain", "performer" (features alone), "lsh" (hashed keys alone), "local" (the keys next to each
            query alone), or "exact", which puts the original back.
        memory: Share of the keys that may be held per query, in (0, 1]; 1 / 32 if no sizes are given either.
        n_keys: Keys per query, instead of `memory`. As many as samples or more make attention exact.
        n_features: Random features, instead of `memory`.
        share: Part of the memory for keys, Scatterbrain's alone; 1/2 if None, or what calibration finds.
        keys: How keys are found, "hashed", "local", "both" or "strongest" (see `find_keys`), for "scatterbrain" and
            "lsh"; if None "both" and "hashed", or what calibration finds for "scatterbrain".
        rounds: Independent hashes, where keys are hashed.
        names: Pattern of module names such as "layers.1.*", or several.
        seed: Of hashes and features; each module has its own.
        calibration: Inputs of the model as it takes them (one tensor, a tuple, or a mapping of names): run once through
            the exact model in evaluation mode, to choose `share` and `keys` of each module by the error of its output.
            A share of 0 or 1 may be chosen too: the method is then "performer", "lsh" or "local".

    Returns:
        What was done, in the order of the model's modules.

    Raises:
        ValueError: nothing is found, a module that cannot be replaced, or options that do not go together.

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343), where a trained vision transformer's attention is replaced.

    Example:
        >>> import torch
        >>> layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
        >>> [(one.name, one.method, one.memory) for one in replace(layer, memory=0.1)]
        [('self_attn', 'scatterbrain', 0.1)]
        >>> layer(torch.randn(1, 200, 16)).shape
        torch.Size([1, 200, 16])
        >>> restore(layer)
        ['self_attn']
    """
    check_choice("method", method, (*METHODS, "exact"))
    found = find_attention(model, names)
    given = {"n_keys": n_keys, "n_features": n_features, "share": share, "keys": keys, "calibration": calibration}
    if method == "exact":
        for name, value in {"memory": memory, **given}.items():
            if value is not None:
                raise ValueError(f"`{name}` must be left out for exact attention, got {value!r}")
        give(model, [module for _, module in found], [None] * len(found))
        return [Replacement(name, "exact", None, None) for name, _ in found]
    unused = {
        "share": method != "scatterbrain",
        "keys": method in ("performer", "local"),
        "calibration": method != "scatterbrain" or (share is not None and keys is not None),
    }
    for name, useless in unused.items():
        if useless and given[name] is not None:
            why = "where `share` and `keys` are given" if method == "scatterbrain" else f"for {method}"
            raise ValueError(f"`{name}` must be left out {why}, got one")
    if memory is None and n_keys is None and n_features is None:
        memory = 1 / 32
    if share is not None and memory is None:
        raise ValueError("`share` must come with `memory`, which it divides; leave it out where sizes are given")
    recipes = [
        Recipe(
            method=method,
            memory=memory,
            n_keys=n_keys,
            n_features=n_features,
            share=0.5 if share is None else share,
            keys=keys or ("hashed" if method == "lsh" else "both"),
            rounds=rounds,
            seed=seed + place,
        )
        for place in range(len(found))
    ]
    modules = [module for _, module in found]
    before = [module.__dict__.get("recipe") for module in modules]
    try:
        if calibration is not None:
            choice = {"shares": share is None and memory is not None, "keys": keys is None}
            recipes = _calibrated(model, modules, recipes, calibration, choice)
        give(model, modules, recipes)
    except BaseException:
        give(model, modules, before)
        raise
    return [
        Replacement(name, recipe.method, recipe.memory, recipe)
        for (name, _), recipe in zip(found, recipes, strict=True)
    ]


def restore(model: nn.Module, *, names: str | Sequence[str] = "*") -> list[str]:
    """Puts the original attention back, so that outputs are those from before `replace`, bit for bit.

    Args:
        model: A module in which attention was replaced.
        names: Pattern of module names, or several.

    Returns:
        Names of the modules whose attention had been replaced; none is no error.

    Example:
        >>> restore(nn.Linear(2, 2))
        []
    """
    found = [(name, module) for name, module in all_attention(model) if matches(name, names) and is_replaced(module)]
    give(model, [module for _, module in found], [None] * len(found))
    return [name for name, _ in found]


def _calibrated(
    model: nn.Module, modules: list[nn.Module], recipes: list[Recipe], inputs: Any, choice: dict[str, bool]
) -> list[Recipe]:
    """Recipes chosen on what each module is given when the exact model sees `inputs`."""
    recorders = [Recorder() for _ in modules]
    give(model, modules, recorders)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            if isinstance(inputs, Mapping):
                model(**inputs)
            else:
                model(*((inputs,) if isinstance(inputs, Tensor) else inputs))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return [
        best_recipe(recipe, recorder.calls, **choice) if recorder.calls else recipe
        for recipe, recorder in zip(recipes, recorders, strict=True)
    ]
