"""What `ssm_scan` refuses."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_lengths, check_shape
from seqkit.kernels.backend import HALF, check_dtypes, check_values
from seqkit.kernels.ssm_scan.reference import RULES

__all__ = ["check_arguments"]


def check_arguments(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor | None,
    steps: Tensor | None,
    discretization: str,
    lengths: Tensor | None,
) -> None:
    """Refuses dtypes, shapes and values that `ssm_scan` cannot use."""
    check_choice("discretization", discretization, ("none", *RULES))
    parameters = {"A": A, "B": B, "C": C} if state is None else {"A": A, "B": B, "C": C, "state": state}
    check_types(u, steps, parameters)
    check_shape("u", u, ("B", "H", "L"), "put channels before time")
    n_series, n_channels, length = u.shape
    if length < 1:
        raise ValueError("`u` must have at least 1 sample, got 0; drop empty blocks")
    check_shape("A", A, (n_channels, "N"), "give each channel its pairs")
    n_pairs = A.shape[1]
    if n_pairs < 1:
        raise ValueError(f"`A` must have at least 1 pair per channel, got {tuple(A.shape)}; give each channel a state")
    check_shape("B", B, (n_channels, n_pairs), "give each pair its input weight")
    check_shape(
        "C", C, (n_channels, n_pairs) if C.dim() == 2 else ("M", n_channels, n_pairs), "give each pair a weight"
    )
    if state is not None:
        check_shape("state", state, (n_series, n_channels, n_pairs), "pass the state that the last block returned")
    if steps is not None:
        check_steps(steps, discretization)
        check_shape("steps", steps, (n_series, length), "give each sample its step")
    check_read(u, steps, lengths, parameters)


def check_types(u: Tensor, steps: Tensor | None, parameters: dict[str, Tensor]) -> None:
    """Refuses dtypes other than float32 and float64, and half precision of `u` beside anything but complex64."""
    real = {"u": u} if steps is None else {"u": u, "steps": steps}
    if u.dtype in HALF:
        single = parameters["A"].real.dtype if parameters["A"].is_complex() else torch.float32
        if single == torch.float64:
            raise TypeError(f"`A` must be complex64 beside `u` in {u.dtype}, got complex128; convert one of them")
        real["u"] = u.new_empty(0, dtype=single)
    check_dtypes(real, parameters)


def check_steps(steps: Tensor, discretization: str) -> None:
    """Refuses steps that nothing reads, or that are expected to be learned."""
    if discretization == "none":
        raise ValueError(
            f'`steps` must be None with discretization="none", got shape {tuple(steps.shape)}; '
            "pass continuous A and B and the rule that discretises them"
        )
    if steps.requires_grad:
        raise ValueError("`steps` must not require a gradient, got a tensor that does; pass steps.detach()")


def check_read(u: Tensor, steps: Tensor | None, lengths: Tensor | None, parameters: dict[str, Tensor]) -> None:
    """Looks at values, on the CPU and outside traced graphs: finite ones, steps above 0, lengths from 1 to L."""
    n_series, _, length = u.shape
    if lengths is not None:
        check_shape("lengths", lengths, (n_series,), "give each series its number of samples")
        if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
            raise ValueError(f"`lengths` must be whole numbers, got dtype {lengths.dtype}")
    read = type(u) in (Tensor, torch.nn.Parameter) and u.device.type == "cpu" and not torch.compiler.is_compiling()
    if not read:
        return
    signals = {"u": u.detach()} if steps is None else {"u": u.detach(), "steps": steps}
    if lengths is not None:
        check_lengths(lengths, n_series, length)
        inside = torch.arange(length) < lengths.cpu().unsqueeze(-1)
        signals["u"] = torch.where(inside.unsqueeze(1), u.detach(), 0)
        if steps is not None:
            signals["steps"] = torch.where(inside, steps, 1)
    check_values({**signals, **parameters})
    if steps is not None and bool((signals["steps"] <= 0).any()):
        place = tuple(int(i) for i in (signals["steps"] <= 0).nonzero()[0])
        raise ValueError(
            f"`steps` must be above 0, got {float(signals['steps'][place])} at {place}; sort the samples by time and "
            "join those of one moment"
        )
