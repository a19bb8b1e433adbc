"""One step of diagonal state-space systems, for many streams and layers at once."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from seqkit.kernels.backend import HALF, VARIABLE, check_dtypes, check_values, choose_backend
from seqkit.kernels.ssm_step.layout import Shapes, cached_shapes, check_shapes
from seqkit.kernels.ssm_step.op import ssm_step_op
from seqkit.kernels.ssm_step.paths import step_directly, untracked
from seqkit.kernels.ssm_step.reference import ssm_step_reference

__all__ = ["ssm_step"]

REAL = {torch.complex64: (torch.float32, *HALF), torch.complex128: (torch.float64,)}


def ssm_step(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    D: Tensor | None = None,
    *,
    inplace: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Advances diagonal systems, held as conjugate pairs, by one sample: the inner loop of streaming.

        x' = A x + B u,   y = 2 Re sum_n C_n x'_n + D u

    Leading dimensions broadcast, so that one call serves streams (B, H), layers of streams (layers, B, H) with
    coefficients (layers, 1, H, N), and streams with a step size each, whose A and B are (B, H, N).

    Args:
        u: Inputs, (..., H) real; also bfloat16 or float16 with coefficients of single precision.
        A: Discretised eigenvalues, (..., H, N) complex, one of each conjugate pair. |A| <= 1, or the state grows.
        B: Discretised input weights, (..., H, N) complex.
        C: Output weights, complex: (..., H, N) with as many dimensions as A, or (..., H, M, N) with one more, for M
            outputs a head.
        state: x, (..., H, N) complex.
        D: Skip, (..., H) real, or (..., H, M) where C has outputs; None for none.
        inplace: Whether to write the new state into `state`, which halves the memory to keep and saves a third of the
            traffic. Not where gradients are recorded.
        backend: "auto", "reference" (the equations in torch), "cpu" (compiled loops, or torch where numba is missing)
            or "triton".

    Returns:
        y, (..., H) or (..., H, M) in u's dtype, and the new state, (..., H, N) complex, of all leading dimensions.

    Raises:
        TypeError: a dtype is not allowed, or its precision differs from the others'.
        ValueError: the shapes do not fit together, a value is not finite, `inplace` is not possible, or the backend is
            unknown or cannot serve.

    Source:
        Gu, Goel, Ré 2022, Efficiently modeling long sequences with structured state spaces (arXiv:2111.00396), the
        recurrent form (3). Differs: without gradients "cpu" and "triton" are called past torch's dispatcher; on
        the CPU values are looked at in the outputs, which any NaN or infinity reaches, so a spoiled coefficient is
        found after the step (with `inplace`, u is looked at before); "cpu" sets states below 1e-30 (float32) to 0.

    Cost: 14 N operations a head and stream, N complex numbers read and written; nothing but the results is allocated.
    Backward: the same with the coefficients' sums. Backends: reference, cpu, triton.

    Example:
        >>> A, B, C = (torch.full((1, 1), value, dtype=torch.complex64) for value in (0.5, 1.0, 0.5))
        >>> state = torch.zeros(1, 1, dtype=torch.complex64)
        >>> for u in (1.0, 0.0, 0.0):
        ...     y, state = ssm_step(torch.tensor([u]), A, B, C, state)
        ...     print(y)
        tensor([1.])
        tensor([0.5000])
        tensor([0.2500])
    """
    given = (u, A, B, C, state) if D is None else (u, A, B, C, state, D)
    direct = untracked(given)
    if not (direct and fitting(u, A, B, C, state, D)):
        check_types(u, A, B, C, state, D)
    sizes = (u.shape, A.shape, B.shape, C.shape, state.shape, None if D is None else D.shape)
    shapes = cached_shapes(*sizes) if direct else None
    leading, n_outputs = check_shapes(*sizes) if shapes is None else (shapes.leading, shapes.n_outputs)
    if inplace:
        check_inplace(given, leading)
    if direct and type(backend) is str and backend == "auto" and u.is_cpu and VARIABLE not in os.environ:
        path = "cpu"
    else:
        path = choose_backend(backend, A)
    if shapes is None or path == "reference":
        return step_tracked(path, given, n_outputs, inplace)
    return step_untracked(path, given, shapes, inplace)


def step_untracked(path: str, given: tuple[Tensor, ...], shapes: Shapes, inplace: bool) -> tuple[Tensor, Tensor]:
    """Calls the backend past the dispatcher and looks at what comes out."""
    into = given[4] if inplace else None
    y, new, finite = step_directly(path, shapes, given[:5], given[5] if len(given) > 5 else None, into)
    if not finite:
        check_values(named(given))
    if inplace and not new.is_inference():
        torch.autograd.graph.increment_version(new)
    return y, new


def step_tracked(path: str, given: tuple[Tensor, ...], n_outputs: int | None, inplace: bool) -> tuple[Tensor, Tensor]:
    """Goes through the registered operator, or takes the reference: what autograd and tracers can follow."""
    check_values(named(given))
    u, A, B, C, state = given[:5]
    wide = u.to(REAL[A.dtype][0])
    D = given[5] if len(given) > 5 else wide.new_zeros(() if n_outputs is None else n_outputs)
    if n_outputs is None:
        C, D = C.unsqueeze(-2), D.unsqueeze(-1)
    values = (wide, *(value.resolve_conj() for value in (A, B, C, state)), D)
    y, new = ssm_step_reference(*values) if path == "reference" else ssm_step_op(*values, path)
    y = (y.squeeze(-1) if n_outputs is None else y).to(u.dtype)
    return (y, state.copy_(new)) if inplace else (y, new)


def named(given: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The tensors under the names that the caller knows."""
    return dict(zip(("u", "A", "B", "C", "state", "D"), given, strict=False))


def fitting(u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, D: Tensor | None) -> bool:
    """Whether dtypes and devices are right at a glance; where not, `check_types` finds words."""
    kind, device = A.dtype, A.device
    return (
        u.dtype in REAL.get(kind, ())
        and B.dtype is kind
        and C.dtype is kind
        and state.dtype is kind
        and (D is None or (D.dtype is REAL[kind][0] and D.device == device))
        and u.device == device
        and B.device == device
        and C.device == device
        and state.device == device
    )


def check_types(u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, D: Tensor | None) -> None:
    """Refuses dtypes and devices that do not fit together; u may be of half precision."""
    real = {"u": u.float() if u.dtype in HALF else u}
    if D is not None:
        real["D"] = D
    check_dtypes(real, {"A": A, "B": B, "C": C, "state": state})


def check_inplace(given: tuple[Tensor, ...], leading: torch.Size) -> None:
    """Refuses to write into a state that a gradient may still need, or that has no memory of its own for each value."""
    state = given[4]
    if torch.is_grad_enabled() and any(value.requires_grad for value in given):
        raise ValueError(
            "`inplace` must be False where gradients are recorded, got an input that requires one; "
            "call under torch.no_grad() or leave it at False"
        )
    lazy = not torch.compiler.is_compiling() and state.is_conj()
    if state.shape[:-1] != leading or not state.is_contiguous() or lazy:
        raise ValueError(
            f"`state` must be contiguous and of shape {(*leading, state.shape[-1])} for `inplace`, "
            f"got {tuple(state.shape)} with strides {state.stride()}; pass state.expand(...).contiguous()"
        )
