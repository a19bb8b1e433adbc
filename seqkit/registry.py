"""Classes by the name that configurations and the command line give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from seqkit.checks import check_choice, check_keys, check_whole
from seqkit.extensions import claim, load_plugins, look_up

__all__ = ["Registry"]

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


class Registry(Generic[T]):
    """Classes of one kind by name, and the options of each: what its constructor takes, with the defaults.

    Args:
        kind: What errors call it, such as "mixer".
        no_options: Arguments of a constructor that a configuration does not give, such as "d_model".

    Example:
        >>> class Pair:
        ...     def __init__(self, d_model: int, order: int = 2) -> None: ...
        >>> pairs: Registry[Pair] = Registry("pair", no_options=("d_model",))
        >>> pairs.register("plain")(Pair) is Pair
        True
        >>> pairs.options("plain", {"order": 3})
        {'order': 3}
    """

    def __init__(self, kind: str, *, no_options: tuple[str, ...]) -> None:
        self.kind = kind
        self.no_options = no_options
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator that enters a class; the same class under its name again is no harm.

        Raises:
            ValueError: the name is taken by another class, or the class lacks what its kind must define.
        """

        def enter(cls: C) -> C:
            check_whole(self.kind, cls)
            if self._classes.get(name, cls) is not cls:
                raise ValueError(
                    f"a {self.kind} named {name!r} is already registered: {self._classes[name].__qualname__}; "
                    "choose another name"
                )
            if name not in self._classes:
                self._classes[name] = cls
                claim(self.kind, name, cls.__module__)
            return cls

        return enter

    def names(self) -> list[str]:
        """Names in the order in which they were entered, those of installed packages among them."""
        load_plugins()
        return list(self._classes)

    def get(self, name: str) -> type[T]:
        """Class of this name.

        Raises:
            ValueError: there is none, also of installed packages; the sentence names the nearest.
        """
        look_up(name, self._classes)
        return self._classes[check_choice(self.kind, name, self._classes, own=True)]

    def options(self, name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """Options of a class with their defaults, overridden by those given.

        Raises:
            ValueError: no such class, or an option that it does not have.
        """
        parameters = inspect.signature(self.get(name)).parameters
        defaults = {key: p.default for key, p in parameters.items() if key not in self.no_options}
        check_keys(f"{self.kind} {name}", given or {}, defaults)
        return {**defaults, **(given or {})}
