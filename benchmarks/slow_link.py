"""Training over a slow link: speed by rate, bytes on the wire, and the loss at the end, by way of compression.

    python benchmarks/slow_link.py --out benchmarks/results/slow_link.md
    python benchmarks/slow_link.py --only speed --backbones attention --links 100 1000
    python benchmarks/slow_link.py --only speed --width 128 --links 100     # half the width: more link, less arithmetic
    python benchmarks/slow_link.py --only grid --links 30 10                # two pipelines of two stages, four ranks

Two pipeline stages in two network namespaces; the link between them passes a token bucket. Rows are added to the file
of `--keep`, and what is there already is not measured again; a page is written of all rows. Speeds count where nothing
else runs: give each rank a core. Without the right to make namespaces only losses and the table of bytes are made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the ranks
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import torch

from seqkit.distributed import start_ranks
from seqkit.distributed.slow_link import SlowLink

HERE = Path(__file__).resolve().parent
METHODS: dict[str, str | None] = {
    "uncompressed": None,
    "direct 2/4": "fw=2,bw=4,group=32,mode=direct",
    "AC 2/4": "fw=2,bw=4,group=32",
    "direct 4/8": "fw=4,bw=8,mode=direct",
    "AC 4/8": "fw=4,bw=8",
}
GRID = {"uncompressed": None, "AC 4/8": "fw=4,bw=8", "AC 4/8, gradients 4": "fw=4,bw=8,dp=4"}
LINKS = (0, 1000, 500, 300, 100)  # Mbit/s, 0 for no limit
SPEED: dict[str, Any] = {
    **{"width": 256, "length": 128, "layers": 2, "batch": 16, "micro_batches": 4, "samples": 32},
    **{"timed_steps": 10, "learning_rate": 1e-3, "pretrain_steps": 0},
}
LOSS: dict[str, Any] = {
    **{"width": 64, "length": 64, "layers": 4, "batch": 16, "micro_batches": 4, "samples": 128},
    **{"epochs": 10, "learning_rate": 2e-3, "pretrain_steps": 300},
}
Row = dict[str, Any]


def ask(keep: Path, request: Row, methods: dict[str, str | None], link: SlowLink | None, limit: float) -> None:
    """Has the ranks measure the methods whose rows are missing, and keeps what they say."""
    known = {key_of(row) for row in read(keep)}
    wanted = [
        {"name": name, "compress": compress}
        for name, compress in methods.items()
        if key_of({**request, "method": name}) not in known
    ]
    if not wanted:
        return
    command = [sys.executable, str(HERE / "slow_link_rank.py"), json.dumps({**request, "methods": wanted})]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows"
        inside = ["sh", "-c", 'if [ "$RANK" = 0 ]; then exec "$@" > ' + str(out) + '; else exec "$@"; fi', "sh"]
        ranks = 2 * request.get("replicas", 1)
        try:
            if link is None:
                status = start_ranks([*inside, *command], ranks, limit=limit)
            else:
                status = link.run([*inside, *command], limit=limit)
        finally:  # what was measured before something broke is kept
            stamp = {"date": datetime.now(UTC).date().isoformat(), "load": round(os.getloadavg()[0], 1)}
            lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
            with keep.open("a", encoding="utf-8") as file:
                for line in (line for line in lines if line.startswith("{") and line.endswith("}")):
                    file.write(json.dumps({**json.loads(line), **stamp}) + "\n")
    if status:
        raise SystemExit(f"the ranks ended with status {status}")


def key_of(row: Row) -> tuple[Any, ...]:
    """What a row is of."""
    return (*(row.get(name) for name in ("kind", "backbone", "seed", "link", "method")), width_of(row))


def width_of(row: Row) -> int:
    """Width of the layers of a row about speed, or of a request for one; 0 for others, which have one width."""
    if row["kind"] != "speed":
        return 0
    return int(row.get("sizes", row).get("width", SPEED["width"]))


def read(keep: Path) -> list[Row]:
    """Rows that were kept."""
    return [json.loads(line) for line in keep.read_text(encoding="utf-8").splitlines()] if keep.is_file() else []


def formula(method: str, direction: str, width: int) -> int:
    """Bytes of a step's messages by the formula: headers, a flag a sample, numbers and steps."""
    rows, numbers, compress = int(SPEED["batch"]), int(SPEED["length"]) * width, METHODS[method]
    if compress is None:
        return rows * numbers * 4
    values = dict(part.split("=") for part in compress.split(","))
    bits, group = int(values["fw" if direction == "forward" else "bw"]), int(values.get("group", 64))
    return int(SPEED["micro_batches"]) * 48 + rows * (1 + -(-numbers * bits // 8) + 2 * -(-numbers // group))


def measure(options: argparse.Namespace) -> str | None:
    """Adds the rows that are missing; returns why speeds could not be measured, if they could not."""
    cache = str(Path(tempfile.gettempdir()) / "seqkit-slow-link")
    missing = SlowLink.missing()
    for backbone in options.backbones:
        common = {"backbone": backbone, "cache": cache}
        if options.only in (None, "speed") and missing is None:
            with SlowLink() as link:
                for rate in options.links:
                    link.set_rate(rate or None)
                    request = {**common, "kind": "speed", "seed": 0, "link": rate}
                    request["sizes"] = {**SPEED, "width": options.width}
                    ask(options.keep, request, METHODS, link, options.limit)
        if options.only in (None, "loss"):
            for seed in range(options.seeds):
                request = {**common, "kind": "loss", "seed": seed, "sizes": LOSS}
                ask(options.keep, request, METHODS, None, options.limit)
        cores = len(os.sched_getaffinity(0))
        if options.only == "grid" or (options.only is None and cores >= 4):
            with SlowLink(ends=4) as link:
                for rate in options.links:
                    link.set_rate(rate or None)
                    sizes = {**SPEED, "batch": 32, "samples": 64}
                    request = {**common, "kind": "grid", "seed": 0, "link": rate, "sizes": sizes, "replicas": 2}
                    ask(options.keep, request, GRID, link, options.limit)
    return missing


def word(rate: int) -> str:
    return "no limit" if not rate else f"{rate / 1000:g} Gbit/s" if rate >= 1000 else f"{rate} Mbit/s"


def speed_table(rows: list[Row], kind: str, backbone: str, width: int = 0) -> list[str]:
    """Sequences per second by link and method, with the ratio to uncompressed."""
    mine = [row for row in rows if (row["kind"], row["backbone"], width_of(row)) == (kind, backbone, width)]
    found = {(row["link"], row["method"]): row for row in mine}
    if not found:
        return []
    names = [name for name in (METHODS if kind == "speed" else GRID) if any(name == key[1] for key in found)]
    lines = ["| link | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for link in sorted({key[0] for key in found}, key=lambda rate: -(rate or 10**9)):
        plain, cells = found.get((link, "uncompressed")), []
        for name in names:
            row = found.get((link, name))
            ratio = f" ({row['sequences_per_second'] / plain['sequences_per_second']:.2f}x)" if row and plain else ""
            cells.append("" if row is None else f"{row['sequences_per_second']:.1f}{ratio}")
        lines.append(f"| {word(link)} | " + " | ".join(cells) + " |")
    loads = sorted(row["load"] for row in found.values())
    words = f"Load of the machine while this was measured: {loads[0]} to {loads[-1]}."
    if loads[-1] > len(os.sched_getaffinity(0)) + 1:
        words += " Other work took its cores, so these speeds are of computing and waiting for a core, not of the link;"
        words += (
            " they say nothing of what compression gains, and the rows are to be measured again on an idle machine."
        )
    return [*lines, "", words, ""]


def bytes_table(rows: list[Row], width: int) -> list[str]:
    """Bytes of a step by the formula and as counted."""
    rows = [row for row in rows if row["kind"] == "speed" and width_of(row) == width]
    lines = ["| method | forward, formula | forward, counted | backward, formula | backward, counted | times fewer |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    plain = formula("uncompressed", "forward", width) + formula("uncompressed", "backward", width)
    for name in METHODS:
        there, back = formula(name, "forward", width), formula(name, "backward", width)
        counted = {tuple(row["bytes_per_step"]) for row in rows if row["method"] == name}
        shown = [" and ".join(f"{one[k]:.0f}" for one in sorted(counted)) for k in (0, 1)]
        lines.append(f"| {name} | {there} | {shown[0]} | {back} | {shown[1]} | {plain / (there + back):.1f} |")
    return [*lines, ""]


def loss_table(rows: list[Row], backbone: str) -> list[str]:
    """Mean training loss of the last epoch over seeds."""
    lines = [
        "| method | loss of the last epoch | above uncompressed, seed by seed | relative error of activations | seeds |"
    ]
    lines.append("|---|---:|---:|---:|---:|")
    mine = [row for row in rows if (row["kind"], row["backbone"]) == ("loss", backbone)]
    plain = {row["seed"]: row["losses"][-1] for row in mine if row["method"] == "uncompressed"}
    for name in METHODS:
        found = [row for row in mine if row["method"] == name]
        if not found:
            continue
        last = [row["losses"][-1] for row in found]
        above = [row["losses"][-1] - plain[row["seed"]] for row in found if row["seed"] in plain]
        spread = f" ± {statistics.stdev(last):.4f}" if len(last) > 1 else ""
        span = f" ({min(above):+.4f} to {max(above):+.4f})" if len(above) > 1 else ""
        extra = f"{statistics.mean(above):+.4f}{span}" if above else ""
        error = statistics.mean(row["relative_error"] for row in found)
        lines.append(f"| {name} | {statistics.mean(last):.4f}{spread} | {extra} | {error:.3f} | {len(found)} |")
    return [*lines, ""] if mine else []


def page(rows: list[Row], missing: str | None) -> str:
    version = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=False).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    grid = "" if cores >= 4 else f"Four ranks share {cores} cores here, which costs most where links cost least."
    lines = [
        "# Training over a slow link",
        "",
        f"`python benchmarks/slow_link.py`, {datetime.now(UTC).date().isoformat()}; {platform.machine()}, {cores} "
        f"cores, Linux {version}, torch {torch.__version__}, gloo. Two pipeline stages in two network "
        "namespaces, joined "
        "by a link with a token bucket at each end; one thread a rank; schedule 1F1B. a/b: bits of activations and of "
        "their gradients. AC sends the change of a sample's activation since its last visit, direct the "
        "activation itself.",
        "",
        "## Speed",
        "",
        f"Sequences a second, median of {SPEED['timed_steps']} steps or more on samples that were visited before, and "
        f"the ratio to uncompressed on the same link: {SPEED['layers']} layers, {SPEED['length']} letters, "
        f"{SPEED['batch']} sequences a step in {SPEED['micro_batches']} micro-batches. Half the width has half the "
        "bytes and, where matrices are most of the work, a quarter of the arithmetic.",
        "",
    ]
    if missing is not None:
        lines += [f"Not measured on this machine: {missing}.", ""]
    widths = sorted({width_of(row) for row in rows if row["kind"] == "speed"}, reverse=True)
    for backbone, name in (("s4d", "State space (S4D)"), ("attention", "Attention")):
        for width in widths:
            table = speed_table(rows, "speed", backbone, width)
            lines += [f"### {name}, width {width}", "", *table] if table else []
    grids = [line for backbone in ("s4d", "attention") for line in speed_table(rows, "grid", backbone)]
    lines += ["## Two pipelines of two stages, four namespaces", ""]
    if grids:
        lines += [
            f"Gradients of the two copies pass the links too, in 4 bits with error feedback in the last column. {grid}",
            "",
        ]
    lines += grids or [f"Not measured: four ranks need four cores, and this machine has {cores}.", ""]
    for width in widths:
        lines += [f"## Bytes of a step, width {width}", "", *bytes_table(rows, width)]
    lines += [
        "## Loss",
        "",
        f"Documentation strings of Python's standard library, letter by letter: {LOSS['layers']} layers of width "
        f"{LOSS['width']} in two stages, trained on other pieces of the text for {LOSS['pretrain_steps']} steps and "
        f"then for {LOSS['epochs']} epochs on {LOSS['samples']} pieces of {LOSS['length']} letters. All methods of a "
        "seed start from the same weights and see the same batches; ± is the deviation over seeds.",
        "",
    ]
    for backbone, name in (("s4d", "State space (S4D)"), ("attention", "Attention")):
        table = loss_table(rows, backbone)
        lines += [f"### {name}", "", *table] if table else []
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, default=HERE / "results" / "slow_link_rows.jsonl")
    parser.add_argument("--out", type=Path, default=None, help="page to write")
    parser.add_argument("--only", choices=("speed", "loss", "grid", "page"), default=None)
    parser.add_argument("--backbones", nargs="+", choices=("s4d", "attention"), default=["s4d", "attention"])
    parser.add_argument("--links", nargs="+", type=int, default=list(LINKS), help="Mbit/s, 0 for no limit")
    parser.add_argument("--width", type=int, default=SPEED["width"], help="of the layers whose speed is measured")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one row")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that namespaces are taken away
    missing = measure(options)
    if options.out is not None:
        options.out.write_text(page(read(options.keep), missing), encoding="utf-8")


if __name__ == "__main__":
    main()
