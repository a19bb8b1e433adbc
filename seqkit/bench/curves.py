"""A whole run of memory measurements: plan, go on where an earlier one stopped, write the page and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqkit.bench.benchmark import BenchResult, Progress, check_run, in_order, nothing
from seqkit.bench.cases import find_cases
from seqkit.bench.machine import describe_machine, headline
from seqkit.bench.memory import MEMORY_COLUMNS, MemoryRow, measure_point, memory_lines, memory_points
from seqkit.bench.pictures import draw_memory
from seqkit.bench.report import markdown_table
from seqkit.bench.store import Stored
from seqkit.checks import check_positive_int
from seqkit.files import write_whole

__all__ = ["bench_memory"]


def bench_memory(
    operators: Sequence[str] = (),
    *,
    sizes: str = "full",
    device: str = "cpu",
    threads: int = 1,
    out: Path | None = None,
    overwrite: bool = False,
    picture: bool = True,
    progress: Progress = nothing,
) -> BenchResult:
    """Measures the peak memory of operators and their usual forms over the length of the series.

    Args:
        operators: Names of cases; all that have a curve if empty.
        sizes: "tiny" takes a tiny grid, to see that all works; else the curve, up to 1,048,576 samples.
        device: "cpu" or "cuda".
        threads: Threads of torch and of compiled loops.
        out: Folder for memory.csv, memory.md and memory.png; gone on with as in `bench`.
        overwrite: Start anew in such a folder.
        picture: Draw the picture.
        progress: Told what comes next.

    Returns:
        The rows and their conditions.

    Raises:
        ValueError: an unknown name, or a folder with measurements under other conditions.
        ImportError: a picture is wanted, and matplotlib is not installed.

    Example:
        >>> bench_memory(["ssm_step"]).rows  # a step has no length
        []
    """
    check_run(sizes, device, (), 1, out if picture else None)
    points = memory_points(find_cases(operators), device, tiny=sizes == "tiny")
    machine = {**describe_machine(device, check_positive_int("threads", threads), tuned=False), "repeats": 1}
    stored = Stored.open(out, "memory", machine, MemoryRow, overwrite=overwrite)
    done = {row.key for row in stored.rows}
    missing, finished = [point for point in points if point.key not in done], False
    try:
        for place, point in enumerate(missing, start=len(points) - len(missing)):
            progress(f"memory of {' '.join(point.key)}", place, len(points))
            stored.add([measure_point(point, device, threads)])
        finished = True
    except KeyboardInterrupt:
        pass
    files = write_memory_page(stored, picture)
    wanted = {point.key: place for place, point in enumerate(points)}
    rows = sorted((row for row in stored.rows if row.key in wanted), key=lambda row: wanted[row.key])
    return BenchResult(rows, machine, files=files, finished=finished)


def write_memory_page(stored: Stored[MemoryRow], picture: bool) -> list[Path]:
    """Writes the page and the picture of all peaks in the folder; returns every file of the folder's table."""
    folder, rows = stored.folder, in_order(stored.rows)
    if folder is None or not rows:
        return []
    parts = [
        "# Peak memory over the length of the series",
        headline(stored.conditions),
        "Beyond the inputs, outputs and gradients included; each line in a process of its own, after a tiny call.",
        markdown_table(MEMORY_COLUMNS, memory_lines(rows)),
    ]
    write_whole(folder / "memory.md", lambda part: part.write_text("\n\n".join(parts) + "\n", encoding="utf-8"))
    files = [folder / "memory.csv", folder / "memory.md"]
    if picture and any(row.measured and row.mib > 0 for row in rows):
        draw_memory(rows, folder / "memory.png", headline(stored.conditions))
        files.append(folder / "memory.png")
    return files
