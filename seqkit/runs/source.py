"""From a configuration to the source of its data; needs no Lightning."""

from __future__ import annotations

from seqkit.datasets.registry import get_source
from seqkit.datasets.source import Source
from seqkit.runs.config import DataConfig

__all__ = ["build_source"]


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
