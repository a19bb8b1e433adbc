"""Pictures of measurements: how many times longer others take, and memory over the length of the series."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.bench.memory import MemoryRow
from seqkit.bench.row import Comparison
from seqkit.figures import figure_class, save_figure

__all__ = ["check_pictures", "draw_memory", "draw_ratios"]

LINES = {"fwd": "--", "fwd+bwd": "-"}
COLUMNS = 3


def check_pictures() -> Any:
    """Returns matplotlib's figure, or refuses: before anything is measured for a picture that cannot be drawn.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> check_pictures().__name__
        'Figure'
    """
    return figure_class("Drawing pictures (--no-picture leaves them out)")


def panels(names: Sequence[str], title: str) -> tuple[Any, dict[str, Any]]:
    """A figure with one set of axes a name, three in a row."""
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = check_pictures()(figsize=(0.6 + 4.6 * columns, 0.8 + 4.0 * rows), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    return figure, dict(zip(names, grid, strict=False))


def draw_ratios(comparisons: Sequence[Comparison], path: Path, title: str) -> None:
    """Draws each other form's time over ours, one panel a case, on logarithmic axes.

    Args:
        comparisons: What tables show.
        path: PNG to write.
        title: Line above the panels, such as the machine.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to compare.
    """
    compared = [one for one in comparisons if one.other is not None]
    compared = [one for one in compared if one.other and not one.other.own] or compared  # our reference is no rival
    if not compared:
        raise ValueError("`comparisons` must hold two forms of one computation, got none; measure a peer as well")
    names = list(dict.fromkeys(panel_name(one) for one in compared))
    figure, axes = panels(names, title)
    for name, place in axes.items():
        here = [one for one in compared if panel_name(one) == name]
        lines: dict[tuple[str, str], dict[int, float]] = {}
        for one in here:
            assert one.other is not None
            lines.setdefault((one.other.form, one.ours.pass_), {})[one.ours.size] = one.ratio
        draw_lines(place, lines)
        place.axhline(1, color="black", linewidth=1)
        place.set_title(name, fontsize=10)
        place.set(xlabel=here[0].ours.axis, ylabel=f"time over ours ({here[0].ours.form})")
    save_figure(figure, path)


def panel_name(one: Comparison) -> str:
    """Case and dtype, and the sizes that stay the same over a panel."""
    ours = one.ours
    others = [word for word in ours.sizes.split() if not word.startswith(f"{ours.axis}=")]
    return f"{ours.case}, {' '.join(others)}, {ours.dtype}"


def draw_lines(axes: Any, lines: dict[tuple[str, str], dict[int, float]]) -> None:
    """Draws values over sizes: a colour a form, a dash a pass."""
    forms = list(dict.fromkeys(form for form, _ in lines))
    for (form, pass_), values in lines.items():
        sizes = sorted(values)
        axes.plot(
            sizes, [values[size] for size in sizes], LINES.get(pass_, ":"), marker="o", markersize=4,
            color=f"C{forms.index(form)}", label=f"{form}, {pass_}",
        )  # fmt: skip
    sizes = sorted({size for values in lines.values() for size in values})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [words_for_size(size) for size in sizes])
    if len(sizes) == 1:  # matplotlib would choose limits that show nothing
        axes.set_xlim(sizes[0] / 2, sizes[0] * 2)
    axes.minorticks_off()
    low, high = axes.get_ylim()
    ticker = importlib.import_module("matplotlib.ticker")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=marks(high / low)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: f"{y:g}"))
    axes.grid(alpha=0.3)
    name_lines(axes)


def name_lines(axes: Any) -> None:
    """The legend, below the panel, where it hides no line."""
    axes.legend(fontsize=7, handlelength=3, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)


def marks(span: float) -> tuple[float, ...]:
    """Where a logarithmic axis has marks within each power of ten, the fewer the more of them it spans.

    Example:
        >>> marks(1e4)
        (1.0,)
    """
    if span > 1e3:
        return (1.0,)
    return (1.0, 2.0, 5.0) if span > 20 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def words_for_size(size: int) -> str:
    """A size in words: 16k for 16384.

    Example:
        >>> words_for_size(16384), words_for_size(1048576), words_for_size(1000)
        ('16k', '1M', '1000')
    """
    for unit, letter in ((1 << 20, "M"), (1 << 10, "k")):
        if size >= unit and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def draw_memory(rows: Sequence[MemoryRow], path: Path, title: str) -> None:
    """Draws peak memory over the length of the series, one panel a case, with a line that grows as L.

    Args:
        rows: What was measured.
        path: PNG to write.
        title: Line above the panels.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: nothing was measured.
    """
    measured = [row for row in rows if row.measured and row.mib > 0]
    if not measured:
        raise ValueError("`rows` must hold at least one measured peak, got none")
    figure, axes = panels(list(dict.fromkeys(row.case for row in measured)), title)
    for name, place in axes.items():
        here = [row for row in measured if row.case == name]
        lines: dict[tuple[str, str], dict[int, float]] = {}
        for row in here:
            lines.setdefault((row.form, row.pass_), {})[row.length] = row.mib
        draw_lines(place, lines)
        draw_guide(place, [row for row in here if row.own])
        others = [word for word in here[0].sizes.split() if not word.startswith("L=")]
        place.set_title(f"{name}, {' '.join(others)}", fontsize=10)
        place.set(xlabel="L", ylabel="peak memory beyond inputs, MiB")
    save_figure(figure, path)


def draw_guide(axes: Any, own: Sequence[MemoryRow]) -> None:
    """A grey line proportional to L through our last point: a curve no steeper grows no faster than the series."""
    if own:
        last = max(own, key=lambda row: row.length)
        sizes = sorted({row.length for row in own})
        axes.plot(sizes, [last.mib * size / last.length for size in sizes], ":", color="grey", label="grows as L")
        name_lines(axes)
