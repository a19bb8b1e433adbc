"""Writing files whole or not at all, and telling a damaged file from a disk that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

__all__ = ["is_of_disk", "write_whole"]

# The system says what is wrong; that no room is left there too, as on a disc that is only read, means nothing then.
_NOT_FOR_ROOM = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path` and moves the result there, so it is whole or not there.

    Args:
        path: Final place; its folder is made if needed.
        write: Writes the file at the path that it is given.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was before.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_whole(folder / "a.txt", lambda p: p.write_text("whole"))
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    part = path.with_name(f".part-{secrets.token_hex(6)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _create(part)
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(mode)
        part.replace(path)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NOT_FOR_ROOM:
            if str(error.filename) == str(part):  # nobody asked for that name
                error.filename = str(path)
            raise
        if _says_full(error) or _is_full(path.parent):
            words = f"the disk is full, so {path.name} was not written; free some space and resume"
            raise OSError(errno.ENOSPC, words, str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):  # what went wrong before matters more
            part.unlink(missing_ok=True)


def is_of_disk(error: BaseException) -> bool:
    """Whether what failed in reading a file is the disk or a permission, so that the file itself may be good.

    An invalid argument speaks of the file: one that is damaged sends its reader to places that no file has.

    Args:
        error: What a reader raised.

    Example:
        >>> is_of_disk(OSError(errno.EIO, "Input/output error")), is_of_disk(EOFError())
        (True, False)
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _create(path: Path) -> int:
    """Makes an empty file and returns the permissions a new file gets: some writers would leave a private one."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def _says_full(error: BaseException) -> bool:
    """Whether an error is about a full disk; some writers have it only in their words."""
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left" in str(error)


def _is_full(folder: Path) -> bool:
    """Whether not even a page is left: some writers do not say why they failed."""
    return folder.is_dir() and shutil.disk_usage(folder).free < 4096
