"""Streams of ten million samples, a week at 16 Hz: does memory grow, and how far is float32 from float64 at the end?

    python benchmarks/week_long.py --out benchmarks/results/week_long.md    # minutes

Both streams of a case are pushed the same samples: daily waves, faster ones, a level, noise. At the end their outputs
and every tensor of their states are compared, root mean square over root mean square. Cells with a Python loop over
samples are aged instead: 25,000 samples lie 396 s apart, so that the stream is 9.9 million seconds old when 100,000
samples follow, a second apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import numpy as np
import torch

from seqkit import DataInfo, HiPPOMemory, ModelConfig, Stream
from seqkit.models import SequenceModel

SAMPLES = 10_000_000
BLOCK = 16_384
FAR, NEAR = 0.0025, 0.01
"""Shares of the samples that an aged stream is pushed far apart, and then a second apart."""


@dataclass(frozen=True)
class Case:
    """What is streamed, and how.

    Args:
        name: Row of the table.
        make: Builds the map.
        aged: Whether it is aged by samples far apart.
        block: Samples of a push.
    """

    name: str
    make: Callable[[], Any]
    aged: bool = False
    block: int = BLOCK


def model(name: str, **sizes: Any) -> SequenceModel:
    """A small model with fresh weights, whose output is a value."""
    info = DataInfo("week", "regression", n_channels=1)
    return SequenceModel.from_config(ModelConfig.preset(name, **sizes), info, seed=0)


CASES = (
    Case("s4d, 2 layers, mean", lambda: model("s4d", d_model=8, n_layers=2, order=16)),
    Case("s4d, 2 layers, mean, short blocks", lambda: model("s4d", d_model=8, n_layers=2, order=16), block=1000),
    Case("s4d, 2 layers, max", lambda: model("s4d", d_model=8, n_layers=2, order=16, pool="max")),
    Case("s4d, 2 layers, legs", lambda: model("s4d", d_model=8, n_layers=2, order=16, pool="legs")),
    Case("lssl, 2 layers, mean", lambda: model("lssl", d_model=8, n_layers=2, order=16)),
    Case("s4, 2 layers, last", lambda: model("s4", d_model=8, n_layers=2, order=16, pool="last")),
    Case("hippo_legs", lambda: model("hippo_legs", d_model=16, features=4), block=1000),
    Case("hippo_rnn, aged", lambda: model("hippo_rnn", d_model=8, order=16), aged=True),
    Case("lmu, aged", lambda: model("lmu", d_model=8, order=16), aged=True),
    Case("HiPPOMemory legs", lambda: HiPPOMemory(32)),
    Case("HiPPOMemory legs, exact", lambda: HiPPOMemory(32, rule="exact")),
    Case("HiPPOMemory legt", lambda: HiPPOMemory(32, "legt", window=10_000.0)),
    Case("HiPPOMemory lagt", lambda: HiPPOMemory(32, "lagt", window=10_000.0)),
)


def blocks(case: Case, samples: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Samples (L, 1) and, where a stream is aged, their times."""
    random = np.random.default_rng(0)
    far, near = (round(FAR * samples), round(NEAR * samples)) if case.aged else (0, samples)
    step = (1 - NEAR) * samples / far if far else 1.0
    done = 0
    while done < far + near:
        places = np.arange(done, min(far + near, done + case.block))
        t = np.minimum(places, far) * step + np.maximum(places - far, 0)
        day = t / SAMPLES * 7
        level = 1.0 + np.sin(2 * np.pi * day) + 0.3 * np.sin(2 * np.pi * 40 * day) + 0.5 * (day > 6.93)
        x = (level + 0.3 * random.standard_normal(len(t))).astype(np.float32)
        yield x[:, None], t + 1.0 if case.aged else None
        done += case.block


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def apart(mine: Any, theirs: Any) -> float:
    """Root mean square of the difference over that of the second."""
    a, b = np.asarray(mine, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    return float(np.sqrt(((a - b) ** 2).mean()) / max(np.sqrt((b**2).mean()), 1e-30))


def run(case: Case, samples: int = SAMPLES) -> dict[str, Any]:
    """Pushes all samples through a stream in float32 and one in float64."""
    what = case.make()
    single, double = Stream(what, dtype="float32"), Stream(what, dtype="float64")
    total, begun, seconds = sum(len(x) for x, _ in blocks(case, samples)), 0.0, 0.0
    errors, sizes = [], []
    for x, times in blocks(case, samples):
        began = time.process_time()
        single.push(x, times)
        seconds += time.process_time() - began
        double.push(x, times)
        if not begun and single.count >= total / 10:
            begun = resident()
        errors.append(float(((single.output - double.output) ** 2).mean()))
        sizes.append(float((double.output**2).mean()))
    mine, theirs = single.state_dict(), double.state_dict()
    states = [apart(mine[name], theirs[name]) for name in mine if name.startswith("state.")]
    return {
        "case": case.name,
        "pushed": single.count,
        "block": case.block,
        "output": apart(single.output, double.output),
        "worst": float(np.sqrt(max(errors) / np.mean(sizes))),
        "state": max(states),
        "bytes": sum(tensor.nbytes for tensor in mine.values()),
        "growth": resident() - begun,
        "micro": 1e6 * seconds / single.count,
    }


def report(rows: list[dict[str, Any]]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    lines = [
        "# A week of one stream",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread, Python {platform.python_version()}, "
        f"{versions}.",
        "`benchmarks/week_long.py`: small models with fresh weights and memories of order 32, pushed ten million",
        "samples in blocks, in float32 and in float64. Differences are root mean squares over those of float64: of the",
        "outputs at the end; the largest after any push, over the outputs of the whole stream; and of the worst tensor",
        "of the state at the end. Aged: 25,000 samples 396 s apart and then 100,000 a second apart, as a loop over ten",
        "million samples would take an hour. Growth: memory of the process from a tenth of the stream to its end.",
        "Time: processor time in float32.",
        "",
        "| stream | pushed | block | output at the end | any output | state | bytes | growth, MiB | us a sample |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['case']} | {row['pushed']:,} | {row['block']:,} | {row['output']:.0e} | {row['worst']:.0e} | "
            f"{row['state']:.0e} | {row['bytes']:,} | {row['growth']:.1f} | {row['micro']:.2f} |"
        )
    lines += [
        "",
        "Sums over the whole past are kept in float64 whatever the dtype: the sum of a mean, the coefficients of a",
        "LegS pooling, the memory of `hippo_rnn`, and all of `HiPPOMemory`, of which samples and outputs alone are",
        "float32 here.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        if args.only in case.name:
            rows.append(run(case, args.samples))
            print(rows[-1], flush=True)
    text = report(rows)
    print(text)
    if args.out is not None:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
