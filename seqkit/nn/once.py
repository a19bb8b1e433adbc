"""Kernels that do not depend on the series are computed once for several passes with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import get_ident

import torch
from torch import Tensor, nn

__all__ = ["kernel_once", "kernels_once"]

_Key = tuple[Hashable, ...]


class _Held:
    """Kernels of one block of passes: as computed from the weights, and as leaves that collect their gradients."""

    def __init__(self) -> None:
        self.thread = get_ident()
        self.made: dict[_Key, tuple[Tensor, Tensor]] = {}

    def get(self, key: _Key, make: Callable[[], Tensor]) -> Tensor:
        if key not in self.made:
            kernel = make()
            leaf = kernel.detach().requires_grad_() if kernel.requires_grad else kernel
            self.made[key] = kernel, leaf
        return self.made[key][1]

    def send_gradients(self) -> None:
        """Adds to the weights' gradients what the kernels' leaves have collected."""
        reached = [(kernel, leaf.grad) for kernel, leaf in self.made.values() if leaf.grad is not None]
        if reached:
            torch.autograd.backward([kernel for kernel, _ in reached], [gradient for _, gradient in reached])


# A list, as torch.compile reads no context variables; each block is its thread's own.
_HELD: list[_Held] = []


@contextmanager
def kernels_once() -> Iterator[None]:
    """Computes each layer's convolution kernel once for all passes within, and goes back through it once at the end.

        dF/dw = (dK/dw)^T sum_i dF_i/dK          instead of  sum_i (dK/dw)^T dF_i/dK,  for passes i

    A convolution kernel depends on a layer's weights, the length and the rate, but not on the series, so that
    micro-batches of one step (accumulated gradients, pipelines) can share it: with 4 passes of 4 series of 128 samples a
    layer S4D(256, order=16) saves a third of its time. Weights must be the same within; their gradients are whole once
    the block has ended, so steps of optimisers and clipping come after it. Only `backward()` passes go through: what
    `torch.autograd.grad` asks of weights within the block lacks the kernels' part. Not for modules inside
    DistributedDataParallel, which exchanges gradients before the block ends. An exception sends no gradients.

    Example:
        >>> import torch
        >>> from seqkit.ssm import S4D
        >>> layer, u = S4D(4, order=8), torch.randn(6, 32, 4)
        >>> layer(u).sum().backward()
        >>> whole = layer.log_dt.grad
        >>> layer.log_dt.grad = None
        >>> with kernels_once():
        ...     for rows in u.split(2):
        ...         layer(rows).sum().backward()
        >>> torch.allclose(layer.log_dt.grad, whole, rtol=1e-4)
        True
    """
    held = _Held()
    _HELD.append(held)
    try:
        yield
    finally:
        _HELD.remove(held)
    held.send_gradients()


def kernel_once(layer: nn.Module, make: Callable[[], Tensor], *which: Hashable) -> Tensor:
    """`make()`, or inside `kernels_once` what it gave for the same weights of `layer` and the same `which`.

    Args:
        layer: Whose weights the kernel is of.
        make: Computes the kernel.
        which: What else it depends on, such as the length and the rate.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> with kernels_once():
        ...     kernel_once(layer, lambda: layer.weight * 2, 5) is kernel_once(layer, lambda: layer.weight * 2, 5)
        True
    """
    if not _HELD:
        return make()
    held = next((held for held in reversed(_HELD) if held.thread == get_ident()), None)
    if held is None:
        return make()
    # Weights that were changed or swapped (torch.func.functional_call) have another kernel.
    weights = tuple((id(weight), weight._version) for weight in layer.parameters())
    return held.get((id(layer), weights, torch.is_grad_enabled(), *which), make)
