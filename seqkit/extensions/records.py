"""What a run or a saved model needs that is not seqkit's, as plain values; it is asked for, and never run unasked."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqkit.extensions.code import given_code
from seqkit.extensions.origins import Origin, origin_of
from seqkit.extensions.plugins import ExtensionWarning

__all__ = ["import_options", "records_of", "require"]

_MARKS = {"file": "sha256", "module": "", "package": "version"}


def records_of(used: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """What has to be imported for these names to be known, as plain values for YAML and JSON.

    Args:
        used: Pairs of kind and name, such as ("mixer", "bells").

    Returns:
        One mapping for each file, module or package: its name, its mark, and the names that it registers. None for
        seqkit's own names, nor for those of the script that runs.

    Example:
        >>> records_of([("mixer", "gru"), ("model", "gru")])
        []
    """
    found: dict[Origin, list[str]] = {}
    for what, name in used:
        origin = origin_of(what, name)
        if origin is not None and origin.kind in _MARKS:
            found.setdefault(origin, []).append(f"{what} {name}")
    return [
        {
            origin.kind: origin.name,
            **({_MARKS[origin.kind]: origin.mark} if origin.mark else {}),
            "registers": names,
        }
        for origin, names in found.items()
    ]


def require(records: Any, where: str, known: Mapping[str, Callable[[str], object]]) -> None:
    """Refuses what needs names that are not known, and says what to import; imports nothing itself.

    A file may have come with the run from anywhere, so that it lies where the record says, with the recorded hash, says
    nothing about who wrote it. Only what the user names is imported.

    Args:
        records: What `records_of` gave, read back.
        where: What to call the run or model.
        known: For each kind, what looks a name up and raises ValueError where it is unknown.

    Raises:
        ValueError: a name is unknown; the sentence has the option that makes it known. Or the records are damaged.

    Warns:
        ExtensionWarning: the names are known, from another version of the file.

    Example:
        >>> def nothing(name: str) -> None:
        ...     raise ValueError(name)
        >>> require([{"file": "b.py", "registers": ["mixer b"]}], "runs/b", {"mixer": nothing})
        Traceback (most recent call last):
        ...
        ValueError: runs/b uses mixer b of b.py, which no run imports by itself and which is not there; ...
    """
    for origin, names in _read(records, where):
        missing = [f"{what} {name}" for what, name in names if not _is_known(what, name, known)]
        if missing:
            raise ValueError(f"{where} uses {' and '.join(missing)} of {_advice(origin)}")
        for what, name in names:
            here = origin_of(what, name)
            if here is not None and here.kind == origin.kind == "file" and here.mark != origin.mark:
                warnings.warn(
                    f"{where} was made with another version of {Path(here.name).name} than the one that is imported, "
                    "so its results may differ",
                    ExtensionWarning,
                    stacklevel=1,  # one place, so that Python shows it once however often the run is read
                )
                break


def import_options(records: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Options `--import X` for another process that is to know what this one was told to import.

    Args:
        records: What that process needs besides, as `records_of` gives it.

    Example:
        >>> import_options([{"module": "bells.layers", "registers": ["mixer bells"]}])[-2:]
        ['--import', 'bells.layers']
    """
    needed = [str(one[kind]) for one in records for kind in ("file", "module") if kind in one]
    names = dict.fromkeys([*(origin.name for origin in given_code()), *needed])
    return [word for name in names for word in ("--import", name)]


def _is_known(what: str, name: str, known: Mapping[str, Callable[[str], object]]) -> bool:
    try:
        known[what](name)
    except (KeyError, ValueError):
        return False
    return True


def _advice(origin: Origin) -> str:
    name = shlex.quote(origin.name)
    if origin.kind == "package":
        version = f" {origin.mark}" if origin.mark else ""
        return f"the package {name}{version}, which is not installed or failed to load; install it if you trust it"
    if origin.kind == "file" and not Path(origin.name).is_file():
        return (
            f"{name}, which no run imports by itself and which is not there; ask its author for it, and add --import "
            "with its path if you trust it"
        )
    return f"{name}, which no run imports by itself; add --import {name} if you trust it, and in Python import it first"


def _read(records: Any, where: str) -> list[tuple[Origin, list[tuple[str, str]]]]:
    """The records, after a look at whether they are what `records_of` writes."""
    try:
        return [_read_one(record) for record in (records or [])]
    except (TypeError, KeyError, ValueError, AttributeError, StopIteration) as error:
        raise ValueError(f"what {where} says of its imports is damaged; restore it or train anew") from error


def _read_one(record: Mapping[str, Any]) -> tuple[Origin, list[tuple[str, str]]]:
    kind = next(kind for kind in _MARKS if kind in record)
    origin = Origin(kind, record[kind], record.get(_MARKS[kind], ""))
    names = [(one.partition(" ")[0], one.partition(" ")[2]) for one in record["registers"]]
    for text in (origin.name, origin.mark, *(name for pair in names for name in pair)):
        if not text.isprintable():  # a line break would hide what a sentence goes on to say
            raise ValueError(text)
    return origin, names
