"""A failure on one rank becomes a sentence on every rank, in bounded time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch.distributed as dist

__all__ = ["PeerError", "Watch"]

_KEY = "seqkit/failure"
_PATIENCE = 2.0
"""Seconds that a rank waits for the word of the one that failed, before it says that it has none."""

_BROKEN = ("gloo", "connection", "timed out", "nccl", "socket", "broken pipe", "store")
"""What stands in messages of torch about a peer that has gone; torch has no class of its own for all of them."""


class PeerError(ConnectionError):
    """Another rank failed, stopped or is too slow, so this one cannot go on."""


class Watch:
    """Turns errors of communication into sentences, and tells the other ranks of an error of this one.

    The rank that fails writes its reason into the store that all ranks share, and raises it. The others find their
    connection closed, or wait for `timeout` seconds in vain; they read the reason and raise `PeerError`.

    Args:
        rank: Number of this rank.
        store: The store that all ranks share; None where there is none, then reasons of other ranks stay unknown.
        timeout: Seconds after which the process group gives up a message, for the sentence.

    Example:
        >>> watch = Watch(0, None, timeout=60.0)
        >>> with watch.during("step 3"):
        ...     raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")
        Traceback (most recent call last):
        ...
        seqkit.distributed.failures.PeerError: rank 0 lost another rank in step 3: ...
    """

    def __init__(self, rank: int, store: Any | None, *, timeout: float) -> None:
        self.rank = rank
        self.store = store
        self.timeout = timeout

    @contextlib.contextmanager
    def during(self, doing: str) -> Iterator[None]:
        """Watches over a piece of work.

        Args:
            doing: What is done, as "step 12".

        Raises:
            PeerError: another rank failed or is too slow.
        """
        try:
            yield
        except PeerError:
            raise
        except Exception as error:
            if not _from_peer(error):
                self.tell(f"rank {self.rank} failed in {doing}: {_words(error)}")
                raise
            raise self._peer_error(doing, error) from error

    def tell(self, reason: str) -> None:
        """Writes down why this rank fails, unless another one failed before."""
        if self.store is None:
            return
        with contextlib.suppress(Exception):  # the store's host may be what failed
            self.store.compare_set(_KEY, "", reason)

    def told(self) -> str | None:
        """The reason of the rank that failed first, if it left one."""
        if self.store is None:
            return None
        end = time.monotonic() + _PATIENCE
        try:
            while not self.store.check([_KEY]):
                if time.monotonic() > end:
                    return None
                time.sleep(0.05)
            return bytes(self.store.get(_KEY)).decode(errors="replace")
        except Exception:  # the host of the store has gone
            return None

    def _peer_error(self, doing: str, error: BaseException) -> PeerError:
        reason = self.told()
        if reason is not None:
            return PeerError(f"{reason}; rank {self.rank} stopped as well, continue from the last checkpoint")
        words = _words(error)
        if "timed out" in words.lower() or "timeout" in words.lower():
            # What this rank gave up, others will meet as a closed connection; they should read why.
            sentence = (
                f"rank {self.rank} waited {self.timeout:g} s for a message of another rank in {doing}; look at what "
                "the others do, or give slow ones a larger `timeout`"
            )
            self.tell(sentence)
            return PeerError(sentence)
        return PeerError(
            f"rank {self.rank} lost another rank in {doing}: its process ended or the network broke; look at the "
            f"output of the others and continue from the last checkpoint ({words})"
        )


def _from_peer(error: BaseException) -> bool:
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return True
    return type(error) is RuntimeError and any(word in str(error).lower() for word in _BROKEN)


def _words(error: BaseException) -> str:
    """First line of an error, with its kind where that says more than "a value is wrong"; the innermost cause."""
    while error.__cause__ is not None and "failed to run" in str(error).lower():
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    kind = type(error).__name__
    return line if kind in ("ValueError", "RuntimeError") and line else f"{kind}: {line}".rstrip(": ")
