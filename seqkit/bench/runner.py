"""Measuring: one cell (a case at one setting and pass) at a time, all of its forms in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqkit.bench.case import Case, Form, Inputs, Setting
from seqkit.bench.clock import Timing, time_in_turns
from seqkit.bench.inputs import cast, leaves_of, widen
from seqkit.bench.roofs import Roofs, floor_seconds
from seqkit.bench.row import Row

__all__ = ["Cell", "Options", "first_output", "measure_cell", "pass_name", "plan", "step_of"]

SEED = 0


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        sizes: Level of the grids, "tiny", "quick" or "full".
        device: "cpu" or "cuda".
        backends: Own backends to measure; empty for all that can serve.
        repeats: Rounds of a measurement.
    """

    sizes: str = "quick"
    device: str = "cpu"
    backends: tuple[str, ...] = ()
    repeats: int = 5

    def wants(self, form: Form) -> bool:
        """Whether a form is among those asked for; peers, and layers that choose by themselves, always are."""
        return not form.own or not self.backends or form.name in (*self.backends, "auto")


class Cell(NamedTuple):
    """What is measured together.

    Args:
        case: The computation.
        setting: Its sizes and kind of number.
        backward: Whether the backward pass is included.
    """

    case: Case
    setting: Setting
    backward: bool

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As `Row.cell`."""
        return self.case.name, self.setting.label, self.setting.dtype, pass_name(self.backward)


class Ready(NamedTuple):
    """A form that works here."""

    form: Form
    step: Callable[[], object]
    first: float
    error: float
    chosen: bool


def pass_name(backward: bool) -> str:
    """Words a pass.

    Example:
        >>> pass_name(True)
        'fwd+bwd'
    """
    return "fwd+bwd" if backward else "fwd"


def plan(cases: Sequence[Case], options: Options) -> list[Cell]:
    """All cells, case by case from small to large.

    Example:
        >>> from seqkit.bench.cases import find_cases
        >>> [cell.key[3] for cell in plan(find_cases(["krylov"]), Options("tiny"))]
        ['fwd', 'fwd+bwd', 'fwd', 'fwd+bwd']
    """
    return [
        Cell(case, setting, backward)
        for case in cases
        for setting in case.grid.at(options.sizes, options.device)
        for backward in case.passes
    ]


def measure_cell(cell: Cell, options: Options, roofs: Roofs) -> list[Row]:
    """Measures every form of a cell that works here; what is left out has a row with its reason.

    Example:
        >>> from seqkit.bench.cases import find_cases
        >>> cell = plan(find_cases(["vandermonde"]), Options("tiny"))[0]
        >>> rows = measure_cell(cell, Options("tiny", repeats=1), Roofs(1e9, 1e9, 1e9, 1e9))
        >>> [row.form for row in rows if row.measured]
        ['cpu', 'reference', 'materialised exp + einsum']
    """
    case, setting, backward = cell
    made = case.make(setting, torch.Generator().manual_seed(SEED))
    inputs = cast(made, setting.dtype, options.device)
    with torch.no_grad():
        exact = case.exact(widen(case.few(inputs)), setting)
    forms = [form for form in case.forms if options.wants(form)]
    with torch.set_grad_enabled(backward):
        tried = [(form, try_out(form, inputs, cell, exact)) for form in forms]
        ready = [found for _, found in tried if isinstance(found, Ready)]
        timings = time_in_turns([found.step for found in ready], options.repeats, options.device)
    by_form = {found.form.name: timing for found, timing in zip(ready, timings, strict=True)}
    peer = by_form.get(case.against)
    floor = floor_seconds(case.work(setting, backward), roofs)
    return [row(cell, form, found, by_form.get(form.name), peer, floor) for form, found in tried]


def try_out(form: Form, inputs: Inputs, cell: Cell, exact: Tensor | None) -> Ready | str:
    """Makes a form ready and calls it once; returns why not where it cannot run here."""
    reason = form.refuse(inputs, cell.setting, cell.backward)
    if reason is not None:
        return reason
    try:
        step = step_of(form, inputs, cell)
        start = time.perf_counter()
        output = first_output(step())
        if output.is_cuda:
            torch.cuda.synchronize()
        first = time.perf_counter() - start
        error = error_of(output, cell.case, exact) if form.same and exact is not None else math.nan
    except (RuntimeError, MemoryError, ImportError) as failure:
        full = isinstance(failure, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(failure)
        if form.own and not full:
            raise
        return "out of memory" if full else f"it failed: {str(failure).strip().splitlines()[0][:200]}"
    return Ready(form, step, first, error, form.chosen(inputs, cell.setting))


def step_of(form: Form, inputs: Inputs, cell: Cell) -> Callable[[], Any]:
    """What is timed; it returns what the form returns. The gradient is taken of the output's sum, by every input.

    Call it with gradients off where there is no backward pass: `torch.set_grad_enabled(cell.backward)`.
    """
    task = form.prepare(leaves_of(inputs) if cell.backward else inputs, cell.setting)
    if not cell.backward:
        return task.call
    directions: list[Tensor] = []

    def forward_and_backward() -> Tensor:
        output = first_output(task.call())
        if not directions:
            directions.append(torch.ones_like(output))
        torch.autograd.grad(output, task.leaves, directions, allow_unused=True)
        return output.detach()

    return forward_and_backward


def first_output(found: Any) -> Tensor:
    """The output itself, where a state comes with it."""
    output: Tensor = found if isinstance(found, Tensor) else found[0]
    return output


def error_of(output: Tensor, case: Case, exact: Tensor) -> float:
    """RMS of the difference over RMS of the reference, in the part of the output that the reference covers."""
    got = widen({"output": output[case.part] if case.part else output})["output"]
    difference, scale = (float(value.abs().pow(2).mean().sqrt()) for value in (got - exact, exact))
    return difference / scale if scale else difference


def row(cell: Cell, form: Form, found: Ready | str, timing: Timing | None, peer: Timing | None, floor: float) -> Row:
    """Writes down one form."""
    case, setting, backward = cell
    nothing = math.nan
    ready = found if isinstance(found, Ready) else None
    return Row(
        case=case.name,
        sizes=setting.label,
        axis=case.axis,
        size=setting[case.axis],
        dtype=setting.dtype,
        pass_=pass_name(backward),
        form=form.name,
        own=form.own,
        auto=ready is not None and ready.chosen,
        ms=timing.median * 1e3 if timing else nothing,
        low_ms=timing.low * 1e3 if timing else nothing,
        high_ms=timing.high * 1e3 if timing else nothing,
        first_ms=ready.first * 1e3 if ready else nothing,
        samples=timing.samples if timing else 0,
        against=case.against,
        ratio=peer.median / timing.median if peer and timing else nothing,
        error=ready.error if ready else nothing,
        floor_ms=floor * 1e3,
        share=floor / timing.median if timing else nothing,
        rate=case.count(setting) / timing.median if case.count and timing else nothing,
        unit=case.unit,
        note=found if isinstance(found, str) else "",
    )
