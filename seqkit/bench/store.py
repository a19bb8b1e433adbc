"""The folder that measurements are kept in: written whole after each cell, and gone on with when it is there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from seqkit.files import write_whole

__all__ = ["Stored", "StoredRow"]

FIXED = ("processor", "device", "python", "torch", "numba", "triton", "threads", "tuned", "repeats", "backends")


class StoredRow(Protocol):
    """A row that a table in a file can hold."""

    def to_dict(self) -> dict[str, Any]:
        """Values by column."""

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> Self:
        """Reads them back."""


R = TypeVar("R", bound=StoredRow)


@dataclass
class Stored(Generic[R]):
    """Rows in memory and, where there is a folder, in `NAME.csv` with their conditions in `NAME.json`.

    Args:
        folder: Where to keep them; None keeps them in memory only.
        name: Name of the files.
        conditions: What all rows have in common: machine, versions, options.
        rows: The rows so far.

    Example:
        >>> Stored.open(None, "bench", {}, dict, overwrite=False).rows
        []
    """

    folder: Path | None
    name: str
    conditions: dict[str, Any]
    rows: list[R] = field(default_factory=list)

    @classmethod
    def open(
        cls, folder: Path | None, name: str, conditions: dict[str, Any], kind: type[R], *, overwrite: bool
    ) -> Stored[R]:
        """Reads what is there, unless it is to be overwritten.

        Raises:
            ValueError: what is there was measured under other conditions, or is no such table.
        """
        if folder is None:
            return cls(None, name, conditions)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"`--out` must be a folder, and {folder} is a file; name another place")
        table, facts = folder / f"{name}.csv", folder / f"{name}.json"
        if overwrite or not table.exists():
            return cls(folder, name, conditions)
        check_conditions(folder, json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else {}, conditions)
        with table.open(newline="", encoding="utf-8") as file:
            try:
                rows = [kind.from_dict(values) for values in csv.DictReader(file)]
            except ValueError as error:
                words = f"{table} holds no measurements of this version: {error}; give another folder or --overwrite"
                raise ValueError(words) from error
        return cls(folder, name, conditions, rows)

    def add(self, rows: Sequence[R]) -> None:
        """Keeps further rows, on the disk first."""
        everything = [*self.rows, *rows]
        if self.folder is not None and everything:
            facts, text = json.dumps(self.conditions, indent=1) + "\n", as_csv(everything)
            write_whole(self.folder / f"{self.name}.json", lambda part: part.write_text(facts, encoding="utf-8"))
            write_whole(self.folder / f"{self.name}.csv", lambda part: part.write_text(text, encoding="utf-8"))
        self.rows = everything


def as_csv(rows: Sequence[StoredRow]) -> str:
    """The rows as text; nothing stands where there is no number."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0].to_dict()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_dict() for row in rows)
    return out.getvalue()


def check_conditions(folder: Path, there: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses to mix measurements that cannot be compared."""
    for key in FIXED:
        if there.get(key) != now.get(key):
            raise ValueError(
                f"{folder} holds measurements with {key} {there.get(key)}, and now it is {now.get(key)}; "
                "give another folder, or --overwrite to start anew"
            )
