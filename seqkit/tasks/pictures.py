"""Pictures of a run: learning curves, confusion matrix, predicted against true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.figures import new_figure, save_figure

__all__ = ["draw_confusion", "draw_curves", "draw_predictions"]


def draw_curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws loss and metrics over epochs.

    Args:
        rows: One mapping per epoch, as in metrics.csv.
        path: PNG to write.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no metric to draw.

    Example:
        >>> import tempfile
        >>> draw_curves([{"epoch": 0, "train_loss": 1.0}], Path(tempfile.mkdtemp()) / "curves.png")
    """
    names = dict.fromkeys(key for row in rows for key in row)
    keys = [key for key in names if key not in ("epoch", "seconds") and not key.startswith("lr_")]
    if not keys:
        raise ValueError(f"`rows` must hold at least one metric, got {len(rows)} rows with none")
    losses, others = [k for k in keys if k.endswith("loss")], [k for k in keys if not k.endswith("loss")]
    panels = [panel for panel in (losses, others) if panel]
    figure = new_figure(5.5 * len(panels), 4)
    epochs = [row["epoch"] + 1 for row in rows]
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for key in panel:
            axes.plot(epochs, [row.get(key, np.nan) for row in rows], label=key.replace("_", " "), marker=".")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_confusion(counts: np.ndarray[Any, Any], classes: Sequence[str], path: Path, title: str) -> None:
    """Draws a confusion matrix: rows are true classes, columns predicted ones.

    Args:
        counts: Number of series, (K, K).
        classes: Labels.
        path: PNG to write.
        title: Line above it.

    Example:
        >>> import tempfile
        >>> draw_confusion(np.eye(2), ["a", "b"], Path(tempfile.mkdtemp()) / "confusion.png", "toy")
    """
    size = min(14.0, 3 + 0.35 * len(classes))
    figure = new_figure(size, size)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 40:
        for i, j in np.argwhere(counts > 0):
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, f"{int(counts[i, j])}", ha="center", va="center", color=colour, fontsize=7)
        axes.set_xticks(range(len(classes)), classes, rotation=90 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    save_figure(figure, path)


_PANELS = 4  # of many predicted values, such as the steps of a forecast, some from the first to the last


def draw_predictions(
    true: np.ndarray[Any, Any],
    predicted: np.ndarray[Any, Any],
    path: Path,
    title: str,
    names: Sequence[str] = (),
) -> None:
    """Draws predicted against true values, one panel per target, or four of them from the first to the last.

    Args:
        true: Values, (n, T).
        predicted: Values, (n, T).
        path: PNG to write.
        title: Line above it.
        names: Names of the targets, (T,), where they have names.

    Example:
        >>> import tempfile
        >>> draw_predictions(np.zeros((3, 1)), np.ones((3, 1)), Path(tempfile.mkdtemp()) / "p.png", "toy")
    """
    count = true.shape[1]
    shown = np.unique(np.linspace(0, count - 1, min(count, _PANELS)).astype(int)).tolist()
    figure = new_figure(min(16.0, 4.5 * len(shown)), 4.5)
    for t, axes in zip(shown, np.atleast_1d(figure.subplots(1, len(shown))), strict=True):
        axes.plot(true[:, t], predicted[:, t], ".", alpha=0.6)
        low, high = min(true[:, t].min(), predicted[:, t].min()), max(true[:, t].max(), predicted[:, t].max())
        axes.plot([low, high], [low, high], color="grey", linewidth=1)
        axes.set(xlabel="true", ylabel="predicted", title=names[t] if names else "")
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    save_figure(figure, path)
