"""Large arrays of .npz files, read in place: an array that is not compressed lies in the file as it is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.datasets.ondisk import FileSamples
from seqkit.datasets.rows import Array, LazyRows, has_nan

__all__ = ["in_place", "rows_in_place"]

PIECE = 2**22
LARGE = 64 * 2**20
"""Bytes from which samples are left in the file; smaller ones are read into memory."""


def in_place(path: Path, packed: zipfile.ZipFile, name: str) -> Array | None:
    """An array of an open .npz file, mapped, where it is large and lies there uncompressed, by rows; else None.

    Args:
        path: The file.
        packed: The open file.
        name: Name of the array.

    Raises:
        zipfile.BadZipFile: its checksum is wrong.
        ValueError: it is not an array.
    """
    found = packed.getinfo(f"{name}.npy")
    if found.compress_type != zipfile.ZIP_STORED or found.file_size < LARGE:
        return None
    with packed.open(found) as member:
        form: Any = np.lib.format  # numpy gives these functions no types
        read = form.read_array_header_1_0 if form.read_magic(member) == (1, 0) else form.read_array_header_2_0
        shape, by_columns, dtype = read(member)
        header = member.tell()
        while member.read(PIECE):  # to its end, where the checksum is looked at
            pass
    if by_columns or dtype.hasobject:
        return None
    with path.open("rb") as file:  # the name and extra field before the data may differ from those of the directory
        file.seek(found.header_offset + 26)
        sizes = np.frombuffer(file.read(4), dtype="<u2")
    offset = found.header_offset + 30 + int(sizes.sum()) + header
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def rows_in_place(samples: np.memmap[Any, Any], lengths: Array, origin: str) -> LazyRows:
    """Series of a mapped array (n, L, C), or (total, C) of series one after the other, that are read when asked for.

    Args:
        samples: The array.
        lengths: Number of samples of each series, (n,).
        origin: The file, to name in errors.
    """
    shape = (int(np.prod(samples.shape[:-1])), samples.shape[-1])
    whole = FileSamples(Path(str(samples.filename)), shape, samples.dtype, samples.offset)
    starts = np.arange(len(lengths)) * samples.shape[1] if samples.ndim == 3 else np.cumsum(lengths) - lengths
    read = _Read(whole, starts, lengths)
    missing = samples.dtype.kind == "f" and any(has_nan(read(i)) for i in range(len(lengths)))
    return LazyRows(lengths, samples.shape[-1], read, origin=origin, missing=missing)


class _Read:
    def __init__(self, samples: FileSamples, starts: Array, lengths: Array) -> None:
        self.samples, self.starts, self.lengths = samples, starts, lengths

    def __call__(self, i: int) -> Array:
        start = int(self.starts[i])
        return self.samples[start : start + int(self.lengths[i])]
