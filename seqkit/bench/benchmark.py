"""A whole run of measurements: plan, go on where an earlier one stopped, write the page and the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seqkit.bench.case import LEVELS
from seqkit.bench.cases import CASES, find_cases
from seqkit.bench.machine import describe_machine, headline
from seqkit.bench.peers.installed import words_for_packages
from seqkit.bench.pictures import check_pictures, draw_ratios
from seqkit.bench.report import page
from seqkit.bench.roofs import Roofs, measure_roofs
from seqkit.bench.row import Row, compare
from seqkit.bench.runner import Options, measure_cell, plan
from seqkit.bench.store import Stored
from seqkit.checks import check_choice, check_positive_int
from seqkit.files import write_whole
from seqkit.kernels.backend import BACKENDS
from seqkit.tune import tune_cpu

__all__ = ["BenchResult", "Progress", "bench", "check_run", "in_order", "nothing"]

Progress = Callable[[str, int, int], object]
"""Takes what is measured next, how much is done and how much there is."""


@dataclass(frozen=True)
class BenchResult:
    """What was measured.

    Args:
        rows: Rows of the cells that were asked for, in their order.
        machine: Kind of machine, versions, options.
        roofs: Roofs by dtype; none for memory.
        packages: Which other packages are missing or not measured.
        files: What was written.
        finished: Whether everything asked for was measured; an interrupted run is not finished.

    Example:
        >>> BenchResult([], {}).finished
        True
    """

    rows: list[Any]
    machine: dict[str, Any]
    roofs: dict[str, Roofs] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    finished: bool = True


def nothing(what: str, done: int, total: int) -> None:
    """Shows no progress."""


def bench(
    operators: Sequence[str] = (),
    *,
    sizes: str = "quick",
    device: str = "cpu",
    backends: Sequence[str] = (),
    repeats: int = 5,
    threads: int = 1,
    tuned: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    picture: bool = True,
    progress: Progress = nothing,
) -> BenchResult:
    """Measures operators and their usual forms on this machine, in turns, against what the machine allows.

    Args:
        operators: Names of cases; all of them if empty.
        sizes: "tiny" (to see that all works), "quick" (minutes) or "full".
        device: "cpu" or "cuda".
        backends: Own backends to measure; all that can serve if empty.
        repeats: Rounds of each measurement; the median counts.
        threads: Threads of torch and of compiled loops. With one, CPU time is measured, else wall time.
        tuned: Call `seqkit.tune_cpu()` first, for ours and the peers alike; it lasts for the process.
        out: Folder for bench.csv, bench.md and bench.png. Rows are kept there as they come, and a folder that holds
            rows of the same conditions is gone on with.
        overwrite: Start anew in such a folder.
        picture: Draw the picture.
        progress: Told what comes next.

    Returns:
        The rows and their conditions. Where Ctrl-C came, those so far.

    Raises:
        ValueError: an unknown name, or a folder with measurements under other conditions.
        ImportError: a picture is wanted, and matplotlib is not installed.

    Example:
        >>> result = bench(["vandermonde"], sizes="tiny", repeats=1)
        >>> sorted({row.pass_ for row in result.rows})
        ['fwd', 'fwd+bwd']
    """
    options = check_run(sizes, device, backends, repeats, out if picture else None)
    cells = plan(find_cases(operators), options)
    with process(threads, tuned):
        machine = {**describe_machine(device, threads, tuned), "repeats": repeats, "backends": list(backends)}
        stored = Stored.open(out, "bench", machine, Row, overwrite=overwrite)
        done = {row.cell for row in stored.rows}
        missing = [cell for cell in cells if cell.key not in done]
        roofs = {}
        finished = False
        try:
            for dtype in dict.fromkeys(cell.setting.dtype for cell in missing):
                progress(f"roofs in {dtype}", len(cells) - len(missing), len(cells))
                roofs[dtype] = measure_roofs(device, getattr(torch, dtype))
            for place, cell in enumerate(missing, start=len(cells) - len(missing)):
                progress(" ".join(cell.key), place, len(cells))
                stored.add(measure_cell(cell, options, roofs[cell.setting.dtype]))
            finished = True
        except KeyboardInterrupt:
            pass
    packages = words_for_packages()
    files = write_page(stored, roofs, packages, picture)
    wanted = {cell.key: place for place, cell in enumerate(cells)}
    rows = sorted((row for row in stored.rows if row.cell in wanted), key=lambda row: wanted[row.cell])
    if finished and not any(row.measured for row in rows):
        raise ValueError(nothing_measured(rows))
    return BenchResult(rows, machine, roofs, packages, files, finished)


def check_run(sizes: str, device: str, backends: Sequence[str], repeats: int, pictured: Path | None) -> Options:
    """Refuses what cannot be measured, before anything is."""
    check_choice("sizes", sizes, LEVELS)
    check_choice("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError('`device` must be "cpu" here: torch sees no CUDA device')
    for backend in backends:
        check_choice("backend", backend, BACKENDS)
    if pictured is not None:
        check_pictures()
    return Options(sizes, device, tuple(backends), check_positive_int("repeats", repeats))


@contextmanager
def process(threads: int, tuned: bool) -> Iterator[None]:
    """Sets the number of threads for the time of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(check_positive_int("threads", threads))
    if tuned:
        tune_cpu()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def nothing_measured(rows: Sequence[Row]) -> str:
    """Says why a run has no number."""
    reasons = dict.fromkeys(f"{row.form}: {row.note}" for row in rows if row.note)
    return f"nothing could be measured; {'; '.join(reasons) or 'no form was asked for'}"


def in_order(rows: Sequence[Any]) -> list[Any]:
    """Rows case by case, in the order of the registry; within a case as they were measured."""
    order = {name: place for place, name in enumerate(CASES)}
    return sorted(rows, key=lambda row: order.get(row.case, len(order)))


def write_page(stored: Stored[Row], roofs: dict[str, Roofs], packages: list[str], picture: bool) -> list[Path]:
    """Writes the page and the picture of all rows in the folder; returns every file of the folder's table."""
    folder, rows = stored.folder, in_order(stored.rows)
    if folder is None or not rows:
        return []
    text = page(rows, stored.conditions, roofs, packages)
    write_whole(folder / "bench.md", lambda part: part.write_text(text, encoding="utf-8"))
    files = [folder / "bench.csv", folder / "bench.md"]
    comparisons = compare(rows)
    if picture and any(one.other for one in comparisons):
        draw_ratios(comparisons, folder / "bench.png", headline(stored.conditions))
        files.append(folder / "bench.png")
    return files
