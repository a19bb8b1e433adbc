"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["write_whole"]


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary path beside `path` and moves the result there, so it is whole or not there.

    Args:
        path: Final place.
        write: Writes the file at the path that it is given.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was before.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_whole(folder / "a.txt", lambda p: p.write_text("whole"))
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except Exception as error:
        if _says_full(error) or shutil.disk_usage(path.parent).free < 4096:
            words = f"the disk is full, so {path.name} was not written; free some space and resume"
            raise OSError(errno.ENOSPC, words, str(path)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _says_full(error: BaseException) -> bool:
    """Whether an error is about a full disk; some writers have it only in their words."""
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left" in str(error)


def _umask() -> int:
    """The process's mask for new files: temporary files are private, results are as any other file."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
