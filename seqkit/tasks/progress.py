"""Progress of a training: one moving line with the time left on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

__all__ = ["ProgressLine", "words_for_seconds"]


def words_for_seconds(seconds: float) -> str:
    """Words a duration, in the two largest units that it has.

    Example:
        >>> words_for_seconds(75), words_for_seconds(7300)
        ('1 min 15 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class ProgressLine:
    """Shows how far a training is.

    Args:
        console: Where to show it; None shows nothing.

    Example:
        >>> line = ProgressLine(None)
        >>> line.start(epochs=2)
        >>> line.move(0.5)
    """

    def __init__(self, console: Console | None) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._epochs = 1
        self._first = 0
        self._began = 0.0

    def start(self, *, epochs: int, done: int = 0) -> None:
        """Starts at `done` of `epochs`."""
        self._epochs, self._first, self._began = epochs, done, time.monotonic()
        if self.console is not None and self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"),
                console=self.console, transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("training", total=epochs, completed=done, left="")

    def move(self, done: float) -> None:
        """Moves the line to `done` epochs."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, left=self._left(done))

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Shows the metrics of a finished epoch, counted from 0."""
        hidden = ("epoch", "seconds")
        shown = [f"{key} {row[key]:.4g}" for key in row if key not in hidden and not key.startswith("lr_")]
        line, left = "  ".join([f"epoch {epoch + 1}/{self._epochs}", *shown]), self._left(epoch + 1)
        if self._bar is not None:
            self._bar.update(self._task, description=line, left=left)
        elif self.console is not None:
            self.console.print(f"{line}  {left}".rstrip(), highlight=False, markup=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Shows a sentence that stays."""
        if self.console is not None:
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Takes the line away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _left(self, done: float) -> str:
        passed = time.monotonic() - self._began
        if done <= self._first or done >= self._epochs:
            return ""
        return f"{words_for_seconds(passed / (done - self._first) * (self._epochs - done))} left"
