"""A set of series without its samples as plain values and arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.datasets.rows import Array, Rows
from seqkit.datasets.series import SeriesSet

__all__ = ["parts_from", "parts_to"]


def parts_to(series: SeriesSet, part: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Everything but the samples: plain values, and arrays whose names start with the part's.

    Args:
        series: The series.
        part: Name of the part.

    Example:
        >>> plain, arrays = parts_to(SeriesSet([np.zeros((2, 1))], ["a"]), "train")
        >>> plain["target"], list(arrays)
        ('classification', ['train/names', 'train/target'])
    """
    plain = {
        "target": series.kind,
        "timestamps": series.timestamps is not None,
        "sample_rate": series.sample_rate,
        "channels": list(series.channels),
        "targets": list(series.targets),
        "origin": series.origin,
    }
    # As one text: an array of words would give each the room of the longest.
    arrays = {f"{part}/names": np.frombuffer("\0".join(series.names).encode(), dtype=np.uint8)}
    if series.target is not None:
        joined = series.kind == "sequence"
        target: Any = series.target
        arrays[f"{part}/target"] = np.concatenate(target) if joined else np.array(target)
    if series.timestamps is not None:
        arrays[f"{part}/timestamps"] = np.concatenate(series.timestamps)
    return plain, arrays


def parts_from(plain: dict[str, Any], arrays: dict[str, Array], part: str, rows: Rows, gaps: Array) -> SeriesSet:
    """The series again, over rows of their samples.

    Args:
        plain: What `parts_to` gave.
        arrays: The arrays beside it.
        part: Name of the part.
        rows: The samples.
        gaps: Which series have missing values, (n,).

    Raises:
        KeyError: an array is missing.
        ValueError: what does not fit the rows.
    """
    cuts = np.cumsum(rows.lengths)[:-1]
    target: Any = None
    if plain["target"] is not None:
        target = arrays[f"{part}/target"]
        if plain["target"] == "sequence":
            target = np.split(target, cuts)
        elif plain["target"] == "classification":
            target = target.tolist()
    return SeriesSet(
        values=rows,
        target=target,
        timestamps=np.split(arrays[f"{part}/timestamps"], cuts) if plain["timestamps"] else None,
        names=arrays[f"{part}/names"].tobytes().decode().split("\0"),
        sample_rate=plain["sample_rate"],
        channels=tuple(plain["channels"]),
        targets=tuple(plain["targets"]),
        origin=plain["origin"],
    ).with_gaps(gaps)
