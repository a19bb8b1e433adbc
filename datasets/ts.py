"""sktime's .ts files: a header, then one series a line, channels apart by colons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.source import PARTS

__all__ = ["read_ts", "ts_parts"]

_FLAGS = ("timestamps", "missing", "univariate", "equallength", "targetlabel")


def read_ts(path: str | Path, *, prefix: str = "") -> SeriesSet:
    r"""Reads a .ts file: series of any lengths, with class labels, numbers or nothing as target; `?` is missing.

    Args:
        path: The file.
        prefix: Put before the number of each series to name it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that does not fit the header, a series without any value, or timestamps in the data.

    Source:
        The format of timeseriesclassification.com as sktime reads it; series with a timestamp at each value are
        refused, since no published classification or regression set has them.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "toy.ts"
        >>> _ = path.write_text("@univariate true\n@classLabel true a b\n@data\n1,2,3:a\n4,5:b\n")
        >>> series = read_ts(path)
        >>> series.target, series.lengths.tolist()
        (['a', 'b'], [3, 2])
    """
    path = Path(path)
    lines = _numbered(path)
    header = _read_header(lines, path)
    if header.get("timestamps") == ["true"]:
        raise ValueError(
            f"{path} has a timestamp at each value, which the reader of .ts files does not take; "
            "write a CSV file with a time column instead"
        )
    labels = header.get("classlabel", ["false"])
    has_target = labels[0].lower() == "true" or header.get("targetlabel") == ["true"]
    dimensions = _dimensions(header, path)
    values, target = [], []
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.strip().split(":")
        if has_target:
            target.append(fields.pop().strip())
        if not fields or (dimensions is not None and len(fields) != dimensions):
            wanted = f"{dimensions or 'at least 1'} channels{' and a target' if has_target else ''}"
            raise ValueError(f"line {number} of {path} has {len(fields) + has_target} fields; the header says {wanted}")
        values.append(_series(fields, number, path))
    if not values:
        raise ValueError(f"{path} has no series after @data")
    names = [f"{prefix}{i}" for i in range(len(values))]
    if not has_target:
        return SeriesSet(values, names=names, origin=str(path))
    if header.get("targetlabel") == ["true"]:
        return SeriesSet(values, _numbers(target, path), names=names, origin=str(path))
    return SeriesSet(values, _known(target, labels[1:], path), names=names, origin=str(path))


def ts_parts(folder: Path) -> dict[str, Path]:
    """Files NAME_TRAIN.ts, NAME_VAL.ts and NAME_TEST.ts of a folder by part, in this order.

    Raises:
        ValueError: there are several of one part.
    """
    parts: dict[str, Path] = {}
    for path in sorted(folder.glob("*.ts")):
        part = path.stem.lower().rpartition("_")[2]
        if part in parts:
            raise ValueError(f"{folder} has two {part} files, {parts[part].name} and {path.name}; keep one")
        if part in PARTS:
            parts[part] = path
    return {part: parts[part] for part in PARTS if part in parts}


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, one at a time: the archive has files of half a gigabyte."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from enumerate(file, start=1)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; a .ts file is one") from None


def _read_header(lines: Iterator[tuple[int, str]], path: Path) -> dict[str, list[str]]:
    header: dict[str, list[str]] = {}
    for number, line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = words[0].lower()
        if key == "@data":
            return header
        if not key.startswith("@"):
            raise ValueError(f"line {number} of {path} is not a header line; a .ts file starts with @ lines to @data")
        plain = words[1:] if key != "@classlabel" else [*(word.lower() for word in words[1:2]), *words[2:]]
        header[key[1:]] = [word.lower() for word in plain] if key[1:] in _FLAGS else plain
    raise ValueError(f"{path} has no line @data; it is not a whole .ts file")


def _dimensions(header: dict[str, list[str]], path: Path) -> int | None:
    given = header.get("dimensions") or header.get("dimension")
    if given:
        if not given[0].isdecimal() or int(given[0]) < 1:
            raise ValueError(f"@dimensions of {path} must be a whole number of at least 1, got {given[0]!r}")
        return int(given[0])
    return 1 if header.get("univariate") == ["true"] else None


def _series(fields: list[str], number: int, path: Path) -> Array:
    if "(" in fields[0]:
        raise ValueError(
            f"line {number} of {path} has (time, value) pairs; write a CSV file with a time column instead"
        )
    try:
        channels = [_floats(text) for text in fields]
    except ValueError as error:
        raise ValueError(f"line {number} of {path}: {error}; values are numbers or ?") from None
    if len({len(channel) for channel in channels}) > 1:
        sizes = ", ".join(str(len(channel)) for channel in channels)
        raise ValueError(f"line {number} of {path} has channels of {sizes} samples; all channels need the same number")
    return np.stack(channels, axis=1)


def _floats(text: str) -> Array:
    """float32 at once, as the series are kept: a list of numbers of a large file would take eight times the memory."""
    if not text.strip():
        return np.empty(0, dtype=np.float32)
    words = text.split(",")
    if "?" in text:
        words = ["nan" if word.strip() == "?" else word for word in words]
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is named when it is checked
        return np.fromiter(map(float, words), np.float64, len(words)).astype(np.float32)


def _numbers(target: list[str], path: Path) -> Array:
    try:
        return np.array([float(word) for word in target])
    except ValueError as error:
        raise ValueError(f"a target of {path} is not a number: {error}") from None


def _known(target: list[str], labels: list[str], path: Path) -> list[str]:
    unknown = sorted(set(target) - set(labels)) if labels else []
    if unknown:
        raise ValueError(f"{path} has the label {unknown[0]!r}, which its line @classLabel does not name")
    return target
