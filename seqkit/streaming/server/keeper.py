"""The streams of a server: as many in memory as allowed, all of them in a store, and none ahead of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkit.streaming.engine import Engine
from seqkit.streaming.server.jobs import Answer, Job, Key, RefusedError
from seqkit.streaming.server.residents import Held, Residents
from seqkit.streaming.server.store import Store, StoreError
from seqkit.streaming.server.uniform import UniformEngine
from seqkit.streaming.server.waves import Tally, take, waves
from seqkit.streaming.snapshot import from_bytes, to_bytes, unpack
from seqkit.streaming.stream import answer

__all__ = ["Keeper"]

log = logging.getLogger("seqkit.serve")


class Keeper:
    """Does jobs in one transaction: when `handle` returns, what its answers acknowledge lies in the store.

    A stream is its last stored state and the samples since, as they were cut into pushes. Both together give the state
    in memory, to the last bit: a sample is always a step and a block always a scan, and a step does not depend on the
    streams beside it (`UniformEngine`). Where the store cannot be written, the streams concerned leave memory, so
    that what was not acknowledged never happened.

    Args:
        engine: What is streamed.
        store: Where it lies; its streams with unstored samples are brought up to date by `recover`.
        resident: Streams in memory at most; the least recently used one makes room.
        store_every: Samples of a stream after which its state is stored.
        streams_per_client: Streams that a client may have.
        sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> engine = MixerEngine(S4D(1, order=4))
        >>> keeper = Keeper(engine, Store(":memory:", engine.fingerprint, 1.0))
        >>> job = Job("push", ("", "a"), np.ones(1, np.float32))
        >>> [done.body["count"] for done in keeper.handle([job, job])]
        [1, 2]
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        *,
        resident: int = 4096,
        store_every: int = 64,
        streams_per_client: int = 1_000_000,
        sample_rate: float | None = None,
    ) -> None:
        self.engine = engine if isinstance(engine, UniformEngine) else UniformEngine(engine)
        self.store = store
        self._residents = Residents(
            self.engine,
            store,
            resident=resident,
            store_every=store_every,
            streams_per_client=streams_per_client,
            sample_rate=sample_rate,
        )
        self.pool = self._residents.pool

    def __len__(self) -> int:
        return len(self._residents)

    @property
    def tally(self) -> Tally:
        """What was done so far."""
        return self._residents.tally

    @property
    def streams(self) -> int:
        """Streams of all clients, in memory or not."""
        return self._residents.streams

    def recover(self) -> int:
        """Takes anew the samples that came after the last stored states; returns the number of streams concerned."""
        return self._residents.recover()

    def handle(self, jobs: Sequence[Job]) -> list[Answer]:
        """Does jobs, each stream's in their order, and returns an answer to each."""
        answers: list[Answer] = [Answer(500, {})] * len(jobs)
        residents, tally = self._residents, Tally(**vars(self.tally))
        try:
            with self.store.transaction():
                for wave in waves(jobs):
                    for begin in range(0, len(wave), residents.resident):
                        self._do(wave[begin : begin + residents.resident], jobs, answers)
                residents.write()
        except Exception as error:
            residents.undo(tally)
            if isinstance(error, StoreError):
                log.error("the store cannot be written: %s", error)
                words = "the store cannot be written, so nothing was taken; make room on the server's disk and repeat"
                return [Answer(507, {"error": words})] * len(jobs)
            if len(jobs) > 1:  # one of them is to blame
                return [done for job in jobs for done in self.handle([job])]
            log.exception("a job failed")
            return [Answer(500, {"error": "the server failed on this request and took nothing of it; see its log"})]
        residents.settle()
        return answers

    def store_all(self) -> None:
        """Stores the state of each stream with samples since its last stored one."""
        keys = self._residents.unstored()
        for begin in range(0, len(keys), 256):  # a transaction of all of them could be large
            with self.store.transaction():
                for key in keys[begin : begin + 256]:
                    self._residents.keep(self._residents[key])

    # --- one wave: each stream at most once ---

    def _do(self, wave: Sequence[int], jobs: Sequence[Job], answers: list[Answer]) -> None:
        for k in wave:
            self._residents.use(jobs[k].key)  # what is needed now is not what makes room
        for k in wave:
            if jobs[k].op != "push":
                try:
                    answers[k] = getattr(self, f"_{jobs[k].op}")(jobs[k])
                except RefusedError as refusal:
                    answers[k] = refusal.answer()
        self._push([k for k in wave if jobs[k].op == "push"], jobs, answers)

    def _push(self, wave: Sequence[int], jobs: Sequence[Job], answers: list[Answer]) -> None:
        residents = self._residents
        residents.fetch([jobs[k].key for k in wave])
        ready, new = [], set()
        for k in wave:
            try:
                if jobs[k].key not in residents:
                    residents.begin(jobs[k].key)
                    new.add(k)
                if self._is_due(jobs[k]):
                    ready.append(k)
                else:
                    self.tally.repeated += 1
                    answers[k] = self._answer(jobs[k].key, repeated=True)
            except RefusedError as refusal:
                answers[k] = refusal.answer()
        residents.touch(jobs[k].key for k in ready)
        before = {k: self.pool.count(residents[jobs[k].key].number) for k in ready}
        batch = [(residents[jobs[k].key].number, jobs[k].values, jobs[k].times) for k in ready]
        for k, failure in zip(ready, take(self.pool, self.tally, batch), strict=True):
            if failure is None:
                residents.note(jobs[k], before[k])
                answers[k] = self._answer(jobs[k].key)
            else:
                answers[k] = Answer(422, {"error": str(failure)})
        for k in new:
            if answers[k].status != 200:
                self._close(jobs[k])  # a stream begins with a sample that was taken

    def _is_due(self, job: Job) -> bool:
        """Whether a push is the next one; False where it was taken before.

        Raises:
            RefusedError: 409: samples are missing in between.
        """
        if job.count is None:
            return True
        have = self.pool.count(self._residents[job.key].number)
        if job.count == have:
            return True
        if job.count + job.samples <= have:
            return False
        raise RefusedError(409, f"the stream has {have} samples and `count` is {job.count}; push on from sample {have}")

    def _answer(self, key: Key, *, repeated: bool = False) -> Answer:
        """The newest prediction of a stream."""
        number = self._residents[key].number
        body: dict[str, Any] = {"stream": key[1], "count": self.pool.count(number)}
        if body["count"] == 0:
            raise RefusedError(409, "the stream answers from its first sample on; push one first")
        output = self.pool.output(number)
        body["prediction"] = _plain(answer(self.engine, output))
        if self.engine.classes is not None:
            labels = map(str, self.engine.classes.tolist())
            body["probabilities"] = dict(zip(labels, _plain(output), strict=True))
        if (time := self.pool.time(number)) is not None and math.isfinite(time):
            body["time"] = time
        if repeated:
            body["repeated"] = True
        return Answer(200, body)

    # --- the other jobs ---

    def _open(self, job: Job) -> Answer:
        if self._residents.number(job.key) is not None:
            raise RefusedError(409, "there is a stream of this name; go on with it, or close it first")
        self._residents.add(job.key)
        return Answer(201, {"stream": job.key[1], "count": 0})

    def _predict(self, job: Job) -> Answer:
        self._needed(job.key)
        return self._answer(job.key)

    def _close(self, job: Job) -> Answer:
        number = self._residents.number(job.key)
        if number is None:
            raise _unknown()
        self._residents.remove(job.key, number)
        return Answer(200, {"stream": job.key[1], "closed": True})

    def _snapshot(self, job: Job) -> Answer:
        return Answer(200, to_bytes(self.pool.state_dict(self._needed(job.key).number)))

    def _restore(self, job: Job) -> Answer:
        number = self._residents.number(job.key)
        if number is not None and not job.replace:
            raise RefusedError(409, "there is a stream of this name; close it first, or say replace=true")
        try:
            tensors = from_bytes(job.data or b"")
            unpack(self.engine, tensors)
        except (ValueError, TypeError, IndexError, RuntimeError, OverflowError) as error:
            words = str(error) if isinstance(error, ValueError) else "the snapshot is damaged; use one that is whole"
            raise RefusedError(422, words) from error
        if number is not None:
            self._close(job)  # under a new number, what the log holds of the old stream does not count
        held = self._residents.begin(job.key)
        self.pool.load_state_dict(held.number, tensors)
        self._residents.keep(held)
        return Answer(201 if number is None else 200, {"stream": job.key[1], "count": self.pool.count(held.number)})

    def _needed(self, key: Key) -> Held:
        self._residents.fetch([key])
        if key not in self._residents:
            raise _unknown()
        return self._residents[key]


def _plain(value: Any) -> Any:
    """Labels and numbers as JSON has them; null for what is not finite."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return [_plain(one) for one in np.asarray(value)] if value.ndim else None
        return value.tolist()
    return value


def _unknown() -> RefusedError:
    return RefusedError(404, "there is no such stream; push a sample to begin one, or check the name and the token")
