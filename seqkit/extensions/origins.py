"""Where a registered name comes from: a file, a module or a package that is not seqkit's."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["Origin", "claim", "file_origin", "importing", "origin_of", "registered_by"]


@dataclass(frozen=True)
class Origin:
    """What has to be imported for a name to be known.

    Args:
        kind: "file", "module", "package" for an installed one that registers by itself, or "script" for the program
            that runs, which cannot be imported again.
        name: Path of the file, or name of the module or package.
        mark: SHA-256 of a file, version of a package.

    Example:
        >>> Origin("module", "bells.layers").name
        'bells.layers'
    """

    kind: str
    name: str
    mark: str = ""


_CLAIMS: dict[tuple[str, str], Origin] = {}
_ACTIVE: ContextVar[Origin | None] = ContextVar("active", default=None)


def claim(what: str, name: str, module: str) -> None:
    """Remembers where a name comes from that is registered for the first time; seqkit's own are not remembered.

    Args:
        what: Its kind, such as "mixer".
        name: The name.
        module: Name of the module whose code registers it.

    Example:
        >>> claim("mixer", "gru", "seqkit.nn.recurrent")
        >>> origin_of("mixer", "gru") is None
        True
    """
    if module.partition(".")[0] == "seqkit":
        return
    _CLAIMS[what, name] = _ACTIVE.get() or _of_module(module)


def origin_of(what: str, name: str) -> Origin | None:
    """Where a registered name comes from; None for seqkit's own and for names that nobody registered.

    Example:
        >>> origin_of("model", "s4d") is None
        True
    """
    return _CLAIMS.get((what, name))


def registered_by(origin: Origin) -> list[str]:
    """Kind and name of everything that came from there, such as "mixer bells".

    Example:
        >>> registered_by(Origin("module", "no.such.module"))
        []
    """
    return [f"{what} {name}" for (what, name), one in _CLAIMS.items() if one == origin]


@contextmanager
def importing(origin: Origin) -> Iterator[None]:
    """What is registered inside comes from here, whichever modules it is spread over."""
    token = _ACTIVE.set(origin)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def file_origin(path: Path) -> Origin:
    """The origin that a file is, as it is now."""
    return Origin("file", str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def _of_module(name: str) -> Origin:
    """The origin of what a module registers that Python imported by itself."""
    module = sys.modules.get(name)
    path = _lone_file(module)
    if name == "__main__":
        return Origin("script", str(path or ""))
    return Origin("module", name) if path is None or "." in name else file_origin(path)


def _lone_file(module: ModuleType | None) -> Path | None:
    """File of a module that lies alone in a folder of one's own; None for one of a package or an installed one."""
    file = getattr(module, "__file__", None)
    if not file or Path(file).suffix != ".py" or Path(file).name == "__init__.py":
        return None
    path = Path(file).resolve()
    installed = (sysconfig.get_path(place) for place in ("purelib", "platlib"))
    return path if path.is_file() and not any(path.is_relative_to(folder) for folder in installed) else None
