"""Blocks of a linear system with a fixed step, by matrix products over chunks and a short loop from chunk to chunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.streaming.export.loops import along
from seqkit.streaming.export.pairs import Pair

__all__ = ["CHUNK", "Chunks"]

CHUNK = 32
"""Samples of a chunk, a power of two."""


class Chunks(nn.Module):
    """H systems over blocks of any length.

        y_l = sum_{j <= l} C A^(l-j) B u_j + C A^(l+1) x         within a chunk of T samples
        x  <- A^T x + sum_j A^(T-1-j) B u_j                      from chunk to chunk

    The sums are products with constant matrices for all chunks at once; only the second line is a loop. The state after
    the last sample, which may lie inside a chunk, is A^r x + ... for the r samples of the last chunk.

    Args:
        A: Discrete transition: (H, N, N), or (H, N/2) complex for a diagonal one whose state is [Re, Im].
        B: Discrete input map, (H, N), real.
        C: Output map, (H, M, N), real.

    Cost: O(H (M T + M N + N)) a sample, and A applied once a chunk.

    Example:
        >>> half, one = torch.full((1, 1, 1), 0.5).double(), torch.ones(1, 1).double()
        >>> Chunks(half, one, one[None])
        Chunks()
    """

    def __init__(self, A: Tensor, B: Tensor, C: Tensor) -> None:
        super().__init__()
        A, B, C = A.detach().cpu(), B.detach().cpu().double(), C.detach().cpu().double()
        self.diagonal = A.dim() == 2
        dense = _as_dense(A.to(torch.complex128)) if self.diagonal else A.double()
        orbit, reach = [B], [C @ dense]  # A^l B, (H, N), and C A^(l+1), (H, M, N)
        for _ in range(CHUNK - 1):
            orbit.append((dense @ orbit[-1][..., None])[..., 0])
            reach.append(reach[-1] @ dense)
        kernel = torch.stack([(C @ column[..., None])[..., 0] for column in orbit], dim=-1)  # (H, M, T)
        lag = torch.arange(CHUNK) - torch.arange(CHUNK)[:, None]
        near = torch.where(lag >= 0, kernel[..., lag.clamp(min=0)], 0.0)  # (H, M, T from, T to)
        self._keep("near", near.transpose(1, 2).flatten(2))  # (H, T, M T)
        self._keep("far", torch.stack(reach, dim=-1).permute(0, 2, 1, 3).flatten(2))  # (H, N, M T)
        self._keep("gather", torch.stack(orbit[::-1], dim=1))  # (H, T, N)
        if self.diagonal:
            powers = A.to(torch.complex128) ** torch.arange(CHUNK + 1)[:, None, None]  # (T + 1, H, N/2)
            self._keep("real", powers.real)
            self._keep("imag", powers.imag)
        else:
            self._keep("A", dense.transpose(1, 2))  # states are rows
        self.outputs = C.shape[1]

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.float().contiguous())

    def forward(self, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Takes a block.

        Args:
            u: Samples, (B, L, H).
            x: States before, (B, H, N).

        Returns:
            Outputs without the skip, (B, L, M, H), and states after, (B, H, N).
        """
        batch, length, heads = u.shape
        # One more than needed: an exporter takes a size that can be 1 for one that always is.
        count = (length + CHUNK - 1) // CHUNK + 1
        padded = F.pad(u, (0, 0, 0, count * CHUNK - length))
        rows = padded.view(batch, count, CHUNK, heads).permute(3, 1, 0, 2).reshape(heads, count * batch, CHUNK)
        driven = (rows @ self._get("gather")).view(heads, count, batch, -1).transpose(0, 1)
        powers = [] if self.diagonal else self._powers()
        whole = self._power(torch.tensor([CHUNK])) if self.diagonal else None

        def turn(carried: list[Tensor], inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
            kept = carried[0] @ powers[-1] if whole is None else _turned(whole, carried[0])
            return [kept + inputs[0]], carried[0].clone()

        _, before = along(turn, [x.transpose(0, 1)], [driven])  # (K, H, B, N)
        carried = before.transpose(0, 1).reshape(heads, count * batch, -1)
        y = rows @ self._get("near") + carried @ self._get("far")
        y = y.view(heads, count, batch, self.outputs, CHUNK).permute(2, 1, 4, 3, 0)
        y = y.reshape(batch, count * CHUNK, self.outputs, heads)[:, :length]
        return y, self._last(u, before[-2], (count - 2) * CHUNK, powers)

    def _last(self, u: Tensor, x: Tensor, before: int, powers: list[Tensor]) -> Tensor:
        """State after the last sample, given the one before the last chunk, (H, B, N)."""
        places = torch.arange(CHUNK)
        left = (places + before < u.shape[1]).sum(dim=0, keepdim=True)
        tail = F.pad(u, (0, 0, CHUNK, 0))[:, -CHUNK:]
        tail = torch.where((places >= CHUNK - left)[:, None], tail, 0.0)
        own = tail.permute(2, 0, 1) @ self._get("gather")
        if self.diagonal:
            x = _turned(self._power(left), x)
        for bit, power in enumerate(powers):
            x = torch.where((left // 2**bit) % 2 == 1, x @ power, x)
        return (x + own).transpose(0, 1)

    def _powers(self) -> list[Tensor]:
        """A, A^2, A^4, ... A^T; a runtime computes them once, when it loads the program."""
        powers = [self._get("A")]
        while 2 ** (len(powers) - 1) < CHUNK:
            powers.append(powers[-1] @ powers[-1])
        return powers

    def _power(self, count: Tensor) -> Pair:
        """A^count of a diagonal A, (H, 1, N/2), for count of shape (1,)."""
        real, imag = (self._get(name).index_select(0, count).transpose(0, 1) for name in ("real", "imag"))
        return Pair(real, imag)

    def _get(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        return value


def _as_dense(A: Tensor) -> Tensor:
    """Complex diagonals (H, N/2) as real matrices (H, N, N) on [Re, Im]."""
    real, imag = torch.diag_embed(A.real), torch.diag_embed(A.imag)
    return torch.cat([torch.cat([real, -imag], -1), torch.cat([imag, real], -1)], -2)


def _turned(power: Pair, x: Tensor) -> Tensor:
    """The product of a complex number with each pair of a state [Re, Im]."""
    half = x.shape[-1] // 2
    return power.by(Pair(x[..., :half], x[..., half:])).joined()
