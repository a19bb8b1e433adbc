"""Pictures of a memory: a series, what memories of it still know at its end, and how their measures weigh the past."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqkit.figures import new_figure
from seqkit.hippo.memory import HiPPOMemory
from seqkit.hippo.recalling import Recall, reach_of, weight_at

__all__ = ["draw_memory"]

MOMENTS = (0.25, 0.5, 0.75, 1.0)
SHOWN = 4000  # points of a line; a longer one is drawn as the least and the greatest value of each piece
PLACES = 2000  # points of a measure
REACHES = 4  # times what the furthest memory reaches are shown of a series


def draw_memory(recalls: Sequence[Recall], *, unit: str = "samples", title: str = "", label: str = "signal") -> Any:
    """Draws a series with what each memory reads back at its end, and each measure at four moments.

    Errors are in parts of the signal's standard deviation, as `Recall.relative_error`. What lies further back than a
    memory reaches is shaded; of a long series the last four times the furthest reach are shown.

    Args:
        recalls: What `recall` returns, for memories to compare, such as three of different order; a panel each.
        unit: Unit of time, for the axes.
        title: Line above the panels.
        label: Name of the signal, for its axis.

    Returns:
        A matplotlib figure; `figure.savefig("memory.png")` writes it.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw.

    Example:
        >>> from seqkit.hippo import HiPPOMemory, recall
        >>> wave = torch.sin(torch.linspace(0, 20, 500))
        >>> figure = draw_memory([recall(HiPPOMemory(order), wave) for order in (8, 16)], title="a sine")
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['legs, order 8: error 74 %', 'legs, order 16: error 0.19 %', 'legs: weight of the past at four moments']
    """
    if not recalls:
        raise ValueError("`recalls` must hold what at least one memory recalls, got none")
    end = max(one.elapsed for one in recalls)
    start = max(0.0, end - REACHES * max(reach_of(one.memory, one.elapsed) for one in recalls))
    measures = list({repr((one.memory.measure, one.memory.scale, one.elapsed)): one for one in recalls}.values())
    figure = new_figure(9, 0.8 + 1.75 * len(recalls) + 1.5 * len(measures))
    heights = [1.75] * len(recalls) + [1.5] * len(measures)
    column = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    if title:
        figure.suptitle(title, fontsize=11)
    for axes, one in zip(column, recalls, strict=False):
        _draw_recall(axes, one, start, unit, label)
    for axes, one in zip(column[len(recalls) :], measures, strict=True):
        _draw_measure(axes, one, start, unit)
    column[-1].set_xlabel(f"time, {unit}")
    column[-1].set_xlim(start, end)
    column[0].legend(
        column[0].get_lines(), ["signal", "what the memory reads back at the end"], loc="lower right",
        bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False, borderaxespad=0,
    )  # fmt: skip
    return figure


def _draw_recall(axes: Any, one: Recall, start: float, unit: str, label: str) -> None:
    """The series in grey, what is remembered of it in colour, and the forgotten part shaded."""
    known, shown = one.remembered.isfinite(), one.times >= start
    axes.plot(*_thin(one.times[shown], one.signal[shown]), color="0.65", linewidth=1.8)
    axes.plot(*_thin(one.times[known], one.remembered[known]), color="C0", linewidth=1.2)
    if not bool(known[0]):
        axes.axvspan(start, float(one.times[known][0]), color="0.93", linewidth=0)
    _keep_in_view(axes, one.signal[shown])
    axes.set_title(f"{_words(one.memory, unit)}: {_percent(one.relative_error)}", loc="left", fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.grid(alpha=0.3)


def _draw_measure(axes: Any, one: Recall, start: float, unit: str) -> None:
    """How the measure weighs the past at four moments, the later the darker."""
    for moment in MOMENTS:
        now = start + moment * (one.elapsed - start)
        times = torch.linspace(start, now, PLACES, dtype=torch.float64)
        weights = weight_at(one.memory, times, now)
        # The last point brings the line down to the axis: nothing after now counts.
        line = [*times.tolist(), now], [*weights.tolist(), 0.0]
        axes.fill_between(*line, color="C2", alpha=0.08, linewidth=0)
        axes.plot(*line, color="C2", alpha=0.25 + 0.75 * moment, linewidth=1.5)
    axes.set_ylim(0, 1.1 * axes.dataLim.y1)
    axes.set_title(f"{one.memory.measure.name}: weight of the past at four moments", loc="left", fontsize=9)
    axes.set_ylabel(f"weight, 1/{unit.removesuffix('s') or unit}", fontsize=9)
    axes.grid(alpha=0.3)


def _words(memory: HiPPOMemory, unit: str) -> str:
    """Names a memory as a reader of a picture needs it."""
    window = getattr(memory.measure, "window", memory.scale)
    words = [memory.measure.name, f"order {memory.order}"]
    if memory.measure.time_varying:
        words += [] if memory.rule == "midpoint" else [f"{memory.rule} rule"]
    else:
        words += [f"window {window:.4g} {unit}"]
        words += [] if memory.discretization == "zero_order_hold" else [memory.discretization.replace("_", " ")]
    return ", ".join(words)


def _percent(part: float) -> str:
    if math.isnan(part):
        return "the signal is constant"
    return f"error {100 * part:.0f} %" if part >= 1 else f"error {100 * part:.2g} %"


def _keep_in_view(axes: Any, signal: Tensor) -> None:
    """Limits that show the signal; a polynomial that swings out at the ends would flatten it."""
    low, high = float(signal.min()), float(signal.max())
    room = 0.25 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)


def _thin(times: Tensor, values: Tensor) -> tuple[Any, Any]:
    """Points of a line that looks the same at the width of a picture."""
    if len(values) > SHOWN:
        pieces = torch.arange(0, len(values), -(-2 * len(values) // SHOWN)).tolist()
        ends = [*pieces[1:], len(values)]
        spans = zip(pieces, ends, strict=True)
        extremes = [(a + int(values[a:b].argmin()), a + int(values[a:b].argmax())) for a, b in spans]
        kept = torch.tensor(sorted(place for pair in extremes for place in pair))
        times, values = times[kept], values[kept]
    return times.numpy(), values.numpy()
