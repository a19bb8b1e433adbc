"""A server of streams on this machine: samples in over HTTP, answers out; the states outlive the process.

From the command line it is `seqkit serve RUN`, with a live page at the address that it names. Needs the extra `serve`.

    python examples/13_serve.py [FOLDER]

Expect the answers after a crash of the server to go on where they were. FOLDER (runs/examples) gets 13_serve.png: the
answers over HTTP on top of those of a stream in one process that nothing disturbs.
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

import numpy as np
import torch
from torch.nn import functional as F

from seqkit import DataInfo, ModelConfig, Stream, param_groups
from seqkit.figures import new_figure, save_figure
from seqkit.models import SequenceModel, save_model

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples") / "13_serve.png"
random = np.random.default_rng(0)


def pulse(paces: list[float]) -> np.ndarray:
    """A second of signal for each pace in Hz, 100 samples a second: (100 * seconds, 1)."""
    turns = np.cumsum(np.repeat(paces, 100) / 100) + random.random()
    return (np.sin(2 * np.pi * turns) + 0.3 * random.normal(size=len(turns))).astype(np.float32)[:, None]


def trained() -> SequenceModel:
    """A small model that tells rest (1 Hz) from running (2.5 Hz); `seqkit serve` takes the folder of any run."""
    info = DataInfo("pulse", "classification", n_channels=1, classes=("rest", "run"), sample_rate=100.0)
    model = SequenceModel.from_config(
        ModelConfig.preset("s4d", d_model=16, n_layers=1, order=16, dt_min=0.01, dt_max=0.5), info, seed=0
    )
    target = torch.arange(40) % 2
    values = torch.from_numpy(np.stack([pulse([(1.0, 2.5)[int(one)]]) for one in target]))
    optimizer = torch.optim.AdamW(param_groups(model, learning_rate=0.02))
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(values), target).backward()
        optimizer.step()
    return model.eval()


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


def push(block: np.ndarray, count: int) -> dict:
    """A block of samples of one stream; `count`, the samples before, makes sure that none is taken twice."""
    return ask("POST", "/v1/streams/ward%203/push", {"values": block.tolist(), "count": count})


with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as free:
    folder, port = Path(name), free.getsockname()[1]
    free.close()
    model, signal, answers = trained(), pulse([1.0, 2.5, 2.5, 2.5]), {}
    save_model(model, folder / "run")

    server = started()
    for count in range(0, 200, 20):
        answers[count + 20] = push(signal[count : count + 20], count)
    print(answers[200])
    many = ask("POST", "/v1/push", {"items": [{"stream": s, "values": [0.1]} for s in ("ward 4", "ward 5")]})
    print([(one["stream"], one["prediction"]) for one in many["results"]])
    print(ask("POST", "/v1/streams/ward%203/push", {"values": [1, 2, 3]})["error"])
    before = ask("GET", "/v1/streams/ward%203")
    server.kill()  # as a crash would
    server.wait()

    server = started()
    print("after the crash", ask("GET", "/v1/streams/ward%203"))
    assert ask("GET", "/v1/streams/ward%203") == before
    for count in range(200, 400, 20):
        answers[count + 20] = push(signal[count : count + 20], count)
    print(answers[400])
    server.terminate()
    assert server.wait(timeout=30) == 0

stream = Stream(model)
alone = np.array([stream.push(sample)[1] for sample in signal])
served = {count: one["probabilities"]["run"] for count, one in answers.items()}
assert np.allclose([alone[count - 1] for count in served], list(served.values()), atol=1e-4)

figure = new_figure(7, 3.8)
axes = figure.subplots()
axes.plot(np.arange(1, 401) / 100, alone, color="0.7", linewidth=3, label="a stream in one process")
axes.plot([count / 100 for count in served], list(served.values()), "o", color="C1", label="answers over HTTP")
axes.axvline(2, color="C3", linestyle="--", label="the server is killed and started again")
axes.set(title="Rest for a second, then running", xlabel="time, s", ylabel="probability of running", ylim=(0, 1))
axes.grid(alpha=0.3)
axes.legend(fontsize=8)
save_figure(figure, picture)
print("picture:", picture)
