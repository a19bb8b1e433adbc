"""A comparison as a table for people, rows for programs, and a picture of accuracy against cost."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqkit.figures import new_figure, save_figure
from seqkit.files import write_whole
from seqkit.runs.comparison.row import Row, Summary, ranks, summaries

__all__ = ["COLUMNS", "columns", "draw", "lines", "write_report"]

COLUMNS = (
    "model", "{metric}", "seeds", "parameters", "epochs", "training, s", "predict, ms/series", "step, us", "peak MiB",
)  # fmt: skip
SOFTWARE = "seqkit compare"


def lines(found: Sequence[Summary]) -> list[tuple[str, ...]]:
    """One line a model of one data set, as words in the order of `COLUMNS`."""
    return [
        (
            *(one.model, one.words(), str(one.n_seeds), f"{one.n_parameters:,}", _number(one.epochs, ".0f")),
            *(_number(one.train_seconds, ".1f"), _number(one.predict_ms, ".2f"), _number(one.step_us, ".0f", "no")),
            _number(one.memory_mib, ".0f"),
        )
        for one in found
    ]


def columns(found: Sequence[Summary]) -> list[str]:
    """The heads of the table of one data set."""
    metric = next((one.metric for one in found if one.metric), "metric")
    name = "accuracy, %" if metric == "accuracy" else metric
    return [name if column == "{metric}" else column for column in COLUMNS]


def write_report(folder: Path, rows: Sequence[Row]) -> list[str]:
    """Writes rows.csv, table.md and, with matplotlib, comparison.png; returns their names."""
    found = summaries(rows)
    _write_csv(folder / "rows.csv", rows)
    text = _page(found)
    write_whole(folder / "table.md", lambda part: part.write_text(text, encoding="utf-8"))
    names = ["rows.csv", "table.md"]
    if any(not math.isnan(one.mean) for one in found):
        try:
            draw(found, folder / "comparison.png")
        except ImportError:  # the table is the result; a picture comes on top where it can be drawn
            return names
        names.append("comparison.png")
    return names


def draw(found: Sequence[Summary], path: Path) -> None:
    """One panel a data set: the metric over the time that a training took, with the spread between seeds.

    Raises:
        ImportError: matplotlib is not installed.
    """
    sets = list(dict.fromkeys(one.data for one in found))
    figure = new_figure(max(6.0, 5.0 * min(3, len(sets))), 4.2 * math.ceil(len(sets) / 3))
    axes = figure.subplots(math.ceil(len(sets) / 3), min(3, len(sets)), squeeze=False)
    for place, axis in zip([*sets, *([None] * (axes.size - len(sets)))], axes.flat, strict=True):
        if place is None:
            axis.set_axis_off()
        else:
            _panel(axis, [one for one in found if one.data == place and not math.isnan(one.mean)], place)
    save_figure(figure, path, software=SOFTWARE)


def _panel(axis: Any, found: Sequence[Summary], data: str) -> None:
    percent = any(one.metric == "accuracy" for one in found)
    scale = 100.0 if percent else 1.0
    for one in found:
        spread = None if math.isnan(one.spread) else one.spread * scale
        axis.errorbar(one.train_seconds, one.mean * scale, yerr=spread, marker="o", capsize=3, linestyle="none")
        axis.annotate(one.model, (one.train_seconds, one.mean * scale), xytext=(5, 4), textcoords="offset points")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    low, high = (limit([one.train_seconds for one in found]) for limit in (min, max))
    axis.xaxis.set_minor_formatter("{x:g}" if high < 4 * low else "")  # between powers of ten, where there is room
    axis.margins(0.2)
    axis.set_xlabel("seconds of training")
    axis.set_ylabel("accuracy on held-out series, %" if percent else "root mean squared error on held-out series")
    axis.set_title(data)
    axis.grid(visible=True, alpha=0.3)


def _page(found: Sequence[Summary]) -> str:
    parts = ["# Comparison\n"]
    for data in dict.fromkeys(one.data for one in found):
        here = [one for one in found if one.data == data]
        heads = columns(here)
        parts += [f"## {data}\n", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        parts += [f"| {' | '.join(line)} |" for line in lines(here)]
        notes = [f"- {one.model}: {note}" for one in here for note in one.notes]
        parts += ["", *notes, ""] if notes else [""]
    by_rank = ranks(found)
    if by_rank:
        parts += ["## Mean rank\n", "| model | rank |", "|---|---|"]
        parts += [f"| {model} | {rank:.2f} |" for model, rank in by_rank.items()]
        parts.append("")
    return "\n".join(parts)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(Row("", "", 0).to_dict()))
            table.writeheader()
            table.writerows(row.to_dict() for row in rows)

    write_whole(path, write)


def _number(value: float, form: str, missing: str = "") -> str:
    return missing if math.isnan(value) else f"{value:{form}}"
