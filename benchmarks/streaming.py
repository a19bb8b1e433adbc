"""A single step of a stream beside the usual forms of one: one stream, and a thousand together.

    python benchmarks/streaming.py --out benchmarks/results/streaming.md
    python benchmarks/streaming.py --s4 FOLDER ...     # with s4.py of github.com/state-spaces/s4 in it, and einops

The model: 4 blocks, d_model 128, order 64 (32 pairs), one channel in, GELU, gated map, LayerNorm, mean pooling, 10
classes. Every peer does the same work on the same numbers, except that the S4 repository's layers have their own
weights (`S4Block(mode="diag")` of github.com/state-spaces/s4 at e757cef). Calls are interleaved; times are those of the
thread on the processor, so that what other processes take is left out.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numba are imported
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numba
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit import DataInfo, ModelConfig, SequenceModel, Stream
from seqkit.hippo import discretize_diagonal
from seqkit.ssm.diagonal import real_to_pairs
from seqkit.streaming import ModelEngine
from seqkit.streaming.fused import FusedEngine

CLASSES = tuple(str(k) for k in range(10))
Step = Callable[[Tensor, np.ndarray], Any]


class EagerStack(nn.Module):
    """The model's step as careful torch code has it: discretised once, nothing checked, state changed in place."""

    def __init__(self, model: SequenceModel, n: int, *, real: bool) -> None:
        super().__init__()
        self.model, self.real, self.seen = model, real, 0
        self.systems, self.states = [], []
        for mixer in model.backbone.mixers():
            Lambda = torch.complex(-mixer.log_damping.exp(), mixer.frequency)
            A, B = discretize_diagonal(Lambda, real_to_pairs(mixer.B), mixer.log_dt.exp(), method="bilinear")
            C = real_to_pairs(mixer.C)[:, 0]
            self.systems.append(tuple(parts(value) if real else value for value in (A, B, C)))
            zero = torch.zeros(n, *A.shape, dtype=A.dtype)
            self.states.append(parts(zero) if real else zero)
        self.total = torch.zeros(n, model.config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """One sample of each stream."""
        found, self.states, self.total = self.stepped(x, self.states, self.total)
        self.seen += 1
        return self.model.head(found / self.seen).softmax(-1)

    def stepped(self, x: Tensor, states: list[Any], total: Tensor) -> tuple[Tensor, list[Any], Tensor]:
        """What changes nothing by itself, so that it can be compiled."""
        h, new = self.model.encoder((x - self.model.input_norm.mean) / self.model.input_norm.std), []
        for block, system, state in zip(self.model.backbone.blocks, self.systems, states, strict=True):
            u = block.norm(h)
            y, state = (real_step if self.real else complex_step)(u, *system, state)
            y = F.gelu(y + block.mixer.D[:, 0] * u)
            h = h + F.glu(block.out(y), -1)
            new.append(state)
        total = total + self.model.backbone.norm(h)
        return total, new, total


def parts(value: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each contiguous."""
    return value.real.contiguous(), value.imag.contiguous()


def complex_step(u: Tensor, A: Tensor, B: Tensor, C: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Steps x <- A x + B u, y = 2 Re C x, written as the S4 repository writes it."""
    x = torch.einsum("hn,bhn->bhn", A, x) + torch.einsum("hn,bh->bhn", B, u.to(B.dtype))
    return 2 * torch.einsum("hn,bhn->bh", C, x).real, x


def real_step(u: Tensor, A: Any, B: Any, C: Any, x: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The same in real arithmetic, which torch.compile can fuse."""
    real = A[0] * x[0] - A[1] * x[1] + B[0] * u[..., None]
    imag = A[0] * x[1] + A[1] * x[0] + B[1] * u[..., None]
    return 2 * (C[0] * real - C[1] * imag).sum(-1), (real, imag)


class Repository(nn.Module):
    """The S4 repository's own blocks in the same model: residual, LayerNorm before, mean and head after."""

    def __init__(self, folder: Path, n: int) -> None:
        super().__init__()
        sys.path.insert(0, str(folder))
        block = importlib.import_module("s4").S4Block
        options: dict[str, Any] = {"mode": "diag", "init": "diag-lin", "d_state": 64, "transposed": False}
        self.blocks = nn.ModuleList(block(128, final_act="glu", **options) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(128) for _ in range(5))
        self.encoder, self.head, self.seen = nn.Linear(1, 128), nn.Linear(128, 10), 0
        self.eval()
        for one in self.blocks:
            one.setup_step()
        self.states = [one.default_state(n) for one in self.blocks]
        self.total = torch.zeros(n, 128)

    def forward(self, x: Tensor) -> Tensor:
        """One sample of each stream."""
        h = self.encoder(x)
        for k, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=False)):
            y, self.states[k] = block.step(norm(h), self.states[k])
            h = h + y
        self.total, self.seen = self.total + self.norms[-1](h), self.seen + 1
        return self.head(self.total / self.seen).softmax(-1)


@numba.njit(fastmath=True)
def total_of(values: np.ndarray) -> float:
    """Reads all values once."""
    total = np.float32(0)
    for k in range(len(values)):
        total += values[k]
    return total


def peers(model: SequenceModel, n: int, folder: Path | None) -> dict[str, Step]:
    """Names and calls, each of which takes a sample of n streams."""
    eager, real = EagerStack(model, n, real=False), EagerStack(model, n, real=True)
    real.stepped = torch.compile(real.stepped, dynamic=False)
    engines = {"torch": ModelEngine(model), "fused": FusedEngine(model)}
    states = {name: engine.start(n) for name, engine in engines.items()}

    def engine_step(name: str) -> Step:
        return lambda x, array: engines[name].step(states[name], None, array, None, None)

    found: dict[str, Step] = {}
    if folder is not None:
        repository = Repository(folder, n)
        found["the S4 repository's `step`"] = lambda x, array: repository(x)
    found["its form of step, re-written"] = lambda x, array: eager(x)
    found["torch.compile of that in real arithmetic"] = lambda x, array: real(x)
    found["torch engine"] = engine_step("torch")
    found["fused engine"] = engine_step("fused")
    if n == 1:
        stream = Stream(model, backend="fused")
        found["`Stream.push`, fused"] = lambda x, array: stream.push(array[0])
        values = np.ones(1 << 18, np.float32)
        found["floor: 1 MiB read once"] = lambda x, array: total_of(values)
    else:
        rows = np.ones((n, 4 * 128 * 64), np.float32)
        found["floor: all states read and written once"] = lambda x, array: np.multiply(rows, np.float32(1), out=rows)
    return found


@torch.no_grad()
def measure(steps: dict[str, Step], n: int, rounds: int, each: int) -> dict[str, np.ndarray]:
    """Times of calls in microseconds, some of each in turn."""
    times: dict[str, list[int]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            for _ in range(each):
                x = torch.randn(n, 1)
                array = x.numpy()
                start = time.thread_time_ns()
                step(x, array)
                spent = time.thread_time_ns() - start
                if turn:  # the first turn warms up
                    times[name].append(spent)
    return {name: np.array(values) / 1e3 for name, values in times.items()}


@torch.no_grad()
def check(model: SequenceModel) -> float:
    """Largest difference of a peer's probabilities from float64 after 100 samples."""
    exact = ModelEngine(model, dtype="float64")
    stream, steps = Stream(exact), peers(model, 1, None)
    for _ in range(100):
        x = torch.randn(1, 1)
        want = stream.push(x[0].numpy())
        got = [step(x, x.numpy()) for name, step in steps.items() if "floor" not in name]
    return max(float(np.abs(np.asarray(one) - want).max()) for one in got)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the table goes; printed if left out")
    parser.add_argument("--s4", type=Path, help="folder that holds s4.py of the S4 repository")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    info = DataInfo("toy", "classification", n_channels=1, classes=CLASSES)
    config = ModelConfig.preset("s4d", d_model=128, n_layers=4, order=64)
    model = SequenceModel.from_config(config, info, seed=0).eval().requires_grad_(False)
    begun = time.process_time()
    FusedEngine(model)
    built = time.process_time() - begun
    difference = check(model)
    lines = [
        "# A step of a stream",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, one thread on {platform.machine()} ({os.cpu_count()} cores), Python "
        f"{platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}, torch {torch.__version__}. "
        "`benchmarks/streaming.py`.",
        "",
        " ".join((__doc__ or "").split("\n\n")[2].split()),
        "",
        f"All of them agree with float64 to {difference:.0e}. Building a fused engine, once it is compiled, takes "
        f"{built:.2f} s.",
    ]
    for n, each, unit, per in ((1, 200, "us", 1.0), (1000, 1, "ms", 1000.0)):
        found = measure(peers(model, n, args.s4), n, args.rounds if n == 1 else max(5, args.rounds), each)
        ours = float(np.median(found["fused engine" if n > 1 else "`Stream.push`, fused"]))
        title = "One stream" if n == 1 else f"{n} streams, one call"
        lines += ["", f"## {title}", "", f"| step | median, {unit} | p99, {unit} | times ours |", "|---|---|---|---|"]
        for name, values in found.items():
            median, late = np.median(values) / per, np.percentile(values, 99) / per
            lines.append(f"| {name} | {median:.1f} | {late:.1f} | {median * per / ours:.2f} |")
    text = "\n".join(lines) + "\n"
    if args.out is None:
        print(text)
    else:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
