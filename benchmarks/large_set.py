"""Peak memory of preparing a set of 4 GB and training on it, and how long a second start takes.

    python benchmarks/large_set.py            # 4 GB; writes benchmarks/results/large_set.md
    python benchmarks/large_set.py --mb 200   # a try

The set, an uncompressed .npz file of series of unequal length, is laid down in a temporary folder and removed. Each
step runs in a process of its own, whose peak is what the kernel counts as resident (VmHWM), mapped pages included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "large_set.md"
CHANNELS, BATCH, STEPS = 4, 16, 20


def lay_down(path: Path, megabytes: int) -> int:
    """Writes the set piece by piece; returns the number of its series."""
    random = np.random.default_rng(0)
    lengths: list[int] = []
    while sum(lengths) * CHANNELS * 4 < megabytes * 2**20:
        lengths.append(int(random.integers(2_000, 20_000)))
    arrays = {"lengths": np.array(lengths), "y": np.array(["low", "high"] * len(lengths))[: len(lengths)]}
    with zipfile.ZipFile(path, "w") as packed:
        for name, array in arrays.items():
            with packed.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
        with packed.open("values.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (sum(lengths), CHANNELS)}
            np.lib.format.write_array_header_2_0(file, header)
            for i, length in enumerate(lengths):
                file.write((random.standard_normal((length, CHANNELS), np.float32) + i % 2).tobytes())
    return len(lengths)


def step(what: str, path: str) -> None:
    """One step in this process; prints what it took as JSON."""
    began = time.perf_counter()
    import torch

    from seqkit.datasets import SeriesDataModule, get_source
    from seqkit.models import ModelConfig, SequenceModel

    imported = time.perf_counter()
    module = SeriesDataModule(get_source("folder", path=path), batch_size=BATCH)
    module.setup()
    opened = time.perf_counter()
    mean, std = module.statistics()
    facts = {"setup": opened - imported, "statistics": time.perf_counter() - opened, "steps": 0.0}
    if what == "train":
        model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=8, n_layers=1, order=8), module.info)
        model.input_norm.set_statistics(mean, std)
        optimizer = torch.optim.AdamW(model.parameters())
        began_steps = time.perf_counter()
        for number, batch in enumerate(module.train_dataloader()):
            loss = torch.nn.functional.cross_entropy(model(batch.values, batch.lengths), batch.target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if number + 1 == STEPS:
                break
        facts["steps"] = time.perf_counter() - began_steps
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    facts |= {"peak_mb": int(peak.split()[1]) / 1024, "all": time.perf_counter() - began}
    print(json.dumps(facts))


def run(what: str, path: Path, cache: Path) -> dict[str, float]:
    """A step in a process of its own, with its own cache folder."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "SEQKIT_DATA": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--step", what, "--path", str(path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=4096, help="size of the set")
    parser.add_argument("--step", choices=("open", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step(arguments.step, arguments.path)
        return
    folder = Path(tempfile.mkdtemp(prefix="seqkit-large-"))
    try:
        n = lay_down(folder / "large.npz", arguments.mb)
        size = (folder / "large.npz").stat().st_size
        rows = [
            ("first start: prepare, and statistics of the training part", run("open", folder / "large.npz", folder)),
            ("second start: open", run("open", folder / "large.npz", folder)),
            (f"open and train {STEPS} steps", run("train", folder / "large.npz", folder)),
        ]
    finally:
        shutil.rmtree(folder)
    lines = [
        "# A set larger than memory",
        "",
        f"{n:,} series of 2,000 to 20,000 samples, {CHANNELS} channels, {size / 2**30:.2f} GiB in one "
        f"uncompressed .npz file; batches of {BATCH}, a small S4D, one thread. Peak is what the kernel counts as "
        "resident (VmHWM) in the whole life of a process, torch and Lightning included. Made by "
        "`benchmarks/large_set.py`.",
        "",
        "| step | set up, s | statistics, s | steps, s | peak memory, GiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, facts in rows:
        times = " | ".join(f"{facts[key]:.2f}" for key in ("setup", "statistics", "steps"))
        lines.append(f"| {name} | {times} | {facts['peak_mb'] / 1024:.2f} |")
    print("\n".join(lines))
    if arguments.mb >= 4096:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
