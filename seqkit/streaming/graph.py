"""The engine whose step is a captured CUDA graph: one launch instead of one for each small operation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqkit.kernels.stack_step import StackState
from seqkit.kernels.stack_step.reference import stack_step_reference
from seqkit.kernels.stack_step.stack import pooled_width
from seqkit.models import SequenceModel
from seqkit.streaming.engine import Array, Named
from seqkit.streaming.engines import ModelEngine
from seqkit.streaming.stacks import refusal, stack_of
from seqkit.streaming.torch_engine import leaves, planted

__all__ = ["GraphEngine"]

WARM_UP = 3  # steps before a capture, in which libraries take their memory


class Captured(NamedTuple):
    """A graph for some number of rows, with the places that it reads and writes."""

    graph: Any
    rows: Tensor
    x: Tensor
    observed: Tensor
    outputs: Tensor


class GraphStates(dict[str, Tensor]):
    """States with one row more than there are streams, where what fills a graph up goes; and the graphs over them."""

    def __init__(self, tensors: Named) -> None:
        super().__init__(tensors)
        self.graphs: dict[int, Captured] = {}

    @property
    def n(self) -> int:
        """Streams that there is room for."""
        return len(next(iter(self.values()))) - 1


class GraphEngine(ModelEngine):
    """Streams of a whole model on a CUDA device, a step of many rows in one launch; states as in `ModelEngine`.

    A graph is captured for each power of two of rows, at the first step of so many; states are read and written where
    they lie. Steps other than the training one, and blocks, are taken by torch as they are.

    Args:
        model: The model; the engine works on a copy in evaluation mode.
        classes: Labels in the order of the scores; None for those of the model, if it has any.
        dtype: "float32" or "float64".
        device: "cuda".

    Raises:
        ValueError: another device, or a model whose step waits for the device, which no graph can hold.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4), info, seed=0)
        >>> print(GraphEngine.refusal(model, "cpu"))
        it runs on CUDA devices, and the device is cpu
    """

    def __init__(
        self, model: SequenceModel, *, classes: Array | None = None, dtype: str = "float32", device: str = "cuda"
    ) -> None:
        reason = self.refusal(model, device)
        if reason is not None:
            raise ValueError(f"`backend` 'graph' does not serve this model: {reason}; use backend='torch'")
        super().__init__(model, classes=classes, dtype=dtype, device=device)
        # The form without a solve in each step, which no graph could hold.
        self._stack = stack_of(self.model, shares=self.classes is not None) if refusal(self.model) is None else None
        try:
            self._captured(self.start(1), 1)
        except RuntimeError as error:
            why = f"its step cannot be captured ({str(error).splitlines()[0]})"
            raise ValueError(f"`backend` 'graph' does not serve this model: {why}; use backend='torch'") from error

    @staticmethod
    def refusal(model: SequenceModel, device: str = "cuda") -> str | None:
        """Why a model is not served, or None where it is."""
        return None if device == "cuda" else f"it runs on CUDA devices, and the device is {device}"

    def start(self, n: int) -> GraphStates:
        """States of n streams, and one row to spare."""
        return GraphStates(super().start(n + 1))

    def resized(self, states: Named, n: int) -> GraphStates:
        """New tensors with the old rows in front; graphs are captured anew."""
        fresh = self.start(n)
        for name, tensor in fresh.items():
            kept = min(n, len(states[name]) - 1)
            tensor[:kept] = states[name][:kept]
        return fresh

    @torch.no_grad()
    def step(self, states: Named, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """One sample of each of some streams."""
        assert isinstance(states, GraphStates)  # what `start` returned
        rows = np.arange(states.n) if rows is None else rows
        if steps is not None:
            return super().step(states, rows, x, steps, observed)
        n, size = len(x), 1 << (len(x) - 1).bit_length()
        if size not in states.graphs:
            states.graphs[size] = self._captured(states, size)
        graph, index, given, mask, outputs = states.graphs[size]
        index[:n].copy_(torch.from_numpy(rows))
        index[n:] = states.n
        given[:n].copy_(torch.from_numpy(x))
        mask[:n] = True if observed is None else torch.from_numpy(observed).to(self.device)
        graph.replay()
        return np.asarray(outputs[:n].cpu().numpy())

    def scan(self, states: Named, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """A block of samples by the parallel form."""
        assert isinstance(states, GraphStates)
        return super().scan(states, np.arange(states.n) if rows is None else rows, x, steps, observed)

    @torch.no_grad()
    def _captured(self, states: GraphStates, size: int) -> Captured:
        """Captures a step of `size` rows; while it warms up, all of them are the spare one."""
        index = torch.full((size,), states.n, device=self.device)
        x = torch.zeros(size, self.n_channels, dtype=self.dtype, device=self.device)
        observed = torch.ones_like(x, dtype=torch.bool)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._advance(states, index, x, observed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._advance(states, index, x, observed)
        return Captured(graph, index, x, observed, outputs)

    def _advance(self, states: GraphStates, index: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        """A step of the rows at `index`, written to where they lie; nothing in it waits for the device."""
        state = planted(self._tree, (tensor.index_select(0, index) for tensor in states.values()))
        if self._stack is None:
            outputs, new = self._step(x, state, None, observed)
        else:
            outputs, new = self._by_stack(x, state, observed)
        for name, tensor in leaves(new):
            states[name].index_copy_(0, index, tensor.to(states[name].dtype))
        return outputs

    def _by_stack(self, x: Tensor, state: Any, observed: Tensor) -> tuple[Tensor, Any]:
        """The model's step by its parts."""
        stack, pool = self._stack, state.pool
        assert stack is not None
        held = state.held
        value = held.new_zeros(len(x), pooled_width(stack)) if pool is None else pool.value
        seen = held.new_zeros(len(x), dtype=torch.int64) if pool is None else pool.seen
        layers = tuple(layer[0] for layer in state.backbone.layers)
        outputs, new = stack_step_reference(x, stack, StackState(layers, value.double(), seen, held), None, observed)
        found = iter([*new.layers, *([] if pool is None else [new.value, new.seen]), new.held])
        return outputs, planted(self._tree, found)
