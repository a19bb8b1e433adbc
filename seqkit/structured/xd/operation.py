"""One matrix of an operation: a product of complex butterflies along one axis, which starts as a Fourier transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive_int, check_shape
from seqkit.kernels.butterfly import butterfly
from seqkit.structured.butterflies.transforms import check_size, cooley_tukey

__all__ = ["ROLES", "OperationMatrix"]

ROLES = ("K", "L", "M")


class OperationMatrix(nn.Module):
    """A product of `depth` butterflies with n places, complex, that starts as a Fourier transform.

    With B the butterfly of Cooley and Tukey, the Fourier transform is F = B R = R B^T, R the bit reversal. M starts as
    B^T / sqrt(n), L as B^T and K as conj(B) / sqrt(n): the reversals of K and of L and M cancel, and
    Re(K diag(L w) M x) is the circular convolution of w and x. The directions of the butterflies alternate; in L and M
    the transform is the last, with decreasing strides, and in K the first, with increasing ones. All others start as
    identities. So two more blocks hold any permutation of what L or M meets, or of what K gives.

    Args:
        n: Places, a power of two of at least 2.
        role: "K", "L" or "M".
        depth: Number of butterflies.
        device: Device of the parameters.
        dtype: float32 or float64, that of the real and imaginary parts.

    Attributes:
        factors: Real and imaginary parts of the factors, (depth, log2 n, n/2, 2, 2, 2), the last axis the parts.
        start: What they were at first, not saved.

    Raises:
        ValueError: a size, role or depth that cannot be.

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798); Dao et al. 2020 (arXiv:2012.14966). Parameters are
        real, so that every optimizer and the clipping of gradients count a complex number as two.

    Cost: 2 depth n log2 n complex numbers; 3 depth n log2 n complex operations a row.

    Example:
        >>> m = OperationMatrix(8, "M", depth=3)
        >>> m.is_start, torch.view_as_complex(m.factors.detach()).numel()
        (True, 144)
    """

    start: Tensor

    def __init__(
        self,
        n: int,
        role: str,
        depth: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_size(n)
        self.n = n
        self.role = check_choice("role", role, ROLES)
        self.depth = check_positive_int("depth", depth)
        real = torch.get_default_dtype() if dtype is None else dtype
        start = torch.view_as_real(starting_factors(n, role, depth)).to(device=device, dtype=real)
        self.factors = nn.Parameter(start.clone())
        self.register_buffer("start", start, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OperationMatrix:
        """Fills the start where `to_empty` made room for that of a matrix on the device meta: no file has it."""
        before = self.start.device
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if before.type == "meta" and self.start.device != before:
            self.start.copy_(torch.view_as_real(starting_factors(self.n, self.role, self.depth)))
        return self

    @property
    def first(self) -> str:
        """Direction of the butterfly that meets the input."""
        if self.role == "K" or self.depth % 2 == 0:
            return "increasing"
        return "decreasing"

    @property
    def is_start(self) -> bool:
        """Whether the factors are exactly what they started as, compared number by number."""
        return torch.equal(self.factors, self.start)

    def forward(self, x: Tensor) -> Tensor:
        """Maps vectors along the last axis, real or complex (..., n), to complex ones (..., n)."""
        factors = torch.view_as_complex(self.factors)
        return butterfly(x.to(factors.dtype), factors, self.first)

    def dense(self) -> Tensor:
        """The matrix (n, n), complex, in its own order: what L and M give, and K takes, is bit-reversed."""
        return cast("Tensor", self(torch.eye(self.n, dtype=self.factors.dtype, device=self.factors.device)).mT)

    @property
    def distance(self) -> float:
        """Relative distance in the Frobenius norm from the Fourier transform that it started as."""
        with torch.no_grad():
            now, factors = self.dense(), torch.view_as_complex(self.start)
            eye = torch.eye(self.n, dtype=factors.dtype, device=factors.device)
            before = butterfly(eye, factors, self.first).mT
            return float((now - before).norm() / before.norm())

    @torch.no_grad()
    def assign(self, factors: Tensor) -> None:
        """Takes other factors, complex (depth, log2 n, n/2, 2, 2)."""
        check_shape("factors", factors, self.factors.shape[:-1])
        self.factors.copy_(torch.view_as_real(factors.to(torch.complex128)))

    def extra_repr(self) -> str:
        """Sizes, as `print` shows them."""
        return f"{self.role}, n={self.n}, depth={self.depth}"


def starting_factors(n: int, role: str, depth: int) -> Tensor:
    """Factors (depth, log2 n, n/2, 2, 2) in complex128: a Fourier transform without its bit reversal, and identities.

    Example:
        >>> starting_factors(4, "K", 2).shape
        torch.Size([2, 2, 2, 2, 2])
    """
    levels = n.bit_length() - 1
    factors = torch.eye(2, dtype=torch.complex128).expand(depth, levels, n // 2, 2, 2).clone()
    scale = 1.0 if role == "L" else 2**-0.5  # a unitary 2x2 for each pair
    transform = cooley_tukey(n) * scale
    if role == "K":
        factors[0] = transform.conj()
    else:
        factors[-1] = transform.mT
    return factors
