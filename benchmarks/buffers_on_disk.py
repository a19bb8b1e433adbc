"""Message buffers on disk: how long a step waits for its samples' rows, read at once and read a step ahead.

    python benchmarks/buffers_on_disk.py                                        # prints the page
    python benchmarks/buffers_on_disk.py --out benchmarks/results/buffers_on_disk.md

The file is dropped from the system's cache before each run, as where it is larger than memory. Waiting is no CPU time,
so this is wall time, and depends on the disk and on what else the machine does; both ways take turns.
"""

from __future__ import annotations

import argparse
import datetime
import mmap
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor

from seqkit.distributed import MessageStore

SHAPE, SAMPLES, BATCH, PARTS, STEPS = (128, 256), 1500, 32, 4, 6
WAYS = ("in memory", "at once", "a step ahead")


def filled(path: str | None, dtype: torch.dtype) -> MessageStore:
    """A store of all samples."""
    store = MessageStore(SHAPE, dtype, path, SAMPLES)
    for ids in torch.arange(SAMPLES).split(100):
        store.write(ids, torch.randn(len(ids), *SHAPE))
    return store


def make_cold(store: MessageStore) -> None:
    """Has the system write the file and forget its pages."""
    store.flush()
    os.fsync(store.rows.handle)
    store.rows.map.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(store.rows.handle, 0, 0, os.POSIX_FADV_DONTNEED)


def work(x: Tensor, weight: Tensor) -> None:
    """Some tens of milliseconds of a core, as the rest of a step."""
    for _ in range(6):
        x = torch.tanh(x @ weight)


def waits(store: MessageStore, way: str) -> list[float]:
    """Seconds that each step of a run waits for its rows, micro-batch by micro-batch."""
    if store.on_disk:
        make_cold(store)
    weight, x, found = torch.randn(256, 256) / 16, torch.randn(BATCH * SHAPE[0], 256), []
    batches = torch.randperm(SAMPLES)[: BATCH * STEPS].split(BATCH)
    for number, ids in enumerate(batches):
        if way == "a step ahead":
            if number == 0:
                store.prefetch(ids)
                work(x, weight)
            if number + 1 < STEPS:
                store.prefetch(batches[number + 1])
        began = time.perf_counter()
        for part in ids.split(BATCH // PARTS):
            store.read(part)
        found.append(time.perf_counter() - began)
        work(x, weight)
    return found


def page(rounds: int, folder: str) -> Iterator[str]:
    yield "# Message buffers on disk"
    yield ""
    yield (
        f"{datetime.date.today()}, {platform.machine()} CPU, torch {torch.__version__}, one thread; "
        f"{os.getloadavg()[0]:.0f} processes wanted the machine's {os.cpu_count()} cores. Made by "
        f"`python benchmarks/buffers_on_disk.py`; {SAMPLES} samples of {SHAPE[0]} x {SHAPE[1]} numbers, batches of "
        f"{BATCH} read in {PARTS} parts, {rounds * STEPS} steps each way."
    )
    yield ""
    yield "Milliseconds that a step waits for its rows: median, and the longest tenth begins at."
    yield ""
    yield f"| numbers | bytes a batch |{''.join(f' {way} | longest |' for way in WAYS)}"
    yield "|---|---:|" + "---:|" * (2 * len(WAYS))
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        torch.manual_seed(0)
        memory, disk = filled(None, dtype), filled(os.path.join(folder, name), dtype)
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                found[way] += waits(memory if way == "in memory" else disk, way)
        cells = []
        for times in found.values():
            tenth = statistics.quantiles(times, n=10)[-1]
            cells.append(f" {1e3 * statistics.median(times):.1f} | {1e3 * tenth:.1f} |")
        yield f"| {name} | {BATCH * disk.row_bytes / 1e6:.1f} MB |{''.join(cells)}"
        disk.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in page(options.rounds, folder):
            print(line, flush=True)
            lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
