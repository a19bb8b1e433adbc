"""Who may ask, and how much."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from seqkit.checks import check_positive, check_positive_int
from seqkit.streaming.server.jobs import RefusedError

__all__ = ["Bucket", "Clients", "Limits"]

SHORTEST_TOKEN = 8


@dataclass(frozen=True)
class Limits:
    """What one server bears.

    Args:
        resident: Streams in memory; others lie in the store.
        streams: Streams of a client.
        body: Bytes of a request, and of a WebSocket message.
        rate: Samples per second of a client; None for no limit.
        burst: Samples of a client at once before `rate` counts.
        queue: Samples and other jobs that wait; requests beyond are told to come back.
        pipeline: Messages of one WebSocket that are worked on before it is read further.

    Raises:
        ValueError: one that is not positive.

    Example:
        >>> Limits(streams=10).streams
        10
    """

    resident: int = 4096
    streams: int = 1_000_000
    body: int = 1 << 20
    rate: float | None = None
    burst: int = 10_000
    queue: int = 10_000
    pipeline: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "rate":
                if value is not None:
                    check_positive(field.name, value)
            else:
                check_positive_int(field.name, value)


class Bucket:
    """A bucket of tokens: it fills at a rate, and each sample takes one.

    Args:
        rate: Samples per second.
        burst: What it holds.
        clock: Seconds that rise.

    Example:
        >>> bucket = Bucket(10.0, 5, clock=lambda: 0.0)
        >>> bucket.take(5), round(bucket.take(1), 3)
        (0.0, 0.1)
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._level, self._at = float(burst), clock()

    def take(self, n: int) -> float:
        """Takes n and returns 0, or takes nothing and returns the seconds after which there are enough."""
        now = self._clock()
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if n <= self._level:
            self._level -= n
            return 0.0
        return (n - self._level) / self.rate


class Clients:
    """The clients that a server knows by their tokens; each has its own streams.

    Args:
        tokens: Token of each client by name; empty where anyone may ask, as one client.
        limits: What each may do.

    Raises:
        ValueError: a token that is short or given to two.

    Example:
        >>> clients = Clients({"ward 3": "0123456789abcdef"}, Limits())
        >>> clients.named("0123456789abcdef")
        'ward 3'
    """

    def __init__(self, tokens: Mapping[str, str], limits: Limits) -> None:
        for name, token in tokens.items():
            if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
                raise ValueError(
                    f"the token of client {name!r} must be at least {SHORTEST_TOKEN} letters, digits or signs without "
                    "spaces; make one with `openssl rand -hex 16`"
                )
        if len(set(tokens.values())) < len(tokens):
            raise ValueError("two clients have the same token; give each its own")
        self._tokens = dict(tokens)
        self.limits = limits
        self._buckets: dict[str, Bucket] = {}

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def named(self, token: str | None) -> str:
        """Name of the client with a token.

        Raises:
            RefusedError: 401: none, or one that nobody has.
        """
        if not self._tokens:
            return ""
        if not token:
            raise RefusedError(401, "this server needs a token; send the header `Authorization: Bearer TOKEN`")
        given = token.encode("utf-8", "surrogateescape")
        found = [name for name, known in self._tokens.items() if hmac.compare_digest(given, known.encode())]
        if not found:
            raise RefusedError(401, "nobody has this token; check it")
        return found[0]

    def spend(self, client: str, samples: int) -> None:
        """Counts samples of a client.

        Raises:
            RefusedError: 429: more than its rate; 413: more at once than a burst holds.
        """
        if self.limits.rate is None or not samples:
            return
        if samples > self.limits.burst:
            raise RefusedError(413, f"a request may hold {self.limits.burst} samples, got {samples}; send several")
        bucket = self._buckets.setdefault(client, Bucket(self.limits.rate, self.limits.burst))
        wait = bucket.take(samples)
        if wait:
            raise RefusedError(429, f"a client may send {self.limits.rate:g} samples a second; wait {wait:.2f} s", wait)

    @staticmethod
    def read(path: str | Path) -> dict[str, str]:
        r"""Tokens out of a file with a line `name:token` for each client; a lone token is that of client "".

        Raises:
            FileNotFoundError: no such file.
            ValueError: a line of another form, a name twice, or no token at all.

        Example:
            >>> import tempfile
            >>> file = Path(tempfile.mkdtemp()) / "tokens"
            >>> _ = file.write_text("# two wards\nward 3:0123456789abcdef\nward 4:fedcba9876543210\n")
            >>> list(Clients.read(file))
            ['ward 3', 'ward 4']
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file of tokens {path}; write one with a line `name:token` a client")
        tokens: dict[str, str] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, _, token = (part.strip() for part in line.rpartition(":"))
            if name in tokens:
                raise ValueError(f"{path}, line {number}: client {name!r} has a token already; give it one")
            tokens[name] = token
        if not tokens:
            raise ValueError(f"{path} holds no token; write a line `name:token` for each client")
        return tokens
