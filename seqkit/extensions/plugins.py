"""Installed packages that register names: found by their entry points, imported when a name is looked for."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from seqkit.extensions.origins import Origin, importing

__all__ = ["GROUP", "ExtensionWarning", "load_plugins", "look_up"]

GROUP = "seqkit.plugins"
"""Group of the entry points; each names a module, which registers, or a function without arguments that does."""


class ExtensionWarning(UserWarning):
    """Code of one's own or of a package is not what was expected; work goes on."""


_TRIED: set[EntryPoint] = set()


def load_plugins() -> None:
    """Imports what installed packages offer; each once in a process, and one that fails is a warning.

    Example:
        >>> load_plugins()
    """
    for entry in _entries():
        if entry in _TRIED:
            continue
        _TRIED.add(entry)  # before, as what it imports may look for names itself
        package = entry.name if entry.dist is None else entry.dist.name
        version = "" if entry.dist is None else entry.dist.version
        try:
            with importing(Origin("package", package, version)):
                found = entry.load()
                if entry.attr:
                    found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = (str(error).splitlines() or [""])[0]
            warnings.warn(
                f"the package {package} could not be loaded ({type(error).__name__}: {said}), so the names that it "
                "registers are unknown; mend or uninstall it",
                ExtensionWarning,
                stacklevel=2,
            )


def look_up(name: Any, names: Container[str]) -> bool:
    """Whether a name is there, at the latest when installed packages have registered theirs.

    Args:
        name: The name; what is no text is none.
        names: What is registered, such as the dictionary itself, which packages add to.

    Example:
        >>> look_up("gru", {"gru": 1, "lstm": 2}), look_up("nobody's", {"gru": 1})
        (True, False)
    """
    if not isinstance(name, str):
        return False  # from a damaged file, say; whatever it is, nothing is called so
    if name not in names:
        load_plugins()
    return name in names


@functools.cache
def _entries() -> tuple[EntryPoint, ...]:
    """Looked for once, as that reads a file of every installed package; in an order that does not change."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)))
