"""Quantising on a CPU: speed of each path, what an end of a cut costs beside the block it serves, the error by bits.

    python benchmarks/quantise.py                                   # prints the page
    python benchmarks/quantise.py --out benchmarks/results/quantise.md

CPU time of one process on one thread, medians over rounds in which all forms take turns.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, nn

from seqkit.distributed import DeltaCodec, MessageStore, Receiver, Sender
from seqkit.kernels import dequantise, quantise

ROWS, SHAPE = 8, (128, 256)
BITS = (2, 3, 4, 8)


def in_turns(forms: dict[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, float]:
    """Median seconds of each, the first round not counted."""
    found: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 1):
        for name, form in forms.items():
            began = time.process_time()
            for _ in range(repeats):
                form()
            if turn:
                found[name].append((time.process_time() - began) / repeats)
    return {name: statistics.median(times) for name, times in found.items()}


def kernels(rounds: int) -> Iterator[str]:
    """Gigabytes of float32 a second, each way, and how many times that of torch's own operations."""
    yield "| bits | rounding | write, GB/s | times torch | read, GB/s | times torch |"
    yield "|---:|---|---:|---:|---:|---:|"
    x, base = torch.randn(ROWS, SHAPE[0] * SHAPE[1]), torch.randn(ROWS, SHAPE[0] * SHAPE[1])
    size = x.numel() * 4 / 1e9
    for bits in BITS:
        for words, seed in (("nearest", None), ("stochastic", torch.tensor(1))):
            data = quantise(x, bits, seed=seed)

            def write(backend: str, bits: int = bits, seed: Tensor | None = seed) -> Tensor:
                return quantise(x, bits, seed=seed, backend=backend)

            def read(backend: str, bits: int = bits, data: Tensor = data) -> Tensor:
                return dequantise(data, x.shape[1], bits, onto=base, backend=backend)

            forms = {
                f"{way} {backend}": (lambda call=call, backend=backend: call(backend))
                for way, call in (("write", write), ("read", read))
                for backend in ("cpu", "reference")
            }
            times = in_turns(forms, rounds, 4)
            cells = [
                f"{size / times[f'{way} cpu']:.2f} | {times[f'{way} reference'] / times[f'{way} cpu']:.0f}"
                for way in ("write", "read")
            ]
            yield f"| {bits} | {words} | {' | '.join(cells)} |"


def ends(rounds: int) -> Iterator[str]:
    """Milliseconds at each end of a cut, and their share of a block's forward and backward."""
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    x = torch.randn(ROWS, *SHAPE, requires_grad=True)
    values = [torch.randn(ROWS, *SHAPE)]
    values.append(values[0] + 0.1 * torch.randn(ROWS, *SHAPE))
    ids = list(range(ROWS))
    forms: dict[str, Callable[[], object]] = {"block": lambda: block(x).sum().backward()}
    for bits in (*BITS, 32):
        sender, receiver = (
            end(DeltaCodec(bits), SHAPE, MessageStore(SHAPE, capacity=ROWS)) for end in (Sender, Receiver)
        )
        receiver.decode(ids, sender.encode(ids, values[0]))
        blob = sender.encode(ids, values[1])
        turn = iter(range(10**9))
        forms[f"encode {bits}"] = lambda sender=sender, turn=turn: sender.encode(ids, values[next(turn) % 2])
        forms[f"decode {bits}"] = lambda receiver=receiver, blob=blob: receiver.decode(ids, blob)
    times = in_turns(forms, rounds, 2)
    yield f"Forward and backward of one Transformer block of 256 channels: {1e3 * times['block']:.0f} ms."
    yield ""
    yield "| bits | sender, ms | share of the block | receiver, ms | share of the block |"
    yield "|---:|---:|---:|---:|---:|"
    for bits in (*BITS, 32):
        one, other = times[f"encode {bits}"], times[f"decode {bits}"]
        shares = [f"{1e3 * part:.2f} | {part / times['block']:.1%}" for part in (one, other)]
        yield f"| {bits} | {' | '.join(shares)} |"


def errors() -> Iterator[str]:
    """What coding loses of Gaussian rows, once and in a buffer whose values move on."""
    ways = {
        "nearest": DeltaCodec(2, scale="absmax"),
        "nearest, minimax step": DeltaCodec(2),
        "stochastic": DeltaCodec(2, rounding="stochastic"),
    }
    yield f"| bits | group | {' | '.join(ways)} | bytes of float32's |"
    yield f"|---:|---:|{'---:|' * len(ways)}---:|"
    for bits in (2, 3, 4, 8):
        for group in (16, 32, 64, 512):
            cells = []
            for way in ways.values():
                torch.manual_seed(0)
                codec = DeltaCodec(bits, group, way.rounding, scale=way.scale)
                x = torch.randn(64, 4096)
                y = codec.decode(codec.encode(x), x.shape)
                cells.append(f"{float((x - y).norm() / x.norm()):.3f}")
            yield f"| {bits} | {group} | {' | '.join(cells)} | {codec.wire_bytes((1, 4096)) / 16384:.3f} |"


def buffers() -> Iterator[str]:
    """Error of the buffer after 12 visits over the size of the last change."""
    yield "| bits | values | nearest | nearest, minimax step | stochastic |"
    yield "|---:|---|---:|---:|---:|"
    for bits in (2, 3, 4):
        for words, drift in (("walk", 0.0), ("walk and drift", 0.5), ("drift", 1.0)):
            cells = []
            for rounding, scale in (("nearest", "absmax"), ("nearest", "minimax"), ("stochastic", "absmax")):
                torch.manual_seed(0)
                codec = DeltaCodec(bits, 64, rounding, torch.Generator().manual_seed(1), scale)
                sender = Sender(codec, (8192,), MessageStore((8192,)))
                x, way = 10 * torch.randn(1, 8192), torch.randn(1, 8192)
                for visit in range(13):
                    change = 0.9**visit * (drift * way + (1 - drift) * torch.randn(1, 8192))
                    x = x + change
                    sender.encode([0], x)
                lost = x - sender.side.store.read([0])
                cells.append(f"{float(lost.norm() / change.norm()):.2f}")
            yield f"| {bits} | {words} | {' | '.join(cells)} |"


def page(rounds: int) -> Iterator[str]:
    yield "# Numbers in a few bits"
    yield ""
    yield (
        f"{datetime.date.today()}, {platform.machine()} CPU, torch {torch.__version__}, one thread, CPU time. "
        f"Made by `python benchmarks/quantise.py`; {ROWS} rows of {SHAPE[0]} x {SHAPE[1]} numbers, groups of 64."
    )
    parts = (
        (
            "Paths",
            "`quantise` and `dequantise` (which adds to rows that are there) by compiled loops, and how many times as "
            "fast as the same bytes by torch's operations.",
            kernels(rounds),
        ),
        (
            "An end of a cut",
            "`Sender.encode` and `Receiver.decode` with everything they do: norms, buffer, header, checksum, meter.",
            ends(rounds),
        ),
        ("What is lost", "Norm of the error over the norm of Gaussian rows, coded once.", errors()),
        (
            "What is lost by a buffer",
            "A sample whose values move on at each visit, by a tenth less each time: at random (walk), always the same "
            "way (drift), or half of each. Norm of the buffer's error after twelve visits over that of the last one's "
            "change.",
            buffers(),
        ),
    )
    for title, words, lines in parts:
        yield from ("", f"## {title}", "", words, "", *lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for line in page(options.rounds):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
