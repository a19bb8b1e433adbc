"""Names, shapes and dtypes of what the two programs take and give."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from seqkit.streaming.engine import Named

__all__ = ["Signature", "Value", "signatures"]

BATCH, LENGTH = "batch", "length"


@dataclass(frozen=True)
class Value:
    """One input or output.

    Args:
        name: Its name.
        shape: Sizes; "batch" and "length" for those that may differ from call to call.
        dtype: As numpy writes it.

    Example:
        >>> Value("sample", ("batch", 2), "float32").shape
        ('batch', 2)
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a program, in their order.

    Example:
        >>> Signature((Value("x", ("batch", 2), "float32"),), ()).examples(3, 5)[0].shape
        torch.Size([3, 2])
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        named = {"inputs": self.inputs, "outputs": self.outputs}
        return {key: [{**asdict(v), "shape": list(v.shape)} for v in values] for key, values in named.items()}

    def examples(self, batch: int, length: int) -> tuple[Tensor, ...]:
        """Inputs of the right shapes, all ones."""
        sizes = {BATCH: batch, LENGTH: length}
        return tuple(
            torch.ones([size if isinstance(size, int) else sizes[size] for size in v.shape], dtype=_TYPES[v.dtype])
            for v in self.inputs
        )


_TYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "bool": torch.bool}


def signatures(
    states: Named, *, n_channels: int, output_shape: tuple[int, ...], per_sample: bool, told_steps: bool
) -> dict[str, Signature]:
    """The signatures of `step` and `block`.

    Args:
        states: State of one stream before its first sample, by name, without an axis for streams.
        n_channels: Channels C.
        output_shape: Shape of one output.
        per_sample: Whether a block has an output for each sample.
        told_steps: Whether `step` takes the time since the sample before.

    Example:
        >>> both = signatures({"x": torch.zeros(4)}, n_channels=1, output_shape=(2,), per_sample=True, told_steps=False)
        >>> [value.name for value in both["step"].inputs], [value.name for value in both["block"].outputs]
        (['sample', 'observed', 'state.x'], ['output', 'next_state.x'])
    """
    held = [(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in states.items()]
    before = tuple(Value(f"state.{name}", (BATCH, *shape), dtype) for name, shape, dtype in held)
    after = tuple(Value(f"next_state.{name}", (BATCH, *shape), dtype) for name, shape, dtype in held)
    steps = (Value("steps", (BATCH,), "float64"),) if told_steps else ()
    one: tuple[int | str, ...] = (BATCH, n_channels)
    many: tuple[int | str, ...] = (BATCH, LENGTH, n_channels)
    answers: tuple[int | str, ...] = (BATCH, LENGTH, *output_shape) if per_sample else (BATCH, *output_shape)
    return {
        "step": Signature(
            (Value("sample", one, "float32"), Value("observed", one, "bool"), *steps, *before),
            (Value("output", (BATCH, *output_shape), "float32"), *after),
        ),
        "block": Signature(
            (Value("x", many, "float32"), Value("observed", many, "bool"), *before),
            (Value("output", answers, "float32"), *after),
        ),
    }
