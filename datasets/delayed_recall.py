"""Delayed recall: symbols shown at the start, a long wait, and the question which one stood at a place."""

from __future__ import annotations

import numpy as np

from seqkit.batch import DataInfo
from seqkit.checks import check_not_negative, check_positive_int
from seqkit.datasets.draws import Draws
from seqkit.datasets.generated import Generated
from seqkit.datasets.rows import Array
from seqkit.datasets.series import Target

__all__ = ["DelayedRecall"]


class DelayedRecall(Generated):
    """Recall one of a few symbols shown at the start, asked for at the very end; a class per series.

    The first samples show `shown` symbols one after another, `held` samples each, every symbol on a channel of its own.
    The last sample asks, on one of `shown` other channels, for the first, the second, and so on; the label is the
    symbol that stood there. What lies between is zero, or noise on the symbols' channels. A linear map of what local
    features come to on average does not join question and answer. One that names any symbol that was shown is right in
    a little more than one of `shown` cases; chance is one of `symbols`.

    Args:
        length: Samples of a series, more than `shown` times `held`; 1024 to 65536 are of interest.
        symbols: Different ones, at least 2.
        shown: Symbols shown at the start.
        noise: Largest size of noise, drawn evenly around 0, between start and end.
        held: Samples for which each symbol is shown. One of a single sample is the smaller a part of a series the
            longer that is; with a fixed share, such as length / 64, only the delay grows.
        size: Series in the training part; validation is cut from it.
        test_size: Series in the test part.
        data_seed: Seed of the series.

    Raises:
        ValueError: an option out of range.

    Source:
        After the latching problem of Bengio, Simard and Frasconi 1994, Learning long-term dependencies with gradient
        descent is difficult; the question at the end is added here.

    Cost:
        Some 20 us a series and a few nanoseconds a value, when it is asked for.

    Example:
        >>> source = DelayedRecall(length=1000, size=3)
        >>> values = source.load()["train"].values[0]
        >>> values.shape, int(values[:4, :8].sum()), int(values[-1, 8:].sum())
        ((1000, 12), 4, 1)
    """

    name = "delayed_recall"
    citation = "after Bengio, Simard and Frasconi 1994, IEEE Transactions on Neural Networks 5(2)"

    def __init__(
        self,
        *,
        length: int = 1024,
        symbols: int = 8,
        shown: int = 4,
        noise: float = 0.0,
        held: int = 1,
        size: int = 2000,
        test_size: int = 500,
        data_seed: int = 0,
    ) -> None:
        super().__init__(size, test_size, data_seed)
        self.shown = check_positive_int("shown", shown)
        if check_positive_int("symbols", symbols) < 2:
            raise ValueError(f"`symbols` must be at least 2, so that there is a choice, got {symbols}")
        self.held = check_positive_int("held", held)
        if check_positive_int("length", length) <= shown * held:
            rule = f"`shown`, {shown}" if held == 1 else f"`shown` times `held`, {shown * held}"
            raise ValueError(f"`length` must be more than {rule}, to leave a sample to ask, got {length}")
        check_not_negative("noise", noise)
        self.length, self.symbols, self.noise = length, symbols, noise
        self.title = f"Delayed recall: which of {symbols} symbols was shown at a place of the start"
        self.lengths = f"{length} samples"

    def info(self) -> DataInfo:
        """What the set holds; samples have no unit of time."""
        labels = tuple(str(k + 1) for k in range(self.symbols))
        asked = tuple(f"which was number {k + 1}" for k in range(self.shown))
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=self.symbols + self.shown,
            classes=labels,
            max_length=self.length,
            channels=(*(f"symbol {label}" for label in labels), *asked),
        )

    def targets(self, part: str, n: int) -> Target:
        """The symbols asked for."""
        drawn = (self._drawn(self.draws(part, place)) for place in range(n))
        return [str(symbols[asked] + 1) for symbols, asked in drawn]

    def samples(self, part: str, place: int) -> Array:
        """Samples of one series, (length, symbols + shown)."""
        draws = self.draws(part, place)
        symbols, asked = self._drawn(draws)
        values = np.zeros((self.length, self.symbols + self.shown), dtype=np.float32)
        if self.noise > 0:
            between = values[self.shown * self.held : -1, : self.symbols]
            between[:] = self.noise * (2 * draws.shares(between.size) - 1).reshape(between.shape)
        values[np.arange(self.shown * self.held), symbols.repeat(self.held)] = 1
        values[-1, self.symbols + asked] = 1
        return values

    def _drawn(self, draws: Draws) -> tuple[Array, int]:
        """The symbols, and which of them is asked for."""
        return draws.whole(self.symbols, self.shown), int(draws.whole(self.shown, 1)[0])
