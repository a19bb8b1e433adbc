"""The engine whose step is one compiled loop over all layers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from seqkit.kernels.stack_step import StackState, load_rows, pack, rows_of
from seqkit.kernels.stack_step.cpu import HAS_NUMBA, Stepper
from seqkit.kernels.stack_step.stack import pooled_width
from seqkit.models import SequenceModel
from seqkit.models.sequence_model import ModelState
from seqkit.nn import BackboneState, PoolState
from seqkit.ssm.base import SSMState
from seqkit.streaming.engine import Array, Named
from seqkit.streaming.engines import ModelEngine
from seqkit.streaming.stacks import refusal, stack_of
from seqkit.streaming.torch_engine import leaves, planted

__all__ = ["FusedEngine"]

SHORT, SHORT_DENSE = 512, 4096  # samples of a block that take less time one by one than by the parallel form
RATES = 8  # steps that a model is kept discretised for
FEW = 4  # different steps in one call, beyond which torch's step takes less time than discretising for each


class FusedEngine(ModelEngine):
    """Streams of a whole model on the CPU, a sample in one compiled call; the same states and answers as `ModelEngine`.

    A stream's answer to a sample is the same to the last bit whatever other streams are stepped with it. Long blocks go
    through torch's parallel form.

    Args:
        model: The model; the engine works on a copy in evaluation mode.
        classes: Labels in the order of the scores; None for those of the model, if it has any.
        dtype: "float32" or "float64".
        device: "cpu".

    Raises:
        ValueError: a model that it does not serve, with the reason, or another device.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4), info, seed=0)
        >>> FusedEngine.refusal(model) is None
        True
    """

    def __init__(
        self, model: SequenceModel, *, classes: Array | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        reason = self.refusal(model, device)
        if reason is not None:
            raise ValueError(f"`backend` 'fused' does not serve this model: {reason}; use backend='torch'")
        super().__init__(model, classes=classes, dtype=dtype, device=device)
        stack = stack_of(self.model, shares=self.classes is not None)
        self._stepper = Stepper(pack(stack))
        self._follows_steps = self._stepper.follows_steps
        self._at_rate: dict[float, Stepper] = {}
        self._newest_rate = 1.0
        self._short = SHORT if self._follows_steps else SHORT_DENSE
        self._names = [name for name, _ in leaves(self._tree)]
        sample = np.zeros((1, self.n_channels), self.sample_dtype)
        self._stepper(self.start(1), None, sample)  # compiles here, so that no push ever does
        if self._follows_steps:
            self._stepper.at(2.0)

    @staticmethod
    def refusal(model: SequenceModel, device: str = "cpu") -> str | None:
        """Why a model is not served, or None where it is."""
        if device != "cpu":
            return f"it runs on the CPU, and the device is {device}"
        if not HAS_NUMBA:
            return "it needs numba, which is not installed (pip install 'seqkit[cpu]')"
        return refusal(model)

    def start(self, n: int) -> Array:  # type: ignore[override]
        """States of n streams, a row each."""
        return np.zeros((n, self._stepper.packed.width), self.sample_dtype)

    def step(self, states: Array, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:  # type: ignore[override]
        """One sample of each of some streams."""
        if steps is None:
            outputs = self._stepper(states, rows, x, None, observed)
        else:
            outputs = self._stepped(states, rows, x, steps, observed)
        if outputs is None:  # a value too large for the loops' arithmetic, or too many different steps
            return self._by_torch(super().step, states, rows, x, steps, observed)
        return outputs

    def scan(self, states: Array, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:  # type: ignore[override]
        """A block of samples: a short one sample by sample, a long one by torch's parallel form."""
        if x.shape[1] > self._short:
            return self._by_torch(super().scan, states, rows, x, steps, observed)
        before = states.copy() if rows is None else states[rows]
        try:
            outputs = [
                self.step(
                    states,
                    rows,
                    x[:, k],
                    None if steps is None else steps[:, k],
                    None if observed is None else observed[:, k],
                )
                for k in range(x.shape[1])
            ]
        except ValueError:  # a layer refuses what it cannot compute with; nothing of the block is taken then
            states[slice(None) if rows is None else rows] = before
            raise
        return np.stack(outputs, axis=1) if self.per_sample else outputs[-1]

    def read(self, states: Array, row: int) -> Named:  # type: ignore[override]
        """A copy of one stream's tensors."""
        return {name: tensor[0] for name, tensor in self._unpacked(states[row : row + 1]).items()}

    def write(self, states: Array, row: int, state: Named) -> None:  # type: ignore[override]
        """Copies a state into its row."""
        states[row] = self._packed({name: tensor[None] for name, tensor in state.items()})[0]

    def reset(self, states: Array, row: int) -> None:
        """Puts a stream back before its first sample."""
        states[row] = 0

    def resized(self, states: Array, n: int) -> Array:  # type: ignore[override]
        """New rows with the old ones in front."""
        fresh = self.start(n)
        kept = min(n, len(states))
        fresh[:kept] = states[:kept]
        return fresh

    def _stepped(
        self, states: Array, rows: Array | None, x: Array, steps: Array, observed: Array | None
    ) -> Array | None:
        """A sample with steps of its own: in the loop for diagonal systems, else discretised for each step."""
        first = float(steps[0])
        if (steps == first).all():
            known = first == self._newest_rate or not self._follows_steps
            self._newest_rate = first
            if known or first == 1:
                return self._at(first)(states, rows, x, None, observed)
        if self._follows_steps:
            return self._stepper(states, rows, x, steps, observed)
        rates, kinds = np.unique(steps, return_inverse=True)
        if len(rates) > FEW or not self._stepper.fits(x, observed):
            return None
        outputs = np.empty((len(x), *self.output_shape), self.sample_dtype)
        places = np.arange(len(x)) if rows is None else rows
        for kind, rate in enumerate(rates):
            own = np.flatnonzero(kinds == kind)
            mask = None if observed is None else observed[own]
            outputs[own] = self._at(float(rate))(states, places[own], x[own], None, mask)
        return outputs

    def _at(self, rate: float) -> Stepper:
        if rate == 1:
            return self._stepper
        found = self._at_rate.get(rate)
        if found is None:
            found = self._built(rate)
            self._at_rate = {**dict(list(self._at_rate.items())[1 - RATES :]), rate: found}
        return found

    def _built(self, rate: float) -> Stepper:
        """The model discretised for another step."""
        if self._follows_steps:
            return self._stepper.at(rate)
        return Stepper(pack(stack_of(self.model, rate=rate, shares=self.classes is not None)))

    def _by_torch(
        self, call: Any, states: Array, rows: Array | None, x: Array, steps: Array | None, observed: Array | None
    ) -> Array:
        """Lets torch's engine take samples of these streams."""
        named = self._unpacked(states if rows is None else states[rows])
        outputs = call(named, None, x, steps, observed)
        if rows is None:
            states[:] = self._packed(named)
        else:
            states[rows] = self._packed(named)
        return cast("Array", outputs)

    def _unpacked(self, rows: Array) -> Named:
        """Rows as the tensors that torch's engine has."""
        packed = self._stepper.packed
        found = load_rows(packed, torch.from_numpy(rows))
        pool = None
        if self.model.pool is not None:
            kind = torch.float64 if packed.stack.pool in ("mean", "share") else self.dtype
            pool = PoolState(found.value.to(kind), found.seen)
        layers = BackboneState(tuple(SSMState(x) for x in found.layers))
        return dict(leaves(ModelState(layers, pool, found.held)))

    def _packed(self, named: Named) -> Array:
        """The reverse."""
        state: ModelState = planted(self._tree, iter(named[name] for name in self._names))
        n = len(state.held)
        width = pooled_width(self._stepper.packed.stack)
        value = torch.zeros(n, width, dtype=torch.float64) if state.pool is None else state.pool.value.double()
        seen = torch.zeros(n, dtype=torch.int64) if state.pool is None else state.pool.seen
        layers = tuple(layer[0] for layer in state.backbone.layers)
        return rows_of(self._stepper.packed, StackState(layers, value, seen, state.held)).numpy()
