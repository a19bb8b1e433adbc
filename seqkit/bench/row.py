"""What is written down of a measurement, and the comparisons that tables and pictures show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Comparison", "Row", "compare"]

READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": lambda text: float(text or "nan"),
    "bool": lambda text: text == "True",
}


@dataclass(frozen=True)
class Row:
    """One form at one setting and pass.

    Args:
        case: Name of the case.
        sizes: Sizes in words.
        axis: Letter of the size that pictures are drawn over.
        size: That size.
        dtype: Kind of number.
        pass_: "fwd" or "fwd+bwd".
        form: Name of the backend or peer.
        own: Whether it is this toolkit's.
        auto: Whether it is the backend that the operator chooses by itself.
        ms: Median milliseconds a call; NaN where it was left out.
        low_ms: Lower quartile.
        high_ms: Upper quartile.
        first_ms: First call, compiling and loading included, wall time.
        samples: Number of samples.
        against: The peer that `ratio` is of.
        ratio: Time of that peer over the time of this form; NaN without that peer.
        error: RMS error of the output over the RMS of the float64 reference; NaN for a layer that computes another map.
        floor_ms: What the machine's roofs allow at best.
        share: Floor over time: 1 is the floor.
        rate: Things done a second, in `unit`; NaN where nothing is counted.
        unit: What is counted.
        note: Why it was left out, or "".
    """

    case: str
    sizes: str
    axis: str
    size: int
    dtype: str
    pass_: str
    form: str
    own: bool
    auto: bool
    ms: float
    low_ms: float
    high_ms: float
    first_ms: float
    samples: int
    against: str
    ratio: float
    error: float
    floor_ms: float
    share: float
    rate: float
    unit: str
    note: str

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """What is measured together: case, sizes, dtype, pass."""
        return self.case, self.sizes, self.dtype, self.pass_

    @property
    def measured(self) -> bool:
        """Whether there is a time."""
        return not math.isnan(self.ms)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by column, "pass" among them; NaN becomes None."""
        values = {name.rstrip("_"): value for name, value in asdict(self).items()}
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
        }

    @staticmethod
    def from_dict(values: dict[str, str]) -> Row:
        """Reads what a CSV file holds.

        Raises:
            ValueError: a column is missing or holds something else.
        """
        try:
            given = {field.name: READERS[str(field.type)](values[field.name.rstrip("_")]) for field in fields(Row)}
        except KeyError as error:
            raise ValueError(f"there is no column {error.args[0]}") from error
        return Row(**given)


@dataclass(frozen=True)
class Comparison:
    """One line of a table: our form and another of the same cell, or our form alone.

    Args:
        ours: The backend that the operator chooses, or the first that was measured.
        other: The form compared with; None where there is none.
    """

    ours: Row
    other: Row | None

    @property
    def ratio(self) -> float:
        """Time of the other over ours."""
        return self.other.ms / self.ours.ms if self.other else math.nan


def compare(rows: Iterable[Row]) -> list[Comparison]:
    """Pairs what was measured, cell by cell: our main form with every other one.

    Example:
        >>> compare([])
        []
    """
    cells: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if row.measured:
            cells.setdefault(row.cell, []).append(row)
    return [pair for cell in cells.values() for pair in pairs(cell)]


def pairs(cell: Sequence[Row]) -> list[Comparison]:
    """Comparisons within one cell; a cell without a form of our own has none."""
    own = sorted((row for row in cell if row.own), key=lambda row: not row.auto)
    if not own:
        return []
    others = [row for row in cell if row is not own[0]]
    return [Comparison(own[0], other) for other in others] or [Comparison(own[0], None)]
