"""Settings of a distillation as plain values, and the file that keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqkit.checks import check_choice, check_keys, check_positive, check_positive_int
from seqkit.distill.student import check_method
from seqkit.files import write_whole
from seqkit.runs.distill_task import LOSSES, STEPS
from seqkit.runs.settings import check_format

__all__ = ["DistillConfig"]

FORMAT = 1
NAME = "distill.json"


@dataclass(frozen=True)
class DistillConfig:
    """How a student is taught.

    Args:
        teachers: Each a whole configuration of a run, or {"run": folder} for one that was trained, or {"estimator": its
            words}; several are an ensemble, whose probabilities are averaged.
        method: "plain", "crossfit", "corrected" or "both"; "labels" for the student alone.
        folds: Number of folds.
        members: Copies of each teacher for each fold, which differ in their seed.
        c: Weight of the correction, or "auto".
        loss: "cross_entropy", "brier" or "logits".
        temperature: T of the cross-entropy.
        steps: "auto", "all" or "last": which answers of the student learn.
        compare: Whether the student of labels alone and the plain one are trained beside it.
        force: Whether corrections are allowed with a teacher that saw the labels.
        groups: Group of each series by its name, or None.

    Raises:
        ValueError: a value out of range; the sentence names it.

    Example:
        >>> DistillConfig(teachers=({"estimator": "forest"},)).method
        'both'
    """

    teachers: tuple[dict[str, Any], ...]
    method: str = "both"
    folds: int = 5
    members: int = 1
    c: float | str = "auto"
    loss: str = "cross_entropy"
    temperature: float = 1.0
    steps: str = "auto"
    compare: bool = True
    force: bool = False
    groups: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuses values out of range, each with its name."""
        check_method(self.method, force=self.force)
        check_positive_int("folds", self.folds)
        check_positive_int("members", self.members)
        check_positive("temperature", self.temperature)
        check_choice("loss", self.loss, LOSSES)
        check_choice("steps", self.steps, STEPS)
        if self.folds < 2:
            raise ValueError(
                f"`folds` must be at least 2, got {self.folds}; choose method plain for one teacher of all"
            )
        if not self.teachers and self.method != "labels":
            raise ValueError("`teacher` must name a model, a run or an estimator, got none")
        weight = self.c
        is_weight = isinstance(weight, (int, float)) and not isinstance(weight, bool) and weight >= 0
        if weight != "auto" and not is_weight:
            raise ValueError(f"`c` must be a number, 0 or above, or auto, got {weight!r}")

    @property
    def corrects(self) -> bool:
        """Whether labels correct the teacher."""
        return self.method in ("corrected", "both")

    @property
    def in_sample(self) -> bool:
        """Whether the teacher labels what it was trained on."""
        return self.method in ("plain", "corrected")

    def check_unchanged(self, asked: Mapping[str, Any]) -> None:
        """Refuses values that were asked for beside resuming and are not those that are kept.

        Args:
            asked: Values by name; one that is the default counts as not asked for.

        Raises:
            ValueError: another value than the one kept.

        Example:
            >>> DistillConfig(teachers=({"estimator": "forest"},), folds=3).check_unchanged({"folds": 4})
            Traceback (most recent call last):
            ...
            ValueError: a resumed distillation keeps its own `folds`, 3, got 4; leave it out
        """
        for name, value in asked.items():
            kept = getattr(self, name)
            if value != type(self).__dataclass_fields__[name].default and value != kept:
                raise ValueError(
                    f"a resumed distillation keeps its own `{name}`, {kept!r}, got {value!r}; leave it out"
                )

    def write(self, folder: Path) -> None:
        """Writes distill.json."""
        values = {**asdict(self), "c": "infinity" if self.c == math.inf else self.c}
        text = json.dumps({"format": FORMAT, **values}, indent=2) + "\n"
        write_whole(folder / NAME, lambda path: path.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, folder: Path) -> DistillConfig:
        """Reads distill.json.

        Raises:
            FileNotFoundError: the folder holds none.
            ValueError: a damaged file or a newer format.
        """
        file = folder / NAME
        if not file.is_file():
            raise FileNotFoundError(f"{folder} holds no distillation ({NAME}); start it without resuming")
        try:
            values = dict(json.loads(file.read_text(encoding="utf-8")))
            version = values.pop("format")
            teachers = tuple(dict(one) for one in values.pop("teachers"))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}); restore it or start anew in another folder") from error
        check_format(version, str(file))
        check_keys(str(file), values, [key for key in cls.__dataclass_fields__ if key != "teachers"])
        if values.get("c") == "infinity":
            values["c"] = math.inf
        return cls(teachers, **values)
