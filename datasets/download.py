"""Fetching files: checksums, mirrors in turn, going on after a break, and a sentence to go on with when it fails."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from seqkit.datasets.transfer import TransferError, transfer

__all__ = ["fetch", "not_there"]

_TRIES = 5  # at one address, as long as each brings something


def fetch(urls: Sequence[str], path: Path, known_hash: str | None, *, offline: bool, what: str) -> None:
    """Downloads a file from the first address that gives the right one.

    What came before a break stays beside `path` as NAME.part and is continued by the next call. Of several processes
    that want the same file one fetches it, and the others wait.

    Args:
        urls: Addresses of the same file, tried in turn.
        path: Where it goes; it is whole and checked, or not there.
        known_hash: Checksum as "sha256:..." or "md5:..."; None where none is published. Then a file that is there
            counts as right, only the size that the server says is checked, and no other call continues what came.
        offline: Fetch nothing, only say what is missing.
        what: What the file is, for the error.

    Raises:
        FileNotFoundError: no address gave the file, or `offline`; the sentence says how to do it by hand.
        OSError: the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "served").write_bytes(b"")
        >>> known = "md5:d41d8cd98f00b204e9800998ecf8427e"
        >>> fetch([(folder / "served").as_uri()], folder / "mine", known, offline=False, what="the file")
        >>> (folder / "mine").is_file()
        True
    """
    if path.is_file() and _is_right(path, known_hash):
        return
    if offline:
        raise not_there(what, path, urls[0], "nothing is fetched offline")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part_of(path) as (part, file):
        if path.is_file() and _is_right(path, known_hash):
            return  # another process brought it while this one waited
        if known_hash is not None and _is_right(part, known_hash):  # stopped just before the end
            part.replace(path)
            return
        reasons = []
        for url in urls:
            if known_hash is None:  # nothing would tell that two halves are not of one file
                file.truncate(0)
            try:
                _bring(url, file, part, known_hash, path)
            except TransferError as error:
                reasons.append(f"{url}: {_short(error)}")
            else:
                part.replace(path)
                return
        if known_hash is None:
            file.truncate(0)
        kept = os.fstat(file.fileno()).st_size
    if kept and part.exists():
        reasons.append(f"the {kept} bytes that came are kept in {part.name}, and the next try goes on from there")
    raise not_there(what, path, urls[0], "; ".join(reasons))


def not_there(what: str, path: Path, url: str, reason: str) -> FileNotFoundError:
    """Words the error for a file that is neither there nor to be had.

    Example:
        >>> print(not_there("they", Path("/data/a"), "URL", "no net"))  # doctest: +ELLIPSIS
        they are not there and could not be fetched (no net); download URL elsewhere and put it in /data ...
    """
    return FileNotFoundError(
        f"{what} are not there and could not be fetched ({reason}); download {url} elsewhere and put it in "
        f"{path.parent} (or set SEQKIT_DATA)"
    )


def _bring(url: str, file: IO[bytes], part: Path, known_hash: str | None, path: Path) -> None:
    """Completes the part from one address and checks it; a part with the wrong checksum is emptied."""
    continued = file.seek(0, os.SEEK_END) > 0
    try:
        with _progress(path.name) as progress:
            _insist(url, file, progress)
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        words = f"the disk is full, so {path.name} was not fetched whole; free some space and run it again"
        raise OSError(errno.ENOSPC, words, str(path)) from None
    if known_hash is None:
        return
    found = _checksum(part, known_hash)
    if found == known_hash:
        return
    file.truncate(0)
    if continued:  # what lay there may have been of another file
        _bring(url, file, part, known_hash, path)
        return
    raise TransferError(f"what came has the checksum {found}, which does not match the known hash {known_hash}")


def _insist(url: str, file: IO[bytes], progress: Callable[[int, int | None], None]) -> None:
    """Goes on at once after a break, as long as each try brings something."""
    for left in reversed(range(_TRIES)):
        before = file.seek(0, os.SEEK_END)
        try:
            return transfer(url, file, progress)
        except TransferError:
            if left == 0 or file.seek(0, os.SEEK_END) <= before:
                raise


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """The unfinished file beside `path`, open and held by this process alone; an empty one is not left behind."""
    part = path.with_name(f"{path.name}.part")
    file = _open(part)
    held = _hold(file, path.name)
    while held and not _is_at(file, part):  # whoever held it before has moved or removed it
        file.close()
        file = _open(part)
        held = _hold(file, path.name)
    if not held:  # no locks on this file system: a part of its own, which the next call could not find
        _close(file, part, remove=not os.fstat(file.fileno()).st_size)
        part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
        file = _open(part)
    try:
        yield part, file
    finally:
        _close(file, part, remove=not held or not os.fstat(file.fileno()).st_size)


def _close(file: IO[bytes], part: Path, *, remove: bool) -> None:
    if remove and _is_at(file, part):
        part.unlink(missing_ok=True)
    file.close()


def _open(part: Path) -> IO[bytes]:
    return os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)


def _is_at(file: IO[bytes], part: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.stat())
    except FileNotFoundError:
        return False


def _hold(file: IO[bytes], name: str) -> bool:
    """Waits until no other process holds the file; False where files cannot be held. A killed process lets go."""
    try:
        import fcntl  # noqa: PLC0415 - not on every system
    except ModuleNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if sys.stderr.isatty():
            print(f"another process is fetching {name}; waiting for it", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _is_right(path: Path, known_hash: str | None) -> bool:
    return known_hash is None or _checksum(path, known_hash) == known_hash


def _checksum(path: Path, known_hash: str) -> str:
    """Checksum of a file, as `known_hash` is written and by its algorithm."""
    algorithm = known_hash.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, whole: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where something is shown
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name.replace("[", r"\["), total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def _short(error: BaseException) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 240 else f"{text[:240]}..."
