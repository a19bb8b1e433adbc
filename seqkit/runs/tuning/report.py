"""A search as rows for programs and a picture: the loss over each setting."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqkit.figures import new_figure, save_figure
from seqkit.files import write_whole

__all__ = ["write_report"]

FIXED = ("trial", "state", "loss", "epochs", "run")


def write_report(folder: Path, trials: Sequence[Mapping[str, Any]], *, picture: bool = True) -> None:
    """Writes trials.csv and, with matplotlib, tuning.png.

    Args:
        folder: Folder of the search.
        trials: Plain values of each trial: `FIXED` and its settings.
        picture: Whether to draw; it takes longer than the rest of a short trial.
    """
    columns = list(dict.fromkeys(key for trial in trials for key in trial))

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns, restval="")
            table.writeheader()
            table.writerows(trials)

    write_whole(folder / "trials.csv", write)
    done = [trial for trial in trials if trial["loss"] is not None]
    if done and picture:
        try:
            _draw(folder / "tuning.png", done, [key for key in columns if key not in FIXED])
        except ImportError:  # the rows are the result; the picture comes on top where it can be drawn
            return


def _draw(path: Path, done: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    """One panel a setting: each finished trial's loss, the best one marked."""
    across = min(3, len(keys))
    figure = new_figure(4.0 * across, 3.2 * math.ceil(len(keys) / across))
    axes = figure.subplots(math.ceil(len(keys) / across), across, squeeze=False)
    best = min(done, key=lambda trial: float(trial["loss"]))
    for key, axis in zip([*keys, *([None] * (axes.size - len(keys)))], axes.flat, strict=True):
        if key is None:
            axis.set_axis_off()
            continue
        here = [trial for trial in done if key in trial]
        values = [trial[key] for trial in here]
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        shown = values if numbers else [str(value) for value in values]
        axis.scatter(shown, [trial["loss"] for trial in here], s=18, alpha=0.7)
        axis.scatter([best[key] if numbers else str(best[key])], [best["loss"]], s=60, marker="*", color="tab:red")
        if numbers and min(values) > 0 and max(values) >= 10 * min(values):
            axis.set_xscale("log")
        axis.set_xlabel(key)
        axis.set_ylabel("validation loss")
        axis.grid(visible=True, alpha=0.3)
    save_figure(figure, path, software="seqkit tune")
