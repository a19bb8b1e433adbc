"""The engines of models, mixers and memories, and how to find the one for an object."""

from __future__ import annotations

import copy
import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from seqkit.checks import check_choice, check_positive_int
from seqkit.hippo import HiPPOMemory, MemoryState
from seqkit.models import SequenceModel, load_model
from seqkit.models.sequence_model import ModelState
from seqkit.nn import Mixer
from seqkit.streaming.engine import Array, Engine
from seqkit.streaming.torch_engine import TorchEngine

__all__ = ["BACKENDS", "MemoryEngine", "MixerEngine", "ModelEngine", "as_engine"]

BACKENDS = ("auto", "torch", "fused", "graph")

DTYPES = {"float32": torch.float32, "float64": torch.float64}

SQUARED = {"float32": 1e15, "float64": 1e150}
"""Standardised values that a layer can square and add up without overflow."""

ADDED = {"float32": float(np.float32(1e30)), "float64": 1e300}
"""Values that a memory, which is linear, can add up and weigh."""


class ModelEngine(TorchEngine):
    """Streams of a whole model; outputs are probabilities of the classes, or values in the target's units.

    Args:
        model: The model; the engine works on a copy in evaluation mode.
        classes: Labels in the order of the scores; None for those of the model, if it has any.
        dtype: "float32" or "float64".
        device: "cpu" or "cuda".

    Raises:
        ValueError: a model that cannot stream, or an unknown dtype.

    Example:
        >>> from seqkit import DataInfo, ModelConfig
        >>> info = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))
        >>> model = SequenceModel.from_config(ModelConfig.preset("gru", d_model=4, n_layers=1), info, seed=0)
        >>> ModelEngine(model).output_shape
        (2,)
    """

    def __init__(
        self, model: SequenceModel, *, classes: Array | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        kept = DTYPES[check_choice("dtype", dtype, DTYPES)]
        model = copy.deepcopy(model).eval().to(device, kept).requires_grad_(False)
        info = model.info
        self.model = model
        self.kind = f"{model.config.name} of {info.name}"
        self.n_channels = info.n_channels
        self.output_shape = (info.n_outputs,)
        self.per_sample = model.pool is None
        self.uses_rate = model.uses_rate
        self.takes_missing = True
        self.sample_rate = info.sample_rate
        self.classes = np.array(info.classes) if classes is None and info.classes else classes
        self.largest = np.minimum(SQUARED[dtype] * model.input_norm.std.double().cpu().numpy(), ADDED[dtype])
        super().__init__(model, dtype=kept, device=torch.device(device))

    def _description(self) -> str:
        return json.dumps({"config": self.model.config.to_dict(), "info": asdict(self.model.info)}, sort_keys=True)

    def _initial_state(self, n: int) -> ModelState:
        return self.model.initial_state(n)

    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        outputs, new = self.model.step(
            x, state, sample_rate=self._sample_rates(steps), observed=self._seen(x, observed)
        )
        return self._shares(outputs), new

    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        unit = self.sample_rate or 1.0
        outputs, new = self.model.scan(
            x,
            state,
            sample_rate=None if rate == 1 else unit / rate,
            timestamps=None if times is None else times / unit,
            observed=self._seen(x, observed),
        )
        return self._shares(outputs), new

    def _sample_rates(self, steps: Tensor | None) -> Tensor | None:
        return None if steps is None else (self.sample_rate or 1.0) / steps

    def _seen(self, x: Tensor, observed: Tensor | None) -> Tensor | None:
        # A model that has seen no gap takes the shorter way where there is none.
        return torch.ones_like(x, dtype=torch.bool) if observed is None and self.model.reads_missing else observed

    def _shares(self, outputs: Tensor) -> Tensor:
        return outputs if self.classes is None else outputs.softmax(dim=-1)


class MixerEngine(TorchEngine):
    """Streams of one mixer; every sample has an output of as many channels.

    Args:
        mixer: The layer; the engine works on a copy in evaluation mode.
        dtype: "float32" or "float64".
        device: "cpu" or "cuda".

    Raises:
        ValueError: a mixer that cannot stream, or an unknown dtype.

    Example:
        >>> from seqkit import S4D
        >>> MixerEngine(S4D(4, order=8)).n_channels
        4
    """

    def __init__(self, mixer: Mixer, *, dtype: str = "float32", device: str = "cpu") -> None:
        kept = DTYPES[check_choice("dtype", dtype, DTYPES)]
        self.mixer = copy.deepcopy(mixer).eval().to(device, kept).requires_grad_(False)
        self.kind = type(mixer).__name__
        self.n_channels = mixer.d_model
        self.output_shape = (mixer.d_model,)
        self.largest = np.full(mixer.d_model, SQUARED[dtype])
        self.uses_rate = mixer.uses_rate
        super().__init__(self.mixer, dtype=kept, device=torch.device(device))

    def _description(self) -> str:
        return repr(self.mixer)

    def _initial_state(self, n: int) -> Any:
        return self.mixer.initial_state(n)

    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        return self.mixer.step(x, state, rate=1.0 if steps is None else steps)

    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        return self.mixer.scan(x, state, rate=rate, timestamps=times)


class MemoryEngine(TorchEngine):
    """Streams of a HiPPO memory; the output is the coefficients of all samples so far, (C, N).

    A missing value is as one that never arrived: the next one of its channel holds over the whole gap. The published
    rule "reciprocal" counts samples, so its streams take neither times nor missing values.

    Args:
        memory: The memory, in units of the training step.
        n_channels: Channels C of a sample.
        sample_rate: Training samples per second; None where time is counted in samples.
        dtype: Dtype of samples and outputs, "float64" or "float32"; the state is float64 in both, as float32 would stop
            following a memory of ten million samples, or a window of ten thousand.
        device: "cpu" or "cuda".

    Example:
        >>> MemoryEngine(HiPPOMemory(8), n_channels=2).output_shape
        (2, 8)
    """

    per_sample = False

    def __init__(
        self,
        memory: HiPPOMemory,
        n_channels: int = 1,
        *,
        sample_rate: float | None = None,
        dtype: str = "float64",
        device: str = "cpu",
    ) -> None:
        kept = DTYPES[check_choice("dtype", dtype, DTYPES)]
        self.memory = copy.deepcopy(memory).to(device)
        counts = memory.rule == "reciprocal"
        self.kind = "HiPPOMemory by the reciprocal rule" if counts else "HiPPOMemory"
        self.uses_rate = self.takes_missing = not counts
        self.n_channels = check_positive_int("n_channels", n_channels)
        self.output_shape = (n_channels, memory.order)
        self.largest = np.full(n_channels, ADDED[dtype])
        self.sample_rate = sample_rate
        super().__init__(self.memory, dtype=kept, device=torch.device(device))

    def _description(self) -> str:
        return f"{self.memory!r} {self.n_channels} {self.sample_rate} {self.dtype}"

    def _initial_state(self, n: int) -> MemoryState:
        """Coefficients (n, C, N), and each channel's own times, (n, C), as each has its own gaps."""
        state = self.memory.initial_state(n, self.n_channels, dtype=torch.float64)
        elapsed, clock = (time[:, None].repeat(1, self.n_channels) for time in state[1:])
        return MemoryState(state.coefficients, elapsed, clock)

    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        rate = 1.0 if steps is None else steps
        return self._taken(x[:, None], state, rate, None, None if observed is None else observed[:, None])

    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        if times is not None:
            times, rate = state.clock[:, :1] + times, 1.0
        return self._taken(x, state, rate, times, observed)

    def _taken(
        self, x: Tensor, state: MemoryState, rate: float | Tensor, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, MemoryState]:
        coefficients, elapsed, clock = state
        x = x.double()
        apart = bool((elapsed != elapsed[:, :1]).any())
        if observed is not None and not apart:
            apart = bool((observed != observed[..., :1]).any())
        if not apart:  # all channels share their times, which spares most of the work
            seen = None if observed is None else observed[..., 0]
            before = MemoryState(coefficients, elapsed[:, 0], clock[:, 0])
            found, after = self.memory.scan(x, before, times, observed=seen, rate=rate)
            now = after.clock if times is None else times[:, -1]
            both = (time[:, None].repeat(1, self.n_channels) for time in (after.elapsed, now))
            return found.to(self.dtype), MemoryState(found, *both)
        # Each channel becomes a series of its own.
        n, length, width = x.shape
        before = MemoryState(coefficients.reshape(n * width, 1, -1), elapsed.flatten(), clock.flatten())
        seen = None if observed is None else observed.transpose(1, 2).reshape(n * width, length)
        if times is not None:
            times = times.repeat_interleave(width, dim=0)
        if isinstance(rate, Tensor):
            rate = rate.repeat_interleave(width)
        series = x.transpose(1, 2).reshape(n * width, length, 1)
        found, after = self.memory.scan(series, before, times, observed=seen, rate=rate)
        found = found.reshape(n, width, -1)
        # With times the memory's own clock stops at the last value that is there.
        now = after.clock if times is None else times[:, -1].contiguous()
        return found.to(self.dtype), MemoryState(found, after.elapsed.view(n, width), now.view(n, width))


def as_engine(
    what: Any, *, backend: str = "auto", dtype: str | None = None, device: str = "cpu", n_channels: int = 1
) -> Engine:
    """The engine for a model, a run folder, a mixer, a memory, or whatever offers one.

    Args:
        what: A `SequenceModel`, the path of a finished run, a `Mixer`, a `HiPPOMemory`, an `Engine`, or an object with
            a method `streaming_engine(backend=, dtype=, device=)`, such as a fitted estimator.
        backend: "torch" for torch's own step, "fused" for the compiled loop over all layers (CPU), "graph" for a
            captured graph (CUDA), "auto" for the fastest that serves.
        dtype: "float32" or "float64"; None for float64 for memories and float32 for all else.
        device: "cpu" or "cuda".
        n_channels: Channels of a sample for a memory, which has no number of its own.

    Raises:
        TypeError: none of these.
        ValueError: an unknown choice, or a backend that cannot serve what was given.

    Example:
        >>> from seqkit import S4D
        >>> as_engine(S4D(2, order=4)).kind
        'S4D'
    """
    check_choice("backend", backend, BACKENDS)
    check_choice("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("`device` is 'cuda', but torch finds no CUDA device; use device='cpu'")
    if dtype is not None:
        check_choice("dtype", dtype, DTYPES)
    if n_channels != 1 and not isinstance(what, HiPPOMemory):
        raise ValueError(f"`n_channels` is for a memory, got {n_channels!r} for a {type(what).__name__}; leave it out")
    if isinstance(what, Engine):
        for name, choice, unsaid in (("backend", backend, "auto"), ("dtype", dtype, None), ("device", device, "cpu")):
            if choice != unsaid:
                raise ValueError(f"`{name}` is fixed by the engine that was given, got {choice!r}; leave it out")
        return what
    if hasattr(what, "streaming_engine"):
        return cast("Engine", what.streaming_engine(backend=backend, dtype=dtype, device=device))
    if isinstance(what, (str, Path)):
        what = load_model(what)
    if isinstance(what, SequenceModel):
        return _model_engine(what, backend, dtype or "float32", device)
    if backend not in ("auto", "torch"):
        raise ValueError(f"`backend` {backend!r} serves whole models, got a {type(what).__name__}; use backend='torch'")
    if isinstance(what, Mixer):
        return MixerEngine(what, dtype=dtype or "float32", device=device)
    if isinstance(what, HiPPOMemory):
        return MemoryEngine(what, n_channels, dtype=dtype or "float64", device=device)
    raise TypeError(
        f"a stream needs a model, a run folder, a mixer, a memory or a fitted estimator, got {type(what).__name__}"
    )


def _model_engine(model: SequenceModel, backend: str, dtype: str, device: str) -> Engine:
    """The engine of a whole model; "auto" takes what is fastest where it serves."""
    if backend == "auto":
        backend = "torch" if _engine_class("fused").refusal(model, device) is not None else "fused"
    return cast("Engine", _engine_class(backend)(model, dtype=dtype, device=device))


def _engine_class(backend: str) -> Any:
    """The class for a backend; those that build on `ModelEngine` come after it, so they are looked up by name."""
    if backend == "torch":
        return ModelEngine
    name = {"fused": "FusedEngine", "graph": "GraphEngine"}[backend]
    return getattr(importlib.import_module(f"seqkit.streaming.{backend}"), name)
