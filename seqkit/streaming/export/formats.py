"""The two formats that a program can be written in, and how each is run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from seqkit.checks import check_choice, missing_extra
from seqkit.streaming.engine import Array
from seqkit.streaming.export.signature import Signature

__all__ = ["FORMATS", "OPSET", "Run", "check_format", "read_program", "write_program"]

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""Names of the formats, and how their files end."""

OPSET = 20
"""Version of ONNX's operators."""

Run: TypeAlias = Callable[[list[Array]], list[Array]]
"""A program read back from its file: inputs to outputs, both in the order of the signature."""

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_format(name: str) -> str:
    """Returns the name of a format for which all is installed.

    Raises:
        ValueError: no such format.
        ImportError: a library that it needs is missing.

    Example:
        >>> check_format("torch")
        'torch'
    """
    check_choice("format", name, FORMATS)
    for library in NEEDED if name == "onnx" else ():
        if find_spec(library) is None:
            raise missing_extra(library, "export", "Writing ONNX")
    return name


def write_program(program: nn.Module, signature: Signature, stem: Path, kind: str) -> Path:
    """Traces a program for any number of streams and samples and writes it.

    Args:
        program: Takes and gives what the signature says.
        signature: What it takes and gives.
        stem: Path without its ending.
        kind: "onnx" or "torch".

    Returns:
        The file.
    """
    sizes = {"batch": Dim("batch", min=1), "length": Dim("length", min=1)}
    shapes = [{k: sizes[s] for k, s in enumerate(v.shape) if isinstance(s, str)} for v in signature.inputs]
    path = stem.with_suffix(FORMATS[kind])
    with _quiet(), torch.no_grad():
        traced = torch.export.export(
            program,
            signature.examples(3, 70),  # sizes that are nowhere else, so that none is taken for a constant
            dynamic_shapes=(shapes[0], shapes[1], tuple(shapes[2:])),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        if kind == "torch":
            torch.export.save(traced, path)
        else:
            _write_onnx(traced, signature, path)
    return path


def read_program(path: Path) -> Run:
    """Reads a program back, as whoever gets the file would.

    Args:
        path: What `write_program` returned.
    """
    if path.suffix == FORMATS["onnx"]:
        return _onnx_run(path)
    with _quiet():
        module = torch.export.load(path).module()

    def run(inputs: list[Array]) -> list[Array]:
        with torch.no_grad():
            return [output.numpy() for output in module(*(torch.from_numpy(value) for value in inputs))]

    return run


def _write_onnx(traced: ExportedProgram, signature: Signature, path: Path) -> None:
    import onnx  # noqa: PLC0415  an extra, needed for this format alone

    program = torch.onnx.export(
        traced,
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[value.name for value in signature.inputs],
        output_names=[value.name for value in signature.outputs],
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    # The exporter's own names of sizes would mean nothing to a reader.
    for values, wanted in ((model.graph.input, signature.inputs), (model.graph.output, signature.outputs)):
        for value, known in zip(values, wanted, strict=True):
            for size, name in zip(value.type.tensor_type.shape.dim, known.shape, strict=True):
                if isinstance(name, str):
                    size.dim_param = name
                else:
                    size.dim_value = name
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _onnx_run(path: Path) -> Run:
    import onnxruntime  # noqa: PLC0415  an extra, needed for this format alone

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(inputs: list[Array]) -> list[Array]:
        return list(session.run(None, dict(zip(names, inputs, strict=True))))

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about themselves, none of which a user could act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch._export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
