"""Recurrence of a dense discrete system over blocks, by powers that double: the state side of LSSL and S4."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dense_final_state", "dense_response", "newest_first"]


def _block(length: int) -> int:
    """Block size m, a power of two near sqrt(length), so that m blocks of m samples cover it."""
    return 1 << max(0, (length - 1).bit_length() + 1) // 2


def _orbit(A: Tensor, X: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns `X, A X, A^2 X, ...`, (H, count, N, c), for a power of two `count`, and `A^count`."""
    orbit, power = X[:, None], A
    while orbit.shape[1] < count:
        orbit = torch.cat([orbit, power[:, None] @ orbit], dim=1)
        power = power @ power
    return orbit, power


def dense_response(A: Tensor, C: Tensor, x: Tensor, length: int) -> Tensor:
    """Output of the state alone, `y_l = C A^(l+1) x` for l = 0 .. length-1.

    Args:
        A: Discrete transition matrices, (H, N, N).
        C: Output maps, (H, M, N).
        x: States, (B, H, N).
        length: Number of samples.

    Returns:
        Outputs, (B, M, H, length).

    Cost: O(H (N^3 log L + B N^2 sqrt(L) + B M N L)) time, no (B, H, N, L) intermediate.

    Example:
        >>> half = torch.full((1, 1, 1), 0.5)
        >>> dense_response(half, torch.ones(1, 1, 1), torch.ones(1, 1, 1), 3).flatten()
        tensor([0.5000, 0.2500, 0.1250])
    """
    m = _block(length)
    near, giant = _orbit(A, A @ x.permute(1, 2, 0), m)
    count = 1 << (-(-length // m) - 1).bit_length()
    far, _ = _orbit(giant.transpose(1, 2), C.transpose(1, 2), count)
    y = torch.einsum("hikf,hjkb->bfhij", far, near)
    return y.flatten(3)[..., :length]


def dense_final_state(A: Tensor, B: Tensor, newest_first: Tensor, x: Tensor, lengths: Tensor) -> Tensor:
    """State after each series' last sample, `A^n x + sum_j A^j B u_(n-1-j)`.

    Args:
        A: Discrete transition matrices, (H, N, N).
        B: Discrete input maps, (H, N).
        newest_first: Samples of each series in reversed order, 0 past the oldest, (B, H, L).
        x: States before the first sample, (B, H, N).
        lengths: Number of samples n of each series, (B,).

    Returns:
        States, (B, H, N).

    Example:
        >>> half, one = torch.full((1, 1, 1), 0.5), torch.ones(1, 1)
        >>> dense_final_state(half, one, torch.ones(1, 1, 2), torch.zeros(1, 1, 1), torch.tensor([2])).item()
        1.5
    """
    length = newest_first.shape[-1]
    m = _block(length)
    orbit, giant = _orbit(A, B[:, :, None], m)
    padded = torch.nn.functional.pad(newest_first, (0, -length % m))
    blocks = padded.reshape(*padded.shape[:2], -1, m)
    parts = torch.einsum("hjk,bhij->ibhk", orbit[..., 0], blocks)
    total = parts[-1]
    for part in reversed(parts[:-1].unbind()):
        total = part + torch.einsum("hnk,bhk->bhn", giant, total)
    # A^n x by the binary digits of n: all series share the log2(L) squarings whatever their lengths are.
    power, carried = A, x
    for bit in range(int(length).bit_length()):
        applied = torch.einsum("hnk,bhk->bhn", power, carried)
        carried = torch.where(((lengths >> bit) & 1).bool()[:, None, None], applied, carried)
        power = power @ power
    return total + carried


def newest_first(u: Tensor, lengths: Tensor) -> Tensor:
    """Reverses each series' valid samples, (B, H, L): the newest at 0 and zeros past the oldest.

    Example:
        >>> newest_first(torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([2])).flatten()
        tensor([2., 1., 0.])
    """
    index = lengths[:, None] - 1 - torch.arange(u.shape[-1], device=u.device)
    reversed_ = u.gather(2, index.clamp(min=0)[:, None, :].expand(-1, u.shape[1], -1))
    return torch.where((index >= 0)[:, None, :], reversed_, reversed_.new_zeros(()))
