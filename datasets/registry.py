"""Data sets by name."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, NamedTuple

from seqkit.checks import check_choice, check_keys
from seqkit.datasets.source import Source

__all__ = ["get_source", "source_names", "source_options"]


class _Entry(NamedTuple):
    """Where the class of a data set lives, and the options that its name stands for."""

    module: str
    cls: str
    preset: dict[str, Any]


_ENTRIES = {
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


def source_names() -> tuple[str, ...]:
    """Names of all data sets; "folder" stands for a user's own files.

    Example:
        >>> "japanese_vowels" in source_names()
        True
    """
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
    source = getattr(importlib.import_module(entry.module), entry.cls)(**{**entry.preset, **options})
    assert isinstance(source, Source)
    return source


def _parameters(name: str) -> tuple[str, ...]:
    entry = _ENTRIES[check_choice("data", name, _ENTRIES)]
    return tuple(inspect.signature(getattr(importlib.import_module(entry.module), entry.cls)).parameters)
