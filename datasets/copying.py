"""Selective copying: symbols shown at random places are repeated, in order, after a delimiter."""

from __future__ import annotations

import numpy as np

from seqkit.batch import DataInfo
from seqkit.checks import check_positive_int
from seqkit.datasets.draws import Draws
from seqkit.datasets.generated import Generated
from seqkit.datasets.rows import Array
from seqkit.datasets.series import Target

__all__ = ["Copying"]

BLANK = "0"


class Copying(Generated):
    """Remember symbols among blanks and repeat them: a target for each sample, as in the copying problem.

    A series is a stretch with `tokens` symbols among blanks, one sample that says "now", and `tokens` blanks. The
    target is blank ("0") up to and with "now", then the symbols ("1", "2", ...) in the order in which they were shown.
    A sample has a channel for each symbol, 1 where it is shown, and one for "now"; a blank is zeros.

    With symbols at random places no fixed delays solve it: what is kept depends on what is shown. All samples count,
    and most targets are blank: without any memory `1 - tokens / length` of them can be right, and by guessing at the
    end `tokens / (length symbols)` more, 0.891 by default.

    Args:
        length: Samples of a series, at least 2 `tokens` + 1.
        tokens: Symbols to remember.
        symbols: Different ones.
        selective: Whether they are shown at random places; otherwise at the first ones, where delays do.
        size: Series in the training part; validation is cut from it.
        test_size: Series in the test part.
        data_seed: Seed of the series.

    Raises:
        ValueError: an option out of range.

    Source:
        Hochreiter and Schmidhuber 1997; in the form of Arjovsky, Shah and Bengio 2016 (arXiv:1511.06464), whose loss
        counts all samples too; at random places Jing et al. 2017 (arXiv:1706.02761), their denoising task.

    Cost:
        Some 20 us a series, when it is asked for.

    Example:
        >>> series = Copying(length=11, tokens=3, symbols=4, size=4).load()["train"]
        >>> series.target[0].tolist()
        ['0', '0', '0', '0', '0', '0', '0', '0', '1', '1', '1']
    """

    name = "copying"
    citation = "Arjovsky, Shah and Bengio 2016, Unitary evolution recurrent neural networks, arXiv:1511.06464"

    def __init__(
        self,
        *,
        length: int = 128,
        tokens: int = 16,
        symbols: int = 8,
        selective: bool = True,
        size: int = 4000,
        test_size: int = 1000,
        data_seed: int = 0,
    ) -> None:
        super().__init__(size, test_size, data_seed)
        self.tokens = check_positive_int("tokens", tokens)
        self.symbols = check_positive_int("symbols", symbols)
        if check_positive_int("length", length) < 2 * tokens + 1:
            raise ValueError(
                f"`length` must be at least {2 * tokens + 1}, to show {tokens} symbols and repeat them, got {length}; "
                "lower tokens or give more samples"
            )
        if not isinstance(selective, bool):
            raise ValueError(f"`selective` must be true or false, got {selective!r}")
        self.length = length
        self.selective = selective
        self.title = f"Copying: {tokens} symbols shown {'here and there' if selective else 'at the start'}, repeated"
        self.lengths = f"{length} samples"

    def info(self) -> DataInfo:
        """What the set holds; samples have no unit of time."""
        shown = tuple(str(k + 1) for k in range(self.symbols))
        return DataInfo(
            name=self.name,
            task="sequence",
            n_channels=self.symbols + 1,
            classes=(BLANK, *shown),
            max_length=self.length,
            channels=(*(f"symbol {k}" for k in shown), "now"),
        )

    def targets(self, part: str, n: int) -> Target:
        """A label for each sample."""
        blanks = [BLANK] * (self.length - self.tokens)
        shown = (self._drawn(self.draws(part, place))[0] for place in range(n))
        return [np.array([*blanks, *(str(k + 1) for k in one)]) for one in shown]

    def samples(self, part: str, place: int) -> Array:
        """Samples of one series, (length, symbols + 1)."""
        shown, places = self._drawn(self.draws(part, place))
        values = np.zeros((self.length, self.symbols + 1), dtype=np.float32)
        values[places, shown] = 1
        values[self.length - self.tokens - 1, self.symbols] = 1
        return values

    def _drawn(self, draws: Draws) -> tuple[Array, Array]:
        """The symbols, and where they are shown."""
        shown = draws.whole(self.symbols, self.tokens)
        if not self.selective:
            return shown, np.arange(self.tokens)
        return shown, draws.places(self.length - self.tokens - 1, self.tokens)
