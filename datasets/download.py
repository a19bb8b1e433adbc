"""Fetching files: checksums, mirrors in turn, whole files or none, and a sentence to go on with when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from seqkit.checks import missing_extra

__all__ = ["fetch", "not_there"]


def fetch(urls: Sequence[str], path: Path, known_hash: str, *, offline: bool, what: str) -> None:
    """Downloads a file from the first address that gives the right one.

    Args:
        urls: Addresses of the same file, tried in turn.
        path: Where it goes; it is whole and checked, or not there.
        known_hash: Checksum as "sha256:..." or "md5:...".
        offline: Fetch nothing, only say what is missing.
        what: What the file is, for the error.

    Raises:
        FileNotFoundError: no address gave the file, or `offline`; the sentence says how to do it by hand.
        ImportError: pooch is not installed.
    """
    if offline:
        raise not_there(what, path, urls[0], "nothing is fetched offline")
    try:
        import pooch  # noqa: PLC0415 - optional: files put there by hand need no download
    except ModuleNotFoundError:
        raise missing_extra("pooch", "data", f"Downloading {what}") from None
    reasons = []
    for url in urls:
        try:
            pooch.retrieve(url, known_hash=known_hash, fname=path.name, path=path.parent)
        except (OSError, ValueError) as error:  # no network, a refusal, a full disk; a wrong checksum
            reasons.append(f"{url}: {_short(error)}")
        else:
            return
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


def _short(error: BaseException) -> str:
    text = ""
    with contextlib.suppress(Exception):
        text = str(error).splitlines()[0]
    return text if len(text) <= 160 else f"{text[:160]}..."
