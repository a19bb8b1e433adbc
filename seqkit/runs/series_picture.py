"""A picture of a few series: one panel each, channels as lines, missing samples as gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqkit.datasets.series import Array
from seqkit.figures import new_figure

__all__ = ["Panel", "draw_series"]

POINTS = 2000  # of a line; a longer one is drawn as the least and the greatest value of each piece
DOTS = 500  # samples of a line whose samples can be told apart
TITLE = 50  # letters over a panel that do not reach into the next
LINES = 12  # channels drawn of one series; more cannot be told apart


class Panel(NamedTuple):
    """One series to draw.

    Args:
        title: Line above it.
        times: Time of each sample, (L,), in `draw_series`' unit.
        values: Samples, (L, C); NaN where nothing was observed.
        target: For targets per sample: values (L, T) or labels (L,); else None.
    """

    title: str
    times: Array
    values: Array
    target: Array | None = None


def draw_series(rows: Sequence[Sequence[Panel]], *, channels: Sequence[str], unit: str, title: str) -> Any:
    """Draws panels in rows.

    Args:
        rows: Panels of each row, from the left.
        channels: Name of each channel; none where a single one has no name.
        unit: Unit of time.
        title: Line above all.

    Returns:
        A matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> panel = Panel("a wave", np.arange(50.0), np.sin(np.arange(50.0))[:, None])
        >>> figure = draw_series([[panel]], channels=["height"], unit="s", title="waves")
        >>> [len(axes.get_lines()[0].get_xdata()) for axes in figure.axes]
        [50]
    """
    stacked = any(panel.target is not None for row in rows for panel in row)
    width = max(len(row) for row in rows)
    figure = new_figure(1 + 3.2 * width, 1 + (2.4 if stacked else 1.5) * len(rows))
    figure.suptitle(title, fontsize=11, parse_math=False)
    grid = figure.subplots(len(rows) * (2 if stacked else 1), width, squeeze=False)
    for k, row in enumerate(rows):
        for column in range(width):
            over, under = (grid[2 * k, column], grid[2 * k + 1, column]) if stacked else (grid[k, column], None)
            if column < len(row):
                _draw_values(over, row[column])
            else:
                over.axis("off")
            if under is not None and column < len(row):
                under.sharex(over)
                _draw_target(under, row[column])
            elif under is not None:
                under.axis("off")
    for axes in grid[-1]:
        axes.set_xlabel(f"time, {unit}", fontsize=8)
    if len(channels) > 1:
        _name_lines(figure, grid[0, 0].get_lines(), channels)
    elif channels:
        _plain(grid[0, 0].set_ylabel(channels[0], fontsize=8))
    return figure


def _draw_values(axes: Any, panel: Panel) -> None:
    for channel in range(min(LINES, panel.values.shape[1])):
        _line(axes, panel.times, panel.values[:, channel], f"C{channel % 10}", "--" if channel >= 10 else "-")
    title = panel.title if len(panel.title) <= TITLE else f"{panel.title[: TITLE - 3]}..."
    _plain(axes.set_title(title, fontsize=8, loc="left"))
    axes.tick_params(labelsize=7)


def _draw_target(axes: Any, panel: Panel) -> None:
    assert panel.target is not None
    if panel.target.dtype.kind in "US":
        names, numbers = np.unique(panel.target, return_inverse=True)
        axes.step(panel.times, numbers, color="0.3", linewidth=1, where="mid")
        for label in axes.set_yticks(range(len(names)), [str(name) for name in names]):
            _plain(label.label1)
    else:
        for k in range(min(LINES, panel.target.shape[1])):
            _line(axes, panel.times, panel.target[:, k], "0.3")
    axes.set_ylabel("target", fontsize=8)
    axes.tick_params(labelsize=7)


def _line(axes: Any, times: Array, values: Array, color: str, style: str = "-") -> None:
    times, values = _thin(times, values)
    # Dots where a line alone would hide what lies between two gaps, or how unevenly it was sampled.
    step = np.diff(times)
    dots = len(times) <= DOTS and (np.isnan(values).any() or (len(step) > 0 and np.ptp(step) > 0.01 * step.max()))
    axes.plot(times, values, color=color, linewidth=0.9, linestyle=style, marker="." if dots else "", markersize=3)


def _thin(times: Array, values: Array) -> tuple[Array, Array]:
    """The least and the greatest value of each piece of a long line; a piece without any stays a gap."""
    if len(values) <= POINTS:
        return times, values
    size = -(-len(values) // (POINTS // 2))
    whole = len(values) // size * size
    pieces = values[:whole].reshape(-1, size).astype(float)
    empty = np.isnan(pieces).all(axis=1)
    least = np.where(np.isnan(pieces), np.inf, pieces).min(axis=1)
    most = np.where(np.isnan(pieces), -np.inf, pieces).max(axis=1)
    ends = np.stack([np.where(empty, np.nan, least), np.where(empty, np.nan, most)], axis=1).ravel()
    starts = times[:whole].reshape(-1, size)
    places = np.stack([starts[:, 0], starts[:, size // 2]], axis=1).ravel()
    return np.concatenate([places, times[whole:]]), np.concatenate([ends, values[whole:]])


def _name_lines(figure: Any, lines: Sequence[Any], channels: Sequence[str]) -> None:
    names = [f" {name}" for name in channels[: len(lines)]]  # matplotlib hides names that start with "_"
    if len(channels) > len(lines):
        names[-1] += f" (and {len(channels) - len(lines)} more channels that are not drawn)"
    for text in figure.legend(lines, names, loc="outside lower left", ncols=6, fontsize=8, frameon=False).get_texts():
        _plain(text)


def _plain(text: Any) -> None:
    """A name with dollar signs is no formula."""
    text.set_parse_math(False)
