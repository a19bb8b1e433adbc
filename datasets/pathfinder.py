"""Pathfinder: are two dots joined by a dashed curve? Pictures of 32 x 32 pixels as series, made here."""

from __future__ import annotations

import numpy as np

from seqkit.batch import DataInfo
from seqkit.datasets.contours import SIDE, draw_contours, ink
from seqkit.datasets.generated import Generated
from seqkit.datasets.permutation import pixel_order
from seqkit.datasets.pixels import pixel_rows
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet, Target

__all__ = ["Pathfinder"]

APART, JOINED = "apart", "joined"
LINE, DOT = 153, 255
"""Largest value of a pixel of a curve and of a dot."""


class Pathfinder(Generated):
    """Dashed curves and two dots, read pixel by pixel: 1024 samples of one channel in [0, 1], "joined" or "apart".

    Each picture has two long dashed curves that join four points, and short ones that lead nowhere. Two of the four
    points are dots: those of one curve ("joined") or one of each ("apart").

    The four points are such that both ways to join neighbours in the ring around them could be drawn, and one of the
    ways is drawn by a coin. Then a coin decides the label, and another which two of the points that fit are dots. So
    the label is independent of the curves alone, and of the points with the dots alone: no count of pixels, distance of
    dots or place in the picture says anything about it; only following a curve from dot to dot does, or what goes some
    of the way, such as where a curve sets out from a dot.

    Args:
        distractors: Short curves; fewer where there is no room.
        permutation: Order of the pixels: "none", "bit_reversal", "numpy:SEED" or "random:SEED".
        size: Series in the training part; validation is cut from it.
        test_size: Series in the test part.
        data_seed: Seed of the series.

    Raises:
        ValueError: an option out of range.

    Source:
        After Linsley, Kim, Veerabadran, Windolf and Serre 2018 (arXiv:1805.08315); as a sequence of 1024 pixels Tay et
        al. 2021 (arXiv:2011.04006). Differs: drawn by this code, with the statistics of both classes made equal.

    Cost:
        About a millisecond a picture, once at loading; a byte a pixel is kept.

    Example:
        >>> series = Pathfinder(size=3, test_size=1).load()["train"]
        >>> series.values[0].shape, series.kind
        ((1024, 1), 'classification')
    """

    name = "pathfinder"
    title = "Pathfinder, made here: are two dots joined by a dashed curve, pixel by pixel"
    lengths = f"{SIDE * SIDE} samples"
    citation = (
        "after Linsley, Kim, Veerabadran, Windolf and Serre 2018, Learning long-range spatial dependencies with "
        "horizontal gated recurrent units, arXiv:1805.08315"
    )

    def __init__(
        self,
        *,
        distractors: int = 4,
        permutation: str = "none",
        size: int = 4000,
        test_size: int = 1000,
        data_seed: int = 0,
    ) -> None:
        super().__init__(size, test_size, data_seed)
        if isinstance(distractors, bool) or not isinstance(distractors, int) or distractors < 0:
            raise ValueError(f"`distractors` must be a whole number of at least 0, got {distractors!r}")
        self.distractors = distractors
        self.order = pixel_order(permutation, SIDE * SIDE)

    def info(self) -> DataInfo:
        """What the set holds; pixels have no unit of time."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=1,
            classes=(APART, JOINED),
            max_length=SIDE * SIDE,
        )

    def make(self, part: str, n: int) -> SeriesSet:
        """The first n pictures of a part, drawn now and kept as bytes."""
        images = np.stack([self.image(part, place) for place in range(n)])
        rows = pixel_rows(images.reshape(n, SIDE * SIDE, 1), self.order, origin=self.name)
        names = [f"{part}-{place}" for place in range(n)]
        return SeriesSet(rows, self.targets(part, n), names=names, origin=self.name)

    def targets(self, part: str, n: int) -> Target:
        """Whether the dots are joined."""
        return [(APART, JOINED)[int(self.draws(part, place).whole(2, 1)[0])] for place in range(n)]

    def samples(self, part: str, place: int) -> Array:
        """Pixels of one picture, (1024, 1)."""
        pixels = self.image(part, place).reshape(1, SIDE * SIDE, 1)
        return pixel_rows(pixels, self.order, origin=self.name)[0]

    def image(self, part: str, place: int) -> Array:
        """One picture as bytes, (32, 32)."""
        draws = self.draws(part, place)
        label, which = draws.whole(2, 2).tolist()
        drawing = draw_contours(draws, self.distractors)
        sides = drawing.joined if label else drawing.open
        dots = drawing.corners[list(sides[which])]
        dark: Array = np.maximum(LINE * ink(drawing.dashes, 0.25), DOT * ink(dots, 1.25))
        return np.rint(dark).astype(np.uint8)
