"""Settings as people write them, in YAML files and `key=value` words, into plain values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from seqkit.checks import check_keys
from seqkit.datasets.registry import is_source

__all__ = ["FORMAT", "IMPORTS", "SECTIONS", "check_format", "parse_settings", "read_yaml"]

FORMAT = 1
"""Version of the configuration's layout; a reader refuses a newer one."""

SECTIONS = ("seed", "data", "model", "training")

IMPORTS = "imports"
"""Key of what must be imported before the names in the sections are known; only where there is such."""


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Parses `key=value` words as YAML values.

    Raises:
        ValueError: a word without `=`.

    Example:
        >>> parse_settings(["epochs=5", "model.dropout=0.1", "patience=null"])
        {'epochs': 5, 'model.dropout': 0.1, 'patience': None}
    """
    settings = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            known = is_source(pair) or Path(pair).exists()
            hint = f"data are named by --data {pair}" if known else "for example epochs=20"
            raise ValueError(f"settings are written key=value, got {pair!r}; {hint}")
        settings[key.strip()] = _value(text)
    return settings


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as people mean it; YAML 1.1 takes it for a word."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _value(text: str) -> Any:
    try:
        return yaml.load(text, _Loader) if text else ""
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} is not a value that YAML can read; quote it") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a configuration's file: its format, where it says one, and what it has of `SECTIONS`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, something else than a mapping, an unknown key, or a newer format.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "config.yaml"
        >>> _ = path.write_text("training: {learning_rate: 1e-3}")
        >>> read_yaml(path)
        {'training': {'learning_rate': 0.001}}
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file ({str(error).splitlines()[0]}); correct it") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold sections data, model and training, got {type(values).__name__}")
    check_format(values.get("format", FORMAT), str(path))
    check_keys(str(path), values, ("format", IMPORTS, *SECTIONS))
    return values


def check_format(version: Any, what: str) -> None:
    """Refuses a layout that this version cannot read.

    Raises:
        ValueError: a newer format, or none at all.

    Example:
        >>> check_format(FORMAT, "config.yaml")
    """
    if isinstance(version, bool) or not isinstance(version, int) or version > FORMAT:
        raise ValueError(f"{what} has format {version!r}, this seqkit reads up to {FORMAT}; upgrade seqkit")
