"""Families of structured matrices by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from seqkit.checks import check_choice, check_keys
from seqkit.structured.matrix import StructuredMatrix

__all__ = ["get_structure", "register_structure", "structure_names", "structure_options"]

_STRUCTURES: dict[str, type[StructuredMatrix]] = {}
S = TypeVar("S", bound=type[StructuredMatrix])
NO_OPTIONS = ("in_features", "out_features", "device", "dtype")


def register_structure(name: str) -> Callable[[S], S]:
    """Class decorator that makes a family known by name to `project`, `StructuredLinear` and `best_fit`.

    Args:
        name: Name in configurations, such as "monarch".

    Raises:
        ValueError: the name is already taken.

    Example:
        >>> from seqkit.structured import LowRank
        >>> register_structure("low_rank")(LowRank) is LowRank  # the same class again is no harm
        True
    """

    def register(cls: S) -> S:
        if name in _STRUCTURES and _STRUCTURES[name] is not cls:
            raise ValueError(f"a structure named {name!r} is already registered: {_STRUCTURES[name].__qualname__}")
        _STRUCTURES[name] = cls
        return cls

    return register


def structure_names() -> list[str]:
    """Names of the registered families, sorted.

    Example:
        >>> "low_rank" in structure_names()
        True
    """
    return sorted(_STRUCTURES)


def get_structure(name: str) -> Callable[..., StructuredMatrix]:
    """Class of the family with this name.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    Example:
        >>> get_structure("low_rank").__name__
        'LowRank'
    """
    return structure_class(name)


def structure_class(name: str) -> type[StructuredMatrix]:
    """The same, typed as a class and not as what makes a matrix from sizes and options."""
    return _STRUCTURES[check_choice("structure", name, structure_names())]


def structure_options(name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Options of a family with their defaults, overridden by those given; sizes, device and dtype are not among them.

    Args:
        name: Name of a registered family.
        given: Options to override.

    Raises:
        ValueError: an option that this family does not have.

    Example:
        >>> structure_options("low_rank")
        {'rank': None}
    """
    parameters = inspect.signature(get_structure(name)).parameters
    defaults = {key: p.default for key, p in parameters.items() if key not in NO_OPTIONS}
    check_keys(f"structure {name}", given or {}, defaults)
    return {**defaults, **(given or {})}
