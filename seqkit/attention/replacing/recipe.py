"""Attention of whole series by any of the methods, at a memory that is told as a share of the keys or in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from seqkit.attention.estimate import Split
from seqkit.attention.features import RandomFeatures, draw_features
from seqkit.attention.lsh import lsh_attention
from seqkit.attention.performer import performer_attention
from seqkit.attention.scatterbrain import scatterbrain_attention
from seqkit.attention.searching import KEYS, find_keys
from seqkit.attention.support import Support
from seqkit.checks import check_choice, check_positive_int, check_unit_interval
from seqkit.kernels.attention import attention

__all__ = ["METHODS", "Attends", "Recipe"]

METHODS = ("scatterbrain", "performer", "lsh", "local")


class Attends(Protocol):
    """What replaced attention calls."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, lengths: Tensor | None = None) -> Tensor:
        """Attention of heads (B, L, H, D); see `Recipe.attend`."""


@dataclass(frozen=True)
class Recipe:
    """How attention is computed, and what it may hold per query.

    Memory is counted in numbers per query and head, of which exact attention holds L: one for each key of the support,
    and two for each random feature, as queries and keys both have it.

    Args:
        method: "scatterbrain" (keys and features), "performer" (features alone), "lsh" (keys alone) or "local" (the
            keys next to the query alone).
        memory: Share of L in (0, 1]; None where `n_keys` and `n_features` say it.
        n_keys: Keys per query.
        n_features: Random features, even.
        share: Part of `memory` for keys, in (0, 1); Scatterbrain's alone.
        keys: How keys are found: "hashed", "local", "both" or "strongest"; see `find_keys`.
        rounds: Independent hashes.
        seed: Of hashes and features, which are the same in every call.

    Raises:
        ValueError: a value that is out of its range or does not go with the method.

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343); its experiments count memory so.

    Example:
        >>> Recipe("scatterbrain", memory=0.02).sizes(2048)
        Split(n_features=10, n_keys=20)
        >>> Recipe("lsh", memory=0.02, keys="hashed").sizes(2048)
        Split(n_features=0, n_keys=40)
    """

    method: str = "scatterbrain"
    memory: float | None = None
    n_keys: int | None = None
    n_features: int | None = None
    share: float = 0.5
    keys: str = "both"
    rounds: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no series can be served by."""
        check_choice("method", self.method, METHODS)
        check_choice("keys", self.keys, KEYS)
        check_positive_int("rounds", self.rounds)
        needs = {"n_keys": self.method != "performer", "n_features": self.method in ("scatterbrain", "performer")}
        for name, needed in needs.items():
            value = getattr(self, name)
            if value is not None and not needed:
                raise ValueError(f"`{name}` must be left out for {self.method}, which has none, got {value}")
            if value is not None:
                check_positive_int(name, value)
        if self.memory is None:
            missing = [name for name, needed in needs.items() if needed and getattr(self, name) is None]
            if missing:
                raise ValueError(f"`{missing[0]}` or `memory` must be given for {self.method}, got neither")
        elif self.n_keys is not None or self.n_features is not None:
            raise ValueError("`memory` must be left out where `n_keys` or `n_features` are given, got both; give one")
        elif not 0 < self.memory <= 1:
            raise ValueError(f"`memory` must be a share of the keys in (0, 1], got {self.memory}")
        if self.n_features is not None and self.n_features % 2:
            raise ValueError(f"`n_features` must be even, got {self.n_features}; take {self.n_features + 1}")
        if not 0 < check_unit_interval("share", self.share) < 1:
            raise ValueError(
                f"`share` must lie between 0 and 1, got {self.share}; choose method='performer' for features alone"
            )

    def sizes(self, length: int) -> Split:
        """Features and keys per query for series of L samples, never more keys than L.

        Raises:
            ValueError: the share of so few samples buys nothing.
        """
        if self.memory is None:
            return Split(self.n_features or 0, min(self.n_keys or 0, length))
        slots = int(self.memory * length + 1e-6)
        part = {"scatterbrain": self.share, "performer": 0.0}.get(self.method, 1.0)
        n_features = 0 if part == 1 else 2 * round(slots * (1 - part) / 4)
        if part < 1:
            n_features = max(2, n_features)
        n_keys = slots - 2 * n_features if part else 0
        if (part and n_keys < 1) or 2 * n_features > slots:
            least = 4 * (part < 1) + (part > 0)
            raise ValueError(
                f"`memory` must be at least {least} / {length} for {self.method} and series of {length} samples, got "
                f"{self.memory}; give more, or sizes by `n_keys` and `n_features`"
            )
        return Split(n_features, n_keys)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, lengths: Tensor | None = None) -> Tensor:
        """Attention of heads (B, L, H, D), values of heads of any size; exact where there are keys for all samples.

        Args:
            q: Queries (B, L, H, D).
            k: Keys (B, L, H, D).
            v: Values (B, L, H, V).
            causal: Each position sees itself and earlier ones only.
            lengths: Samples of each series (B,); what lies past the end changes nothing, and its output is zero.

        Returns:
            (B, L, H, V).

        Raises:
            ValueError: shapes do not fit, or the series are too short for the share.
        """
        n_features, n_keys = self.sizes(q.shape[1])
        if n_keys >= q.shape[1]:
            return cast("Tensor", attention(q, k, v, causal=causal, lengths=lengths))
        features = self._features(q, n_features)
        if n_keys and "local" in (self.method, self.keys):
            return _local(q, k, v, n_keys, features, causal, lengths)
        if features is None:
            support = self._support(q, k, n_keys, causal, lengths)
            return lsh_attention(q, k, v, support, causal=causal, lengths=lengths)
        if not n_keys:
            return performer_attention(q, k, v, features, causal=causal, lengths=lengths)
        support = self._support(q, k, n_keys, causal, lengths)
        return scatterbrain_attention(q, k, v, features, support, causal=causal, lengths=lengths)

    def _support(self, q: Tensor, k: Tensor, n_keys: int, causal: bool, lengths: Tensor | None) -> Support:
        generator = _generator(self.seed)
        return find_keys(
            q, k, n_keys, self.keys, generator=generator, rounds=self.rounds, causal=causal, lengths=lengths
        )

    def _features(self, q: Tensor, n_features: int) -> RandomFeatures | None:
        """Random features from numbers that no hash uses, the same however keys are found."""
        if not n_features:
            return None
        wide = torch.promote_types(q.dtype, torch.float32)
        generator = _generator(self.seed + 2**32)
        return draw_features(n_features, q.shape[3], generator=generator, dtype=wide, device=q.device)


def _local(
    q: Tensor, k: Tensor, v: Tensor, width: int, features: RandomFeatures | None, causal: bool, lengths: Tensor | None
) -> Tensor:
    """The keys of `local_support`, by the forms that need no list of them."""
    if features is not None:
        return scatterbrain_attention(q, k, v, features, window=width, causal=causal, lengths=lengths)
    around = (width - 1, 0) if causal else (width // 2, (width - 1) // 2)
    return cast("Tensor", attention(q, k, v, causal=causal, window=around, lengths=lengths))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
