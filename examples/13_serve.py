"""A server of streams on this machine: samples in over HTTP, answers out; the states outlive the process.

From the command line it is `seqkit serve RUN`, with a live page at the address that it names. Needs the extra `serve`.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel, save_model


def ask(method: str, place: str, message: object = None) -> dict:
    """Sends a request to the server and returns its answer, also where that is a refusal."""
    body = None if message is None else json.dumps(message).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{place}", body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def started() -> subprocess.Popen:
    """The server as a process of its own, once it is ready."""
    command = ["serve", str(folder / "run"), "--port", str(port), "--store", str(folder / "streams.db")]
    server = subprocess.Popen([sys.executable, "-m", "seqkit", *command], stderr=subprocess.DEVNULL)
    while server.poll() is None:
        try:
            if ask("GET", "/readyz")["status"] == "ready":
                return server
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not start; is the extra `serve` installed?")


with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as free:
    folder, port = Path(name), free.getsockname()[1]
    free.close()
    info = DataInfo("pulse", "classification", n_channels=2, classes=("rest", "run"), sample_rate=100.0)
    config = ModelConfig.preset("gru", d_model=16, n_layers=1)
    save_model(SequenceModel.from_config(config, info, seed=0), folder / "run")

    server = started()
    print(ask("POST", "/v1/streams/ward%203/push", {"values": [0.4, 1.2], "count": 0}))
    print(ask("POST", "/v1/streams/ward%203/push", {"values": [[0.5, None], [0.6, 1.1]], "count": 1}))
    print(ask("POST", "/v1/push", {"items": [{"stream": s, "values": [0.1, 0.2]} for s in ("ward 4", "ward 5")]}))
    print(ask("POST", "/v1/streams/ward%203/push", {"values": [1, 2, 3]})["error"])
    before = ask("GET", "/v1/streams/ward%203")
    server.kill()  # as a crash would
    server.wait()

    server = started()
    print("after the crash", ask("GET", "/v1/streams/ward%203"))
    assert ask("GET", "/v1/streams/ward%203") == before
    server.terminate()
    assert server.wait(timeout=30) == 0
