"""Samples in a file, read in place: memory holds the piece asked for and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["FileSamples"]


class FileSamples:
    """An array (total, C) in a file, of which a slice of rows is read when it is asked for.

    The pieces are read, not mapped: pages of a mapped file stay in the memory of the process until something else needs
    it, and a machine shared by several trainings then runs full. The system's own cache of files serves both alike.

    Args:
        path: The file.
        shape: Samples in all and channels, (total, C).
        dtype: Kind of the numbers.
        offset: Bytes before the first number.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is too short for its shape.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "samples"
        >>> np.arange(6, dtype=np.float32).tofile(path)
        >>> FileSamples(path, (3, 2))[1:3].tolist()
        [[2.0, 3.0], [4.0, 5.0]]
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: Any = np.float32, offset: int = 0) -> None:
        self.path = Path(path)
        self._shape = (int(shape[0]), int(shape[1]))
        self.dtype = np.dtype(dtype)
        self.offset = int(offset)
        self._file: int | None = None
        self._open()
        needed = self.offset + self.shape[0] * self._row
        if self.path.stat().st_size < needed:
            raise ValueError(
                f"{self.path} has {self.path.stat().st_size} bytes and should have {needed}; it is cut off"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Samples in all and channels, (total, C)."""
        return self._shape

    @property
    def _row(self) -> int:
        return self.shape[1] * int(self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice, /) -> Array:
        first, last, step = rows.indices(len(self))
        out: Array = np.empty((max(0, last - first), self.shape[1]), self.dtype)
        if out.size == 0:
            return out
        view, at = memoryview(out.data).cast("B"), self.offset + first * self._row
        while len(view):
            count = os.preadv(self._open(), [view], at)  # Linux gives at most 2 GB at once
            if count == 0:
                raise ValueError(f"{self.path} ends before its samples do; it was changed while it was read")
            view, at = view[count:], at + count
        return out[::step]

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY)
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens the file anew."""
        return {**self.__dict__, "_file": None}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]
