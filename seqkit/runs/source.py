"""From a configuration to the source of its data; needs no Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqkit.checks import check_keys
from seqkit.datasets.registry import get_source, source_options
from seqkit.datasets.source import Source
from seqkit.runs.config import DataConfig, RunConfig

__all__ = ["build_source", "data_config", "describe_source"]


def build_source(config: DataConfig) -> Source:
    """Source of the configured data.

    Raises:
        ValueError: options that the source refuses.
        FileNotFoundError: the user's own path does not exist.

    Example:
        >>> build_source(DataConfig("japanese_vowels")).info().n_channels
        12
    """
    options = dict(config.options)
    if config.path is not None:
        options["path"] = config.path
    return get_source(config.name, **options)


def data_config(data: str | Path, settings: Mapping[str, Any] | None = None, *, cutting: bool = False) -> DataConfig:
    """The section `data` of a configuration, from a name and what a data set alone can be asked for.

    Args:
        data: Registered name, or path of the user's own data.
        settings: Options of the data set by their name or as "data.NAME".
        cutting: Whether the shares `validation` and `test` are of use too.

    Raises:
        FileNotFoundError: a path to data that does not exist.
        ValueError: an unknown name or option.

    Example:
        >>> data_config("mnist", {"permutation": "numpy:1"}).options
        {'permutation': 'numpy:1'}
    """
    name = RunConfig.build(data).data.name
    given = {key.removeprefix("data."): value for key, value in (settings or {}).items()}
    check_keys(f"data {name}", given, [*source_options(name), *(["validation", "test"] if cutting else [])])
    settings = {f"data.{key}": value for key, value in given.items()}
    if given.get("validation") == 0:  # nothing is trained, so no epoch is chosen by it
        settings |= {"training.keep": "last", "training.patience": None}
    return RunConfig.build(data, settings=settings).data


def describe_source(source: Source) -> dict[str, Any]:
    """Everything a data set says of itself, and what of it is on the disk, as plain values.

    Returns:
        What `describe` says (title, licence, citation, origin and so on), what `info` knows, and `on_disk`: number and
        bytes of the files that are there, or None for a set that comes with another package.

    Example:
        >>> facts = describe_source(build_source(DataConfig("mnist")))
        >>> facts["licence"], facts["n_channels"], sorted(facts["on_disk"])
        ('CC BY-SA 3.0', 1, ['bytes', 'files'])
    """
    facts, known = source.describe(), source.info()
    own = str(facts.get("files") or "")
    sizes = [path.stat().st_size for path in source.files() if path.suffix != ".part"]
    return {
        **facts,
        "on_disk": {"files": len(sizes), "bytes": sum(sizes)} if Path(own).is_absolute() else None,
        "task": known.task,
        "n_channels": known.n_channels,
        "channels": list(known.channels),
        "classes": list(known.classes),
        "sample_rate": known.sample_rate,
        "max_length": known.max_length,
    }
