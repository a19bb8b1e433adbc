"""Jobs that arrive together are done together, by one thread that owns the streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch

from seqkit.streaming.server.jobs import Answer, Job, Key, RefusedError
from seqkit.streaming.server.keeper import Keeper
from seqkit.streaming.server.limits import Limits
from seqkit.streaming.server.metrics import Metrics

__all__ = ["Batcher"]

log = logging.getLogger("seqkit.serve")

MOST_TOGETHER = 1024
UNREAD_EVENTS = 512
SHORT = 0.01
"""Seconds for which the connections may wait: less than the thread and they would cost each other."""


class _Waiting(NamedTuple):
    jobs: Sequence[Job]
    weight: int
    future: asyncio.Future[list[Answer]]
    since: float


class Batcher:
    """The queue in front of a keeper.

    While the thread works, jobs gather; it then takes all of them. When it idles, a job is taken at once. After a batch
    of several it waits `window` seconds for company, so that a busy server makes few large steps.

    Args:
        keeper: Does the jobs.
        limits: How many may wait.
        window: Seconds that a job waits for others while the server is busy.

    Example:
        >>> from seqkit import S4D
        >>> import numpy as np
        >>> from seqkit.streaming import MixerEngine
        >>> from seqkit.streaming.server import Keeper, Store
        >>> engine = MixerEngine(S4D(1, order=4))
        >>> keeper = Keeper(engine, Store(":memory:", engine.fingerprint, 1.0))
        >>> async def pushed() -> list[Answer]:
        ...     batcher = Batcher(keeper, Limits())
        ...     await batcher.start()
        ...     await batcher.ready.wait()
        ...     answers = await batcher.enter([Job("push", ("", "a"), np.ones(1, np.float32))])
        ...     await batcher.stop()
        ...     return answers
        >>> asyncio.run(pushed())[0].body["count"]
        1
    """

    def __init__(self, keeper: Keeper, limits: Limits, *, window: float = 0.001) -> None:
        self.keeper, self.limits, self.window = keeper, limits, window
        self.ready = asyncio.Event()
        self.failure: str | None = None
        self.waiting = 0
        self.metrics = Metrics(keeper, lambda: self.waiting)
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = False
        self._pace = SHORT  # seconds a job, until it is known
        self._watchers: dict[Key, set[asyncio.Queue[dict[str, Any]]]] = {}
        # States that have decayed below 1e-38 slow the processor down; this is a property of each thread.
        self._thread = ThreadPoolExecutor(1, "streams", initializer=torch.set_flush_denormal, initargs=(True,))
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to bring the streams up to date and then to work; returns at once."""
        torch.set_flush_denormal(True)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Does what waits, stores all states and closes the store."""
        self._stopping = True
        self._arrived.set()
        self._room.set()
        if self._task is not None:
            await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, self._finish)
        self._thread.shutdown()

    def enter(self, jobs: Sequence[Job]) -> asyncio.Future[list[Answer]]:
        """Puts jobs in the queue, all or none of them.

        Raises:
            RefusedError: 503: too many wait, or the server is not ready; 413: they would never fit.
        """
        weight = sum(max(1, job.samples) for job in jobs)
        if weight > self.limits.queue:
            raise RefusedError(413, f"a request may hold {self.limits.queue} samples, got {weight}; send several")
        if self._stopping or not self.ready.is_set():
            raise RefusedError(503, self.failure or "the server is starting or stopping; try again in a moment", 1.0)
        if self.waiting + weight > self.limits.queue:
            raise RefusedError(503, f"{self.waiting} samples wait already; try again in a moment", 1.0)
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(jobs, weight, future, time.perf_counter()))
        self.waiting += weight
        self._arrived.set()
        return future

    async def room(self, jobs: Sequence[Job]) -> None:
        """Waits until `enter` would take the jobs, or would refuse them for good."""
        weight = sum(max(1, job.samples) for job in jobs)
        while self.ready.is_set() and not self._stopping and self.limits.queue - self.waiting < weight:
            if weight > self.limits.queue:
                return
            self._room.clear()
            await self._room.wait()

    def watch(self, key: Key) -> asyncio.Queue[dict[str, Any]]:
        """What is pushed into a stream from now on, with the predictions; the oldest is dropped if nobody reads."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(UNREAD_EVENTS)
        self._watchers.setdefault(key, set()).add(queue)
        return queue

    def unwatch(self, key: Key, queue: asyncio.Queue[dict[str, Any]]) -> None:
        """Ends what `watch` began."""
        watchers = self._watchers.get(key, set())
        watchers.discard(queue)
        if not watchers:
            self._watchers.pop(key, None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            begin = time.perf_counter()
            streams = await loop.run_in_executor(self._thread, self.keeper.recover)
            if streams:
                log.info("%d streams brought up to date in %.1f s", streams, time.perf_counter() - begin)
            self.ready.set()
        except Exception:
            self.failure = "the server cannot read its store; see its log"
            log.exception("the streams cannot be brought up to date")
            return
        busy = False
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if busy and not self._stopping and self.waiting < self.keeper.engine.spare:
                await asyncio.sleep(self.window)
            busy = await self._batch(self._taken()) > 1

    def _taken(self) -> list[_Waiting]:
        taken, weight = [], 0
        while self._queue and weight < MOST_TOGETHER:
            taken.append(self._queue.popleft())
            weight += taken[-1].weight
        return taken

    async def _batch(self, taken: list[_Waiting]) -> int:
        """Does what was taken and hands out the answers; returns the number of jobs."""
        jobs = [job for one in taken for job in one.jobs]
        begin = time.perf_counter()
        if self._is_short(jobs):
            answers = self.keeper.handle(jobs)
            await asyncio.sleep(0)
        else:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self.keeper.handle, jobs)
        end = time.perf_counter()
        self._pace += 0.1 * ((end - begin) / len(jobs) - self._pace)
        self.metrics.work.observe(end - begin)
        self.metrics.together.observe(len(jobs))
        place = 0
        for one in taken:
            self.waiting -= one.weight
            if not one.future.done():  # who asked may have gone
                one.future.set_result(answers[place : place + len(one.jobs)])
            self.metrics.seconds.observe(end - one.since)
            place += len(one.jobs)
        self._room.set()
        if self._watchers:
            for job, answer in zip(jobs, answers, strict=True):
                if job.op == "push" and job.key in self._watchers:
                    self._tell(job, answer)
        return len(jobs)

    def _is_short(self, jobs: Sequence[Job]) -> bool:
        """Whether jobs take less time than handing them to the thread and back costs the connections."""
        samples = all(job.op in ("push", "predict") and job.samples <= 1 for job in jobs)
        return samples and len(jobs) * self._pace < SHORT

    def _tell(self, job: Job, answer: Answer) -> None:
        if answer.status != 200 or not isinstance(answer.body, dict) or "repeated" in answer.body or job.values is None:
            return
        values = [[None if v != v else v for v in row] for row in job.values.reshape(job.samples, -1).tolist()]
        event = {"event": "push", **answer.body, "values": values}
        for queue in self._watchers[job.key]:
            if queue.full():
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
            queue.put_nowait(event)

    def _finish(self) -> None:
        try:
            if self.ready.is_set():
                self.keeper.store_all()
        except Exception:
            log.exception("not all states could be stored; their samples are, and the next start takes them anew")
        self.keeper.store.close()
