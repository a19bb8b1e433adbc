"""A model as two functions with the state as argument and result: of one sample, and of a block."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from seqkit.models import SequenceModel
from seqkit.nn import ResidualBlock
from seqkit.streaming.export.form import Form, States
from seqkit.streaming.export.layers import BlockForm, pool_form_of, takes_steps
from seqkit.streaming.export.loops import along

__all__ = ["BlockProgram", "Parts", "StepProgram"]


class Parts(nn.Module):
    """The parts of a model in the form in which they leave torch; both programs share them.

    Args:
        model: The model; a float32 copy is taken.
        step: Step of evenly spaced samples in units of the training step.
        fixed_step: Whether the step program is not told the time between samples even where it could be.

    Raises:
        ValueError: a mixer that has no such form.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info, seed=0)
        >>> Parts(model, step=1.0).takes_steps
        False
    """

    def __init__(self, model: SequenceModel, *, step: float, fixed_step: bool = False) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        mixers = model.backbone.mixers()
        self.takes_steps = model.uses_rate and not fixed_step and all(takes_steps(mixer) for mixer in mixers)
        self.shares = bool(model.info.classes)
        self.reads_missing = model.reads_missing
        self.input_norm, self.encoder = model.input_norm, model.encoder
        blocks = cast("list[ResidualBlock]", list(model.backbone.blocks))
        self.layers = nn.ModuleList(BlockForm(block, step=step, runtime=self.takes_steps) for block in blocks)
        self.norm = model.backbone.norm
        self.pool: Form | None = None if model.pool is None else pool_form_of(model.pool, step=step)
        self.readout, self.head = model.readout, model.head

    def read(self, x: Tensor, missing: Tensor) -> Tensor:
        """Encodes standardised values without gaps."""
        if self.reads_missing:
            x = torch.cat([x, missing.to(x.dtype)], dim=-1)
        return cast("Tensor", self.encoder(x))

    def answer(self, x: Tensor) -> Tensor:
        """Probabilities or values."""
        y = cast("Tensor", self.head(self.readout(x)))
        return y.softmax(dim=-1) if self.shares else y

    def split(self, states: States) -> tuple[list[States], States]:
        """States of each layer, and those of the pooling."""
        parts, first = [], 0
        for layer in cast("list[BlockForm]", list(self.layers)):
            parts.append(states[first : first + layer.n_states])
            first += layer.n_states
        return parts, states[first:-1]


class StepProgram(nn.Module):
    """One sample: `(sample, observed, [steps], *states) -> (output, *states)`.

    Args:
        parts: The model's parts.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "regression", n_channels=1)
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1, pool="last"), info)
        >>> there = torch.ones(1, 1, dtype=torch.bool)
        >>> states = torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1)
        >>> len(StepProgram(Parts(model, step=1.0))(torch.ones(1, 1), there, *states))
        5
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, sample: Tensor, observed: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Takes a sample (B, C), which values are there (B, C), the step (B,) where it is told, and the states."""
        parts = self.parts
        steps, states = (rest[0], rest[1:]) if parts.takes_steps else (None, rest)
        held = torch.where(observed, parts.input_norm(sample), states[-1])
        x = parts.read(held, ~observed)
        layers, pool = parts.split(states)
        after: list[Tensor] = []
        for layer, state in zip(cast("list[BlockForm]", list(parts.layers)), layers, strict=True):
            x, new = layer.step(x, state, steps)
            after += new
        x = parts.norm(x)
        if parts.pool is not None:
            x, new = parts.pool.step(x, pool, steps)
            after += new
        return parts.answer(x), *after, held


class BlockProgram(nn.Module):
    """A block of evenly spaced samples: `(x, observed, *states) -> (output, *states)`.

    Args:
        parts: The model's parts.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "regression", n_channels=1)
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1, pool="last"), info)
        >>> BlockProgram(Parts(model, step=1.0)).parts.takes_steps
        False
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor, observed: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Takes samples (B, L, C), which values are there (B, L, C), and the states."""
        parts = self.parts

        def hold(carried: list[Tensor], inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
            held = torch.where(inputs[1], inputs[0], carried[0])
            return [held], held.clone()

        (held,), values = along(hold, [states[-1]], [parts.input_norm(x).transpose(0, 1), observed.transpose(0, 1)])
        y = parts.read(values.transpose(0, 1), ~observed)
        layers, pool = parts.split(states)
        after: list[Tensor] = []
        for layer, state in zip(cast("list[BlockForm]", list(parts.layers)), layers, strict=True):
            y, new = layer.block(y, state)
            after += new
        y = parts.norm(y)
        if parts.pool is not None:
            y, new = parts.pool.block(y, pool)
            after += new
        return parts.answer(y), *after, held
