"""Curves of peak memory over the length of the series, each point measured in a process of its own."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch

from seqkit.bench.case import Case, Form, Setting
from seqkit.bench.inputs import cast
from seqkit.bench.runner import SEED, pass_name

__all__ = ["MEMORY_COLUMNS", "MemoryRow", "Point", "measure_point", "memory_lines", "memory_points"]

MEMORY_COLUMNS = ("operator", "sizes", "pass", "form", "peak MiB", "MiB a 1000 samples", "inputs MiB", "note")


@dataclass(frozen=True)
class MemoryRow:
    """Peak memory of one form at one setting and pass.

    Args:
        case: Name of the case.
        sizes: Sizes in words.
        length: Number of samples L.
        pass_: "fwd" or "fwd+bwd".
        form: Name of the backend or peer.
        own: Whether it is this toolkit's.
        mib: Peak beyond the inputs, in MiB; outputs and gradients are part of it. NaN where it was left out.
        inputs_mib: What the inputs take, in MiB.
        note: Why it was left out, or "".
    """

    case: str
    sizes: str
    length: int
    pass_: str
    form: str
    own: bool
    mib: float
    inputs_mib: float
    note: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes the row unique."""
        return self.case, self.sizes, self.pass_, self.form

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.mib)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by column; NaN becomes None."""
        values = {name.rstrip("_"): value for name, value in asdict(self).items()}
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}

    @staticmethod
    def from_dict(values: dict[str, str]) -> MemoryRow:
        """Reads what a CSV file holds.

        Raises:
            ValueError: a column is missing or holds something else.
        """
        try:
            numbers = float(values["mib"] or "nan"), float(values["inputs_mib"] or "nan")
            words = values["case"], values["sizes"], int(values["length"]), values["pass"], values["form"]
            return MemoryRow(*words, values["own"] == "True", *numbers, values["note"])
        except KeyError as error:
            raise ValueError(f"there is no column {error.args[0]}") from error


class Point(NamedTuple):
    """What one process measures."""

    case: Case
    setting: Setting
    backward: bool
    form: Form

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As `MemoryRow.key`."""
        return self.case.name, self.setting.label, pass_name(self.backward), self.form.name


def memory_points(cases: Sequence[Case], device: str, tiny: bool = False) -> list[Point]:
    """The operator's own choice and every peer, over the settings of its curve.

    Args:
        cases: Cases; those without a curve have no points.
        device: "cpu" or "cuda".
        tiny: Take the tiny grid in place of the curve.

    Example:
        >>> from seqkit.bench.cases import find_cases
        >>> sorted({point.form.name for point in memory_points(find_cases(["krylov"]), "cpu")})
        ['cpu', 'power doubling']
    """
    return [
        Point(case, setting, backward, form)
        for case in cases
        for form in chosen_forms(case, device)
        for backward in case.passes
        for setting in (case.grid.tiny if tiny and case.memory else case.memory)
    ]


def chosen_forms(case: Case, device: str) -> list[Form]:
    """What the operator takes by itself on this device, and the peers that serve it."""
    setting = case.grid.tiny[0]
    inputs = cast(case.make(setting, torch.Generator().manual_seed(SEED)), setting.dtype, device)
    usable = [form for form in case.forms if form.refuse(inputs, setting, False) is None]
    return [form for form in usable if not form.own or form.chosen(inputs, setting)]


def measure_point(point: Point, device: str, threads: int) -> MemoryRow:
    """Starts a process for one point and waits for its answer."""
    question = {
        "case": point.case.name, "sizes": dict(point.setting.sizes), "dtype": point.setting.dtype,
        "backward": point.backward, "form": point.form.name, "device": device, "threads": threads,
    }  # fmt: skip
    command = [sys.executable, "-m", "seqkit.bench.probe", json.dumps(question)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer: dict[str, Any] = (
        json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"note": why_it_ended(done)}
    )
    return MemoryRow(
        case=point.case.name,
        sizes=point.setting.label,
        length=point.setting["L"],
        pass_=pass_name(point.backward),
        form=point.form.name,
        own=point.form.own,
        mib=answer["peak"] / 2**20 if "peak" in answer else math.nan,
        inputs_mib=answer["inputs"] / 2**20 if "inputs" in answer else math.nan,
        note=answer.get("note", ""),
    )


def why_it_ended(done: subprocess.CompletedProcess[str]) -> str:
    """Words for a process without an answer."""
    if done.returncode == -signal.SIGKILL:
        return "the system ended it: out of memory"
    said = done.stderr.strip().splitlines()
    return f"it failed: {said[-1][:200]}" if said else f"it failed with status {done.returncode}"


def memory_lines(rows: Sequence[MemoryRow]) -> list[tuple[str, ...]]:
    """One line a row, as words in the order of `MEMORY_COLUMNS`."""
    return [
        (
            *(row.case, row.sizes, row.pass_, row.form),
            *((f"{row.mib:.4g}", f"{row.mib / row.length * 1000:.3g}") if row.measured else ("", "")),
            *(f"{row.inputs_mib:.3g}" if row.measured else "", row.note),
        )
        for row in rows
    ]
