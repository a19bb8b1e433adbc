"""Streams in Spark on this machine: samples a second, bytes of state, and how long a micro-batch takes.

    python benchmarks/spark_streams.py              # writes results/spark_streams.md
    python benchmarks/spark_streams.py --quick      # small counts; prints, writes nothing

Needs `pip install 'seqkit[spark]'` and Java. Weights are fresh ones: they take as long as trained ones.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from seqkit import DataInfo, ModelConfig, SequenceModel, Stream
from seqkit.bench.machine import describe_machine, headline
from seqkit.streaming import from_bytes, to_bytes

RESULTS = Path(__file__).parent / "results" / "spark_streams.md"
CHANNELS = 4
MODELS = {
    "s4d, 1 layer, d_model 16, order 16": ("s4d", {"d_model": 16, "n_layers": 1, "order": 16}),
    "s4d, 4 layers, d_model 128, order 64": ("s4d", {"d_model": 128, "n_layers": 4, "order": 64}),
}
SHAPES = ((20, 1), (400, 1), (20, 100))
"""Streams in a micro-batch, and samples of each."""


def make_model(preset: str, sizes: dict[str, int]) -> SequenceModel:
    info = DataInfo("made", "classification", n_channels=CHANNELS, classes=("a", "b", "c"))
    return SequenceModel.from_config(ModelConfig.preset(preset, **sizes), info, seed=0)


def cpu(call, n: int) -> float:
    """Microseconds of processor time of one call."""
    call()
    before = time.process_time()
    for _ in range(n):
        call()
    return (time.process_time() - before) / n * 1e6


def outside(model: SequenceModel) -> tuple[int, float, float]:
    """Bytes of a state; and microseconds for a sample, and for a state out of bytes and back into them."""
    stream = Stream(model)
    sample = np.random.default_rng(0).normal(size=CHANNELS)
    step = cpu(lambda: stream.push(sample), 1000)
    kept = to_bytes(stream.state_dict())

    def there_and_back() -> None:
        stream.load_state_dict(from_bytes(kept))
        to_bytes(stream.state_dict())

    return len(kept), step, cpu(there_and_back, 300)


def write_input(folder: Path, streams: int, each: int, batches: int) -> None:
    folder.mkdir()
    values = np.random.default_rng(0).normal(size=(each, CHANNELS)).round(4).tolist()
    for batch in range(batches):
        lines = [
            json.dumps({"stream": f"sensor-{k}", "number": batch * each + j, "values": values[j]})
            for j in range(each)
            for k in range(streams)
        ]
        (folder / f"{batch:03d}.json").write_text("\n".join(lines))


def ticks(pid: int) -> float:
    """Seconds of processor time of a process and of all that it started, those that have ended included (Linux)."""
    total = 0.0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = int(place.parent.name), place.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if number == pid or _descends(number, pid):
            total += sum(map(int, rest[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def _descends(number: int, pid: int) -> bool:
    while number > 1:
        try:
            number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
        if number == pid:
            return True
    return False


def through_spark(spark, model: SequenceModel, streams: int, each: int, batches: int) -> tuple[float, float]:
    """Samples per second of processor time of all processes, and seconds of a micro-batch.

    The first half of the micro-batches does not count: workers start and load the model in it.
    """
    from seqkit.streaming.spark import stream_table

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "input", streams, each, batches)
        schema = "stream string, number long, values array<double>"
        table = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).json(str(folder / "input"))
        made = stream_table(table, model, sequence="number", every="batch")
        writer = made.writeStream.option("checkpointLocation", str(folder / "checkpoint")).trigger(availableNow=True)
        query = writer.format("noop").start()
        commits = folder / "checkpoint" / "commits"
        while query.isActive and len(list(commits.glob("[0-9]*"))) < batches // 2:
            time.sleep(0.02)
        done, before, began = len(list(commits.glob("[0-9]*"))), ticks(os.getpid()), time.perf_counter()
        query.awaitTermination()
        spent, took = ticks(os.getpid()) - before, time.perf_counter() - began
        return streams * each * (batches - done) / spent, took / (batches - done)


def measure(batches: int, shapes: tuple[tuple[int, int], ...]) -> tuple[list[str], list[str]]:
    from seqkit.streaming.spark import local_session

    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    spark = local_session(2)
    spark.sparkContext.setLogLevel("OFF")
    states, rates = [], []
    for words, (preset, sizes) in MODELS.items():
        model = make_model(preset, sizes)
        size, step, turn = outside(model)
        states.append(f"| {words} | {size:,} | {step:,.0f} | {turn:,.0f} |")
        print(states[-1], flush=True)
        for streams, each in shapes:
            rate, took = through_spark(spark, model, streams, each, batches)
            rates.append(f"| {words} | {streams:,} | {each} | {rate:,.0f} | {took:.1f} |")
            print(rates[-1], flush=True)
    spark.stop()
    return states, rates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    os.environ |= {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}
    states, rates = measure(4, SHAPES[:1]) if quick else measure(6, SHAPES)
    if quick:
        return
    made = headline(describe_machine("cpu", 1, tuned=False))
    text = [
        "# Streams in Spark",
        "",
        f"{made}. Made by `benchmarks/spark_streams.py`.",
        "",
        "What a stream is by itself: bytes of its state as Spark stores it, and microseconds of processor time for one "
        "sample, and for reading a state and writing it, which happens once a stream and micro-batch.",
        "",
        "| model | bytes of a state | a sample, us | a state in and out, us |",
        "|---|---:|---:|---:|",
        *states,
        "",
        "Through Spark, `local[2]`, states in RocksDB with a checkpoint on disk, a file of JSON lines a micro-batch, "
        "the newest answer of each stream. Samples a second are per second of processor time of all processes, "
        "Java's included, so that other work on the machine matters little: a load divided by it is the cores that it "
        "needs. Seconds of a micro-batch are by the clock of a shared machine "
        f"(load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores at the end).",
        "",
        "| model | streams | samples of each | samples/s of one core | micro-batch, s |",
        "|---|---:|---:|---:|---:|",
        *rates,
        "",
    ]
    RESULTS.write_text("\n".join(text))


if __name__ == "__main__":
    main()
