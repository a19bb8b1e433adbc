"""Figures that need no display and touch no global state of matplotlib, which is imported when one is drawn."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from seqkit.checks import missing_extra
from seqkit.files import write_whole

__all__ = ["check_picture_path", "figure_class", "new_figure", "save_figure"]


def figure_class(purpose: str = "Drawing pictures") -> Any:
    """Returns matplotlib's Figure, or refuses: before anything is computed for a picture that cannot be drawn.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> figure_class().__name__
        'Figure'
    """
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "plot", purpose) from error


def new_figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches.

    Example:
        >>> new_figure(4, 3).get_size_inches().tolist()
        [4.0, 3.0]
    """
    return figure_class()(figsize=(width, height), layout="constrained")


def check_picture_path(path: Path, software: str, *, overwrite: bool = False) -> None:
    """Refuses a place that a picture should not be written to.

    Args:
        path: PNG to write.
        software: Program whose own pictures may be written over: the name that `save_figure` puts into the file.
        overwrite: Write over any other file too.

    Raises:
        ValueError: another ending than .png.
        FileExistsError: a folder, or a file that `software` did not draw.

    Example:
        >>> check_picture_path(Path("new.png"), "seqkit hippo show")
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"`out` must end in .png, got {path}")
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; name a file for the picture")
    if path.exists() and not overwrite and software.encode() not in path.read_bytes()[:1000]:
        raise FileExistsError(f"{path} is there and was not drawn by {software}; name another file or add --overwrite")


def save_figure(figure: Any, path: Path, *, software: str | None = None) -> None:
    """Writes a figure as PNG, whole or not at all.

    Args:
        figure: The figure.
        path: PNG to write.
        software: Name of the program to write into the file; matplotlib's own if None.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty.png"
        >>> save_figure(new_figure(1, 1), path)
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    named = {} if software is None else {"metadata": {"Software": software}}
    write_whole(path, lambda part: figure.savefig(part, dpi=120, format="png", **named))
