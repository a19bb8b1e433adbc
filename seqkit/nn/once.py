"""Kernels that do not depend on the series are computed once for several passes with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

__all__ = ["kernel_once", "kernels_once"]

_Key = tuple[Hashable, ...]
_CHANGED = (
    "weights were changed inside `kernels_once`, whose kernels send their gradients at its end; take an optimiser's "
    "steps after the block"
)


class _Kernel(NamedTuple):
    """A kernel as computed from the weights, and as a leaf that collects its gradients."""

    computed: Tensor
    leaf: Tensor
    weights: Sequence[Tensor]
    """What it is of; kept, as another tensor may get the identity of one that is let go."""
    versions: list[int]


class _Held:
    """Kernels of one block of passes."""

    def __init__(self) -> None:
        self.thread = get_ident()
        self.kernels: dict[_Key, _Kernel] = {}
        self.ended = False

    def add(self, key: _Key, make: Callable[[], Tensor], weights: Sequence[Tensor]) -> Tensor:
        # Passes share the kernel, so it is not for one pass's hooks, be they those of checkpointing, to take it apart.
        with torch.autograd.graph.saved_tensors_hooks(_itself, _itself):
            computed = make()
        leaf = computed
        if computed.requires_grad:
            leaf = computed.detach().requires_grad_()
            leaf.register_hook(self._check_open)  # type: ignore[no-untyped-call]
        self.kernels[key] = _Kernel(computed, leaf, weights, [weight._version for weight in weights])
        return leaf

    def send_gradients(self) -> None:
        """Adds to the weights' gradients what the kernels' leaves have collected."""
        reached = [kernel for kernel in self.kernels.values() if kernel.leaf.grad is not None]
        if any([weight._version for weight in one.weights] != one.versions for one in reached):
            raise RuntimeError(_CHANGED)
        if reached:
            torch.autograd.backward(
                [one.computed for one in reached], [cast("Tensor", one.leaf.grad) for one in reached]
            )

    def check_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """Refuses a step of an optimiser that has not seen the kernels' gradients."""
        stepped = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        if any(id(weight) in stepped for one in self.kernels.values() for weight in one.weights):
            raise RuntimeError(_CHANGED)

    def end(self) -> None:
        """Lets go of what backward passes may no longer reach."""
        self.ended = True
        self.kernels.clear()

    def _check_open(self, gradient: Tensor) -> None:
        if self.ended:
            raise RuntimeError(
                "a backward pass came after the `kernels_once` block of its forward pass, so gradients would be lost; "
                "call backward() inside the block"
            )


def _itself(tensor: Tensor) -> Tensor:
    return tensor


# A list, as torch.compile reads no context variables; each block is its thread's own.
_HELD: list[_Held] = []


@contextmanager
def kernels_once() -> Iterator[None]:
    """Computes each layer's convolution kernel once for all passes within, and goes back through it once at the end.

        dF/dw = (dK/dw)^T sum_i dF_i/dK          instead of  sum_i (dK/dw)^T dF_i/dK,  for passes i

    A convolution kernel depends on a layer's weights, the length and the rate, but not on the series, so that
    micro-batches of one step (accumulated gradients, pipelines) can share it: with 4 passes of 4 series of 128 samples
    a layer S4D(256, order=16) saves a third of its time. Weights must be the same within; their gradients are whole
    once the block has ended, so steps of optimisers and clipping come after it. Only `backward()` passes go through:
    what `torch.autograd.grad` asks of weights within the block lacks the kernels' part. Not for modules inside
    DistributedDataParallel or `fully_shard`, which exchange gradients before the block ends. Compiled layers compute
    their own kernels. An exception sends no gradients.

    Raises:
        RuntimeError: weights were changed within, or a backward pass comes after the block of its forward pass.

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
    hook = register_optimizer_step_pre_hook(held.check_step)
    _HELD.append(held)
    try:
        try:
            yield
        finally:
            _HELD.remove(held)
            hook.remove()
        held.send_gradients()
    finally:
        held.end()


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
    # Compiled layers and those inside torch.func compute their own: neither can hold a tensor for the next call.
    if torch.compiler.is_compiling() or not _HELD or torch._C._are_functorch_transforms_active():
        return make()
    # Weights that were changed, frozen or swapped (torch.func.functional_call) have another kernel.
    weights = list(layer.parameters())
    states = tuple((id(weight), weight._version, weight.requires_grad) for weight in weights)
    key = (layer, states, torch.is_grad_enabled(), *which)
    if torch._C._current_graph_task_id() != -1:
        # Checkpointing repeats a forward pass, on CUDA in a thread of the engine's: it must find what that pass did.
        found = next((held.kernels[key] for held in reversed(_HELD) if key in held.kernels), None)
        return make() if found is None else found.leaf
    held = next((held for held in reversed(_HELD) if held.thread == get_ident()), None)
    if held is None:
        return make()
    return held.kernels[key].leaf if key in held.kernels else held.add(key, make, weights)
