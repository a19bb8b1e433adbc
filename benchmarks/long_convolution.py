"""The Monarch mixer beside attention and s4d on a CPU: time, memory, accuracy; and the forms of its convolution.

    python benchmarks/long_convolution.py --parts forms,time,memory --keep benchmarks/results/long_convolution.jsonl
    SEQKIT_DATA=... python benchmarks/long_convolution.py --parts accuracy --data letters --seeds 0,1 --keep ...
    python benchmarks/long_convolution.py --parts none --keep ... --out benchmarks/results/long_convolution.md

Times are of one process's CPU clock on one thread, medians over rounds in which all take turns. What is kept in
`--keep` is not measured again, so a run that was stopped goes on, and several make one page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

import seqkit.attention
import seqkit.longconv
import seqkit.ssm  # noqa: F401  all register their mixers
from seqkit.longconv import monarch_conv
from seqkit.nn import get_mixer

LENGTHS = (512, 2048, 4096, 16384)
LONGEST = 65536
D_MODEL, ROUNDS = 64, 3
MIXERS = ("monarch", "attention, all of the past", "attention, 1,024 samples", "s4d")
DATA = {"vowels": "japanese_vowels", "letters": "character_trajectories", "digits": "spoken_digits"}
FITTED = ("monarch", "attention", "s4d")


def mixer(name: str, length: int) -> torch.nn.Module:
    """A layer of 64 channels that can see a whole series of this length, or attention's last 1,024 samples."""
    torch.manual_seed(0)
    if name == "monarch":
        return get_mixer("monarch")(D_MODEL, window=float(length))
    if name.startswith("attention"):
        return get_mixer("attention")(D_MODEL, window=1024 if "1,024" in name else length)
    return get_mixer(name)(D_MODEL)


def once(layer: torch.nn.Module, u: torch.Tensor, backward: bool) -> float:
    """CPU seconds of a forward, with its backward or without gradients."""
    began = time.process_time()
    if backward:
        layer(u).square().mean().backward()
    else:
        with torch.no_grad():
            layer(u)
    return time.process_time() - began


def medians(calls: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Medians of rounds in which all take turns, after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for count in range(ROUNDS + 1):
        for name, call in calls.items():
            seconds = call()
            if count:
                taken[name].append(seconds)
    return {name: statistics.median(values) for name, values in taken.items()}


def times(kept: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Forward with backward up to 16,384 samples, and a forward of 65,536; one series."""
    for length in (*LENGTHS, LONGEST):
        if any(row["part"] == "time" and row["length"] == length for row in kept):
            continue
        backward = length <= LENGTHS[-1]
        names = [name for name in MIXERS if backward or "all of" not in name]
        u = torch.randn(1, length, D_MODEL)
        layers = {name: mixer(name, length) for name in names}
        found = medians({name: partial(once, layer, u, backward) for name, layer in layers.items()})
        yield {"part": "time", "length": length, "backward": backward, "milliseconds": scaled(found)}


def forms(kept: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The causal convolution alone by each form, 8 series of 64 channels."""
    for length in (256, 1024, 4096):
        if any(row["part"] == "forms" and row["length"] == length for row in kept):
            continue
        u, k = torch.randn(8, D_MODEL, length), torch.randn(D_MODEL, length)
        exact = monarch_conv(u[:1, :4].double(), k[:4].double(), form="fft")
        calls: dict[str, Callable[..., torch.Tensor]] = {
            "fft": partial(monarch_conv, form="fft"),
            "torch.fft": by_torch,
            **{f"monarch, order {p}": partial(monarch_conv, form="monarch", order=p) for p in (2, 3)},
        }
        found = medians({name: partial(convolved, call, u, k) for name, call in calls.items()})
        errors = {name: relative(call(u[:1, :4], k[:4]), exact) for name, call in calls.items()}
        yield {"part": "forms", "length": length, "milliseconds": scaled(found), "errors": errors}


def by_torch(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Three padded transforms, as it is usually written."""
    size = 2 * u.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(u, n=size) * torch.fft.rfft(k, n=size), n=size)[..., : u.shape[-1]]


def convolved(call: Callable[..., torch.Tensor], u: torch.Tensor, k: torch.Tensor) -> float:
    """CPU seconds of a forward and a backward."""
    u, k = u.clone().requires_grad_(), k.clone().requires_grad_()
    began = time.process_time()
    call(u, k).square().mean().backward()
    return time.process_time() - began


def relative(value: torch.Tensor, exact: torch.Tensor) -> float:
    """RMS(difference) / RMS(reference)."""
    return float((value - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def memory(kept: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Peak of a process that does one forward and backward, above one that does neither."""
    for length in (4096, 16384):
        if any(row["part"] == "memory" and row["length"] == length for row in kept):
            continue
        names = MIXERS if length <= 4096 else [name for name in MIXERS if "all of" not in name]
        yield {"part": "memory", "length": length, "mebibytes": {name: peak(name, length) for name in names}}


def peak(name: str, length: int) -> float:
    """MiB above the process before."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import resource, torch, long_convolution as own\n"
        f"u, layer = torch.randn(1, {length}, own.D_MODEL), own.mixer({name!r}, {length})\n"
        f"own.once(own.mixer({name!r}, 64), u[:, :64], True)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "own.once(layer, u, True)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return round(float(result.stdout), 1)


def accuracy(kept: list[dict[str, Any]], data: list[str], seeds: list[int]) -> Iterator[dict[str, Any]]:
    """`LSSLClassifier` of two blocks of 32 channels on the set's own parts."""
    from attention_mixers import frames

    from seqkit.datasets import SeriesDataModule, get_source
    from seqkit.estimators import LSSLClassifier

    for name in data:
        source = get_source(DATA[name])
        if name == "letters":  # one set, whose parts are drawn as `seqkit train` draws them
            module = SeriesDataModule(source)
            module.setup()
            parts = dict(module.sets)
        else:
            parts = source.load()
        made: dict[str, tuple[Any, np.ndarray]] = {}
        for part, every in (("train", 2 if name == "digits" else 1), ("test", 1)):
            rows = range(0, len(parts[part].values), every)
            target = np.array([str(parts[part].target[i]) for i in rows])
            series = [parts[part].values[i] for i in rows]
            made[part] = (np.stack([frames(one) for one in series]) if name == "digits" else panel(series)), target
        for seed in seeds:
            for model in FITTED:
                known = {"part": "accuracy", "data": name, "mixer": model, "seed": seed}
                if any(known.items() <= row.items() for row in kept):
                    continue
                sizes = {"d_model": 32, "n_layers": 2, "dropout": 0.1, "epochs": 8} if name == "digits" else {}
                if name == "letters":
                    sizes = {"d_model": 32, "n_layers": 2, "epochs": 12}
                began = time.process_time()
                fitted = LSSLClassifier(model, random_state=seed, n_jobs=1, **sizes).fit(*made["train"])
                spent = time.process_time() - began
                right = float((fitted.predict(made["test"][0]) == made["test"][1]).mean())
                yield {**known, "accuracy": right, "cpu_seconds": round(spent, 1)}


def panel(series: list[Any]) -> list[Any]:
    """Series of unequal length as sktime takes them."""
    import pandas as pd

    return [pd.DataFrame(np.asarray(one)) for one in series]


def scaled(found: dict[str, float]) -> dict[str, float]:
    """Seconds to milliseconds."""
    return {name: round(1000 * seconds, 2) for name, seconds in found.items()}


def page(rows: list[dict[str, Any]]) -> str:
    """The results as a page."""
    date, machine = datetime.date.today(), f"torch {torch.__version__}, {platform.machine()}"
    lines = [
        "# The Monarch mixer on a CPU",
        "",
        "CPU time on one thread, medians of rounds in which all take turns. Made by",
        f"`benchmarks/long_convolution.py` on {date}, {machine}; the machine was shared with other work.",
        "",
        "## The convolution alone",
        "",
        f"Causal, 8 series of {D_MODEL} channels, as many taps as samples, float32, forward and backward,",
        'milliseconds. `fft` is `seqkit.kernels.long_conv`, which `form="auto"` takes; `torch.fft` three padded',
        "transforms; `monarch` dense stages in batched products. In brackets the error against float64.",
        "",
    ]
    lines += table(
        rows,
        "forms",
        "samples",
        lambda row, name: f"{row['milliseconds'][name]:,.0f} ({row['errors'][name]:.0e})",
        "milliseconds",
    )
    lines += [
        "",
        "## A layer",
        "",
        f"One series, {D_MODEL} channels, float32, filters as long as the series; forward and backward up to",
        f"{LENGTHS[-1]:,} samples, at {LONGEST:,} a forward. Milliseconds.",
        "",
    ]
    lines += table(rows, "time", "samples", lambda row, name: f"{row['milliseconds'][name]:,.0f}", "milliseconds")
    lines += ["", "Memory of a forward and backward above that of the process, MiB:", ""]
    lines += table(rows, "memory", "samples", lambda row, name: f"{row['mebibytes'][name]:,.0f}", "mebibytes")
    lines += [
        "",
        "## Accuracy",
        "",
        "`LSSLClassifier(NAME, random_state=SEED)` on the sets' own test parts: Japanese vowels with its own choice",
        "of sizes; letters (character trajectories, those that `seqkit train` trains on) with two blocks of 32",
        "channels and 12 passes; spoken digits as 64 frames of 16 bands, every second training recording, two blocks",
        "of 32 channels and 8 passes. Per cent right, means over seeds with the single ones in brackets, and mean",
        "CPU seconds of the fit. Twelve passes are too few for the letters and show the beginning of learning only:",
        "thirty of `seqkit train` reach 99.5 with `monarch` (docs/longconv.md).",
        "",
        "| data | mixer | accuracy | CPU s |",
        "|---|---|---:|---:|",
    ]
    for data in DATA:
        for name in FITTED:
            own = [row for row in rows if row["part"] == "accuracy" and (row["data"], row["mixer"]) == (data, name)]
            if own:
                shares = [100 * row["accuracy"] for row in sorted(own, key=lambda row: row["seed"])]
                each = ", ".join(f"{share:.1f}" for share in shares)
                seconds = statistics.mean(row["cpu_seconds"] for row in own)
                lines.append(f"| {data} | `{name}` | {statistics.mean(shares):.1f} ({each}) | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def table(
    rows: list[dict[str, Any]], part: str, first: str, cell: Callable[[dict[str, Any], str], str], key: str
) -> list[str]:
    """A row a length, a column a name."""
    own = sorted((row for row in rows if row["part"] == part), key=lambda row: row["length"])
    names = list(dict.fromkeys(name for row in own for name in row[key]))
    lines = [f"| {first} | {' | '.join(names)} |", f"|---:|{'---:|' * len(names)}"]
    for row in own:
        cells = [cell(row, name) if name in row[key] else "" for name in names]
        lines.append(f"| {row['length']:,} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measures what is asked for and not kept yet, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="forms,time,memory", help="forms, time, memory, accuracy or none")
    parser.add_argument("--data", default=",".join(DATA), help="sets of the part accuracy")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    if given.keep is not None and given.keep.exists():
        rows = [json.loads(line) for line in given.keep.read_text(encoding="utf-8").splitlines()]
    parts = {"forms": forms, "time": times, "memory": memory}
    for name in given.parts.split(","):
        if name == "none":
            continue
        seeds = [int(seed) for seed in given.seeds.split(",")]
        made = accuracy(rows, given.data.split(","), seeds) if name == "accuracy" else parts[name](rows)
        for row in made:
            rows.append(row)
            print(json.dumps(row), flush=True)
            if given.keep is not None:
                with given.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    if given.out is not None:
        given.out.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
