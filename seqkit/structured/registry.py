"""Families of structured matrices by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from seqkit.registry import Registry
from seqkit.structured.matrix import StructuredMatrix

__all__ = ["get_structure", "register_structure", "structure_names", "structure_options"]

NO_OPTIONS = ("in_features", "out_features", "device", "dtype")
_STRUCTURES: Registry[StructuredMatrix] = Registry("structure", no_options=NO_OPTIONS)
S = TypeVar("S", bound=type[StructuredMatrix])


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
    return _STRUCTURES.register(name)


def structure_names() -> list[str]:
    """Names of the registered families, sorted.

    Example:
        >>> "low_rank" in structure_names()
        True
    """
    return sorted(_STRUCTURES.names())


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
    return _STRUCTURES.get(name)


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
    return _STRUCTURES.options(name, given)
