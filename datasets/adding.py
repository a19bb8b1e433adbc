"""The adding problem: the sum of the two marked ones among many numbers."""

from __future__ import annotations

import numpy as np

from seqkit.batch import DataInfo
from seqkit.checks import check_positive_int
from seqkit.datasets.draws import Draws
from seqkit.datasets.generated import Generated
from seqkit.datasets.rows import Array
from seqkit.datasets.series import Target

__all__ = ["Adding"]


class Adding(Generated):
    """Add two marked numbers: one in the first half of a series, one in the second; a value per series.

    The first channel holds numbers drawn evenly from [0, 1), the second is 1 at two of them and 0 elsewhere. The target
    is the sum of those two. Its mean, 1, has a root mean squared error of 1/sqrt(6) = 0.408.

    Args:
        length: Samples of a series, at least 2.
        size: Series in the training part; validation is cut from it.
        test_size: Series in the test part.
        data_seed: Seed of the series.

    Raises:
        ValueError: an option out of range.

    Source:
        Hochreiter and Schmidhuber 1997; in the form of Arjovsky, Shah and Bengio 2016 (arXiv:1511.06464).

    Cost:
        Some 20 us a series and a few nanoseconds a sample, when it is asked for.

    Example:
        >>> series = Adding(length=10, size=3).load()["train"]
        >>> value, marked = series.values[0].T
        >>> bool(np.isclose(series.target[0, 0], value[marked == 1].sum()))
        True
    """

    name = "adding"
    title = "Adding problem: the sum of the two marked numbers"
    citation = "Hochreiter and Schmidhuber 1997, Long short-term memory, Neural Computation 9(8)"

    def __init__(self, *, length: int = 400, size: int = 4000, test_size: int = 1000, data_seed: int = 0) -> None:
        super().__init__(size, test_size, data_seed)
        if check_positive_int("length", length) < 2:
            raise ValueError(f"`length` must be at least 2, one number for each half, got {length}")
        self.length = length
        self.lengths = f"{length} samples"

    def info(self) -> DataInfo:
        """What the set holds; samples have no unit of time."""
        return DataInfo(
            name=self.name,
            task="regression",
            n_channels=2,
            max_length=self.length,
            channels=("value", "marked"),
            targets=("sum",),
        )

    def targets(self, part: str, n: int) -> Target:
        """Sums, (n, 1)."""
        return np.array([self._marked(self.draws(part, place))[1].sum(keepdims=True) for place in range(n)])

    def samples(self, part: str, place: int) -> Array:
        """Samples of one series, (length, 2)."""
        draws = self.draws(part, place)
        places, first = self._marked(draws)
        values = np.zeros((self.length, 2), dtype=np.float32)
        values[:, 0] = draws.shares(self.length)
        values[places, 0] = first
        values[places, 1] = 1
        return values

    def _marked(self, draws: Draws) -> tuple[Array, Array]:
        """Places of both marks and the numbers there, float32: drawn first, so that a sum needs no series."""
        half = self.length // 2
        places = np.concatenate([draws.whole(half, 1), half + draws.whole(self.length - half, 1)])
        return places, draws.shares(2).astype(np.float32)
