"""A picture of what HiPPO memories keep of a series from a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqkit.figures import check_picture_path, figure_class, save_figure
from seqkit.hippo import HiPPOMemory, Recall, draw_memory, recall
from seqkit.runs.signal import Signal, read_signal

__all__ = ["ShownMemory", "show_memory"]

SOFTWARE = "seqkit hippo show"  # in the file, so that a picture of ours can be told from another file
SHARE = {"legt": 4, "fourier": 4, "lagt": 20}  # a window reaches over this part of a series; lagt is read over five


class ShownMemory(NamedTuple):
    """What was drawn.

    Args:
        path: The picture.
        signal: The series.
        recalls: What each memory recalls of it.
    """

    path: Path
    signal: Signal
    recalls: list[Recall]

    def to_dict(self) -> dict[str, Any]:
        """Plain facts, for programs."""
        last = self.recalls[-1]
        measure, memory = last.memory.measure, last.memory
        return {
            "file": str(self.path),
            "series": self.signal.series,
            "channel": self.signal.channel,
            "n_samples": len(self.signal.values),
            "elapsed": last.elapsed,
            "unit": self.signal.unit,
            "measure": measure.name,
            "window": None if measure.time_varying else getattr(measure, "window", memory.scale),
            "rule": memory.rule if measure.time_varying else memory.discretization,
            "orders": [
                {
                    "order": one.memory.order,
                    "error": one.error,
                    "relative_error": None if math.isnan(one.relative_error) else one.relative_error,
                }
                for one in self.recalls
            ],
        }


def show_memory(
    data: str | Path,
    out: str | Path | None = None,
    *,
    orders: Sequence[int] = (8, 32, 128),
    measure: str = "legs",
    window: float | None = None,
    rule: str | None = None,
    discretization: str | None = None,
    series: str | None = None,
    channel: str | None = None,
    start: float = 0.0,
    stop: float | None = None,
    time: str | None = None,
    sample_rate: float | None = None,
    overwrite: bool = False,
) -> ShownMemory:
    """Draws a series, what memories of several orders read back, and their measure: the same as `seqkit hippo show`.

    Args:
        data: CSV, Parquet, NPZ, `.ts` or WAV file, a folder, or the name of a data set, as `read_signal` takes it.
        out: PNG to write; NAME.hippo.png in the working folder if None.
        orders: Orders of the memories, a panel each.
        measure: "legs", "legt", "lagt" or "fourier".
        window: Length of the memory in seconds, or in samples where nothing says how long they last. If None, a quarter
            of the series for legt and fourier and a twentieth for lagt, which is read over five windows.
        rule: For legs: "midpoint", "reciprocal" or "exact".
        discretization: For the others: "zero_order_hold", "bilinear" or "backward_euler".
        series: Name of the series; the first if None.
        channel: Name or number of the channel; the first if None.
        start: Time in the series at which the memory starts.
        stop: Time at which it stops; the end if None.
        time: Column of a table with times.
        sample_rate: Samples per second (Hz), where the file does not say.
        overwrite: Write over a file that is no picture of this kind.

    Returns:
        The picture's path, the series, and errors.

    Raises:
        ImportError: matplotlib is not installed.
        FileNotFoundError: no such file.
        FileExistsError: `out` is a folder, or another file and `overwrite` is not set.
        ValueError: a damaged file, no such series or channel, or options that a memory refuses.

    Example:
        >>> import tempfile
        >>> picture = Path(tempfile.mkdtemp()) / "vowels.png"
        >>> shown = show_memory("japanese_vowels", picture, orders=(4, 16))
        >>> [round(one.relative_error, 2) for one in shown.recalls]
        [0.22, 0.12]
    """
    figure_class()
    path = Path(f"{Path(data).stem or 'data'}.hippo.png") if out is None else Path(out)
    check_picture_path(path, SOFTWARE, overwrite=overwrite)
    # Before a file is read: what no file can mend.
    _memories(orders, measure, 1.0 if window is None and measure in SHARE else window, rule, discretization)
    signal = read_signal(data, series=series, channel=channel, time=time, sample_rate=sample_rate).between(start, stop)
    values = torch.from_numpy(signal.values.astype("float64"))
    ends = None if signal.ends is None else torch.from_numpy(signal.ends)
    elapsed = len(values) * signal.step if ends is None else float(ends[-1])
    if window is None and measure in SHARE:
        window = elapsed / SHARE[measure]
    memories = _memories(orders, measure, window, rule, discretization)
    rate = signal.step if ends is None else 1.0
    recalls = [recall(memory, values, rate=rate, timestamps=ends) for memory in memories]
    title = f"{Path(data).name}, series {signal.series}, channel {signal.channel}"
    save_figure(draw_memory(recalls, unit=signal.unit, title=title, label=signal.channel), path, software=SOFTWARE)
    return ShownMemory(path, signal, recalls)


def _memories(
    orders: Sequence[int], measure: str, window: float | None, rule: str | None, discretization: str | None
) -> list[HiPPOMemory]:
    """A memory of each order."""
    if not orders:
        raise ValueError("`orders` must hold at least one order, got none")
    return [
        HiPPOMemory(order, measure, window=window, rule=rule or "midpoint", discretization=discretization)
        for order in dict.fromkeys(orders)
    ]
