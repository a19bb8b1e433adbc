"""The recurrence of a diagonal system, sample by sample."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["RULES", "hold", "ssm_scan_reference", "ssm_scan_steps_reference"]

RULES = ("zero_order_hold", "bilinear", "backward_euler")


def hold(z: Tensor, rule: str) -> Tensor:
    """Returns phi(z) of a rule, z = r lambda the exponent of one step: A_bar = 1 + z phi(z), B_bar = r phi(z) B.

        zero_order_hold: (e^z - 1) / z      bilinear: 1 / (1 - z/2)      backward_euler: 1 / (1 - z)

    Example:
        >>> hold(torch.zeros(1) + 0j, "zero_order_hold")
        tensor([1.+0.j])
    """
    if rule != "zero_order_hold":
        return 1 / (1 - z if rule == "backward_euler" else 1 - z / 2)
    small = z.abs() < 0.5
    # Each branch sees a harmless argument where the other one is taken, or its gradient would be 0 * inf.
    far, near = torch.where(small, torch.ones_like(z), z), torch.where(small, z, torch.zeros_like(z))
    series = torch.ones_like(z)
    for k in range(16, 1, -1):  # 0.5^16 / 17! is below half an ulp of float64
        series = 1 + near / k * series
    return torch.where(small, series, (torch.exp(far) - 1) / far)


@without_autocast
def ssm_scan_reference(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs x_k = A x_{k-1} + B u_k, y_k = 2 Re C x_k; returns y (B, M, H, L) and x after sample `lengths`.

    Example:
        >>> one = torch.ones(1, 1) + 0j
        >>> y, state = ssm_scan_reference(
        ...     torch.ones(1, 1, 3), 0.5 * one, one, one[None], 0 * one[None], torch.tensor([3])
        ... )
        >>> y
        tensor([[[[2.0000, 3.0000, 3.5000]]]])
    """
    return run(u, [A] * u.shape[-1], [B] * u.shape[-1], C, state, lengths)


@without_autocast
def ssm_scan_steps_reference(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, steps: Tensor, lengths: Tensor, rule: str
) -> tuple[Tensor, Tensor]:
    """Runs the same with the A_bar and B_bar that `rule` gives for a step `steps` (B, L) per sample.

    Example:
        >>> one = torch.ones(1, 1) + 0j
        >>> args = torch.ones(1, 1, 2), -one, one, one[None], 0 * one[None]
        >>> y, state = ssm_scan_steps_reference(*args, torch.tensor([[1.0, 3.0]]), torch.tensor([2]), "backward_euler")
        >>> y
        tensor([[[[1.0000, 1.7500]]]])
    """
    A_bars, B_bars = [], []
    for step in steps.unsqueeze(1).unsqueeze(1).unbind(-1):
        z = step * A
        phi = hold(z, rule)
        A_bars.append(1 + z * phi)
        B_bars.append(step * phi * B)
    return run(u, A_bars, B_bars, C, state, lengths)


def run(
    u: Tensor, A_bars: list[Tensor], B_bars: list[Tensor], C: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """One sample after the other, each with its own A_bar and B_bar (H, N) or (B, H, N)."""
    x = final = state
    outputs = []
    for k, (A_bar, B_bar) in enumerate(zip(A_bars, B_bars, strict=True)):
        x = A_bar * x + B_bar * u[..., k, None]
        outputs.append(2 * (C * x.unsqueeze(1)).sum(-1).real)
        final = torch.where((lengths == k + 1)[:, None, None], x, final)
    return torch.stack(outputs, -1).to(u.dtype), final.to(state.dtype)
