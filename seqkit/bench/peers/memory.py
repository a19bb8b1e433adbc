"""The usual forms of HiPPO memories: a dense product a sample."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from seqkit.bench.available import unless_it_fits
from seqkit.bench.case import Form, Inputs, Setting, Task
from seqkit.bench.inputs import with_gradient
from seqkit.bench.peers import plain_form
from seqkit.hippo import transition

__all__ = ["DENSE_LEGS", "DENSE_STEPS", "dense_legs_steps", "dense_steps"]

LONGEST = 1 << 17  # samples, each a few calls of torch


def dense_legs_steps(u: Tensor, A_t: Tensor, B_t: Tensor) -> Tensor:
    """Runs c <- A_t c + B_t u_t, one sample at a time, for u (S, L); returns the last coefficients (S, N).

    Example:
        >>> dense_legs_steps(torch.ones(1, 2), torch.zeros(2, 1, 1), torch.ones(2, 1))
        tensor([[1.]])
    """
    state = u.new_zeros(len(u), A_t.shape[-1])
    for step in range(u.shape[-1]):
        state = state @ A_t[step].T + u[:, step, None] * B_t[step]
    return state


def dense_steps(u: Tensor, A_bar: Tensor, B_bar: Tensor) -> Tensor:
    """Runs c <- A_bar c + B_bar u_k, one sample at a time, for u (S, L); returns the last coefficients (S, N).

    Example:
        >>> dense_steps(torch.ones(1, 2), torch.full((1, 1), 0.5), torch.ones(1))
        tensor([[1.5000]])
    """
    state = u.new_zeros(len(u), len(B_bar))
    for step in range(u.shape[-1]):
        state = state @ A_bar.T + u[:, step, None] * B_bar
    return state


def legs_tables(order: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """A_t (L, N, N) and B_t (L, N) of the midpoint rule; the first sample starts the memory at (u, 0, ..., 0)."""
    A, B = transition("legs", order)
    times = torch.arange(1, length, dtype=A.dtype) + 0.5
    half = (0.5 / times)[:, None, None] * -A
    eye = torch.eye(order, dtype=A.dtype)
    A_t = torch.linalg.solve(eye + half, eye - half)
    B_t = torch.linalg.solve(eye + half, (B / times[:, None]).unsqueeze(-1)).squeeze(-1)
    start = torch.zeros(1, order, dtype=A.dtype)
    start[0, 0] = 1
    return (
        torch.cat([torch.zeros_like(A)[None], A_t]).to(like.device, like.dtype),
        torch.cat([start, B_t]).to(like.device, like.dtype),
    )


def prepare_legs(inputs: Inputs, setting: Setting) -> Task:
    """Makes all matrices beforehand, as published code does; that time is not counted."""
    u = inputs["u"]
    A_t, B_t = legs_tables(setting["N"], setting["L"], u)
    return Task(partial(dense_legs_steps, u, A_t, B_t), with_gradient(inputs))


def held(setting: Setting, backward: bool) -> float:
    """Bytes of all matrices, in float64 while they are made."""
    return 3 * 8 * setting["L"] * setting["N"] ** 2


DENSE_LEGS = Form(
    "dense A_t, a step a sample",
    "HiPPO-LegS as published in torch (HazyResearch/hippo-code): discretised matrices of every step made beforehand",
    prepare_legs,
    unless_it_fits(held),
)
DENSE_STEPS = plain_form(
    "dense product, a step a sample",
    "the memory as its recurrence in torch, as recurrent cells have it",
    lambda inputs, setting: dense_steps(**inputs),
    lambda inputs, setting, backward: "its steps would take minutes" if setting["L"] > LONGEST else None,
)
