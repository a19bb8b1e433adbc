"""Engines whose states are the tensors of torch's own online forms."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqkit.streaming.engine import Array, Engine, Named

__all__ = ["TorchEngine", "fingerprint_of"]


class TorchEngine(Engine):
    """Engine over a module with an online form; the states are a dictionary of tensors, one axis for the streams.

    A state may be a tree of tuples, NamedTuples and None, as mixers and models have it; a tensor's name is its path.

    Args:
        module: The module, which is not changed and must not be by others.
        dtype: Dtype of samples and outputs.
        device: Where it runs.
    """

    def __init__(self, module: nn.Module, *, dtype: torch.dtype, device: torch.device) -> None:
        self.module = module
        self.dtype = dtype
        self.device = device
        self.sample_dtype = np.dtype(np.float64 if dtype == torch.float64 else np.float32)
        self._tree: Any = self._initial_state(1)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what the module is and of its weights."""
        return fingerprint_of(self._description(), self.module)

    def start(self, n: int) -> Named:
        """States of n streams, each tensor's first axis for the streams."""
        dense = torch.contiguous_format
        return {name: tensor.clone(memory_format=dense) for name, tensor in leaves(self._initial_state(n))}

    @torch.no_grad()
    def step(self, states: Named, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """One sample of each of some streams."""
        outputs, new = self._step(self._tensor(x), self._picked(states, rows), self._steps(steps), self._mask(observed))
        return self._kept(states, rows, outputs, new)

    @torch.no_grad()
    def scan(self, states: Named, rows: Array | None, x: Array, steps: Array | None, observed: Array | None) -> Array:
        """A block of samples; streams whose steps differ are taken one after the other."""
        if steps is not None and (steps != steps.flat[0]).any() and len(x) > 1:
            places = np.arange(len(x)) if rows is None else rows
            masks = [None] * len(x) if observed is None else [observed[i : i + 1] for i in range(len(x))]
            parts = [
                self.scan(states, places[i : i + 1], x[i : i + 1], steps[i : i + 1], masks[i]) for i in range(len(x))
            ]
            return np.concatenate(parts)
        rate, times = 1.0, None
        if steps is not None:
            rate = float(steps.flat[0])
            if (steps != steps.flat[0]).any():
                times = torch.from_numpy(steps.cumsum(axis=1)).to(self.device)
        outputs, new = self._scan(self._tensor(x), self._picked(states, rows), rate, times, self._mask(observed))
        return self._kept(states, rows, outputs, new)

    def read(self, states: Named, row: int) -> Named:
        """A copy of one stream's tensors, on the CPU."""
        return {name: tensor[row].detach().cpu().clone() for name, tensor in states.items()}

    def write(self, states: Named, row: int, state: Named) -> None:
        """Copies a state into its row."""
        for name, tensor in states.items():
            tensor[row] = state[name].to(tensor.device)

    def resized(self, states: Named, n: int) -> Named:
        """New tensors with the old rows in front."""
        fresh = self.start(n)
        for name, tensor in fresh.items():
            kept = min(n, len(states[name]))
            tensor[:kept] = states[name][:kept]
        return fresh

    @abstractmethod
    def _description(self) -> str:
        """What the module is, beside its weights."""

    @abstractmethod
    def _initial_state(self, n: int) -> Any:
        """The module's own state, a tree of tensors."""

    @abstractmethod
    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        """One sample: outputs and the state after."""

    @abstractmethod
    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        """A block: outputs and the state after; `rate` is the first sample's step, `times` rise by the others."""

    def _tensor(self, x: Array) -> Tensor:
        # A copy: a state may keep the sample itself, and the caller's array may be one that must not be written to.
        return torch.from_numpy(np.array(x)).to(self.device, self.dtype)

    def _steps(self, steps: Array | None) -> Tensor | None:
        return None if steps is None else torch.from_numpy(steps).to(self.device)

    def _mask(self, observed: Array | None) -> Tensor | None:
        return None if observed is None else torch.from_numpy(observed).to(self.device)

    def _picked(self, states: Named, rows: Array | None) -> Any:
        if rows is None:
            return planted(self._tree, iter(states.values()))
        index = torch.from_numpy(rows).to(self.device)
        return planted(self._tree, (tensor[index] for tensor in states.values()))

    def _kept(self, states: Named, rows: Array | None, outputs: Tensor, new: Any) -> Array:
        index = None if rows is None else torch.from_numpy(rows).to(self.device)
        for name, tensor in leaves(new):
            if index is not None:
                states[name][index] = tensor.to(states[name].dtype)
            elif tensor.untyped_storage().nbytes() > tensor.nbytes:
                states[name] = tensor.clone(memory_format=torch.contiguous_format)  # a view would keep a block alive
            else:
                states[name] = tensor
        return np.array(outputs.cpu().numpy())  # a copy: a memory's output is its state


def fingerprint_of(description: str, module: nn.Module) -> str:
    """Digest of a description and a module's tensors, 32 hexadecimal digits; float32 and float64 copies differ.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> first, second, other = (fingerprint_of(text, layer) for text in "aab")
        >>> first == second, first == other
        (True, False)
    """
    digest = hashlib.sha256(description.encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a tree of tuples with their paths.

    Example:
        >>> [name for name, _ in leaves((torch.zeros(1), None, (torch.ones(1),)))]
        ['0', '2.0']
    """
    if isinstance(tree, Tensor):
        yield path, tree
    elif tree is not None:
        names = getattr(tree, "_fields", range(len(tree)))
        for name, part in zip(names, tree, strict=True):
            yield from leaves(part, f"{path}.{name}" if path else str(name))


def planted(tree: Any, tensors: Iterator[Tensor]) -> Any:
    """A tree of the same form with other tensors, in the order of `leaves`.

    Example:
        >>> planted((torch.zeros(1), None), iter([torch.ones(1)]))
        (tensor([1.]), None)
    """
    if isinstance(tree, Tensor):
        return next(tensors)
    if tree is None:
        return None
    parts = [planted(part, tensors) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
