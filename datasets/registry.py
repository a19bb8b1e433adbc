"""Data sets by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from seqkit.checks import check_choice, check_keys, check_whole
from seqkit.datasets.source import Source
from seqkit.extensions import claim, load_plugins, look_up

__all__ = ["get_source", "is_source", "register_source", "source_names", "source_options"]

C = TypeVar("C", bound=type[Source])


class _Entry(NamedTuple):
    """Where the class of a data set lives, and the options that its name stands for."""

    module: str
    cls: str | type[Source]
    preset: dict[str, Any]

    def load(self) -> type[Source]:
        """The class; one of seqkit's own is imported when it is asked for."""
        if isinstance(self.cls, type):
            return self.cls
        found: type[Source] = getattr(importlib.import_module(self.module), self.cls)
        return found


_ENTRIES: dict[str, _Entry] = {
    "folder": _Entry("seqkit.datasets.folder", "Folder", {}),
    "character_trajectories": _Entry("seqkit.datasets.character_trajectories", "CharacterTrajectories", {}),
    "bidmc_hr": _Entry("seqkit.datasets.bidmc", "BIDMC32", {"target": "HR"}),
    "bidmc_rr": _Entry("seqkit.datasets.bidmc", "BIDMC32", {"target": "RR"}),
    "bidmc_spo2": _Entry("seqkit.datasets.bidmc", "BIDMC32", {"target": "SpO2"}),
    "bidmc_raw": _Entry("seqkit.datasets.bidmc_raw", "BIDMCRaw", {}),
    "covid3month": _Entry("seqkit.datasets.bundled", "Covid3Month", {}),
    "digits": _Entry("seqkit.datasets.digits", "Digits", {}),
    "tecator": _Entry("seqkit.datasets.bundled", "Tecator", {}),
    "japanese_vowels": _Entry("seqkit.datasets.japanese_vowels", "JapaneseVowels", {}),
    "cifar10": _Entry("seqkit.datasets.cifar10", "CIFAR10", {}),
    "fashion_mnist": _Entry("seqkit.datasets.fashion_mnist", "FashionMNIST", {}),
    "mnist": _Entry("seqkit.datasets.mnist", "MNIST", {"permutation": "none"}),
    "permuted_mnist": _Entry("seqkit.datasets.mnist", "MNIST", {"permutation": "bit_reversal"}),
    "speech_commands": _Entry("seqkit.datasets.speech_commands", "SpeechCommands", {}),
    "spoken_digits": _Entry("seqkit.datasets.spoken_digits", "SpokenDigits", {}),
    "adding": _Entry("seqkit.datasets.adding", "Adding", {}),
    "copying": _Entry("seqkit.datasets.copying", "Copying", {}),
    "delayed_recall": _Entry("seqkit.datasets.delayed_recall", "DelayedRecall", {}),
    "pathfinder": _Entry("seqkit.datasets.pathfinder", "Pathfinder", {}),
    "burgers": _Entry("seqkit.datasets.burgers", "Burgers", {}),
    "darcy": _Entry("seqkit.datasets.darcy", "Darcy", {}),
}


def register_source(name: str, **preset: Any) -> Callable[[C], C]:
    """Class decorator that makes a data set known by name: to configurations and the command line.

    Args:
        name: Name in configurations; also what the set's `name` gives.
        preset: Options that the name stands for, where they are not the constructor's defaults.

    Raises:
        ValueError: the name is taken, an option that the constructor does not have, or a class that lacks what a
            `Source` must define.

    Example:
        >>> from seqkit.datasets.digits import Digits
        >>> register_source("digits")(Digits) is Digits  # the same class again is no harm
        True
    """

    def enter(cls: C) -> C:
        check_whole("data set", cls)
        entry = _Entry(cls.__module__, cls, preset)
        there = _ENTRIES.get(name)
        if there is not None and (there.load(), there.preset) != (cls, preset):
            raise ValueError(
                f"a data set named {name!r} is already registered: {there.load().__qualname__}; choose another name"
            )
        check_keys(f"data {name}", preset, inspect.signature(cls).parameters)
        if there is None:
            _ENTRIES[name] = entry
            claim("data", name, cls.__module__)
        return cls

    return enter


def is_source(name: Any) -> bool:
    """Whether a data set has this name, also one of an installed package.

    Example:
        >>> is_source("digits"), is_source("walks.csv")
        (True, False)
    """
    looks_like_a_path = isinstance(name, str) and bool(set("./") & set(name))
    return not looks_like_a_path and look_up(name, _ENTRIES)


def source_names() -> tuple[str, ...]:
    """Names of all data sets, those of installed packages among them; "folder" stands for a user's own files.

    Example:
        >>> "japanese_vowels" in source_names()
        True
    """
    load_plugins()
    return tuple(_ENTRIES)


def source_options(name: str) -> tuple[str, ...]:
    """Options of a data set, without the `path` of a user's own files.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> source_options("mnist")
        ('permutation', 'root')
    """
    return tuple(option for option in _parameters(name) if option != "path")


def get_source(name: str, **options: Any) -> Source:
    """The data set of that name; nothing is read yet.

    Args:
        name: One of `source_names()`.
        options: Options of that set; "folder" needs `path`.

    Raises:
        ValueError: an unknown name or option, or an option out of range.

    Example:
        >>> get_source("permuted_mnist").info().max_length
        784
    """
    allowed = _parameters(name)
    check_keys(f"data {name}", options, allowed)
    if "path" in allowed and options.get("path") is None:
        raise ValueError(f"data {name!r} needs `path`, the file or folder of your series")
    entry = _ENTRIES[name]
    return entry.load()(**{**entry.preset, **options})


def _parameters(name: str) -> tuple[str, ...]:
    is_source(name)
    entry = _ENTRIES[check_choice("data", name, _ENTRIES, own=True)]
    return tuple(inspect.signature(entry.load()).parameters)
