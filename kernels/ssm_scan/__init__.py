"""A diagonal linear recurrence over a block of samples, with its state carried in and out."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import choose_backend, triton_refusal
from seqkit.kernels.ssm_scan.arguments import check_arguments
from seqkit.kernels.ssm_scan.op import ssm_scan_op, ssm_scan_steps_op
from seqkit.kernels.ssm_scan.reference import hold, ssm_scan_reference, ssm_scan_steps_reference

__all__ = ["ssm_scan"]

MOST_PAIRS = 128  # what the registers and the shared memory of one program hold


def ssm_scan(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor | None = None,
    *,
    steps: Tensor | None = None,
    discretization: str = "none",
    lengths: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Runs a diagonal system over a block of samples, from one state to the next.

        x_k = A_bar_k x_{k-1} + B_bar_k u_k,   y_k = 2 Re sum_n C_n x_{k,n}

    With "none", A_bar = A and B_bar = B at every sample. Otherwise A and B are continuous, in units of the training
    step, and the step r_k of each sample gives

        zero_order_hold: A_bar = exp(r A),                    B_bar = (exp(r A) - 1) / A B, which is r B at A = 0
        bilinear:        A_bar = (1 + r A/2) / (1 - r A/2),   B_bar = r B / (1 - r A/2)
        backward_euler:  A_bar = 1 / (1 - r A),               B_bar = r B / (1 - r A)

    Args:
        u: Input, (B, H, L); float32, float64, bfloat16 or float16.
        A: Transition of each pair, (H, N) complex, one of each conjugate pair: |A| <= 1 with "none", Re A <= 0
            otherwise, or the state grows. complex64, or complex128 beside a float64 `u`.
        B: Input weights, (H, N), as `A`.
        C: Output weights, (H, N), or (M, H, N) for M outputs, as `A`.
        state: State before the first sample, (B, H, N), as `A`; None for zeros.
        steps: Step of each sample in units of the training step, (B, L) above 0, float32, or float64 beside a float64
            `u`; it gets no gradient. None for steps of 1, which needs a small part of the time.
        discretization: "none", "zero_order_hold", "bilinear" or "backward_euler".
        lengths: Samples of each series that are valid, (B,) whole numbers from 1 to L. What lies past them counts as
            absent, NaN too: y is 0 there, and the state is that after the last valid sample. None if all are.
        backend: "auto", "reference" (sample by sample), "cpu" (products with short tables, compiled loops where numba
            is installed) or "triton" (the same on matrix units, and a parallel scan for uneven steps).

    Returns:
        y, (B, H, L), or (B, M, H, L) where `C` has M outputs, in the dtype of `u`; and the state after each series'
        last sample, (B, H, N). Half precision is computed in float32, and the state stays in complex64.

    Raises:
        TypeError: a dtype is not among those above, or they do not fit each other.
        ValueError: the shapes do not fit together, L is 0, `steps` come with "none", require a gradient or are not
            above 0, a value that is not padding is not finite, a length is not from 1 to L, or the discretisation or
            the backend is unknown or cannot serve.

    Source:
        Gu et al. 2022 (arXiv:2206.11893), the recurrent form; the chunks are those of Dao and Gu 2024
        (arXiv:2405.21060), section 6. Differs: A is complex and the same at every sample, so a chunk of Q samples is
        one Toeplitz matrix, and its powers of A come from products in complex128 alone: nothing is divided by a decay
        and no logarithm is taken. Even steps are discretised once, in complex128.

    Cost: even steps, 2 (Q + 4 N) M operations a sample and channel in matrix products, Q = 32 or 64, the same for every
    L; memory of the output and one block of channels. Uneven steps, about 25 N operations a sample and channel (100 N
    for the zero-order hold), and one state kept every 64 samples in backward. No size N L is ever held. Backends:
    reference, cpu, triton (float32 and half precision).

    Example:
        >>> import torch
        >>> u = torch.ones(1, 1, 4)
        >>> A, B, C = (torch.tensor([[value + 0j]]) for value in (0.5, 1.0, 0.5))
        >>> y, state = ssm_scan(u, A, B, C)
        >>> y
        tensor([[[1.0000, 1.5000, 1.7500, 1.8750]]])
        >>> first, middle = ssm_scan(u[..., :3], A, B, C)  # in two blocks
        >>> last, state = ssm_scan(u[..., 3:], A, B, C, middle)
        >>> last
        tensor([[[1.8750]]])
    """
    check_arguments(u, A, B, C, state, steps, discretization, lengths)
    # The parameters decide, because they are in the precision that is computed in; u may be in half precision.
    refusal = triton_refusal(C)
    if refusal is None and A.shape[1] > MOST_PAIRS:
        refusal = f"its kernels hold at most {MOST_PAIRS} pairs a channel, and `A` has {A.shape[1]}"
    path = choose_backend(backend, C, {} if refusal is None else {"triton": refusal})
    n_series, n_channels, length = u.shape
    single = C.dim() == 2
    weights = (C.unsqueeze(0) if single else C).resolve_conj()
    if state is None:
        state = C.new_zeros(n_series, n_channels, A.shape[-1])
    inside = None
    if lengths is None:
        ends = torch.full((n_series,), length, dtype=torch.int64, device=u.device)
    else:
        ends = lengths.to(device=u.device, dtype=torch.int64)
        inside = torch.arange(length, device=u.device) < ends.unsqueeze(-1)
        u = torch.where(inside.unsqueeze(1), u, 0)
    # An error of A_bar repeats at every sample, so the few numbers per channel are made and kept in complex128.
    A, B = A.resolve_conj().to(torch.complex128), B.resolve_conj().to(torch.complex128)
    if steps is None:
        if discretization != "none":
            phi = hold(A, discretization)
            A, B = 1 + A * phi, phi * B
        scan = ssm_scan_reference if path == "reference" else lambda *values: ssm_scan_op(*values, path)
        y, final = scan(u, A, B, weights, state.resolve_conj(), ends)
    else:
        steps = steps if inside is None else torch.where(inside, steps, 1)
        values = (u, A, B, weights, state.resolve_conj(), steps, ends, discretization)
        y, final = ssm_scan_steps_reference(*values) if path == "reference" else ssm_scan_steps_op(*values, path)
    if inside is not None:
        y = torch.where(inside[:, None, None], y, 0)
    return (y.squeeze(1) if single else y), final
