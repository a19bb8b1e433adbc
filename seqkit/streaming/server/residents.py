"""The streams that a server has in memory, as many as allowed, and what of them the store does not hold yet."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from seqkit.checks import check_positive_int
from seqkit.streaming.engine import Array, Engine
from seqkit.streaming.pool import StreamPool
from seqkit.streaming.server.jobs import Job, Key, RefusedError
from seqkit.streaming.server.store import Entry, Store
from seqkit.streaming.server.waves import Tally, take
from seqkit.streaming.snapshot import from_bytes, to_bytes

__all__ = ["Held", "Residents"]

CUT_ROWS, STORED_AT_ONCE = 2048, 8
MOST_BYTES_AT_START = 1 << 29


@dataclass(slots=True)
class Held:
    """A stream in memory: its number in the store and the pool, and samples that the stored state lacks."""

    number: int
    tail: int
    due: int


class Residents:
    """Streams in memory over a store; all that changes them belongs into a transaction of the store.

    What changed since the last `settle` is remembered: `undo` takes it out of memory where the transaction failed.

    Args:
        engine: What is streamed.
        store: Where all streams lie.
        resident: Streams in memory at most; the least recently used one makes room.
        store_every: Samples of a stream after which its state is stored.
        streams_per_client: Streams that a client may have.
        sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> engine = MixerEngine(S4D(1, order=4))
        >>> store = Store(":memory:", engine.fingerprint, 1.0)
        >>> residents = Residents(engine, store, resident=2, store_every=8, streams_per_client=3, sample_rate=None)
        >>> with store.transaction():
        ...     held = [residents.begin(("", name)) for name in "abc"]
        >>> len(residents), residents.streams
        (2, 3)
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        *,
        resident: int,
        store_every: int,
        streams_per_client: int,
        sample_rate: float | None,
    ) -> None:
        self.engine = engine
        self.store = store
        self.resident = check_positive_int("resident", resident)
        self.store_every = check_positive_int("store_every", store_every)
        self.streams_per_client = check_positive_int("streams_per_client", streams_per_client)
        self.tally = Tally()
        self.pool = StreamPool(engine, capacity=_first_capacity(engine, resident), sample_rate=sample_rate)
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._entries: list[Entry] = []
        self._unstored: dict[int, int] = {}  # rows of the log where streams' unstored samples begin, oldest first
        self._cut = 0
        self._touched: set[Key] = set()
        self._counts = defaultdict(int, store.counts())

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: Key) -> bool:
        return key in self._held

    def __getitem__(self, key: Key) -> Held:
        return self._held[key]

    @property
    def streams(self) -> int:
        """Streams of all clients, in memory or not."""
        return sum(self._counts.values())

    def number(self, key: Key) -> int | None:
        """A stream's number in the store; None where there is no such stream."""
        held = self._held.get(key)
        return self.store.find(*key) if held is None else held.number

    def unstored(self) -> list[Key]:
        """Streams in memory with samples since their last stored state."""
        return [key for key, held in self._held.items() if held.tail]

    def recover(self) -> int:
        """Takes anew the samples that came after the last stored states; returns the number of streams concerned."""
        self._unstored = self.store.unfinished()
        numbers = list(self._unstored)
        for begin in range(0, len(numbers), self.resident):
            with self.store.transaction():
                self._load([(self.store.named(number), number) for number in numbers[begin : begin + self.resident]])
        self.settle()
        return len(numbers)

    def use(self, key: Key) -> None:
        """Makes a stream the last one to make room."""
        if key in self._held:
            self._held.move_to_end(key)

    def touch(self, keys: Iterable[Key]) -> None:
        """Remembers streams that change now."""
        self._touched.update(keys)

    def add(self, key: Key) -> int:
        """A new stream in the store alone; returns its number.

        Raises:
            RefusedError: 429: the client has as many as it may.
        """
        if self._counts[key[0]] >= self.streams_per_client:
            raise RefusedError(429, f"a client may have {self.streams_per_client} streams; close some first")
        self._counts[key[0]] += 1
        self._touched.add(key)
        return self.store.add(*key)

    def begin(self, key: Key) -> Held:
        """A new stream, in memory.

        Raises:
            RefusedError: as `add`.
        """
        number = self.add(key)
        self._make_room(1)
        self.pool.open(number)
        held = self._held[key] = self._fresh(number)
        return held

    def remove(self, key: Key, number: int) -> None:
        """Forgets a stream."""
        self._flush()
        self.store.remove(number)
        self._unstored.pop(number, None)
        self._touched.add(key)
        self._counts[key[0]] -= 1
        if self._held.pop(key, None) is not None:
            self.pool.close(number)

    def fetch(self, keys: Sequence[Key]) -> None:
        """Brings those of the streams that there are into memory."""
        away = [(key, self.store.find(*key)) for key in keys if key not in self._held]
        self._load([(key, number) for key, number in away if number is not None])

    def note(self, job: Job, before: int) -> None:
        """Writes down a push that the pool has taken, of a stream that had `before` samples."""
        held = self._held[job.key]
        assert job.values is not None  # a push has values
        times = None if job.times is None else job.times.tobytes()
        self._entries.append(Entry(held.number, before, job.samples, job.values.tobytes(), times))
        self.tally.samples += job.samples
        held.tail += job.samples
        if held.tail >= held.due:
            self.keep(held)

    def keep(self, held: Held) -> None:
        """Stores a stream's state."""
        self._entries = [entry for entry in self._entries if entry.stream != held.number]  # the state holds them
        self._unstored.pop(held.number, None)
        self.store.keep(held.number, self.pool.count(held.number), to_bytes(self.pool.state_dict(held.number)))
        held.tail, held.due = 0, self.store_every
        self.tally.stored += 1

    def write(self) -> None:
        """Brings the store up to memory, and forgets what it needs no longer: the end of a transaction."""
        self._flush()
        self._cut_log()

    def settle(self) -> None:
        """Forgets what changed: the transaction is in the store."""
        self._touched.clear()

    def undo(self, tally: Tally) -> None:
        """Takes out of memory what may be ahead of the store, and goes back to an earlier tally."""
        self._entries = []
        for key in self._touched:
            held = self._held.pop(key, None)
            if held is not None and held.number in self.pool:
                self.pool.close(held.number)
        self._touched.clear()
        self._counts = defaultdict(int, self.store.counts())
        self._unstored, self._cut = self.store.unfinished(), 0
        self.tally = tally

    def _fresh(self, number: int) -> Held:
        # Streams that began together must not all be stored at the same moment.
        return Held(number, 0, 1 + number % self.store_every)

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
                self.keep(held)
            del self._held[key]
            self.pool.close(held.number)
            self.tally.evicted += 1

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
            self.fetch([key])
            self._touched.add(key)
            self.keep(self._held[key])
        oldest = next(iter(self._unstored.values()), self.store.newest_row + 1)
        if oldest - self._cut >= CUT_ROWS:
            self.store.forget_before(oldest)
            self._cut = oldest


def _first_capacity(engine: Engine, resident: int) -> int:
    """Room at the start: all that is allowed, or what takes 512 MiB, as making room stops all streams for a while."""
    size = sum(tensor.nbytes for tensor in engine.fresh().values())
    while resident > 64 and resident * size > MOST_BYTES_AT_START:
        resident = -(-resident // 2)  # doubled some times it is what is allowed, or little more
    return resident
