"""What a comparison keeps on disk of what was asked for, so that the same command goes on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqkit.files import write_whole
from seqkit.runs.comparison.plan import Entry

__all__ = ["Record", "Request"]


@dataclass(frozen=True)
class Request:
    """What was asked for and must stay the same for results to be comparable.

    Args:
        settings: Values by key.
        budget: Seconds for a training, or None.
        parameters: Parameters that widths are matched to, or None.
    """

    settings: dict[str, Any]
    budget: float | None
    parameters: int | None


@dataclass
class Record:
    """comparison.json: the request, and what was measured once for each data set and model.

    Args:
        path: The file.
        request: What was asked for.
        epochs: Epochs that fit the budget, by "data model".
        widths: Matched widths, by "data model".

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "comparison.json"
        >>> Record.open(path, Request({"epochs": 2}, None, None)).write()
        >>> Record.open(path, Request({"epochs": 2}, None, None)).request.settings
        {'epochs': 2}
    """

    path: Path
    request: Request
    epochs: dict[str, int]
    widths: dict[str, int]

    @staticmethod
    def open(path: Path, request: Request) -> Record:
        """The record in a folder, or a new one.

        Raises:
            FileExistsError: what is there was asked for with other settings.
            ValueError: the file is damaged.
        """
        if not path.is_file():
            return Record(path, request, {}, {})
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            there = Request(**values["request"])
            record = Record(path, there, _whole(values["epochs"]), _whole(values["widths"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); remove the folder or restore the file") from error
        for name, old in asdict(there).items():
            new = getattr(request, name)
            if old != new:
                raise FileExistsError(
                    f"{path.parent} holds a comparison with {name} {old!r}, and this one has {new!r}; name another "
                    "folder, or add --overwrite"
                )
        return record

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        values = {
            "request": asdict(self.request),
            "epochs": dict(sorted(self.epochs.items())),
            "widths": dict(sorted(self.widths.items())),
        }
        text = json.dumps(values, indent=2) + "\n"
        write_whole(self.path, lambda part: part.write_text(text, encoding="utf-8"))

    def apply(self, entry: Entry) -> Entry:
        """The entry with what was measured for its data set and model."""
        key = f"{entry.data} {entry.model}"
        if key in self.widths:
            entry = entry.with_d_model(self.widths[key])
        return entry.with_epochs(self.epochs[key]) if key in self.epochs else entry


def _whole(values: Mapping[str, Any]) -> dict[str, int]:
    return {str(key): int(value) for key, value in values.items()}
