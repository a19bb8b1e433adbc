"""`seqkit stream` in a pipe: lines a second of one stream and of a thousand, and how long a single line waits.

    python benchmarks/stream_cli.py              # writes results/stream_cli.md
    python benchmarks/stream_cli.py --quick      # small counts; prints, writes nothing

Weights are fresh ones: they take as long as trained ones. Throughput is counted in seconds of the program's own
processor time, after its start, so that other work on the machine matters little; waiting times are wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from seqkit import DataInfo, ModelConfig, SequenceModel
from seqkit.bench.machine import describe_machine, headline
from seqkit.models import save_model
from seqkit.streaming.pipe import write_all

RESULTS = Path(__file__).parent / "results" / "stream_cli.md"
CHANNELS = 4
MODELS = {
    "s4d, 1 layer, d_model 16, order 16": ("s4d", {"d_model": 16, "n_layers": 1, "order": 16}),
    "s4d, 4 layers, d_model 128, order 64": ("s4d", {"d_model": 128, "n_layers": 4, "order": 64}),
    "gru, 1 layer, d_model 64": ("gru", {"d_model": 64, "n_layers": 1}),
}


def make_run(folder: Path, preset: str, sizes: dict[str, int]) -> Path:
    info = DataInfo("made", "classification", n_channels=CHANNELS, classes=("a", "b", "c"))
    save_model(SequenceModel.from_config(ModelConfig.preset(preset, **sizes), info, seed=0), folder)
    return folder


def make_lines(n: int, streams: int) -> bytes:
    values = np.random.default_rng(0).normal(size=(n, CHANNELS)).round(4).tolist()
    names = [{} if streams == 1 else {"stream": f"sensor-{k % streams}"} for k in range(n)]
    lines = [json.dumps(name | {"values": one}) for name, one in zip(names, values, strict=True)]
    return "".join(line + "\n" for line in lines).encode()


def begin(run: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "seqkit", "stream", str(run), *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def processor_time(program: subprocess.Popen[bytes]) -> float:
    """Seconds of all threads of another process so far (Linux: the clock of a process is named after its number)."""
    return time.clock_gettime((~program.pid << 3) | 2)


def ask(program: subprocess.Popen[bytes], data: bytes) -> None:
    """Writes lines and reads as many answers, both at once."""
    writer = threading.Thread(target=write_all, args=(program.stdin.fileno(), data))
    writer.start()
    missing = data.count(b"\n")
    while missing:
        missing -= program.stdout.read(1 << 16).count(b"\n")
    writer.join()


def lines_per_second(program: subprocess.Popen[bytes], n: int, streams: int) -> float:
    """Lines per second of the program's own processor time, after some that do not count."""
    data = make_lines(n, streams)
    ask(program, make_lines(2_000, streams))
    before = processor_time(program)
    ask(program, data)
    return n / (processor_time(program) - before)


def waits(program: subprocess.Popen[bytes], n: int) -> tuple[float, float]:
    """Median and 99th percentile of seconds from writing a line to having read its answer."""
    spent = []
    for line in make_lines(n, 1).splitlines(keepends=True):
        began = time.perf_counter()
        ask_one(program, line)
        spent.append(time.perf_counter() - began)
        time.sleep(0.001)
    return float(np.median(spent)), float(np.quantile(spent, 0.99))


def ask_one(program: subprocess.Popen[bytes], line: bytes) -> None:
    program.stdin.write(line)
    while not program.stdout.read(1 << 16).endswith(b"\n"):
        pass


def measure(lines: int, single: int) -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k, (words, (preset, sizes)) in enumerate(MODELS.items()):
            run = make_run(folder / f"run{k}", preset, sizes)
            with begin(run) as program:
                one = lines_per_second(program, lines, 1)
                median, late = waits(program, single)
                program.stdin.close()
            with begin(run) as program:
                many = lines_per_second(program, lines, 1000)
                program.stdin.close()
            with begin(run, "--snapshot", str(folder / f"states{k}"), "--snapshot-every", "10000") as program:
                kept = lines_per_second(program, lines, 1000)
                program.stdin.close()
            rows.append(
                f"| {words} | {one:,.0f} | {many:,.0f} | {kept:,.0f} | {median * 1e6:,.0f} | {late * 1e6:,.0f} |"
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    os.environ |= {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}
    rows = measure(4_000, 300) if quick else measure(40_000, 3_000)
    if quick:
        return
    load = os.getloadavg()[0]
    made = headline(describe_machine("cpu", 1, tuned=False))
    text = [
        "# seqkit stream in a pipe",
        "",
        f"{made}. Made by `benchmarks/stream_cli.py`.",
        "",
        f"Lines of JSON with {CHANNELS} channels, each answered at once by a label and the probabilities of 3 classes. "
        "Lines a second are per second of the program's own processor time, reading and writing of JSON included, its "
        "start not; snapshots are written every 10,000 lines. Models of s4d run the compiled loop, gru torch's own "
        "step; a thousand states of the second model are 131 MB. The wait is from writing one line to having read its "
        "answer, one line at a time through two pipes, 1 ms apart, by the clock of a shared machine "
        f"({os.cpu_count()} cores, load {load:.0f} at the end): the processor changes hands twice within it.",
        "",
        "| model | lines/s, one stream | 1,000 streams | with snapshots | wait, median, us | p99, us |",
        "|---|---:|---:|---:|---:|---:|",
        *rows,
        "",
    ]
    RESULTS.write_text("\n".join(text))


if __name__ == "__main__":
    main()
