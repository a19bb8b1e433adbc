"""Tables of measurements: lines for the terminal and a markdown page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from seqkit.bench.machine import headline
from seqkit.bench.peers.installed import NOT_INSTALLED
from seqkit.bench.roofs import Roofs
from seqkit.bench.row import Comparison, Row, compare

__all__ = ["COLUMNS", "COMPACT", "compact_lines", "left_out", "lines", "markdown_table", "page", "words_for_roofs"]

COLUMNS = (
    *("operator", "sizes", "dtype", "pass", "ours", "ms", "other", "other ms", "ratio"),
    *("error", "other's error", "floor ms", "share", "rate"),
)
COMPACT = tuple(column for column in COLUMNS if column not in ("dtype", "other's error", "floor ms"))
"""What fits a terminal: a dtype other than float32 stands with the sizes."""


def lines(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """One line for each comparison, as words in the order of `COLUMNS`."""
    return [line(comparison.ours, comparison.other, comparison.ratio) for comparison in comparisons]


def compact_lines(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """The same in the order of `COMPACT`."""
    by_column = [dict(zip(COLUMNS, found, strict=True)) for found in lines(comparisons)]
    for values in by_column:
        values["sizes"] += f" {values['dtype']}" if values["dtype"] != "float32" else ""
    return [tuple(values[column] for column in COMPACT) for values in by_column]


def line(ours: Row, other: Row | None, ratio: float) -> tuple[str, ...]:
    """Ours, the other, and how they compare."""
    return (
        *(ours.case, ours.sizes, ours.dtype, ours.pass_, ours.form, number(ours.ms)),
        *((other.form, number(other.ms), number(ratio)) if other else ("", "", "")),
        *(error(ours.error), error(other.error) if other else ""),
        *(number(ours.floor_ms), f"{100 * ours.share:.0f} %", rate(ours)),
    )


def number(value: float) -> str:
    """Three digits, or nothing."""
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def error(value: float) -> str:
    """Two digits in scientific notation, or nothing."""
    return "" if math.isnan(value) else f"{value:.1e}"


def rate(row: Row) -> str:
    """Things a second in words, such as "1.5 M steps/s", or nothing."""
    if math.isnan(row.rate):
        return ""
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if row.rate >= factor:
            return f"{row.rate / factor:.3g}{letter} {row.unit}/s"
    return f"{row.rate:.3g} {row.unit}/s"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown.

    Example:
        >>> print(markdown_table(["a"], [["1"]]))
        | a |
        |---|
        | 1 |
    """
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(head + ["| " + " | ".join(row) + " |" for row in rows])


def words_for_roofs(roofs: Roofs) -> str:
    """The roofs on one line.

    Example:
        >>> words_for_roofs(Roofs(1.5e11, 4e10, 13e9, 50e9))
        'matrix product 150 GFLOP/s, real FFT 40 GFLOP/s, copy 13 GB/s (50 GB/s in cache)'
    """
    products, fft, memory, cache = (value / 1e9 for value in roofs)
    return (
        f"matrix product {products:.3g} GFLOP/s, real FFT {fft:.3g} GFLOP/s, "
        f"copy {memory:.3g} GB/s ({cache:.3g} GB/s in cache)"
    )


def left_out(rows: Sequence[Row]) -> list[str]:
    """What was not measured and why, one line for each form and reason; packages that are missing have their own."""
    by_reason: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        if row.note and row.note != NOT_INSTALLED:
            cases = by_reason.setdefault((row.form, row.note), {})
            cases[row.case] = cases.get(row.case, 0) + 1
    return [
        f"{form}: {note} ({', '.join(f'{case} {times}x' for case, times in cases.items())})"
        for (form, note), cases in by_reason.items()
    ]


def page(rows: Sequence[Row], machine: dict[str, Any], roofs: Mapping[str, Roofs], packages: Sequence[str]) -> str:
    """The markdown page: conditions, roofs, one table, and what is missing."""
    on_cpu = "CPU time of the process" if machine["threads"] == 1 else "wall time"
    clock = on_cpu if machine["device"] == "cpu" else "events, level-2 cache flushed"
    missing = [f"- {words}" for words in [*packages, *left_out(rows)]]
    parts = [
        "# Operators against their usual forms",
        headline(machine),
        f"Medians of {clock}, all forms of a cell in turns. `ratio` is the other form's time over ours. Errors are RMS "
        "of the output relative to float64 with the same inputs. B series, H channels, N state order, L samples. "
        "`share` is the floor over our time; docs/benchmarks.md says how floors are counted.",
        "Roofs measured in this run: "
        + "; ".join(f"{dtype}, {words_for_roofs(found)}" for dtype, found in roofs.items())
        + ".",
        markdown_table(COLUMNS, lines(compare(rows))),
    ]
    if missing:
        parts += ["Not measured:", "\n".join(missing)]
    return "\n\n".join(parts) + "\n"
