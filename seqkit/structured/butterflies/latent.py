"""Permutations that are learned: relaxed swaps of a butterfly network, and Sinkhorn's doubly stochastic matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from seqkit.checks import check_positive, check_positive_int
from seqkit.kernels.butterfly import butterfly
from seqkit.structured.butterflies.factors import padded_size
from seqkit.structured.butterflies.routes import switches

__all__ = ["LatentPermutation", "SinkhornPermutation", "SwapPermutation"]


class LatentPermutation(nn.Module, ABC):
    """Abstract permutation of n places, relaxed to a doubly stochastic matrix whose parameters learn.

    `forward` mixes the places by the relaxed matrix; `harden` reads the permutation off, and `hard` applies it.

    Args:
        n: Number of places, at least 1.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> permutation = SwapPermutation(4)
        >>> permutation(torch.ones(2, 4)).round().shape, sorted(permutation.harden().tolist())
        (torch.Size([2, 4]), [0, 1, 2, 3])
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = check_positive_int("n", n)

    @abstractmethod
    def dense(self, temperature: float = 1.0) -> Tensor:
        """The relaxed matrix P (n, n) with rows and columns that sum to 1: output i takes P[i, j] of place j.

        Args:
            temperature: Above 0; the lower, the nearer to a permutation.
        """

    @abstractmethod
    def harden(self) -> Tensor:
        """The permutation nearest to what was learned, whole numbers (n,): output i takes place `harden()[i]`."""

    def forward(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        """Maps rows (..., n) to P x.

        Args:
            x: Rows, (..., n).
            temperature: Above 0; the lower, the nearer to a permutation.

        Returns:
            Rows, (..., n).

        Raises:
            ValueError: the last size is not n, or a temperature that is not above 0.
        """
        self.check(x)
        return x @ self.dense(temperature).mT.to(x.dtype)

    def hard(self, x: Tensor) -> Tensor:
        """Maps rows (..., n) by the hardened permutation, without gradient to the parameters.

        Raises:
            ValueError: the last size is not n.
        """
        self.check(x)
        return x[..., self.harden()]

    def check(self, x: Tensor) -> None:
        """Refuses rows of another size."""
        if x.dim() == 0 or x.shape[-1] != self.n:
            raise ValueError(f"`x` must have shape (..., {self.n}), got {tuple(x.shape)}")

    def entropy(self, temperature: float = 1.0) -> Tensor:
        """Mean entropy of the rows of P in nats, 0 for a permutation; to be added to a loss with a growing weight."""
        matrix = self.dense(temperature)
        logs = matrix.clamp(min=torch.finfo(matrix.dtype).tiny).log()
        return -(matrix * logs).sum(1).mean()

    def extra_repr(self) -> str:
        """Size, as `print` shows it."""
        return str(self.n)


class SwapPermutation(LatentPermutation):
    """Permutation as a network of n log2 n - n/2 relaxed swaps: each 2x2 is t I + (1 - t) Swap, t = sigmoid(logit).

    Two blocks, B* and B, as in the exact construction (`permutation_matrix`), so that every permutation is reached. If
    n is no power of two, places are added behind and P is the corner, whose rows may sum to less than 1; `harden` then
    assigns places by the largest total.

    Args:
        n: Number of places, at least 1.

    Raises:
        ValueError: a size below 1.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), latent permutations.

    Cost: n log2 n parameters and operations a row.

    Example:
        >>> swaps = SwapPermutation(8)
        >>> swaps.set(torch.tensor([3, 1, 2, 0, 7, 6, 5, 4]))
        >>> swaps.harden().tolist()
        [3, 1, 2, 0, 7, 6, 5, 4]
    """

    def __init__(self, n: int) -> None:
        super().__init__(n)
        size = padded_size(n)
        self.logit = nn.Parameter(torch.empty(2, size.bit_length() - 1, size // 2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Undecided swaps with a little noise, which breaks the tie between equally good networks."""
        nn.init.normal_(self.logit, std=0.5)

    def factors(self, temperature: float) -> Tensor:
        """The relaxed swaps, (2, m, n/2, 2, 2)."""
        check_positive("temperature", temperature)
        stay = (self.logit / temperature).sigmoid()
        return torch.stack([torch.stack([stay, 1 - stay], -1), torch.stack([1 - stay, stay], -1)], -2)

    def dense(self, temperature: float = 1.0) -> Tensor:
        """The corner of the network's matrix."""
        factors = self.factors(temperature)
        eye = torch.eye(self.n, 2 * factors.shape[2], dtype=factors.dtype, device=factors.device)
        return butterfly(eye, factors).mT[: self.n]

    @torch.no_grad()
    def harden(self) -> Tensor:
        """Each swap as it leans; at sizes that are no power of two, the assignment nearest to that corner."""
        hard = torch.where(self.logit > 0, 1.0, 0.0)
        factors = torch.stack([torch.stack([hard, 1 - hard], -1), torch.stack([1 - hard, hard], -1)], -2)
        size = 2 * factors.shape[2]
        places = butterfly(torch.arange(size, dtype=torch.float64, device=hard.device), factors.double()).long()
        if size == self.n:
            return places
        return assign(self.dense() + (places[: self.n, None] == torch.arange(self.n, device=hard.device)))

    @torch.no_grad()
    def set(self, permutation: Tensor, certainty: float = 4.0) -> None:
        """Sets the swaps to a known permutation.

        Args:
            permutation: Whole numbers 0 .. n-1 in any order.
            certainty: Size of the logits.

        Raises:
            ValueError: no permutation of n places.
        """
        if permutation.shape != (self.n,):
            raise ValueError(f"`permutation` must have shape ({self.n},), got {tuple(permutation.shape)}")
        swaps = switches(permutation.cpu()).to(self.logit.device)
        self.logit.copy_(torch.where(swaps, -certainty, certainty))


class SinkhornPermutation(LatentPermutation):
    """Permutation as a doubly stochastic matrix: scores, exponentiated, rows and columns normalised in turns.

    Args:
        n: Number of places, at least 1.
        iterations: Times that rows and columns are normalised, at least 1.

    Raises:
        ValueError: a size or number of iterations below 1.

    Source: Mena, Belanger, Linderman, Snoek 2018, Learning latent permutations with Gumbel-Sinkhorn networks
        (arXiv:1802.08665). Differs: no noise is added here; `harden` solves the assignment problem (Kuhn 1955).

    Cost: n^2 parameters, 4 n^2 operations an iteration, 2 n^2 a row.

    Example:
        >>> matrix = SinkhornPermutation(4).dense()
        >>> bool(torch.allclose(matrix.sum(0), torch.ones(4), atol=1e-3))
        True
    """

    def __init__(self, n: int, *, iterations: int = 20) -> None:
        super().__init__(n)
        self.iterations = check_positive_int("iterations", iterations)
        self.scores = nn.Parameter(torch.empty(n, n))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Nearly even, with noise that breaks ties."""
        nn.init.normal_(self.scores, std=0.1)

    def dense(self, temperature: float = 1.0) -> Tensor:
        """Normalises in logarithms; ends with the rows, which sum to 1 exactly."""
        scores = self.scores / check_positive("temperature", temperature)
        for _ in range(self.iterations):
            scores = scores.log_softmax(0).log_softmax(1)
        return scores.exp()

    def harden(self) -> Tensor:
        """The assignment of the largest total score."""
        return assign(self.scores.detach())


def assign(scores: Tensor) -> Tensor:
    """The permutation p of the largest sum over i of scores[i, p[i]]."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  slow to load

    _, places = linear_sum_assignment(scores.detach().cpu().double().numpy(), maximize=True)
    return torch.as_tensor(places, dtype=torch.int64, device=scores.device)
