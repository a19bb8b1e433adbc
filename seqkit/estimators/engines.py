"""What the streams of all estimators share: choices that an engine cannot serve, its digest, and that of one class."""

from __future__ import annotations

import hashlib
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqkit.datasets.rows import Array
from seqkit.streaming.torch_engine import TorchEngine, fingerprint_of

__all__ = ["OneClassEngine", "check_engine", "digest_of"]


class OneClassEngine(TorchEngine):
    """Streams of a classifier that has seen one class only, which is always its answer.

    Args:
        kind: Name of the classifier.
        n_channels: Channels C of a sample.
        classes: The one label, (1,).

    Example:
        >>> OneClassEngine("Mine", 2, np.array(["a"])).output_shape
        (1,)
    """

    per_sample = False
    takes_missing = True

    def __init__(self, kind: str, n_channels: int, classes: Array) -> None:
        self.kind = kind
        self.n_channels = n_channels
        self.output_shape = (1,)
        self.classes = classes
        super().__init__(nn.Module(), dtype=torch.float32, device=torch.device("cpu"))

    def _description(self) -> str:
        return f"{self.kind} {self.n_channels} {self.classes!r}"

    def _initial_state(self, n: int) -> tuple[()]:
        return ()

    def _step(self, x: Tensor, state: Any, steps: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Any]:
        return x.new_ones(len(x), 1), state

    def _scan(
        self, x: Tensor, state: Any, rate: float, times: Tensor | None, observed: Tensor | None
    ) -> tuple[Tensor, Any]:
        return x.new_ones(len(x), 1), state


def check_engine(kind: str, backend: str, dtype: str | None, device: str, own: str) -> None:
    """Refuses choices that an engine does not have.

    Args:
        kind: Name of the estimator.
        backend: "auto" or "torch" are the only ones.
        dtype: None, or the one that it has.
        device: "cpu" is the only one.
        own: The dtype that it has.

    Raises:
        ValueError: another choice.
    """
    if backend not in ("auto", "torch"):
        raise ValueError(f"`backend` {backend!r} does not serve a {kind}; use backend='auto'")
    if dtype not in (None, own):
        raise ValueError(f"`dtype` must be {own} for a {kind}, got {dtype!r}; leave it out")
    if device != "cpu":
        raise ValueError(f"`device` must be 'cpu' for a {kind}, got {device!r}; leave it out")


def digest_of(*parts: Any) -> str:
    """Digest of plain values, arrays, modules, and tuples and data classes of these; equal parts have equal digests.

    Example:
        >>> digest_of(1, np.ones(2)) == digest_of(1, np.ones(2)), digest_of(1) == digest_of(2)
        (True, False)
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        elif isinstance(part, nn.Module):
            digest.update(fingerprint_of("", part).encode())
        elif isinstance(part, (tuple, list)):
            digest.update(f"{len(part)} {digest_of(*part)}".encode())
        elif is_dataclass(part):
            digest.update(digest_of(*vars(part).values()).encode())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()[:32]
