"""Measures the memory of one computation in a process of its own: `python -m seqkit.bench.probe JSON`.

A process keeps what it once took, and its high-water mark never sinks; so a curve needs a new process for each point.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from seqkit.bench.case import Inputs, Setting
from seqkit.bench.cases import find_cases
from seqkit.bench.inputs import cast
from seqkit.bench.runner import SEED, Cell, step_of

__all__ = ["main", "peak_of"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(cell: Cell, form_name: str, device: str) -> dict[str, Any]:
    """Bytes that a form takes at its peak beyond its inputs, or the reason why there is no answer.

    Tables that are made beforehand and kept, uncounted where time is measured, count here.
    A call at tiny sizes goes first, so that libraries, compiled loops and their tables are there already.
    """
    form = cell.case.form(form_name)
    tiny = cell._replace(setting=cell.case.grid.tiny[0])
    with torch.set_grad_enabled(cell.backward):
        step_of(form, inputs_of(tiny, device), tiny)()
    inputs = inputs_of(cell, device)
    reason = form.refuse(inputs, cell.setting, cell.backward)
    if reason is not None:
        return {"note": reason}
    before = start_counting(device)
    with torch.set_grad_enabled(cell.backward):
        step = step_of(form, inputs, cell)
        start_counting(device)  # what preparing holds counts, what it only passes through does not
        step()
    return {"peak": max(0, highest(device) - before), "inputs": sum(value.nbytes for value in inputs.values())}


def inputs_of(cell: Cell, device: str) -> Inputs:
    """The inputs that a measurement of time would get."""
    made = cell.case.make(cell.setting, torch.Generator().manual_seed(SEED))
    return cast(made, cell.setting.dtype, device)


def start_counting(device: str) -> int:
    """Gives back what is not needed, sets the high-water mark to what is held now, and returns that."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    if not CLEAR.exists():
        return highest(device)
    CLEAR.write_text("5")  # Linux: sets the mark VmHWM back to what is held
    return in_status("VmRSS")


def highest(device: str) -> int:
    """The high-water mark in bytes."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    if STATUS.exists():
        return in_status("VmHWM")
    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return mark if sys.platform == "darwin" else mark * 1024


def in_status(key: str) -> int:
    """A line of the process's status, in bytes."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == f"{key}:")


def main(text: str) -> str:
    """Answers one question: case, sizes, dtype, backward, form, device and threads as JSON; the answer is JSON, too.

    Example:
        >>> question = {"case": "krylov", "sizes": {"H": 1, "N": 2, "L": 4}, "dtype": "float32", "backward": False,
        ...             "form": "cpu", "device": "cpu", "threads": 1}
        >>> json.loads(main(json.dumps(question)))["inputs"]
        32
    """
    asked = json.loads(text)
    torch.set_num_threads(asked["threads"])
    cell = Cell(find_cases([asked["case"]])[0], Setting(asked["sizes"], asked["dtype"]), asked["backward"])
    try:
        return json.dumps(peak_of(cell, asked["form"], asked["device"]))
    except (MemoryError, RuntimeError, ImportError) as error:
        return json.dumps({"note": str(error).strip().splitlines()[0][:200]})


if __name__ == "__main__":
    print(main(sys.argv[1]))
