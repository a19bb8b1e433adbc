"""The memory of a linear time-invariant system over whole series."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_lengths, check_positive_int
from seqkit.kernels.backend import check_dtypes, check_leading, check_values, choose_backend, full_precision
from seqkit.kernels.lti_memory.layout import layout
from seqkit.kernels.lti_memory.op import lti_memory_op
from seqkit.kernels.lti_memory.ragged import align, move_on
from seqkit.kernels.lti_memory.reference import lti_memory_reference

__all__ = ["lti_memory"]


def lti_memory(
    u: Tensor,
    A_bar: Tensor,
    B_bar: Tensor,
    state: Tensor | None = None,
    *,
    every: int | None = None,
    lengths: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Runs series through a linear time-invariant memory (HiPPO's LegT, LagT, Fourier, or any other) and returns it.

        c_k = A-bar c_{k-1} + B-bar u_k

    Args:
        u: Samples, (..., L), float32 or float64.
        A_bar: Transition matrix per sample (discretised), (..., N, N). One (N, N) serves all series; leading dimensions
            broadcast with those of `u`, so that u (batch, channels, L) with A_bar (channels, N, N) gives each channel
            its own. Powers must stay bounded: a spectral radius of 1.001 grows a millionfold in 14 000 samples.
        B_bar: Input vector, (..., N).
        state: Coefficients to carry on from, (..., N); left out, 0.
        every: Return the coefficients after samples m, 2m, ... of this call; left out, those after the last.
        lengths: Number of samples of each series in the first dimension of `u`, (batch,), whole numbers. What lies past
            the end of a series is not read: its coefficients stay as they are after its last sample.
        backend: "auto", "reference" (the recurrence), "cpu" (chunks of samples, on any device) or "triton".

    Returns:
        Coefficients (..., N), or (..., L // every, N), of the dtype of `u`, leading dimensions broadcast. Carrying on
        from them gives what one call would have given.

    Raises:
        TypeError: the dtypes are neither float32 nor float64, or differ.
        ValueError: the shapes do not fit together, a value or a length is out of range, or the backend is unknown or
            cannot serve.

    Source:
        Gu, Dao, Ermon, Rudra, Ré 2020, HiPPO: recurrent memory with optimal polynomial projections (arXiv:2008.07669),
        appendix B.3. Differs: stretches of samples at once. A stretch adds V u to A-bar^m c, with
        V = [A-bar^{m-1} B-bar ... B-bar].

    Cost: with rows every m samples, N + N^2/m multiplications a sample in products of matrices, N^2/m twice for fewer
    than 32 series a system; so N a sample for the final coefficients alone, and N^2 where every sample's are wanted.
    Tables cost N^3 log m + N^2 min(m, 2N) a system. Backward three times that, with nothing of size (L, N) but the
    result. `lengths` runs final coefficients and rows separately. Backends: reference, cpu, triton.

    Example:
        >>> lti_memory(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([[0.5]]), torch.ones(1), every=1).flatten()
        tensor([1.0000, 1.5000, 1.7500])
    """
    named = {"u": u, "A_bar": A_bar, "B_bar": B_bar} | ({} if state is None else {"state": state})
    named = {name: full_precision(value) for name, value in named.items()}
    check_dtypes(named, {})
    u, A_bar, B_bar, state = named["u"], named["A_bar"], named["B_bar"], named.get("state")
    if u.dim() < 1 or u.shape[-1] < 1:
        raise ValueError(f"`u` must have shape (..., L) with at least 1 sample, got {tuple(u.shape)}")
    if A_bar.dim() < 2 or A_bar.shape[-1] != A_bar.shape[-2] or not A_bar.shape[-1]:
        raise ValueError(
            f"`A_bar` must have shape (..., N, N), got {tuple(A_bar.shape)}; pass one square matrix per system"
        )
    length, order = u.shape[-1], A_bar.shape[-1]
    for name in ("B_bar", "state"):
        if name in named and (named[name].dim() < 1 or named[name].shape[-1] != order):
            raise ValueError(f"`{name}` must have shape (..., {order}) to fit `A_bar`, got {tuple(named[name].shape)}")
    if every is not None:
        check_positive_int("every", every)
    leading = check_leading({name: value.shape[: -2 if name == "A_bar" else -1] for name, value in named.items()})
    if lengths is not None:
        check_ends(u, lengths)
    check_values(named)
    path = choose_backend(backend, u)

    place = layout(leading, A_bar.shape[:-2], B_bar.shape[:-1])
    n_systems, n_series = place.sizes()
    A, B, samples = place.system(A_bar, 2), place.system(B_bar, 1), place.gather(u)
    carry = state is not None
    c = samples.new_zeros(n_systems, n_series, order) if state is None else place.gather(state)

    def run(samples: Tensor, carry: bool, every: int) -> Tensor:
        args = (samples, A, B, c, carry, every)
        rows: Tensor = lti_memory_reference(*args) if path == "reference" else lti_memory_op(*args, path)
        return rows

    if lengths is None:
        rows = run(samples, carry, length if every is None else every)
        return place.scatter(rows.squeeze(2) if every is None else rows)
    own = lengths.to(u.device).view(-1, *[1] * (u.dim() - 2)).expand(u.shape[:-1]).unsqueeze(-1)
    ends = place.gather(own).squeeze(-1)
    final = run(align(samples, ends), False, length)
    if carry:
        final = final + move_on(A, c, ends, length).unsqueeze(2)
    if every is None:
        return place.scatter(final.squeeze(2))
    done = torch.arange(1, length // every + 1, device=u.device) * every
    running = (done <= ends.unsqueeze(-1)).unsqueeze(-1)
    return place.scatter(torch.where(running, run(samples, carry, every), final))


def check_ends(u: Tensor, lengths: Tensor) -> None:
    """Refuses lengths that do not fit `u`; their values are looked at where that costs nothing."""
    if u.dim() < 2:
        raise ValueError(f"`lengths` must come with `u` of shape (batch, ..., L), got {tuple(u.shape)}; cut the series")
    if lengths.device.type == "cpu" and not torch.compiler.is_compiling() and type(lengths) is Tensor:
        check_lengths(lengths, u.shape[0], u.shape[-1])
    elif lengths.shape != u.shape[:1]:
        raise ValueError(f"`lengths` must have shape ({u.shape[0]},), one per series, got {tuple(lengths.shape)}")
