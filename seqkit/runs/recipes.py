"""Settings that are good for a data set: what `seqkit train --data NAME` uses when nothing else is said."""

from __future__ import annotations

from typing import Any

__all__ = ["recipe"]

Sections = dict[str, dict[str, Any]]

_RECIPES: dict[str, Sections] = {}


def recipe(data: str, model: str | None = None) -> Sections:
    """Sections `data`, `model` and `training` of the recipe for a data set; empty where there is none.

    Args:
        data: Name of the data set.
        model: Name of the preset that the user chose; None for the recipe's own.

    Example:
        >>> sorted(recipe("folder"))
        ['data', 'model', 'training']
    """
    sections = {name: dict(_RECIPES.get(data, {}).get(name, {})) for name in ("data", "model", "training")}
    if model is not None:
        sections["model"].pop("name", None)
    return sections
