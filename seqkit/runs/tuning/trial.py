"""One training of a search, watched while it runs."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from seqkit.files import write_whole
from seqkit.runs.comparison.running import run_training
from seqkit.runs.config import RunConfig
from seqkit.tasks.run_folder import RunFolder

__all__ = ["Trial", "validation_losses"]


class Trial:
    """A training with chosen settings in a folder named after them, so that it is found again.

    Args:
        root: Folder of the search.
        config: What to train.
        chosen: The settings that were chosen.

    Example:
        >>> trial = Trial(Path("tuning/vowels"), RunConfig.build("japanese_vowels", "gru"), {"dropout": 0.1})
        >>> trial.folder.path.parent.as_posix()
        'tuning/vowels/trials'
    """

    def __init__(self, root: Path, config: RunConfig, chosen: Mapping[str, Any]) -> None:
        self.config, self.chosen = config, dict(chosen)
        name = hashlib.sha256(json.dumps(self.chosen, sort_keys=True).encode()).hexdigest()[:8]
        self.root, self.folder = root, RunFolder(root / "trials" / name)

    def run(self, watch: Any, *, offline: bool) -> str | None:
        """Trains, or goes on with, it; `watch` sees the validation losses so far and says whether to stop.

        Returns:
            None when it is finished, or why not.
        """
        if self.folder.is_finished:
            return None
        config = self.root / "configs" / f"{self.folder.path.name}.yaml"
        text = yaml.safe_dump(self.config.to_dict(), sort_keys=False)
        write_whole(config, lambda part: part.write_text(text, encoding="utf-8"))
        return run_training(
            config, self.folder, offline=offline, quiet=True, stop=lambda: watch(validation_losses(self.folder))
        )


def validation_losses(folder: RunFolder) -> list[float]:
    """Validation loss after each epoch so far; infinity where it was not finite.

    Example:
        >>> validation_losses(RunFolder("nowhere"))
        []
    """
    if not folder.metrics.is_file():
        return []
    with folder.metrics.open(encoding="utf-8") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file) if row.get("val_loss")]
    return [loss if math.isfinite(loss) else math.inf for loss in losses]
