"""The exported step and block beside the toolkit's own stream: CPU time a sample, one stream, one thread.

    python benchmarks/export_step.py                       # writes results/export_step.md
    python benchmarks/export_step.py --only s4d --rounds 3 # prints, writes nothing

Times are of one process's CPU clock, the median over rounds in which all take turns.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import onnxruntime
import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.streaming import Stream
from seqkit.streaming.export import export_model
from seqkit.streaming.export.formats import read_program

RESULTS = Path(__file__).parent / "results" / "export_step.md"

SIZES = {
    "s4d": {"d_model": 128, "n_layers": 4, "order": 64},
    "lssl": {"d_model": 64, "n_layers": 1, "order": 64},
    "gru": {"d_model": 128, "n_layers": 1},
}
BLOCK = 1024
Turn = Callable[[], object]


def own_stream(model: SequenceModel, backend: str, x: np.ndarray) -> tuple[Turn, Turn] | None:
    """A step and a block of the toolkit's own stream; None where the backend does not serve the model."""
    try:
        one, many = Stream(model, backend=backend), Stream(model, backend=backend)
    except (ValueError, ImportError):
        return None
    return lambda: one.push(x[0]), lambda: many.push(x)


def exported(folder: Path, made: dict, x: np.ndarray) -> tuple[Turn, Turn]:
    """The same of exported programs, states carried by the caller."""
    run = {name: read_program(folder / program["file"]) for name, program in made["programs"].items()}
    first = list(np.load(folder / "initial.npz").values())
    told = any(value["name"] == "steps" for value in made["programs"]["step"]["inputs"])
    inputs = {
        "step": [x[:1], np.ones_like(x[:1], dtype=bool), *([np.ones(1)] if told else [])],
        "block": [x[None], np.ones_like(x[None], dtype=bool)],
    }
    states = {"step": first, "block": first}

    def turn(name: str) -> None:
        _, *states[name] = run[name]([*inputs[name], *states[name]])

    return lambda: turn("step"), lambda: turn("block")


def spent(turn: Turn, seconds: float) -> float:
    """CPU seconds of one turn, over as many as fit in the time given, the first not counted."""
    turn()
    began, count = time.process_time(), 0
    while (now := time.process_time()) - began < seconds:
        turn()
        count += 1
    return (now - began) / count


def measured(name: str, rounds: int, seconds: float) -> list[tuple[str, str, float, float]]:
    """Rows of one model: what ran, microseconds a step, and a sample of a block."""
    info = DataInfo("noise", "classification", n_channels=4, classes=("a", "b"), sample_rate=100.0)
    model = SequenceModel.from_config(ModelConfig.preset(name, **SIZES[name]), info, seed=0).eval()
    x = np.random.default_rng(0).standard_normal((BLOCK, 4)).astype(np.float32)
    turns: dict[str, tuple[Turn, Turn]] = {}
    for backend in ("torch", "fused"):
        both = own_stream(model, backend, x)
        if both is not None:
            turns[f"seqkit, {backend}"] = both
    with tempfile.TemporaryDirectory() as root:
        for words, options in {
            "onnxruntime": {},
            "onnxruntime, fixed step": {"fixed_step": True},
            "torch.export, fixed step": {"format": "torch", "fixed_step": True},
        }.items():
            folder = Path(root) / words.replace(" ", "-")
            made = export_model(model, folder, **options)
            if words == "onnxruntime" and len(made["programs"]["step"]["inputs"]) == len(
                made["programs"]["block"]["inputs"]
            ):
                continue  # its step is fixed anyway
            turns[words] = exported(folder, made, x)
            print(name, words, f"error {made['error']:.1e}", flush=True)
        found: dict[str, list[tuple[float, float]]] = {words: [] for words in turns}
        for _ in range(rounds):
            for words, (step, block) in turns.items():
                found[words].append((spent(step, seconds), spent(block, seconds) / BLOCK))
    rows = []
    for words, times in found.items():
        step, block = np.median(np.array(times), axis=0) * 1e6
        rows.append((name, words, float(step), float(block)))
        print(f"{name:10} {words:26} {step:9.1f} us a step {block:8.2f} us a sample of a block", flush=True)
    return rows


def write(rows: list[tuple[str, str, float, float]]) -> None:
    lines = [
        "# Exported programs",
        "",
        f"CPU time of one stream on one thread: a step, and a sample of a block of {BLOCK}, in microseconds; "
        "the median of rounds in which all take turns. The time of copying inputs and states in and out is part of it. "
        f"Made by `benchmarks/export_step.py` on {datetime.date.today()}, torch {torch.__version__}, onnxruntime "
        f"{onnxruntime.__version__}, {platform.machine()}, other processes beside it.",
        "",
        "| model | sizes | run by | step, us | block, us a sample |",
        "|---|---|---|---:|---:|",
    ]
    for name, words, step, block in rows:
        sizes = ", ".join(f"{key} {value}" for key, value in SIZES[name].items())
        lines.append(f"| {name} | {sizes} | {words} | {step:,.0f} | {block:,.1f} |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in options.only or SIZES for row in measured(name, options.rounds, options.seconds)]
    if not options.only:
        write(rows)


if __name__ == "__main__":
    main()
