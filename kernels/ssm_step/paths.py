"""From a call to a backend's loop and back: dense operands, memory for results, gradients in the operands' shapes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.autograd.forward_ad
from torch import Tensor, nn

from seqkit.kernels.operator import Path
from seqkit.kernels.ssm_step import cpu
from seqkit.kernels.ssm_step.layout import Shapes, all_dense, find_layout

__all__ = ["empty_outputs", "load_path", "step_directly", "untracked"]


def untracked(values: Sequence[Tensor]) -> bool:
    """Whether nothing watches the computation, so that the registered operator, which costs 25 us, can be passed by.

    Watching are autograd in both directions, tracers, transforms such as vmap, dispatch modes and tensor subclasses.

    Example:
        >>> untracked([torch.zeros(1)]), untracked([torch.zeros(1, requires_grad=True)])
        (True, False)
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    if torch._C._len_torch_dispatch_stack() or torch._C._functorch.maybe_current_level() is not None:
        return False
    if torch.autograd.forward_ad._current_level >= 0:
        return False
    tracked = torch.is_grad_enabled()
    for value in values:  # noqa: SIM110 - a generator would take longer than the arithmetic of a stream
        if type(value) not in PLAIN or (tracked and value.requires_grad):
            return False
    return True


PLAIN = (Tensor, nn.Parameter)


def module(path: str) -> Any:
    """The backend's module, with `advance` and `differentiate`."""
    return cpu if path == "cpu" else importlib.import_module(f"seqkit.kernels.ssm_step.{path}")


def step_directly(
    path: str, shapes: Shapes, operands: Sequence[Tensor], D: Tensor | None, into: Tensor | None
) -> tuple[Tensor, Tensor, bool]:
    """Returns y, the new state (`into` where given) and whether y is free of NaN and infinity, as far as looked at.

    Args:
        path: "cpu" or "triton".
        shapes: What `cached_shapes` says of the operands.
        operands: u, A, B, C and state as given.
        D: The skip as given.
        into: Where to write the new state, or None.
    """
    leading, n_outputs, layout, *_ = shapes
    ready: Sequence[Tensor] = operands
    if layout is None or not all_dense(operands, D):
        u, A, B, C, state = operands
        skip = A.new_zeros(1, dtype=A.dtype.to_real()) if D is None else D
        if n_outputs is None:
            C, skip = C.unsqueeze(-2), skip.unsqueeze(-1)
        elif D is None:
            skip = skip.expand(n_outputs)
        layout, (*ready, skip) = find_layout(leading, (u, A, B, C, state, skip))
        D = None if D is None else skip
    y = fresh(operands[0], shapes.outputs)
    new = fresh(operands[4], shapes.state) if into is None else into
    return y, new, module(path).advance(layout, ready, D, y, new)


def fresh(like: Tensor, shape: torch.Size) -> Tensor:
    """Contiguous memory; `empty_like` takes half the time of an allocation by sizes."""
    return torch.empty_like(like) if like.shape == shape and like.is_contiguous() else like.new_empty(shape)


def common(u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, D: Tensor) -> torch.Size:
    """Leading shape of the operator's operands."""
    return torch.Size(
        torch.broadcast_shapes(  # type: ignore[no-untyped-call]
            u.shape, A.shape[:-1], B.shape[:-1], C.shape[:-2], state.shape[:-1], D.shape[:-1]
        )
    )


def empty_outputs(u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, D: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for y (..., M) and the new state (..., N)."""
    leading = common(u, A, B, C, state, D)
    return u.new_empty((*leading, C.shape[-2])), state.new_empty((*leading, A.shape[-1]))


def load_path(path: str) -> Path:
    """The operator's forward and backward on a backend; C has outputs, and D is given."""
    backend = module(path)

    def forward(*operands: Tensor) -> tuple[Tensor, Tensor]:
        y, new = empty_outputs(*operands)
        layout, ready = find_layout(common(*operands), operands)
        backend.advance(layout, ready[:5], ready[5], y, new)
        return y, new

    def backward(grad_y: Tensor, grad_new: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        u, D = operands[0], operands[5]
        leading = common(*operands)
        layout, ready = find_layout(leading, operands, shrink=False)
        grad_y = grad_y.resolve_neg().contiguous()
        grad_new = grad_new.resolve_conj().resolve_neg().contiguous()
        d_u, d_A, d_B, d_C, d_x = backend.differentiate(layout, ready[:5], grad_y, grad_new)
        d_u = d_u.view(leading) + (grad_y * D).sum(-1)
        found = (d_u, d_A, d_B, d_C, d_x.view(grad_new.shape), grad_y * u.unsqueeze(-1))
        return tuple(
            value.sum_to_size(operand.shape).contiguous() for value, operand in zip(found, operands, strict=True)
        )

    return Path(forward, backward)
