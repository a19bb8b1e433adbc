"""Starting ranks on one machine, and joining the ranks that someone started."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore, rendezvous  # type: ignore[attr-defined]

from seqkit.checks import check_positive, check_positive_int
from seqkit.distributed.failures import Watch
from seqkit.distributed.launcher import end_with_launcher
from seqkit.distributed.processes import run_processes

__all__ = ["World", "is_rank", "join", "leave", "rank_environment", "shared_store", "start_ranks"]


@dataclass(frozen=True)
class World:
    """The ranks that work together, seen from one of them.

    Args:
        rank: Number of this rank, from 0.
        size: Number of ranks.
        local_rank: Number of this rank on its machine, which picks its device.
        watch: Turns failures into sentences.

    Example:
        >>> World(1, 2, 1, Watch(1, None, timeout=60.0)).size
        2
    """

    rank: int
    size: int
    local_rank: int
    watch: Watch

    @property
    def device(self) -> torch.device:
        """A CUDA device of its own with NCCL, else the CPU."""
        return torch.device("cuda", self.local_rank) if dist.get_backend() == "nccl" else torch.device("cpu")


def is_rank() -> bool:
    """Whether this process was started as a rank: by `torchrun`, by `start_ranks` or by hand.

    Example:
        >>> is_rank()
        False
    """
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(*, timeout: float = 120.0, backend: str | None = None) -> World:
    """Joins the ranks that the environment describes, as torchrun does: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

    Args:
        timeout: Seconds after which a rank that hears nothing from another gives up.
        backend: "gloo" or "nccl"; NCCL where each rank of the machine has a CUDA device, gloo elsewhere, if None.

    Raises:
        ValueError: the environment describes no rank, or `timeout` is not positive.
        PeerError: the other ranks did not come in time.

    Example:
        >>> world = join(timeout=60)  # doctest: +SKIP
        >>> world.rank, world.size  # doctest: +SKIP
        (0, 2)
    """
    check_positive("timeout", timeout)
    end_with_launcher()
    if not is_rank():
        raise ValueError(
            "this process is no rank (RANK and WORLD_SIZE are not set); start it by torchrun --nproc-per-node N"
        )
    local = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    if backend is None:
        ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        backend = "nccl" if torch.cuda.is_available() and torch.cuda.device_count() >= ranks_here else "gloo"
    wait = timedelta(seconds=timeout)
    rank = int(os.environ["RANK"])
    with Watch(rank, None, timeout=timeout).during("joining the others"):
        store, rank, size = next(iter(rendezvous("env://", timeout=wait)))
        store.set_timeout(wait)
        dist.init_process_group(backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=wait)
    world = World(rank, size, local, Watch(rank, store, timeout=timeout))
    if backend == "nccl":
        torch.cuda.set_device(world.device)
    return world


def leave() -> None:
    """Ends what `join` began; the ranks wait for each other, so that none closes a connection that one still uses.

    Example:
        >>> leave()  # nothing was joined
    """
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def shared_store() -> TCPStore:
    """A store for ranks of this machine that lives in the process that starts them.

    So reasons can still be read when rank 0 is what failed.
    """
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def rank_environment(rank: int, n_ranks: int, port: int) -> dict[str, str]:
    """Variables by which `join` finds the other ranks of this machine, as torchrun sets them."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def start_ranks(
    command: Sequence[str],
    n_ranks: int,
    *,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> int:
    """Runs a command once per rank on this machine and waits for all of them.

    Rank 0 writes to this process's output. What the others write is kept, and shown when one fails. As soon as one
    fails the others get a few seconds to end, then they are stopped. Ranks that have called `join` end with this
    process, also when it is killed.

    Args:
        command: Program and arguments, such as `[sys.executable, "train.py"]`; it calls `join`.
        n_ranks: Number of ranks.
        environment: Further variables for the ranks.
        limit: Seconds after which all are stopped; None for no limit.

    Returns:
        0, or the exit status of the rank that failed first (128 + signal where a signal ended it).

    Raises:
        TimeoutError: `limit` was reached.

    Example:
        >>> import sys
        >>> start_ranks([sys.executable, "-c", "import os; assert os.environ['WORLD_SIZE'] == '2'"], 2)
        0
    """
    check_positive_int("n_ranks", n_ranks)
    store = shared_store()
    return run_processes(
        [command] * n_ranks,
        [rank_environment(rank, n_ranks, store.port) for rank in range(n_ranks)],
        environment=environment,
        limit=limit,
    )
