"""Runs a server of streams until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import uvicorn

from seqkit.checks import check_positive_int
from seqkit.streaming.engines import as_engine
from seqkit.streaming.server.app import create_app
from seqkit.streaming.server.keeper import Keeper
from seqkit.streaming.server.limits import Clients, Limits
from seqkit.streaming.server.store import Store
from seqkit.streaming.server.uniform import UniformEngine
from seqkit.streaming.stream import first_step

__all__ = ["serve"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SECONDS_TO_FINISH = 10


def serve(
    what: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    store: str | Path = "streams.db",
    durability: str = "process",
    tokens: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    sample_rate: float | None = None,
    backend: str = "auto",
    dtype: str | None = None,
    device: str = "cpu",
    store_every: int = 64,
    window: float = 0.001,
    threads: int = 1,
    tell: Callable[[str], object] = print,
) -> None:
    """Serves streams of a model over HTTP and WebSocket; returns after SIGTERM or SIGINT, when all states are stored.

    Args:
        what: As for `Stream`.
        host: Address to listen at; any but that of this machine alone needs tokens.
        port: Port; 0 for a free one.
        store: File of the states; it is made if needed, and one of the same model is gone on with.
        durability: What acknowledged samples outlive: "process", the end of the process; "power", the loss of power.
        tokens: Token of each client by name; none for a server that anyone on this machine may use.
        limits: What it bears; None for the defaults.
        sample_rate: As for `Stream`.
        backend: As for `Stream`.
        dtype: As for `Stream`.
        device: As for `Stream`.
        store_every: Samples of a stream after which its state is stored: more take longer to start again, fewer write
            more.
        window: Seconds that a sample waits for others while the server is busy.
        threads: Threads of a step; one is best for most models.
        tell: Is given the address and what else is worth knowing, a line each.

    Raises:
        ValueError: an address of others without tokens, a store of another model, or as `Stream`.
        OSError: an address or store that is taken.

    Example:
        >>> serve("no run", host="0.0.0.0")
        Traceback (most recent call last):
        ValueError: `host` '0.0.0.0' is open to other machines, so the server needs tokens; give one, or use 127.0.0.1
    """
    limits, tokens = limits or Limits(), dict(tokens or {})
    if not tokens and not _is_loopback(host):
        raise ValueError(
            f"`host` {host!r} is open to other machines, so the server needs tokens; give one, or use 127.0.0.1"
        )
    clients = Clients(tokens, limits)
    torch.set_num_threads(check_positive_int("threads", threads))
    engine = as_engine(what, backend=backend, dtype=dtype, device=device)
    first = first_step(engine, sample_rate)
    listening = _listening(host, port)
    try:
        uniform = UniformEngine(engine)
        keeper = Keeper(
            uniform,
            Store(store, engine.fingerprint, first, durability=durability),
            resident=limits.resident,
            store_every=store_every,
            streams_per_client=limits.streams,
            sample_rate=sample_rate,
        )
        app = create_app(keeper, clients, window=window, hosts=None if tokens else sorted({*LOOPBACK, host}))
        if uniform.spare == 1:
            tell(
                "this model's steps depend on the streams beside each other in their last bits, so each is made by "
                "itself; a width that is a multiple of 16 lets many be made together"
            )
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("seqkit.serve").setLevel(logging.INFO)
        name = f"[{host}]" if ":" in host else host
        tell(f"streams of {engine.kind} at http://{name}:{listening.getsockname()[1]}/, stored in {store}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # names of streams are the clients' own
            ws_max_size=limits.body,
            ws_per_message_deflate=False,  # messages are short
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
        )
        # What is loaded by now stays: looking through it again and again would stop all streams for a while each time.
        gc.collect()
        gc.freeze()
        _Server(config).run(sockets=[listening])
    finally:
        gc.unfreeze()
        listening.close()


class _Server(uvicorn.Server):
    """Ends with status 0 when it is told to; uvicorn's own ends by the signal once more."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """A socket at the address, so that a taken one is said before anything else is done."""
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(f"`host` {host!r} is no address of this machine ({error.strerror}); use 127.0.0.1") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror}; choose another --port") from error
    return found
