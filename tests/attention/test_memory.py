"""Memory grows with the length and not with its square: the peak of what is alive, and the largest tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqkit.attention import (
    dense_attention,
    draw_features,
    draw_hash,
    estimate_attention,
    hash_support,
    lsh_attention,
    performer_attention,
    scatterbrain_attention,
)

H, D, M, W = 2, 16, 16, 16


class Alive(TorchDispatchMode):
    """Remembers the most bytes that results of torch's operations held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self.held[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.held = {key: one for key, one in self.held.items() if not one[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.held.values()))
        return result


def peak(run: Callable[..., Any], length: int) -> int:
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, length, H, D))
    with Alive() as mode:
        run(q, k, v).sum().backward()
    return mode.peak


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def performer(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return performer_attention(q, k, v, draw_features(M, D, generator=generator()), causal=causal)


def support(q: Tensor, k: Tensor, causal: bool) -> Any:
    return hash_support(q, k, draw_hash(q.shape[1] // W * 2, D, generator=generator()), W, causal=causal)


def lsh(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return lsh_attention(q, k, v, support(q, k, causal), causal=causal)


def scatterbrain(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    features = draw_features(M, D, generator=generator())
    return scatterbrain_attention(q, k, v, features, support(q, k, causal), causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", [performer, lsh, scatterbrain])
def test_peak_is_linear(form: Callable[..., Tensor], causal: bool) -> None:
    short, long = (peak(lambda *x: form(*x, causal), length) for length in (1024, 4096))
    assert long < 4.4 * short
    # The scores of one head alone, forward and backward, would be more than this.
    assert long < 4 * 4096**2 / 2


def test_the_measure_sees_a_square() -> None:
    short, long = (peak(lambda *x: dense_attention(*x), length) for length in (256, 1024))
    assert long > 12 * short


def test_asking_for_an_error_makes_no_matrix() -> None:
    length = 4096
    q, k = torch.randn(2, 1, length, H, D)
    with Alive() as mode:
        estimate_attention(q, k, 32, generator=generator()).error()
    assert mode.peak < 4 * H * length**2 / 4
