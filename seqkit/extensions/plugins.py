"""Installed packages that register names: found by their entry points, imported when a name is looked for."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from seqkit.extensions.origins import Origin, importing, registered_by

__all__ = ["GROUP", "ExtensionWarning", "Plugin", "find_plugins", "load_plugins", "look_up"]

GROUP = "seqkit.plugins"
"""Group of the entry points; each names a module, which registers, or a function without arguments that does."""


class ExtensionWarning(UserWarning):
    """Code of one's own or of a package is not what was expected; work goes on."""


class Plugin(NamedTuple):
    """An installed package that registers names.

    Args:
        package: Its name.
        version: Its version.
        registers: Kind and name of what it registered, such as "mixer bells".
        error: Why it could not be loaded, as a sentence; empty where it was.
    """

    package: str
    version: str
    registers: tuple[str, ...]
    error: str


_TRIED: dict[EntryPoint, str] = {}  # and why one could not be loaded


def load_plugins() -> None:
    """Imports what installed packages offer; each once in a process, and one that fails is a warning.

    Example:
        >>> load_plugins()
    """
    for entry in _entries():
        if entry in _TRIED:
            continue
        _TRIED[entry] = ""  # before, as what it imports may look for names itself
        origin = _origin(entry)
        try:
            with importing(origin):
                found = entry.load()
                if entry.attr:
                    found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = (str(error).splitlines() or [""])[0]
            _TRIED[entry] = (
                f"the package {origin.name} could not be loaded ({type(error).__name__}: {said}), so the names that it "
                "registers are unknown; mend or uninstall it"
            )
            warnings.warn(_TRIED[entry], ExtensionWarning, stacklevel=2)


def find_plugins() -> list[Plugin]:
    """Installed packages that register names, after importing them: what each registered, or why it could not.

    Example:
        >>> [plugin.package for plugin in find_plugins() if plugin.error]
        []
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtensionWarning)  # what went wrong is in the answer
        load_plugins()
    errors: dict[Origin, list[str]] = {}
    for entry in _entries():
        errors.setdefault(_origin(entry), []).append(_TRIED[entry])
    return [
        Plugin(origin.name, origin.mark, tuple(registered_by(origin)), next(filter(None, words), ""))
        for origin, words in errors.items()
    ]


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


def _origin(entry: EntryPoint) -> Origin:
    """The package that an entry point belongs to."""
    return (
        Origin("package", entry.name) if entry.dist is None else Origin("package", entry.dist.name, entry.dist.version)
    )


@functools.cache
def _entries() -> tuple[EntryPoint, ...]:
    """Looked for once, as that reads a file of every installed package; in an order that does not change."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)))
