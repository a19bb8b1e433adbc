"""What lies in a zip, tar or tar.gz file, one member after the other; nothing a damaged one says is believed."""

from __future__ import annotations

import contextlib
import gzip
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from seqkit.files import is_of_disk

__all__ = ["Member", "damaged", "list_members"]

BLOCK = 1 << 18
_HEADERS = 16 << 20  # bytes between two members; a name that needs more is an attack on memory
_TAIL = 64 << 20
_ZEROS = bytes(tarfile.BLOCKSIZE)


class Member(NamedTuple):
    """One member of an archive.

    Args:
        name: As the archive has it, which may be anything.
        folder: Whether it is a folder.
        size: Bytes that it claims to have.
        oddity: What it is if it is neither a folder nor a plain file that can be read; else empty.
        blocks: Its content, bytes by bytes; to be read before the next member is asked for.
    """

    name: str
    folder: bool
    size: int
    oddity: str
    blocks: Callable[[], Iterator[bytes]]


def list_members(archive: Path) -> Iterator[Member]:
    """Members of an archive in its order.

    Args:
        archive: A zip, tar or tar.gz file; told by its content, not by its name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, cut, or something else; found at the latest when the last member was asked for.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.zip"
        >>> with zipfile.ZipFile(path, "w") as packed:
        ...     packed.writestr("notes.txt", "words")
        >>> [(member.name, b"".join(member.blocks())) for member in list_members(path)]
        [('notes.txt', b'words')]
    """
    if not archive.is_file():
        raise FileNotFoundError(f"there is no archive {archive}")
    with archive.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"PK":
            yield from _of_zip(file, archive)
        elif start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield from _of_tar(unpacked, archive)
        else:
            yield from _of_tar(file, archive)


def damaged(archive: Path, reason: object) -> ValueError:
    """Words the error for an archive that cannot be what was published.

    Example:
        >>> print(damaged(Path("a.zip"), "it ends too soon"))
        a.zip is damaged or not the data set (it ends too soon); remove it and fetch it again
    """
    return ValueError(f"{archive} is damaged or not the data set ({reason}); remove it and fetch it again")


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Around every call into zipfile, tarfile and gzip, which fail on damaged files in about twenty ways."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or is_of_disk(error):
            raise
        reason = (str(error) or ("it ends too soon" if isinstance(error, EOFError) else repr(error))).splitlines()[0]
        raise damaged(archive, reason) from None


def _of_zip(file: IO[bytes], archive: Path) -> Iterator[Member]:
    with _reading(archive):
        packed = zipfile.ZipFile(file)
    for info in packed.infolist():
        blocks = partial(_zip_blocks, packed, info, archive)
        yield Member(info.filename, info.is_dir(), info.file_size, _zip_oddity(info), blocks)


def _zip_oddity(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 1:
        return "which is encrypted"
    if kind == stat.S_IFLNK:
        return "a link"
    return "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "a device"


def _zip_blocks(packed: zipfile.ZipFile, info: zipfile.ZipInfo, archive: Path) -> Iterator[bytes]:
    with _reading(archive):
        stream = packed.open(info)
    yield from _blocks(stream, info.filename, info.file_size, archive)


def _blocks(stream: Any, name: str, size: int, archive: Path) -> Iterator[bytes]:
    """Exactly `size` bytes; zipfile checks them when asked for more."""
    left = size
    while True:
        with _reading(archive):
            block: bytes = stream.read(min(BLOCK, left) if left else 0)
        if not block:
            break
        left -= len(block)
        yield block
    if left:
        raise damaged(archive, f"{name} ends {left} bytes too soon")


class _Headers:
    """What tarfile reads headers from: no more of them than an honest archive has, and the last one remembered."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.left = _HEADERS
        self.last = b""

    def read(self, n: int) -> bytes:
        self.left -= n
        if self.left < 0:
            raise tarfile.ReadError("a header is too long")
        self.last = self.stream.read(n)
        return self.last

    def seek(self, place: int) -> int:
        return int(self.stream.seek(place))

    def tell(self) -> int:
        return int(self.stream.tell())


def _of_tar(stream: Any, archive: Path) -> Iterator[Member]:
    headers = _Headers(stream)
    with _reading(archive):
        tar = tarfile.TarFile(fileobj=headers)  # type: ignore[arg-type]
    before = -1
    while True:
        headers.left = _HEADERS
        with _reading(archive):
            info = tar.next()
        if info is None:
            break
        tar.members = []  # type: ignore[attr-defined] # kept for random access, which nobody needs here
        if info.size < 0 or tar.offset <= before:
            raise damaged(archive, f"{info.name!r} has no size")
        before = tar.offset
        yield Member(info.name, info.isdir(), info.size, _tar_oddity(info), partial(_tar_blocks, stream, info, archive))
    if headers.last != _ZEROS:  # tarfile takes a cut archive for a short one
        raise damaged(archive, "it ends too soon")
    _check_rest(stream, archive)


def _tar_oddity(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a link"
    if info.isdev():
        return "a device"
    return "" if (info.isreg() and not info.issparse()) or info.isdir() else "of an unusual kind"


def _tar_blocks(stream: Any, info: tarfile.TarInfo, archive: Path) -> Iterator[bytes]:
    with _reading(archive):
        stream.seek(info.offset_data)
    yield from _blocks(stream, info.name, info.size, archive)


def _check_rest(stream: Any, archive: Path) -> None:
    """Reads to the end, where gzip has its checksum."""
    for _ in range(_TAIL // BLOCK):
        with _reading(archive):
            if not stream.read(BLOCK):
                return
    raise damaged(archive, "it goes on after its end")
