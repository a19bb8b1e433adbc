"""What a chunk of m samples does to the state: c <- A^m c + V u with V = [A^{m-1} B, ..., A B, B], and its gradient.

Built by doubling in float64, V_2k = [A^k V_k, V_k]: an error of A^m repeats in every chunk, so it has to be that of one
rounding. Tables cost N^3 log m + N^2 m whatever the length of the series, and the gradient passes through the same
steps in reverse.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Chain", "add"]


class Chain:
    """A^count and V of `count` columns for systems A (H, N, N), B (H, N), with the powers met on the way.

    Args:
        A: Transition matrices, (H, N, N).
        B: Input vectors, (H, N); None where A^count alone is wanted, at N^3 log m.
        count: Number of samples m, at least 1.

    Example:
        >>> chain = Chain(torch.full((1, 1, 1), 0.5), torch.ones(1, 1), 3)
        >>> chain.power.item(), chain.inputs.flatten().tolist()
        (0.125, [0.25, 0.5, 1.0])
    """

    def __init__(self, A: Tensor, B: Tensor | None, count: int) -> None:
        self.dtype = A.dtype
        self.A, self.B = A.double(), None if B is None else B.double().unsqueeze(-1)
        self.bits = [bit == "1" for bit in f"{count:b}"[1:]]
        self.powers = [self.A]
        V = self.B
        for odd in self.bits:
            V = None if V is None else torch.cat([self.powers[-1] @ V, V], dim=-1)
            self.powers.append(self.powers[-1] @ self.powers[-1])
            if odd:
                V = None if V is None or self.B is None else torch.cat([self.powers[-1] @ self.B, V], dim=-1)
                self.powers.append(self.powers[-1] @ self.A)
        self.columns = self.A[..., :0] if V is None else V

    @property
    def power(self) -> Tensor:
        """A^count, (H, N, N), in the dtype of A."""
        return self.powers[-1].to(self.dtype)

    @property
    def inputs(self) -> Tensor:
        """V (H, N, count), in the dtype of A."""
        return self.columns.to(self.dtype)

    def backward(self, d_power: Tensor | None, d_inputs: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the gradients of A and B, float64, from those of A^count and V."""
        d_A = torch.zeros_like(self.A)
        d_B = None if self.B is None else torch.zeros_like(self.B)
        dP = d_A.clone() if d_power is None else d_power.double()
        dV = torch.zeros_like(self.columns) if d_inputs is None else d_inputs.double()
        last = len(self.powers) - 1
        for odd in reversed(self.bits):
            if odd:
                last -= 1
                P = self.powers[last]
                d_A += P.mT @ dP
                dP = dP @ self.A.mT
                if self.B is not None and d_B is not None:
                    d_B += P.mT @ dV[..., :1]
                    dP += dV[..., :1] @ self.B.mT
                    dV = dV[..., 1:]
            last -= 1
            P, half = self.powers[last], dV.shape[-1] // 2
            dP = dP @ P.mT + P.mT @ dP
            if half:
                left = dV[..., :half]
                dP += left @ self.columns[..., -half:].mT
                dV = dV[..., half:] + P.mT @ left
        return d_A + dP, None if d_B is None else (d_B + dV).squeeze(-1)


def add(total: Tensor | None, value: Tensor) -> Tensor:
    """Adds to a sum that may not have begun."""
    return value if total is None else total + value
