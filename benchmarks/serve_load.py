"""A server of streams under load from a second process, then killed in the middle, started again and compared.

The first part pushes samples of many streams at a fixed rate over WebSockets and measures the time from when a sample
was due to its answer. The second runs the server twice over the same samples: once left alone, once killed with
SIGKILL halfway, started again and gone on with; the final answers must be equal to the last bit.

    .venv/bin/python benchmarks/serve_load.py --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CHANNELS = 3


@dataclass
class Seen:
    """What one client saw."""

    latencies: list[float] = field(default_factory=list)
    wrong: int = 0


def make_run(folder: Path, options: argparse.Namespace) -> Path:
    """A model with untrained weights: how fast it answers does not depend on what it has learned."""
    import torch

    from seqkit import DataInfo, ModelConfig
    from seqkit.models import SequenceModel, save_model

    info = DataInfo("load", "classification", n_channels=CHANNELS, classes=("low", "middle", "high"), sample_rate=100.0)
    config = ModelConfig.preset(options.model, d_model=options.d_model, n_layers=options.n_layers, order=options.order)
    torch.manual_seed(0)
    save_model(SequenceModel.from_config(config, info, seed=0).eval(), folder)
    return folder


def sample(stream: int, k: int) -> list[float]:
    """Sample k of a stream, the same in each run."""
    return [round(float(np.sin(0.1 * k * (1 + c) + stream)), 4) for c in range(CHANNELS)]


class Server:
    """`seqkit serve` as a process of its own."""

    def __init__(self, run: Path, store: Path, options: argparse.Namespace) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "seqkit", "serve", str(run), "--port", str(self.port), "--store", str(store)]
        command += ["--backend", options.backend, "--store-every", str(options.store_every)]
        begin = time.perf_counter()
        # A session of its own, as a service has: where sessions share the cores, it does not share its client's.
        self.process = subprocess.Popen(command, env=os.environ, start_new_session=True)
        while not self.ready():
            if self.process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        self.seconds_to_start = time.perf_counter() - begin

    def ready(self) -> bool:
        """Whether it takes samples."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as reply:
                return reply.status == 200
        except OSError:
            return False

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def metrics(self) -> dict[str, float]:
        """What it counted."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as reply:
            lines = [line.rsplit(" ", 1) for line in reply.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def end(self, how: int) -> float:
        """Ends it by a signal; returns the seconds that it took."""
        begin = time.perf_counter()
        self.process.send_signal(how)
        self.process.wait(timeout=60)
        return time.perf_counter() - begin


async def client(port: int, streams: list[int], options: argparse.Namespace, begin: float, seen: Seen) -> None:
    """Pushes the streams' samples, evenly spread over each second, and checks each answer against its sample."""
    sent: dict[tuple[int, int], float] = {}
    rounds = int(options.seconds * options.rate / options.streams)
    period = options.streams / options.rate

    async with connect(f"ws://127.0.0.1:{port}/v1/ws", max_queue=None) as link:

        async def read() -> None:
            expected = dict.fromkeys(streams, 0)
            left = rounds * len(streams)
            while left:
                said = json.loads(await link.recv())
                now = time.perf_counter()
                for answer in said if isinstance(said, list) else [said]:
                    left -= 1
                    if answer["status"] != 200:
                        seen.wrong += 1
                        continue
                    s = int(answer["stream"])
                    seen.latencies.append(now - sent.pop((s, answer["id"])))
                    seen.wrong += answer["count"] != expected[s] + 1 or answer["id"] != expected[s]
                    expected[s] += 1

        reader = asyncio.create_task(read())
        for k in range(rounds):
            for place in range(0, len(streams), options.together):
                due = begin + (k + place / len(streams)) * period
                wait = due - time.perf_counter()
                if wait > 0.001:
                    await asyncio.sleep(wait)
                messages = []
                for s in streams[place : place + options.together]:
                    messages.append({"op": "push", "stream": str(s), "values": sample(s, k), "count": k, "id": k})
                    sent[s, k] = due  # so that a client who is late does not hide an answer that is
                await link.send(json.dumps(messages if options.together > 1 else messages[0]))
        await reader


def load(port: int, options: argparse.Namespace, results: multiprocessing.Queue) -> None:
    """The second process: some clients, each with its share of the streams."""
    gc.disable()  # pauses of the client are none of the server's

    async def run() -> Seen:
        seen, begin = Seen(), time.perf_counter() + 0.5
        shares = [list(range(c, options.streams, options.clients)) for c in range(options.clients)]
        await asyncio.gather(*(client(port, share, options, begin, seen) for share in shares))
        return seen

    seen = asyncio.run(run())
    results.put((np.array(seen.latencies), seen.wrong, time.process_time()))


async def push_all(port: int, streams: range, rounds: int, taken: dict[int, int]) -> None:
    """Pushes as fast as answers come, from where each stream is; ends early if the server goes."""
    lanes = [list(streams)[c::20] for c in range(20)]

    async def lane(share: list[int]) -> None:
        try:
            async with connect(f"ws://127.0.0.1:{port}/v1/ws") as link:
                for k in range(rounds):
                    todo = [s for s in share if taken[s] <= k]
                    for s in todo:
                        await link.send(
                            json.dumps({"op": "push", "stream": str(s), "values": sample(s, k), "count": k})
                        )
                    for s in todo:
                        answer = json.loads(await link.recv())
                        assert answer["status"] == 200, answer
                        taken[s] = max(taken[s], answer["count"])
        except (ConnectionClosed, OSError):
            pass

    await asyncio.gather(*map(lane, lanes))


def final(port: int, streams: range) -> list[dict]:
    answers = []
    for s in streams:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/streams/{s}", timeout=30) as reply:
            answers.append(json.loads(reply.read()))
    return answers


def killed_and_undisturbed(run: Path, folder: Path, options: argparse.Namespace) -> tuple[bool, str]:
    """Whether final answers are equal, and what happened."""
    streams, rounds = range(options.kill_streams), options.kill_rounds
    server = Server(run, folder / "alone.db", options)
    asyncio.run(push_all(server.port, streams, rounds, dict.fromkeys(streams, 0)))
    alone = final(server.port, streams)
    server.end(signal.SIGTERM)

    taken = dict.fromkeys(streams, 0)
    server = Server(run, folder / "killed.db", options)

    async def until_killed() -> None:
        work = asyncio.create_task(push_all(server.port, streams, rounds, taken))
        while sum(taken.values()) < len(streams) * rounds // 2:
            await asyncio.sleep(0.005)
        server.process.send_signal(signal.SIGKILL)
        await work

    asyncio.run(until_killed())
    server.process.wait()
    acknowledged = dict(taken)
    server = Server(run, folder / "killed.db", options)
    counts = [answer["count"] for answer in started(server, streams)]
    lost = sum(max(0, acknowledged[s] - count) for s, count in zip(streams, counts, strict=True))
    asyncio.run(push_all(server.port, streams, rounds, taken))
    answers = final(server.port, streams)
    seconds = server.seconds_to_start
    server.end(signal.SIGTERM)
    words = (
        f"killed after {sum(acknowledged.values())} of {len(streams) * rounds} samples were acknowledged, ready again "
        f"after {seconds:.1f} s, {lost} acknowledged samples lost"
    )
    return answers == alone and lost == 0, words


def started(server: Server, streams: range) -> list[dict]:
    """Where each stream is; one that the server does not know has no samples."""
    answers = []
    for s in streams:
        try:
            answers += final(server.port, range(s, s + 1))
        except urllib.error.HTTPError:
            answers.append({"count": 0})
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=2000, help="samples per second, of all streams together")
    parser.add_argument("--clients", type=int, default=20, help="WebSockets")
    parser.add_argument("--together", type=int, default=1, help="samples of different streams in a message")
    parser.add_argument("--model", default="s4d")
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--n-layers", type=int, default=4)
    parser.add_argument("--order", type=int, default=32)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--store-every", type=int, default=64)
    parser.add_argument("--kill-streams", type=int, default=200)
    parser.add_argument("--kill-rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "run", options)
        busy = os.getloadavg()[0]
        server = Server(run, folder / "streams.db", options)
        before = server.cpu_seconds()
        results: multiprocessing.Queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=load, args=(server.port, options, results))
        begin = time.perf_counter()
        process.start()
        latencies, wrong, client_cpu = results.get(timeout=options.seconds * 3 + 60)
        seconds = time.perf_counter() - begin
        process.join()
        used, memory, metrics = server.cpu_seconds() - before, server.memory(), server.metrics()
        ended = server.end(signal.SIGTERM)
        expected = int(options.seconds * options.rate / options.streams) * options.streams
        shape = f"{options.model}, d_model {options.d_model}, {options.n_layers} layers, order {options.order}"
        together = metrics["seqkit_batch_jobs_sum"] / metrics["seqkit_batch_jobs_count"]
        print(f"model: {shape}, backend {options.backend}")
        print(f"load average before: {busy:.1f} on {os.cpu_count()} cores")
        print(f"clients {options.clients}, samples in a message {options.together}")
        print(f"streams {options.streams}, samples {len(latencies)} of {expected} in {seconds:.1f} s, wrong {wrong}")
        cuts = np.percentile(1e3 * latencies, [50, 90, 99, 99.9, 100])
        named = zip(("p50", "p90", "p99", "p99.9", "max"), cuts, strict=True)
        print("ms to an answer: " + ", ".join(f"{name} {value:.1f}" for name, value in named))
        share = 100 * used / seconds
        print(f"server: {used:.1f} s CPU ({share:.0f} % of a core), {memory:.0f} MB, {together:.1f} jobs a batch")
        print(f"client: {client_cpu:.1f} s CPU; SIGTERM to the end with all states stored: {ended:.2f} s")
        if options.kill_streams:
            equal, words = killed_and_undisturbed(run, folder, options)
            print(words)
            print(f"final answers equal to the last bit: {equal}")


if __name__ == "__main__":
    main()
