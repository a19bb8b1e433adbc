"""Rows of bytes of a message buffer: in memory, or in a file that the system maps to memory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import weakref
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["FileRows", "MemoryRows"]


class MemoryRows:
    """Rows in memory, pinned where CUDA is, so that copies to the device need no stop.

    Args:
        count: Rows.
        width: Bytes of a row.

    Example:
        >>> MemoryRows(2, 8).data.shape
        torch.Size([2, 8])
    """

    def __init__(self, count: int, width: int) -> None:
        self.data = torch.zeros(count, width, dtype=torch.uint8, pin_memory=torch.cuda.is_available())

    def grow(self, count: int) -> None:
        """Makes it `count` rows, the first as they were."""
        before = self.data
        self.data = torch.zeros(count, before.shape[1], dtype=torch.uint8, pin_memory=torch.cuda.is_available())
        self.data[: len(before)] = before

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class FileRows:
    """Rows in a file `messages.rows`, locked, so that no other store writes there.

    Args:
        folder: Where; it is made if needed. What a file there held is lost.
        count: Rows.
        width: Bytes of a row.

    Raises:
        ValueError: another store, of this process or of another, uses the file.

    Example:
        >>> import tempfile
        >>> rows = FileRows(Path(tempfile.mkdtemp()), 2, 8)
        >>> rows.path.stat().st_size
        16
        >>> rows.close()
    """

    def __init__(self, folder: Path, count: int, width: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "messages.rows"
        self.width = width
        self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.handle)
            raise ValueError(
                f"`path` must be a folder of this store alone, got {str(folder)!r}, which another one uses; "
                "give each end of each cut its own"
            ) from error
        except OSError:  # some network file systems know no locks
            pass
        self.release = weakref.finalize(self, let_go, self.handle)
        os.ftruncate(self.handle, 0)
        self.grow(count)

    def grow(self, count: int) -> None:
        """Makes the file `count` rows long."""
        size = count * self.width
        if hasattr(os, "posix_fallocate"):  # says now that the disk is full, where a later write would end the process
            try:
                os.posix_fallocate(self.handle, 0, size)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                words = f"the disk is full, and message buffers need {size} bytes here; free some space and resume"
                raise OSError(errno.ENOSPC, words, str(self.path)) from error
        else:
            os.ftruncate(self.handle, size)
        self.map = mmap.mmap(self.handle, size)
        self.data: Tensor = torch.frombuffer(self.map, dtype=torch.uint8).view(count, self.width)

    def flush(self) -> None:
        """Has the system write what it holds back."""
        self.map.flush()

    def close(self) -> None:
        """Lets go of the lock and the file; without it, that happens when nothing refers to the rows any more."""
        self.release()


def let_go(handle: int) -> None:
    """Unlocks and closes a file: the map of it holds the lock too, so closing alone would not do."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)
