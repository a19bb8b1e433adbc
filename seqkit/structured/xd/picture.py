"""Pictures of operations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from seqkit.checks import check_choice
from seqkit.figures import new_figure, save_figure
from seqkit.structured.xd.describe import axis_operators
from seqkit.structured.xd.layer import XDConv
from seqkit.structured.xd.operation import ROLES

__all__ = ["draw_operations"]


def draw_operations(layers: Mapping[str, XDConv], path: Path, axis: str = "all") -> None:
    """Draws |K|, |L| and |M| of operations, and the matrix that the middle tap of the kernel stands for.

    Args:
        layers: Operations by name, such as `operation_layers` gives.
        path: PNG to write.
        axis: "all", or "first" for only the first axis of each.

    Raises:
        ValueError: no operation, or an unknown choice.
        ImportError: matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> from seqkit.structured.xd import XDConv1d
        >>> draw_operations({"one": XDConv1d(1, 1, 3, length=8)}, Path(tempfile.mkdtemp()) / "operations.png")
    """
    check_choice("axis", axis, ("all", "first"))
    rows = [
        (name, layer, number)
        for name, layer in layers.items()
        for number in range(layer.n_axes if axis == "all" else 1)
    ]
    if not rows:
        raise ValueError("`layers` must hold at least one operation, got none; patch_convolutions makes them")
    figure = new_figure(9, 2.4 * len(rows))
    figure.suptitle("Operations K diag(L w) M, a layer a row: size of the entries, dark is 0", fontsize=10)
    places = figure.subplots(len(rows), 4, squeeze=False)
    for row, (name, layer, number) in zip(places, rows, strict=True):
        with torch.no_grad():
            shown = {f"|{role}|": getattr(layer, role)[number].dense().abs() for role in ROLES}
            shown["middle tap"] = axis_operators(layer, number)[layer.axes[number].centre].abs()
        for axes, (title, values) in zip(row, shown.items(), strict=True):
            axes.imshow(values.cpu().float().numpy(), cmap="magma", interpolation="nearest")
            axes.set_title(title, fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(name if layer.n_axes == 1 else f"{name}, axis {number}", fontsize=9)
    save_figure(figure, path)
