"""The folder of a run: what is in it and how it is written, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seqkit.files import write_whole

__all__ = ["RunFolder"]


class RunFolder:
    """Paths and files of one run.

        config.yaml           resolved configuration
        metrics.csv           one row per epoch
        checkpoints/last.ckpt state to resume from
        model.safetensors     final weights, with model.json that describes them
        curves.png, confusion.png or predictions.png
        summary.json          written last: a run that has it is finished

    Args:
        path: Folder; made by the first write.

    Example:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp())
        >>> run.write_summary({"accuracy": 1.0})
        >>> run.is_finished, run.read_summary()["accuracy"]
        (True, 1.0)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """Resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """Table of metrics, one row per epoch."""
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        """State to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def summary(self) -> Path:
        """Result of the run; the last file to be written."""
        return self.path / "summary.json"

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary.is_file()

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Writes the configuration as YAML."""
        text = yaml.safe_dump(dict(values), sort_keys=False)
        write_whole(self.config, lambda path: path.write_text(text, encoding="utf-8"))

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes the table of metrics; a column that a row lacks stays empty."""
        columns = list(dict.fromkeys(key for row in rows for key in row))

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, columns, restval="")
                table.writeheader()
                table.writerows(rows)

        write_whole(self.metrics, write)

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Writes the result, which marks the run as finished."""
        text = json.dumps(dict(values), indent=2) + "\n"
        write_whole(self.summary, lambda path: path.write_text(text, encoding="utf-8"))

    def read_summary(self) -> dict[str, Any]:
        """Reads the result.

        Raises:
            FileNotFoundError: the run is not finished.
            ValueError: the file is damaged.
        """
        if not self.is_finished:
            raise FileNotFoundError(f"{self.path} holds no summary.json, so the run is not finished; resume it")
        try:
            return dict(json.loads(self.summary.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.summary} is damaged ({error}); remove it and resume the run") from error
