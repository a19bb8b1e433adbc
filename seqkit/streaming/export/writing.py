"""Writes a model as programs that run without this toolkit, checked against its own stream first."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqkit.models import SequenceModel, load_model
from seqkit.streaming.engines import ModelEngine
from seqkit.streaming.export.formats import FORMATS, OPSET, check_format, read_program, write_program
from seqkit.streaming.export.parity import LIMIT, largest_error
from seqkit.streaming.export.programs import BlockProgram, Parts, StepProgram
from seqkit.streaming.export.signature import Signature, signatures
from seqkit.streaming.stream import first_step
from seqkit.version import __version__

__all__ = ["FORMAT", "export_model"]

FORMAT = 1
"""Version of the folder's layout."""


def export_model(
    what: SequenceModel | str | Path,
    folder: str | Path,
    *,
    format: str = "onnx",
    sample_rate: float | None = None,
    fixed_step: bool = False,
) -> dict[str, Any]:
    """Writes the step of a model, with its state as inputs and outputs, and its block form, into a new folder.

    The folder holds `step` and `block` (`.onnx`, or `.pt2` for torch), `initial.npz` with the state before the first
    sample, and `model.json`, which says what they take and give. Before anything is let out, both programs are read
    back and compared with the toolkit's own stream on random samples.

    Args:
        what: A model, or the folder of a finished run.
        folder: Folder to make.
        format: "onnx", or "torch" for programs of `torch.export`.
        sample_rate: Samples per second of the data that will come (Hz); None for that of the training data.
        fixed_step: Leaves the input `steps` out where there would be one: a quicker step for evenly spaced samples.

    Returns:
        What `model.json` holds.

    Raises:
        FileExistsError: the folder is there already.
        FileNotFoundError: no finished run.
        ImportError: the extra `export` is not installed and the format is "onnx".
        ValueError: an unknown format, a layer that cannot be exported, a rate that is not positive or that the model
            has no notion of, or programs that differ from the stream by more than 1e-4; nothing is left behind.

    Example:
        >>> import tempfile
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info, seed=0)
        >>> made = export_model(model, Path(tempfile.mkdtemp()) / "toy", format="torch")
        >>> [value["name"] for value in made["programs"]["step"]["inputs"]][:2]
        ['sample', 'observed']
    """
    check_format(format)
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; give a folder that is not, or remove it")
    if not isinstance(what, (SequenceModel, str, Path)):
        raise TypeError(f"export takes a model or the folder of a run, got {type(what).__name__}")
    model = what if isinstance(what, SequenceModel) else load_model(what)
    engine = ModelEngine(model, dtype="float32")
    fixed = first_step(engine, sample_rate)
    parts = Parts(model, step=fixed, fixed_step=fixed_step)
    both = signatures(
        engine.read(engine.start(1), 0),
        n_channels=engine.n_channels,
        output_shape=engine.output_shape,
        per_sample=engine.per_sample,
        told_steps=parts.takes_steps,
    )
    made = _description(model, engine, both, format, fixed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".part-{secrets.token_hex(6)}")
    part.mkdir()
    try:
        made["error"] = _write(parts, engine, both, part, format, fixed)
        initial: dict[str, Any] = {f"state.{name}": t.numpy() for name, t in engine.start(1).items()}
        np.savez(part / "initial.npz", **initial)
        (part / "model.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _write(
    parts: Parts, engine: ModelEngine, both: dict[str, Signature], folder: Path, kind: str, fixed: float
) -> float:
    """Writes both programs and returns their error."""
    programs: dict[str, torch.nn.Module] = {"step": StepProgram(parts), "block": BlockProgram(parts)}
    files = {name: write_program(program, both[name], folder / name, kind) for name, program in programs.items()}
    step, block = (read_program(path) for path in files.values())
    error = largest_error(engine, step, block, fixed=fixed, told_steps=parts.takes_steps)
    if not error <= LIMIT:
        raise ValueError(
            f"the exported programs differ from {engine.kind} by {error:.1e}, more than {LIMIT:.0e}, so nothing was "
            "written; run it with seqkit.Stream, or train it at another rate"
        )
    return error


def _description(
    model: SequenceModel, engine: ModelEngine, both: dict[str, Signature], kind: str, fixed: float
) -> dict[str, Any]:
    info = model.info
    ending = FORMATS[kind]
    version = {"opset": OPSET} if kind == "onnx" else {"torch": torch.__version__}
    return {
        "format": FORMAT,
        "kind": kind,
        **version,
        "seqkit": __version__,
        "model": model.config.name,
        "data": info.name,
        "task": info.task,
        "output": "probabilities" if info.classes else "values",
        "classes": list(info.classes),
        "targets": list(info.targets),
        "channels": list(info.channels),
        "n_channels": info.n_channels,
        "sample_rate": info.sample_rate,
        "step": fixed,
        "fingerprint": engine.fingerprint,
        "programs": {name: {"file": name + ending, **one.to_dict()} for name, one in both.items()},
        "initial": "initial.npz",
        "start": (
            "Begin with the arrays of initial.npz, repeated along the first axis for several streams. Feed each "
            "next_state.NAME back as state.NAME. observed is true where a value is there; the others may be anything. "
            "steps is the time since the sample before in units of the training step, 1 / sample_rate; a block, and a "
            "step without this input, have samples that are `step` of these apart."
        ),
    }
