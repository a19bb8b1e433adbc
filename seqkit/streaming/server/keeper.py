"""The streams of a server: as many in memory as allowed, all of them in a store, and none ahead of it."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.streaming.engine import Array, Engine
from seqkit.streaming.pool import StreamPool
from seqkit.streaming.server.jobs import Answer, Job, Key, RefusedError
from seqkit.streaming.server.store import Entry, Store, StoreError
from seqkit.streaming.server.uniform import UniformEngine
from seqkit.streaming.server.waves import Tally, take, waves
from seqkit.streaming.snapshot import from_bytes, to_bytes, unpack
from seqkit.streaming.stream import answer

__all__ = ["Keeper"]

log = logging.getLogger("seqkit.serve")

CUT_ROWS, STORED_AT_ONCE = 2048, 8
MOST_BYTES_AT_START = 1 << 29


@dataclass(slots=True)
class Held:
    """A stream in memory: its number in the store and the pool, and samples that the stored state lacks."""

    number: int
    tail: int
    due: int


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
        self.resident = check_positive_int("resident", resident)
        self.store_every = check_positive_int("store_every", store_every)
        self.streams_per_client = check_positive_int("streams_per_client", streams_per_client)
        self.tally = Tally()
        self.pool = StreamPool(self.engine, capacity=_first_capacity(self.engine, resident), sample_rate=sample_rate)
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._entries: list[Entry] = []
        self._unstored: dict[int, int] = {}  # rows of the log where streams' unstored samples begin, oldest first
        self._cut = 0
        self._touched: set[Key] = set()
        self._counts = defaultdict(int, store.counts())

    def __len__(self) -> int:
        return len(self._held)

    @property
    def streams(self) -> int:
        """Streams of all clients, in memory or not."""
        return sum(self._counts.values())

    def recover(self) -> int:
        """Takes anew the samples that came after the last stored states; returns the number of streams concerned."""
        self._unstored = self.store.unfinished()
        numbers = list(self._unstored)
        for begin in range(0, len(numbers), self.resident):
            with self.store.transaction():
                self._load([(self.store.named(number), number) for number in numbers[begin : begin + self.resident]])
        self._touched.clear()
        return len(numbers)

    def handle(self, jobs: Sequence[Job]) -> list[Answer]:
        """Does jobs, each stream's in their order, and returns an answer to each."""
        answers: list[Answer] = [Answer(500, {})] * len(jobs)
        tally = Tally(**vars(self.tally))
        try:
            with self.store.transaction():
                for wave in waves(jobs):
                    for begin in range(0, len(wave), self.resident):
                        self._do(wave[begin : begin + self.resident], jobs, answers)
                self._flush()
                self._cut_log()
        except Exception as error:
            self._undo(tally)
            if isinstance(error, StoreError):
                log.error("the store cannot be written: %s", error)
                words = "the store cannot be written, so nothing was taken; make room on the server's disk and repeat"
                return [Answer(507, {"error": words})] * len(jobs)
            if len(jobs) > 1:  # one of them is to blame
                return [done for job in jobs for done in self.handle([job])]
            log.exception("a job failed")
            return [Answer(500, {"error": "the server failed on this request and took nothing of it; see its log"})]
        self._touched.clear()
        return answers

    def store_all(self) -> None:
        """Stores the state of each stream with samples since its last stored one."""
        keys = [key for key, held in self._held.items() if held.tail]
        for begin in range(0, len(keys), 256):  # a transaction of all of them could be large
            with self.store.transaction():
                for key in keys[begin : begin + 256]:
                    self._store(self._held[key])

    # --- one wave: each stream at most once ---

    def _do(self, wave: Sequence[int], jobs: Sequence[Job], answers: list[Answer]) -> None:
        for k in wave:
            if jobs[k].key in self._held:
                self._held.move_to_end(jobs[k].key)  # what is needed now is not what makes room
        for k in wave:
            if jobs[k].op != "push":
                try:
                    answers[k] = getattr(self, f"_{jobs[k].op}")(jobs[k])
                except RefusedError as refusal:
                    answers[k] = refusal.answer()
        self._push([k for k in wave if jobs[k].op == "push"], jobs, answers)

    def _push(self, wave: Sequence[int], jobs: Sequence[Job], answers: list[Answer]) -> None:
        self._fetch([jobs[k].key for k in wave])
        ready, new = [], set()
        for k in wave:
            try:
                if jobs[k].key not in self._held:
                    self._begin(jobs[k].key)
                    new.add(k)
                if self._is_due(jobs[k]):
                    ready.append(k)
                else:
                    self.tally.repeated += 1
                    answers[k] = self._answer(jobs[k].key, repeated=True)
            except RefusedError as refusal:
                answers[k] = refusal.answer()
        self._touched.update(jobs[k].key for k in ready)
        before = {k: self.pool.count(self._held[jobs[k].key].number) for k in ready}
        batch = [(self._held[jobs[k].key].number, jobs[k].values, jobs[k].times) for k in ready]
        for k, failure in zip(ready, take(self.pool, self.tally, batch), strict=True):
            if failure is None:
                self._note(jobs[k], before[k])
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
        have = self.pool.count(self._held[job.key].number)
        if job.count == have:
            return True
        if job.count + job.samples <= have:
            return False
        raise RefusedError(409, f"the stream has {have} samples and `count` is {job.count}; push on from sample {have}")

    def _note(self, job: Job, before: int) -> None:
        """Writes down a push that the pool has taken."""
        held = self._held[job.key]
        assert job.values is not None  # a push has values
        times = None if job.times is None else job.times.tobytes()
        self._entries.append(Entry(held.number, before, job.samples, job.values.tobytes(), times))
        self.tally.samples += job.samples
        held.tail += job.samples
        if held.tail >= held.due:
            self._store(held)

    def _answer(self, key: Key, *, repeated: bool = False) -> Answer:
        """The newest prediction of a stream."""
        number = self._held[key].number
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
        if self._number(job.key) is not None:
            raise RefusedError(409, "there is a stream of this name; go on with it, or close it first")
        self._add(job.key)
        return Answer(201, {"stream": job.key[1], "count": 0})

    def _predict(self, job: Job) -> Answer:
        self._needed(job.key)
        return self._answer(job.key)

    def _close(self, job: Job) -> Answer:
        number = self._number(job.key)
        if number is None:
            raise _unknown()
        self._flush()
        self.store.remove(number)
        self._unstored.pop(number, None)
        self._touched.add(job.key)
        self._counts[job.key[0]] -= 1
        if self._held.pop(job.key, None) is not None:
            self.pool.close(number)
        return Answer(200, {"stream": job.key[1], "closed": True})

    def _snapshot(self, job: Job) -> Answer:
        return Answer(200, to_bytes(self.pool.state_dict(self._needed(job.key).number)))

    def _restore(self, job: Job) -> Answer:
        number = self._number(job.key)
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
        self._begin(job.key)
        held = self._held[job.key]
        self.pool.load_state_dict(held.number, tensors)
        self._store(held)
        return Answer(201 if number is None else 200, {"stream": job.key[1], "count": self.pool.count(held.number)})

    # --- memory and store ---

    def _number(self, key: Key) -> int | None:
        held = self._held.get(key)
        return self.store.find(*key) if held is None else held.number

    def _needed(self, key: Key) -> Held:
        self._fetch([key])
        if key not in self._held:
            raise _unknown()
        return self._held[key]

    def _add(self, key: Key) -> int:
        if self._counts[key[0]] >= self.streams_per_client:
            raise RefusedError(429, f"a client may have {self.streams_per_client} streams; close some first")
        self._counts[key[0]] += 1
        self._touched.add(key)
        return self.store.add(*key)

    def _begin(self, key: Key) -> None:
        """A new stream, in memory."""
        number = self._add(key)
        self._make_room(1)
        self.pool.open(number)
        self._held[key] = self._fresh(number)

    def _fresh(self, number: int) -> Held:
        # Streams that began together must not all be stored at the same moment.
        return Held(number, 0, 1 + number % self.store_every)

    def _fetch(self, keys: Sequence[Key]) -> None:
        """Brings those of the streams that there are into memory."""
        away = [(key, self.store.find(*key)) for key in keys if key not in self._held]
        self._load([(key, number) for key, number in away if number is not None])

    def _load(self, streams: Sequence[tuple[Key, int]]) -> None:
        self._make_room(len(streams))
        for key, number in streams:
            state = self.store.state(number)
            if state is None:
                self.pool.open(number)
            else:
                self.pool.load_state_dict(number, from_bytes(state))
            self._held[key] = self._fresh(number)
            self._touched.add(key)
            self.tally.loaded += 1
        # None has unstored samples but after a start, or where the store could not be written.
        rows = {number: self._unstored[number] for _, number in streams if number in self._unstored}
        if not rows:
            return
        tails = self.store.tails(rows, min(rows.values()))
        for key, number in streams:
            self._held[key].tail = sum(entry.length for entry in tails.get(number, ()))
        for k in range(max(map(len, tails.values()))):
            failures = take(
                self.pool, self.tally, [self._samples(entries[k]) for entries in tails.values() if k < len(entries)]
            )
            assert not any(failures)  # they were taken before

    def _samples(self, entry: Entry) -> tuple[int, Array, Array | None]:
        values = np.frombuffer(entry.data, dtype=self.engine.sample_dtype)
        if entry.length > 1:
            values = values.reshape(entry.length, -1)
        return entry.stream, values, None if entry.times is None else np.frombuffer(entry.times)

    def _make_room(self, n: int) -> None:
        while len(self._held) + n > self.resident:
            key, held = next(iter(self._held.items()))
            self._touched.add(key)
            if held.tail:
                self._store(held)
            del self._held[key]
            self.pool.close(held.number)
            self.tally.evicted += 1

    def _store(self, held: Held) -> None:
        self._entries = [entry for entry in self._entries if entry.stream != held.number]  # the state holds them
        self._unstored.pop(held.number, None)
        self.store.keep(held.number, self.pool.count(held.number), to_bytes(self.pool.state_dict(held.number)))
        held.tail, held.due = 0, self.store_every
        self.tally.stored += 1

    def _flush(self) -> None:
        if self._entries:
            first = self.store.append(self._entries)
            for k, entry in enumerate(self._entries):
                self._unstored.setdefault(entry.stream, first + k)
            self._entries = []

    def _cut_log(self) -> None:
        """Forgets the beginning of the log; streams that would keep it for long are stored."""
        longest = 2 * self.store_every * max(256, len(self._unstored))
        for _ in range(STORED_AT_ONCE):
            number = next(iter(self._unstored), None)
            if number is None or self.store.newest_row - self._unstored[number] < longest:
                break
            key = self.store.named(number)
            self._fetch([key])
            self._touched.add(key)
            self._store(self._held[key])
        oldest = next(iter(self._unstored.values()), self.store.newest_row + 1)
        if oldest - self._cut >= CUT_ROWS:
            self.store.forget_before(oldest)
            self._cut = oldest

    def _undo(self, tally: Tally) -> None:
        """Takes out of memory what may be ahead of the store."""
        self._entries = []
        for key in self._touched:
            held = self._held.pop(key, None)
            if held is not None and held.number in self.pool:
                self.pool.close(held.number)
        self._touched.clear()
        self._counts = defaultdict(int, self.store.counts())
        self._unstored, self._cut = self.store.unfinished(), 0
        self.tally = tally


def _first_capacity(engine: Engine, resident: int) -> int:
    """Room at the start: all that is allowed, or what takes 512 MiB, as making room stops all streams for a while."""
    size = sum(tensor.nbytes for tensor in engine.fresh().values())
    while resident > 64 and resident * size > MOST_BYTES_AT_START:
        resident = -(-resident // 2)  # doubled some times it is what is allowed, or little more
    return resident


def _plain(value: Any) -> Any:
    """Labels and numbers as JSON has them; null for what is not finite."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return [_plain(one) for one in np.asarray(value)] if value.ndim else None
        return value.tolist()
    return value


def _unknown() -> RefusedError:
    return RefusedError(404, "there is no such stream; push a sample to begin one, or check the name and the token")
