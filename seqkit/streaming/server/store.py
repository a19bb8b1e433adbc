"""States and newest samples of streams in one SQLite file, so that a killed server goes on where it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from seqkit.checks import check_choice

__all__ = ["DURABILITY", "Entry", "Store", "StoreError"]

DURABILITY = {"process": "NORMAL", "power": "FULL"}
"""What acknowledged samples outlive: the end of the process, or the loss of power (each commit waits for the disk)."""

FORMAT = 1
PAGES_BEFORE_CHECKPOINT = 16000

TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY, client TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (client, name));
CREATE TABLE IF NOT EXISTS states (stream INTEGER PRIMARY KEY, count INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS samples (
    row INTEGER PRIMARY KEY, stream INTEGER, place INTEGER, length INTEGER, data BLOB NOT NULL, times BLOB);
"""


LACKING = """samples JOIN streams ON streams.id = samples.stream LEFT JOIN states USING (stream)
WHERE place >= coalesce(states.count, 0)"""


class StoreError(RuntimeError):
    """The store could not be written: the disk is full, or the file is gone or damaged."""


class Entry(NamedTuple):
    """Samples of one push, as they were taken.

    Args:
        stream: Number of the stream.
        place: Samples of the stream before these.
        length: How many samples they are.
        data: Their values in the engine's dtype, NaN where one is missing.
        times: Their times in seconds, float64; None where they have none.
    """

    stream: int
    place: int
    length: int
    data: bytes
    times: bytes | None


class Store:
    """The embedded store: for each stream its last stored state and the samples since.

    Samples of all streams are one log, written at its end and forgotten from its beginning, so that a commit touches
    few pages. A sample in the log counts where the stored state of its stream lacks it.

    Writes go into SQLite's write-ahead log before a commit returns, so they outlive a killed process; with
    durability "power" each commit also waits for the disk. One process at a time may have the file open.

    Args:
        path: The file; it is made if needed. ":memory:" for one that is forgotten.
        fingerprint: That of the engine whose states lie there.
        first_step: Step of samples without a time, in units of the training step.
        durability: "process" or "power".

    Raises:
        ValueError: a file of another model, another rate or another version.
        OSError: the file is in use, or cannot be opened.

    Example:
        >>> store = Store(":memory:", "ab", 1.0)
        >>> with store.transaction():
        ...     number = store.add("", "a")
        ...     row = store.append([Entry(number, 0, 1, b"1234", None)])
        >>> store.find("", "a") == number, store.unfinished(), len(store.tails([number])[number])
        (True, {1: 1}, 1)
    """

    def __init__(self, path: str | Path, fingerprint: str, first_step: float, *, durability: str = "process") -> None:
        level = DURABILITY[check_choice("durability", durability, DURABILITY)]
        self.path = str(path)
        if self.path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            # Only the thread that works through the queue uses it after this.
            self._db = sqlite3.connect(self.path, timeout=2, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BEFORE_CHECKPOINT}")
            self._db.execute("PRAGMA foreign_keys = OFF")
            self._db.executescript(TABLES)
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OSError(
                    f"the store {path} is in use by another process; stop that one, or give another"
                ) from error
            raise OSError(f"the store {path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is no store of streams ({error}); give another file") from error
        self._check({"format": str(FORMAT), "model": fingerprint, "first step": repr(first_step)})
        # Samples of closed streams may still lie in the log, so their numbers are not free.
        [self._newest] = self._db.execute(
            "SELECT max(coalesce((SELECT max(id) FROM streams), 0), coalesce((SELECT max(stream) FROM samples), 0))"
        ).fetchone()
        [self._row] = self._db.execute("SELECT coalesce(max(row), 0) FROM samples").fetchone()

    def _check(self, facts: dict[str, str]) -> None:
        """Writes what the states belong to, or compares it with what lies there."""
        known = dict(self._db.execute("SELECT name, value FROM facts"))
        for name, value in facts.items():
            if known.setdefault(name, value) != value:
                self.close()
                raise ValueError(
                    f"the store {self.path} has {name} {known[name][:8]} and not {value[:8]}; give the file that "
                    "belongs to this model and sampling rate, or a new one"
                )
        self._db.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts.items())

    def transaction(self) -> Transaction:
        """All that is written inside is kept together, or nothing of it."""
        return Transaction(self._db)

    def find(self, client: str, name: str) -> int | None:
        """Number of a stream, or None."""
        found = self._db.execute("SELECT id FROM streams WHERE client = ? AND name = ?", (client, name)).fetchone()
        return None if found is None else int(found[0])

    def add(self, client: str, name: str) -> int:
        """Begins a stream and returns its number, which no other stream had since the store was opened."""
        self._newest += 1
        self._db.execute("INSERT INTO streams VALUES (?, ?, ?)", (self._newest, client, name))
        return int(self._newest)

    def remove(self, stream: int) -> None:
        """Forgets a stream; what the log holds of it does not count any more."""
        self._db.execute("DELETE FROM streams WHERE id = ?", (stream,))
        self._db.execute("DELETE FROM states WHERE stream = ?", (stream,))

    def append(self, entries: Sequence[Entry]) -> int:
        """Adds samples to the log; returns the row of the first, the others follow."""
        first = self._row + 1
        self._row += len(entries)
        rows = ((first + k, *entry) for k, entry in enumerate(entries))
        self._db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", rows)
        return int(first)

    @property
    def newest_row(self) -> int:
        """The last row of the log."""
        return int(self._row)

    def forget_before(self, row: int) -> None:
        """Cuts the beginning of the log off."""
        self._db.execute("DELETE FROM samples WHERE row < ?", (row,))

    def keep(self, stream: int, count: int, state: bytes) -> None:
        """Stores a state that holds the first `count` samples."""
        self._db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (stream, count, state))

    def state(self, stream: int) -> bytes | None:
        """Last stored state, None where there is none yet."""
        found = self._db.execute("SELECT data FROM states WHERE stream = ?", (stream,)).fetchone()
        return None if found is None else bytes(found[0])

    def unfinished(self) -> dict[int, int]:
        """Streams with samples that their stored states lack, and the row of the first of these, oldest first."""
        query = f"SELECT stream, min(row) FROM {LACKING} GROUP BY stream ORDER BY min(row)"
        return {int(stream): int(row) for stream, row in self._db.execute(query)}

    def tails(self, streams: Collection[int], since: int = 0) -> dict[int, list[Entry]]:
        """The samples that the stored states of streams lack, in their order.

        Args:
            streams: Numbers of the streams.
            since: Row of the log before which there are none.
        """
        found: dict[int, list[Entry]] = {stream: [] for stream in streams}
        query = f"SELECT stream, place, length, samples.data, times FROM {LACKING} AND row >= ? ORDER BY row"
        for row in self._db.execute(query, (since,)):
            if row[0] in found:
                found[row[0]].append(Entry(*row))
        return found

    def named(self, stream: int) -> tuple[str, str]:
        """Client and name of a stream."""
        client, name = self._db.execute("SELECT client, name FROM streams WHERE id = ?", (stream,)).fetchone()
        return client, name

    def counts(self) -> dict[str, int]:
        """Streams of each client."""
        return dict(self._db.execute("SELECT client, count(*) FROM streams GROUP BY client"))

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


class Transaction:
    """One transaction of a store; an error inside undoes it.

    Args:
        db: The connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
                return
            if self._db.in_transaction:  # a full disk ends a transaction by itself
                self._db.execute("ROLLBACK")
        except sqlite3.Error as failure:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StoreError(str(failure)) from failure
        if isinstance(error, sqlite3.Error):
            raise StoreError(str(error)) from error
