"""Unpacking downloads that are not trusted: whole or not at all, inside one folder, within a limit."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from seqkit.datasets.members import Member, list_members

__all__ = ["LIMIT", "read_member", "unpack"]

LIMIT = 16 << 30
"""Bytes that an archive may unpack to, unless told otherwise."""

MOST_MEMBERS = 500_000
RATIO, HARMLESS = 200, 64 << 20  # data sets unpack to 2 to 50 times their size; what stays small harms nobody
_LONGEST_NAME, _DEEPEST = 255, 32  # bytes of a name, on every common file system; folders in folders


def unpack(
    archive: Path, folder: Path, *, members: Sequence[str] | None = None, strip: int = 0, limit: int = LIMIT
) -> None:
    """Unpacks a zip, tar or tar.gz file into a new folder: all of it, or nothing.

    Only plain files and folders come out of it, with the permissions of any new file.

    Args:
        archive: The archive; told by its content, not by its name.
        folder: Folder to make; it may exist if it is empty.
        members: Names of the files to take, as the archive has them, or patterns such as "*/recordings/*.wav"; all if
            None.
        strip: Folders to cut off the front of each name; what lies above them is left out.
        limit: Bytes that the files may have together.

    Raises:
        FileNotFoundError: there is no archive.
        FileExistsError: `folder` holds something already.
        ValueError: a damaged or cut archive, another kind of file, a member that is not there, a link or a device, a
            name that leads out of the folder, or more data than `limit` or than such an archive can honestly hold.
        OSError: the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile, zipfile
        >>> root = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(root / "a.zip", "w") as packed:
        ...     packed.writestr("set-1.0/train.csv", "x")
        >>> unpack(root / "a.zip", root / "set", strip=1)
        >>> (root / "set" / "train.csv").read_text()
        'x'
    """
    there = f"{folder} is there already, so {archive.name} was not unpacked into it; remove it first"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(there)
    part = folder.with_name(f".part-{secrets.token_hex(6)}")
    try:
        part.mkdir(parents=True)
        for member, content in _wanted(archive, members, limit):
            place = _place(member.name, archive)[strip:]
            if place:
                _lay_down(part.joinpath(*place), member, content, archive)
        if not any(part.iterdir()):
            raise ValueError(f"{archive} holds nothing to unpack; it is not the expected archive")
        part.replace(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
            raise FileExistsError(there) from None
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        words = f"the disk is full, so {archive.name} was not unpacked; free some space and run it again"
        raise OSError(errno.ENOSPC, words, str(folder)) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_member(archive: Path, name: str, *, limit: int = 1 << 30) -> bytes:
    """Content of one file of a zip, tar or tar.gz archive.

    Args:
        archive: The archive.
        name: Name of the file, as the archive has it.
        limit: Bytes that it may have.

    Raises:
        FileNotFoundError: there is no archive.
        ValueError: a damaged or cut archive, another kind of file, no such member, or one of more than `limit` bytes.

    Example:
        >>> import tempfile, zipfile
        >>> path = Path(tempfile.mkdtemp()) / "a.zip"
        >>> with zipfile.ZipFile(path, "w") as packed:
        ...     packed.writestr("notes.txt", "words")
        >>> read_member(path, "notes.txt")
        b'words'
    """
    found = b""
    for _, content in _wanted(archive, [name], limit):
        found = b"".join(content)
    return found


def _wanted(archive: Path, names: Sequence[str] | None, limit: int) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """The members of these names with their content, counted while it is read and refused where it is too much."""
    spent = _Spent(archive, limit)
    missing = set(names or ())
    for count, member in enumerate(list_members(archive), start=1):
        if count > MOST_MEMBERS:
            raise ValueError(f"{archive} has more than {MOST_MEMBERS} members, which no data set has; it is refused")
        if names is not None:
            fits = {name for name in names if name == member.name or fnmatchcase(member.name, name)}
            missing -= fits
            if not fits:
                continue
        if member.oddity:
            raise ValueError(f"{archive} holds {member.name!r}, {member.oddity}; only plain files are unpacked")
        if not member.folder:
            spent.check(member.size)  # an honest bomb says so before anything is written
        yield member, spent.counted(member.blocks())
    if missing:
        raise ValueError(f"{archive} has no {' and no '.join(sorted(missing))}; it is not the expected archive")


class _Spent:
    """Bytes that came out of an archive so far."""

    def __init__(self, archive: Path, limit: int) -> None:
        self.archive = archive
        self.limit = limit
        self.honest = max(HARMLESS, RATIO * archive.stat().st_size) if archive.is_file() else 0
        self.n = 0

    def counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.check(len(block))
            self.n += len(block)
            yield block

    def check(self, more: int) -> None:
        if self.n + more > self.limit:
            raise ValueError(f"{self.archive} unpacks to more than the {self.limit} bytes allowed here; it is refused")
        if self.n + more > self.honest:
            raise ValueError(f"{self.archive} unpacks to more than {RATIO} times its size; it is refused")


def _place(name: str, archive: Path) -> list[str]:
    """Folders and file of a member's name, none of which leads elsewhere on any system."""
    words = name.replace("\\", "/")
    if words.startswith("/") or re.match("[A-Za-z]:", words):
        raise ValueError(f"{archive} holds the absolute path {name!r}; it is refused")
    steps = [step for step in words.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise ValueError(f"{archive} holds {name!r}, which leads out of its folder; it is refused")
    if "\0" in words or len(steps) > _DEEPEST or any(len(os.fsencode(step)) > _LONGEST_NAME for step in steps):
        raise ValueError(f"{archive} holds {name[:80]!r}, which is no name of a file; it is refused")
    return steps


def _lay_down(target: Path, member: Member, content: Iterator[bytes], archive: Path) -> None:
    with contextlib.ExitStack() as stack:
        try:
            (target if member.folder else target.parent).mkdir(parents=True, exist_ok=True)
            file = None if member.folder else stack.enter_context(target.open("xb"))
        except (FileExistsError, NotADirectoryError):  # also names that differ in case, where the disk does not care
            raise ValueError(f"{archive} holds {member.name!r} twice, or as file and folder; it is refused") from None
        if file is not None:
            for block in content:
                file.write(block)
