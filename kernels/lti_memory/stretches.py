"""What stretches of samples add to the state of a linear time-invariant system, z = V u, and the way back.

A long stretch is cut into chunks of M samples, the first one shorter. Their sums are added up pair by pair,
z <- A^M z_left + z_right, then with A^2M, ...: all of it products of many rows. The last few are added up one by one,
which costs less than further squares of A. What is kept for the way back are sums of chunks, N / M <= 1/2 of a number
a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.lti_memory.scan import GROUP, split, walk
from seqkit.kernels.lti_memory.tables import Chain, add

__all__ = ["Stretches"]

SHORTEST = 256  # samples a chunk, so that small systems do not climb through needless levels


class Stretches:
    """Sums z = V u of the Q stretches of `every` samples each, and the way back from the gradients of these sums.

    Args:
        u: Samples, (H, S, L).
        A: Transition matrices, (H, N, N).
        B: Input vectors, (H, N).
        every: Samples a stretch.
    """

    def __init__(self, u: Tensor, A: Tensor, B: Tensor, every: int) -> None:
        self.every, self.count = every, u.shape[-1] // every
        self.chunk = min(every, max(2 * A.shape[-1], SHORTEST))
        self.n_chunks = -(-every // self.chunk)
        self.first = every - (self.n_chunks - 1) * self.chunk
        self.chain = Chain(A, B, self.chunk)
        self.V = self.chain.inputs
        parts = split(u[..., : self.count * every], -1, (self.count, every)).flatten(1, 2)
        self.head = parts[..., : self.first]
        self.body = parts[..., self.first :].reshape(len(u), -1, self.chunk)
        self.sizes = [self.n_chunks]  # sums a stretch at each level
        while self.sizes[-1] > GROUP:
            self.sizes.append(-(-self.sizes[-1] // 2))
        self.squares = [self.chain.powers[-1]]
        while len(self.squares) < len(self.sizes):
            self.squares.append(self.squares[-1] @ self.squares[-1])
        self.powers = [square.to(A.dtype) for square in self.squares]

    def sums(self, kept: list[Tensor] | None = None) -> Tensor:
        """Returns z (H, S Q, N); `kept` takes what each level multiplies."""
        z = (self.head @ self.V[..., -self.first :].mT).unsqueeze(2)
        if self.n_chunks > 1:
            z = torch.cat([z, split(self.body @ self.V.mT, 1, (z.shape[1], -1))], dim=2)
        for power in self.powers[:-1]:
            if z.shape[2] % 2:
                z = torch.cat([torch.zeros_like(z[:, :, :1]), z], dim=2)
            left = z[:, :, 0::2].flatten(1, 2)
            z = z[:, :, 1::2] + split(left @ power.mT, 1, (z.shape[1], -1))
            if kept is not None:
                kept.append(left)
        states = torch.empty_like(z)
        states[:, :, 0] = z[:, :, 0]
        walk(self.powers[-1], z[:, :, 1:], z[:, :, 0], states[:, :, 1:])
        if kept is not None:
            kept.append(states[:, :, :-1].flatten(1, 2))
        return states[:, :, -1]

    def backward(self, d_z: Tensor, kept: list[Tensor], d_power: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of the samples of all stretches (H, S Q, every), of A and of B.

        `d_power` is what others found for A^chunk.
        """
        d, d_squares = self.backward_of_levels(d_z, kept)
        d_V = torch.zeros_like(self.V)
        d_V[..., -self.first :] = d[:, :, 0].mT @ self.head
        d_u = d.new_empty(*d.shape[:2], self.every)
        d_u[..., : self.first] = d[:, :, 0] @ self.V[..., -self.first :]
        if self.n_chunks > 1:
            rest = d[:, :, 1:].flatten(1, 2)
            d_V += rest.mT @ self.body
            d_u[..., self.first :] = split(rest @ self.V, 1, (d.shape[1], -1)).flatten(2)
        total = d_squares[-1].double()
        for square, own in zip(reversed(self.squares[:-1]), reversed(d_squares[:-1]), strict=True):
            total = own.double() + total @ square.mT + square.mT @ total
        d_A, d_B = self.chain.backward(total if d_power is None else add(total, d_power.double()), d_V)
        assert d_B is not None
        return d_u, d_A, d_B

    def backward_of_levels(self, d_z: Tensor, kept: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Returns the gradients of the sums of all chunks (H, S Q, chunks, N), and of the powers of each level."""
        d = d_z.new_empty(*d_z.shape[:2], self.sizes[-1], d_z.shape[-1])
        d[:, :, -1] = d_z
        for place in reversed(range(self.sizes[-1] - 1)):
            d[:, :, place] = d[:, :, place + 1] @ self.powers[-1]
        d_squares = [d[:, :, 1:].flatten(1, 2).mT @ kept[-1]]
        for level in reversed(range(len(kept) - 1)):
            flat = d.flatten(1, 2)
            d_squares.insert(0, flat.mT @ kept[level])
            left = split(flat @ self.powers[level], 1, d.shape[1:3])
            d = torch.stack([left, d], dim=3).flatten(2, 3)[:, :, -self.sizes[level] :]
        return d, d_squares
