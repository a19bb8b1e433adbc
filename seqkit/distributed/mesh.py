"""Ranks as a grid: pipelines side by side, each stage with its replicas."""

from __future__ import annotations

from typing import NamedTuple

import torch.distributed as dist

from seqkit.checks import check_positive_int
from seqkit.distributed.launch import World

__all__ = ["Mesh", "make_mesh"]


class Mesh(NamedTuple):
    """Where a rank stands among pipelines and replicas.

    Args:
        group: Ranks of its pipeline; None where there is one pipeline of all ranks.
        replicas: Ranks with the same stages in other pipelines; None where there is one pipeline.
        replica: Number of its pipeline.
        n_replicas: Number of pipelines.
    """

    group: dist.ProcessGroup | None
    replicas: dist.ProcessGroup | None
    replica: int
    n_replicas: int


def make_mesh(world: World, n_replicas: int) -> Mesh:
    """Arranges the ranks as `n_replicas` pipelines of neighbouring ranks.

    Raises:
        ValueError: `n_replicas` does not divide the number of ranks.

    Example:
        >>> make_mesh(world, 2).replica  # doctest: +SKIP
        0
    """
    check_positive_int("n_replicas", n_replicas)
    if n_replicas == 1:
        return Mesh(None, None, 0, 1)
    if world.size % n_replicas:
        raise ValueError(f"`n_replicas` must divide the number of ranks {world.size}, got {n_replicas}")
    length = world.size // n_replicas
    mine: dict[str, dist.ProcessGroup] = {}
    # Every rank makes every group, in the same order: torch asks for it.
    for replica in range(n_replicas):
        ranks = list(range(replica * length, (replica + 1) * length))
        group = dist.new_group(ranks)
        if world.rank in ranks:
            mine["group"] = group
    for position in range(length):
        ranks = list(range(position, world.size, length))
        group = dist.new_group(ranks)
        if world.rank in ranks:
            mine["replicas"] = group
    return Mesh(mine["group"], mine["replicas"], world.rank // length, n_replicas)
