"""Servers for the tests: small models, one in a thread of this process, one as a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.streaming import ModelEngine
from seqkit.streaming.server import Clients, Job, Keeper, Limits, Store, UniformEngine, create_app

INFO = DataInfo("toy", "classification", n_channels=2, classes=("rest", "run"), sample_rate=100.0)


def small_model(name: str = "lssl", **sizes: int) -> SequenceModel:
    config = ModelConfig.preset(name, **({"d_model": 16, "n_layers": 1} | sizes))
    return SequenceModel.from_config(config, INFO, seed=0).eval()


def small_engine(sizes: tuple[int, ...] = (4, 16)) -> UniformEngine:
    """Sizes are given, as finding them takes a second; that they are found is a test of its own."""
    return UniformEngine(ModelEngine(small_model(order=8)), sizes=sizes)


def keeper_at(path: Path | str, engine: UniformEngine | None = None, **options: Any) -> Keeper:
    engine = engine or small_engine()
    return Keeper(engine, Store(path, engine.fingerprint, 1.0), **options)


def pushed(name: str, values: Any, times: Any = None, count: int | None = None, client: str = "") -> Job:
    table = np.asarray(values, dtype=np.float32)
    return Job("push", (client, name), table, None if times is None else np.atleast_1d(np.asarray(times, float)), count)


class InThread(uvicorn.Server):
    """A server in a thread, on a free port."""

    def __init__(self, app: Any, body: int) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", ws_max_size=body, timeout_graceful_shutdown=5))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        thread = threading.Thread(target=self.run, kwargs={"sockets": [self.socket]})
        thread.start()
        try:
            wait_until_ready(self.address)
            yield self.address
        finally:
            self.should_exit = True
            thread.join(timeout=30)
            self.socket.close()
            assert not thread.is_alive()


@contextlib.contextmanager
def server(
    path: Path | str = ":memory:",
    *,
    tokens: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    keeper: Keeper | None = None,
    **options: Any,
) -> Iterator[str]:
    """Address of a server that runs while the block does."""
    limits = limits or Limits()
    if keeper is None:
        keeper = keeper_at(path, resident=limits.resident, streams_per_client=limits.streams)
    app = create_app(keeper, Clients(tokens or {}, limits), **options)
    with InThread(app, limits.body).running() as address:
        yield address


def wait_until_ready(address: str, process: subprocess.Popen | None = None, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://{address}/readyz").status_code == 200:
                return
        assert process is None or process.poll() is None, process.stderr.read() if process.stderr else "it ended"
        time.sleep(0.02)
    raise AssertionError("the server is not ready")


def start_process(run: Path, store: Path, *options: str, environment: Mapping[str, str] | None = None) -> Any:
    """`seqkit serve` on a free port of its own choice: the process and the address that it says."""
    command = [sys.executable, "-m", "seqkit", "serve", str(run), "--store", str(store), "--port", "0", *options]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    said = ""
    while (found := re.search(r"http://(127\.0\.0\.1:\d+)/", said)) is None:
        line = process.stderr.readline()
        said += line
        if not line:
            process.communicate()
            raise AssertionError(f"the server ended: {said}")
    wait_until_ready(found[1], process)
    return process, found[1]
