"""The memory of a linear time-invariant system in chunks of samples: two matrix products instead of one per sample.

A stretch of m samples adds z = V u to A^m c. A long stretch is cut into chunks of M samples, whose sums are added up
pair by pair, z <- A^M z_left + z_right, then with A^2M, ...: all of it products of many rows. The first chunk of a
stretch is the shorter one. What is kept for the way back are sums of chunks, N / M <= 1/2 of a number a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.lti_memory.scan import scan
from seqkit.kernels.lti_memory.tables import Chain, add

__all__ = ["lti_memory_backward", "lti_memory_forward"]

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
        self.squares = [self.chain.powers[-1]]
        while len(self.squares) < (self.n_chunks - 1).bit_length():
            self.squares.append(self.squares[-1] @ self.squares[-1])
        self.levels = [square.to(A.dtype) for square in self.squares]
        parts = u[..., : self.count * every].unflatten(-1, (self.count, every)).flatten(1, 2)
        self.head = parts[..., : self.first]
        self.body = parts[..., self.first :].reshape(len(u), -1, self.chunk)

    def sums(self, kept: list[Tensor] | None = None) -> Tensor:
        """Returns z (H, S Q, N); `kept` takes the left sums of every level."""
        z = (self.head @ self.V[..., -self.first :].mT).unsqueeze(2)
        if self.n_chunks > 1:
            z = torch.cat([z, (self.body @ self.V.mT).unflatten(1, (z.shape[1], -1))], dim=2)
        for power in self.levels if self.n_chunks > 1 else []:
            if z.shape[2] % 2:
                z = torch.cat([torch.zeros_like(z[:, :, :1]), z], dim=2)
            left = z[:, :, 0::2].flatten(1, 2)
            z = z[:, :, 1::2] + (left @ power.mT).unflatten(1, (z.shape[1], -1))
            if kept is not None:
                kept.append(left)
        return z.squeeze(2)

    def backward(self, d_z: Tensor, kept: list[Tensor], d_power: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of the samples of all stretches (H, S Q, every), of A and of B.

        `d_power` is what others found for A^chunk.
        """
        d, sizes = d_z.unsqueeze(2), [self.n_chunks]
        while sizes[-1] > 1:
            sizes.append(-(-sizes[-1] // 2))
        d_squares: list[Tensor] = []
        for level in reversed(range(len(kept))):
            flat = d.flatten(1, 2)
            d_squares.insert(0, flat.mT @ kept[level])
            left = (flat @ self.levels[level]).unflatten(1, d.shape[1:3])
            d = torch.stack([left, d], dim=3).flatten(2, 3)[:, :, -sizes[level] :]
        d_V = torch.zeros_like(self.V)
        near = self.V[..., -self.first :]
        d_V[..., -self.first :] = d[:, :, 0].mT @ self.head
        d_u = d.new_empty(*d.shape[:2], self.every)
        d_u[..., : self.first] = d[:, :, 0] @ near
        if self.n_chunks > 1:
            rest = d[:, :, 1:].flatten(1, 2)
            d_V += rest.mT @ self.body
            d_u[..., self.first :] = (rest @ self.V).unflatten(1, (d.shape[1], -1)).flatten(2)
        total: Tensor | None = None
        for square, own in zip(reversed(self.squares[: len(kept)]), reversed(d_squares), strict=True):
            total = own.double() if total is None else own.double() + through_square(total, square)
        if d_power is not None:
            total = add(total, d_power.double())
        d_A, d_B = self.chain.backward(total, d_V)
        assert d_B is not None
        return d_u, d_A, d_B


def through_square(grad: Tensor, A: Tensor) -> Tensor:
    """The gradient of A from that of A A."""
    return grad @ A.mT + A.mT @ grad


def lti_memory_forward(u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int) -> Tensor:
    """Returns the rows (H, S, L // every, N) for u (H, S, L), A_bar (H, N, N), B_bar (H, N) and state (H, S, N)."""
    if not u.shape[-1] // every or not u.numel():
        return state.new_zeros(*state.shape[:2], u.shape[-1] // every, state.shape[-1])
    stretches = Stretches(u, A_bar, B_bar, every)
    z = stretches.sums().unflatten(1, (u.shape[1], -1))
    if not carry and stretches.count == 1:
        return z.contiguous()
    return scan(jump(stretches, A_bar).power, z, state if carry else torch.zeros_like(state))


def jump(stretches: Stretches, A: Tensor) -> Chain:
    """The chain whose power carries the state over a stretch."""
    one_chunk = stretches.n_chunks == 1
    return stretches.chain if one_chunk else Chain(A, None, stretches.every)


def lti_memory_backward(
    grad: Tensor, u: Tensor, A_bar: Tensor, B_bar: Tensor, state: Tensor, carry: bool, every: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of u, A_bar, B_bar and state; sums and states of stretches are computed again."""
    d_u, d_state = u.new_zeros(u.shape), state.new_zeros(state.shape)
    if not u.shape[-1] // every or not u.numel():
        return d_u, A_bar.new_zeros(A_bar.shape), B_bar.new_zeros(B_bar.shape), d_state
    stretches = Stretches(u, A_bar, B_bar, every)
    kept: list[Tensor] = []
    z = stretches.sums(kept).unflatten(1, (u.shape[1], -1))
    d_A: Tensor | None = None
    d_power: Tensor | None = None
    d_z = grad
    if carry or stretches.count > 1:
        over = jump(stretches, A_bar)
        P, start = over.power, state if carry else torch.zeros_like(state)
        before = torch.cat([start.unsqueeze(2), scan(P, z, start)[:, :, :-1]], dim=2)
        d_z = scan(P.mT, grad.flip(2), torch.zeros_like(state)).flip(2)
        d_power = d_z.flatten(1, 2).mT @ before.flatten(1, 2)
        if carry:
            d_state = (d_z[:, :, 0] @ P).contiguous()
        if over is not stretches.chain:
            d_A, d_power = over.backward(d_power)[0], None
    d_parts, d_A_parts, d_B = stretches.backward(d_z.flatten(1, 2), kept, d_power)
    d_u[..., : stretches.count * every] = d_parts.unflatten(1, (u.shape[1], -1)).flatten(2)
    d_A = add(d_A, d_A_parts)
    return d_u, d_A.to(A_bar.dtype), d_B.to(B_bar.dtype), d_state
