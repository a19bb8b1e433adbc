"""One process at a time writes to a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["held"]

_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # some network file systems know no locks
_handles: set[int] = set()


@contextlib.contextmanager
def held(path: Path, *, free: bool = False, numbered: bool = False) -> Iterator[Path]:
    """Keeps a folder for this process as long as the block lasts, and makes it if need be.

    The lock is the system's, on the folder itself: it writes no file, follows the folder where it is moved, and ends
    with the process, however that ends. Windows has no locks of folders, so there nothing is kept.

    Args:
        path: The folder.
        free: Whether it was found free a moment ago, so that whatever lies in it now is another process's.
        numbered: Whether the number at the end of its name may go up until the folder is new.

    Yields:
        The folder, with the number that it got.

    Raises:
        FileExistsError: another process writes to the folder, or has meanwhile begun a run in it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "walks-s4d-001"
        >>> with held(path), held(path):
        ...     pass
        Traceback (most recent call last):
        ...
        FileExistsError: another process is writing to ...; wait until it ends, or choose another folder
        >>> with held(path, numbered=True) as path:
        ...     path.name
        'walks-s4d-001'
    """
    path, made = _made(path, numbered=numbered)
    if sys.platform == "win32":
        yield path
        return
    handle = os.open(path, os.O_RDONLY)
    _handles.add(handle)
    try:
        if not _locked(handle):
            raise FileExistsError(f"another process is writing to {path}; wait until it ends, or choose another folder")
        if free and any(not one.name.startswith(".part-") for one in path.iterdir()):
            raise FileExistsError(f"another process has begun a run in {path} meanwhile; choose another folder")
        yield path
    finally:
        if made:
            with contextlib.suppress(OSError):  # where something was written, the folder stays
                path.rmdir()
        if handle in _handles:
            _handles.remove(handle)
            os.close(handle)


def _made(path: Path, *, numbered: bool) -> tuple[Path, bool]:
    """The folder, and whether it was made here."""
    while True:
        try:
            path.mkdir(parents=True)
            return path, True
        except FileExistsError:
            if not numbered:
                return path, False
            path = path.with_name(re.sub(r"\d+$", lambda number: f"{int(number[0]) + 1:03d}", path.name))


def _locked(handle: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def _let_go() -> None:
    """A forked reader of batches must not keep the folder when the process that trains was killed."""
    while _handles:
        os.close(_handles.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go)
