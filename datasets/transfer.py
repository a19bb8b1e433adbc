"""One address to one growing file: from where an earlier try stopped, where the server can go on from there."""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any

from seqkit.version import __version__

__all__ = ["TransferError", "transfer"]

TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""

_BLOCK = 1 << 18


class TransferError(Exception):
    """The address did not give the file, or only a part of it; the disk is not to blame."""


def transfer(url: str, file: IO[bytes], progress: Callable[[int, int | None], None]) -> None:
    """Appends what is missing of an address's content to a file, or writes it anew where it cannot be continued.

    Args:
        url: http, https, ftp or file address.
        file: Unbuffered file open for reading and writing; it holds what came before, and keeps what comes now
            whatever happens.
        progress: Called with the bytes so far and the bytes of the whole, or None where the server does not say.

    Raises:
        TransferError: no answer, a refusal, or an end before the whole file came.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> served = Path(tempfile.mkdtemp()) / "served"
        >>> _ = served.write_bytes(b"bytes")
        >>> with tempfile.TemporaryFile(buffering=0) as file:
        ...     transfer(served.as_uri(), file, lambda done, whole: print(done, "of", whole))
        0 of 5
        5 of 5
    """
    have = file.seek(0, os.SEEK_END)
    answer, start, whole = _ask(url, have)
    with answer:
        if start == 0:  # what is there gives way only now that something comes in its place
            file.seek(0)
            file.truncate()
        done = start
        progress(done, whole)
        while block := _next_block(answer):
            _write(file, block)
            done += len(block)
            progress(done, whole)
    if whole is not None and done != whole:
        raise TransferError(f"the connection ended after {done} of {whole} bytes")


def _ask(url: str, have: int) -> tuple[Any, int, int | None]:
    """An answer, the place of its first byte (0 or `have`) and the size of the whole file where it is said."""
    headers = {"User-Agent": f"seqkit/{__version__}", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:  # what is there is no part of it
            return _ask(url, 0)
        raise TransferError(f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise TransferError(str(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransferError(str(error) or type(error).__name__) from None
    size = answer.headers.get("Content-Length", "")
    if getattr(answer, "status", None) != http.client.PARTIAL_CONTENT:
        return answer, 0, int(size) if re.fullmatch(r"\d{1,18}", size) else None
    said = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18})", answer.headers.get("Content-Range", "").strip())
    if have and said is not None and int(said[1]) == have:
        return answer, have, int(said[2])
    answer.close()
    if have:  # a range, but not the one that was asked for
        return _ask(url, 0)
    raise TransferError("the server gives a part of the file only")


def _next_block(answer: Any) -> bytes:
    try:
        block: bytes = answer.read(_BLOCK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransferError(f"the connection broke ({error or type(error).__name__})") from None
    return block


def _write(file: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]
