"""Jobs in waves, each stream once in a wave, and what one wave gives to the pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.streaming.pool import StreamId, StreamPool
from seqkit.streaming.server.jobs import Job, Key

__all__ = ["Tally", "take", "waves"]


@dataclass
class Tally:
    """What a keeper has done, for metrics.

    Args:
        samples: Samples taken.
        steps: Calls of the engine.
        evicted: Streams that left memory.
        loaded: Streams that came back.
        stored: States written.
        repeated: Pushes that had been taken before.

    Example:
        >>> Tally().samples
        0
    """

    samples: int = 0
    steps: int = 0
    evicted: int = 0
    loaded: int = 0
    stored: int = 0
    repeated: int = 0


def waves(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Places of jobs, each stream at most once in a wave, each stream's jobs in their order.

    Example:
        >>> list(waves([Job("predict", ("", name)) for name in "aba"]))
        [[0, 1], [2]]
    """
    found: list[list[int]] = []
    seen: dict[Key, int] = defaultdict(int)
    for k, job in enumerate(jobs):
        depth = seen[job.key]
        seen[job.key] += 1
        if depth == len(found):
            found.append([])
        found[depth].append(k)
    yield from found


def take(pool: StreamPool, tally: Tally, batch: Sequence[tuple[StreamId, Any, Any]]) -> list[ValueError | None]:
    """Gives samples and blocks of different streams to a pool, samples together.

    Args:
        pool: The streams.
        tally: Counts the steps.
        batch: Stream, sample (C,) or block (L, C), and times or None; each stream once.

    Returns:
        An error for each that does not fit, else None.

    Example:
        >>> from seqkit import S4D
        >>> pool = StreamPool(S4D(1, order=4))
        >>> take(pool, Tally(), [("a", np.ones(1), None), ("b", np.ones((3, 1)), None)]), pool.count("b")
        ([None, None], 3)
    """
    failures: list[ValueError | None] = [None] * len(batch)
    samples = [k for k, (_, values, _) in enumerate(batch) if values.ndim == 1]
    table = np.array([batch[k][1] for k in samples]).reshape(len(samples), pool.engine.n_channels)
    gaps: list[bool] = np.isnan(table).any(axis=1).tolist()
    groups: dict[tuple[bool, bool], list[int]] = defaultdict(list)
    for k, gap in zip(samples, gaps, strict=True):
        # What a step is given decides how it is computed, so it must not depend on the others.
        groups[batch[k][2] is not None, gap].append(k)
    for k in set(range(len(batch))) - set(samples):
        number, values, times = batch[k]
        tally.steps += 1
        try:
            pool.push_block(number, values, times)
        except ValueError as error:
            failures[k] = error
    for (timed, _), places in groups.items():
        for part in [places, *([[k] for k in places] if len(places) > 1 else [])]:
            tally.steps += 1
            rows = [batch[k] for k in part]
            times = np.concatenate([row[2] for row in rows]) if timed else None
            try:
                pool.push([row[0] for row in rows], np.stack([row[1] for row in rows]), times)
            except ValueError as error:
                if len(part) == 1:
                    failures[part[0]] = error
            else:
                if part is places:
                    break  # all fitted; otherwise each is tried by itself
    return failures
