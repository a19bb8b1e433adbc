"""A data set laid down once as one array of all samples, so that it opens at once and may be larger than memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.datasets.ondisk import FileSamples
from seqkit.datasets.rows import Array, LazyRows, Rows, StoredRows, has_nan
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import Source, cache_root, data_root
from seqkit.datasets.stored import parts_from, parts_to
from seqkit.files import write_whole
from seqkit.version import __version__

__all__ = ["LARGE", "Prepared", "load_prepared"]

LARGE = 64 * 2**20
"""Bytes of samples from which a set is prepared unless told otherwise; a smaller one loads nearly as fast."""

FORMAT = 2


class Prepared:
    """The folder of a prepared set: `samples.f32`, `index.npz` and `set.json`, and what was computed from them.

    Args:
        folder: The folder, as `open` found it or `write` made it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "toy"
        >>> sets = {"all": SeriesSet([np.zeros((2, 1)), np.ones((3, 1))], ["a", "b"])}
        >>> again = Prepared.write(folder, sets).sets["all"]
        >>> again.target, again.lengths.tolist(), again.values[1][:, 0].tolist()
        (['a', 'b'], [2, 3], [1.0, 1.0, 1.0])
    """

    def __init__(self, folder: Path, sets: dict[str, SeriesSet]) -> None:
        self.folder = folder
        self.sets = sets

    @classmethod
    def open(cls, folder: Path) -> Prepared | None:
        """The set in a folder, or None where there is none or it is damaged, foreign or of another layout."""
        try:
            facts = json.loads((folder / "set.json").read_text(encoding="utf-8"))
            if facts["format"] != FORMAT or facts["sums"] != _sums(folder):
                return None
            samples = FileSamples(folder / "samples.f32", tuple(facts["shape"]), "<f4")
            with np.load(folder / "index.npz", allow_pickle=False) as index:
                arrays = {name: index[name] for name in index.files}
            sets = {}
            for part, own in facts["parts"].items():
                gaps = arrays[f"{part}/gaps"]
                rows = StoredRows(
                    samples, arrays[f"{part}/starts"], arrays[f"{part}/lengths"], missing=bool(gaps.any())
                )
                sets[part] = parts_from(own, arrays, part, rows, gaps)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        return cls(folder, sets)

    @classmethod
    def write(cls, folder: Path, sets: dict[str, SeriesSet]) -> Prepared:
        """Lays a set down, one series at a time, whole or not at all.

        Raises:
            OSError: the folder cannot be written, or the disk is full; nothing is left behind.
            ValueError: a series cannot be read or is not usable.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear_parts(folder)
        part_folder = folder.with_name(f".part-{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
        part_folder.mkdir()
        try:
            arrays: dict[str, Array] = {}
            parts: dict[str, Any] = {}
            start = 0
            with (part_folder / "samples.f32").open("wb") as file:
                for part, series in sets.items():
                    gaps = []
                    for row in series.values:
                        file.write(np.ascontiguousarray(row, dtype="<f4").data)
                        gaps.append(has_nan(row))
                    parts[part], own = parts_to(series, part)
                    arrays |= own
                    lengths = series.lengths
                    arrays[f"{part}/starts"] = start + np.cumsum(lengths) - lengths
                    arrays[f"{part}/lengths"], arrays[f"{part}/gaps"] = lengths, np.array(gaps)
                    start += int(lengths.sum())
                file.flush()
                os.fsync(file.fileno())
            with (part_folder / "index.npz").open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                os.fsync(file.fileno())
            channels = next(iter(sets.values())).n_channels
            facts = {"format": FORMAT, "shape": [start, channels], "parts": parts, "sums": _sums(part_folder)}
            write_whole(part_folder / "set.json", lambda path: path.write_text(json.dumps(facts), encoding="utf-8"))
            if folder.is_dir():  # damaged, or of a process that was as fast as this one
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.unlink(missing_ok=True)
            part_folder.replace(folder)
        finally:
            shutil.rmtree(part_folder, ignore_errors=True)
        made = cls.open(folder)
        if made is None:
            raise OSError(f"{folder} was written and cannot be read again; the disk may be failing")
        return made

    def remember(self, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `compute` gives, kept in the folder under `key`, so that it is computed once.

        Args:
            key: Plain values that what is computed depends on, beside the set itself.
            compute: Gives plain values.
        """
        words = json.dumps(key, sort_keys=True)
        path = self.folder / f"kept-{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["key"] == words and isinstance(kept["value"], dict):
                return kept["value"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        value = compute()
        try:
            text = json.dumps({"key": words, "value": value})
            write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
        except OSError:  # it only costs computing again
            pass
        return value


def load_prepared(source: Source, prepared: bool | None = None) -> tuple[dict[str, SeriesSet], Prepared | None]:
    """The series of a source, from its prepared folder where there is one or the set is large enough to make one.

    The folder is `prepared/NAME-...` of the folder of downloaded data, or of the user's cache where that one is not to
    be written to. Its name holds the options of the source and the sizes and times of its files, so that what changed
    is prepared anew; the version before is removed.

    Args:
        source: The data set.
        prepared: True to prepare whatever its size, False not to, None for sets of more than `LARGE` bytes where there
            is a place with twice the room.

    Returns:
        The series by part, and the prepared set that they are read from, if they are.

    Raises:
        FileNotFoundError: the files of the source are not there.
        OSError: `prepared` is True and there is no place for it.
        ValueError: a file is damaged or not what it should be.
    """
    name = None if prepared is False else _folder_name(source)
    if name is None:
        if prepared:
            raise OSError(
                f"{source.name} cannot be prepared, since it does not say which files it is read from; "
                "leave `prepared` out"
            )
        return source.load(), None
    for place in _places():
        found = Prepared.open(place / name)
        if found is not None:
            return found.sets, found
    sets = source.load()
    size = sum(4 * int(series.lengths.sum()) * series.n_channels for series in sets.values())
    if prepared is None and size < LARGE:
        return sets, None
    if any(isinstance(one.values, Rows) and not isinstance(one.values, LazyRows | StoredRows) for one in sets.values()):
        return sets, None  # windows into series: written one by one they would multiply the samples
    reasons = []
    for place in _places():
        if _room(place) < 2 * size:
            reasons.append(f"{place} has no room for {size / 2**20:.0f} MB, or cannot be written")
            continue
        try:
            made = Prepared.write(place / name, sets)
        except OSError as error:
            reasons.append(f"{place}: {error.strerror or error}")
            continue
        _remove_older(made.folder)
        return made.sets, made
    if prepared:
        raise OSError(f"{source.name} cannot be prepared ({'; '.join(reasons)}); set SEQKIT_DATA to a folder with room")
    return sets, None


def _folder_name(source: Source) -> str | None:
    """NAME-OPTIONS-FILES, or None for a source that does not say what it depends on."""
    files = source.files()
    options = [f"{key}={_plain(value)}" for key, value in sorted(vars(source).items())]
    if not files or any(" at 0x" in text for text in options):  # an object that looks different each time
        return None
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(source.name).name)[:40]
    own = _short("\n".join([f"{type(source).__module__}.{type(source).__qualname__}", source.name, *options]))
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"{name}-{own}-{_short(f'{FORMAT} {__version__} {stats}')}"


def _plain(value: Any) -> str:
    return hashlib.sha256(value.tobytes()).hexdigest() if isinstance(value, np.ndarray) else repr(value)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _places() -> list[Path]:
    """Where prepared sets may lie: beside the downloads, else in the user's cache."""
    return list(dict.fromkeys([data_root() / "prepared", cache_root() / "prepared"]))


def _room(place: Path) -> int:
    """Free bytes at a place that may be written to, else -1."""
    while not place.exists():
        place = place.parent
    # The superuser may write anywhere; what is marked as read-only is meant to stay as it is.
    if not place.is_dir() or not os.access(place, os.W_OK) or not place.stat().st_mode & 0o222:
        return -1
    return shutil.disk_usage(place).free


def _sums(folder: Path) -> list[str]:
    """What tells that the files are those that were written: all of the index, size and ends of the samples."""
    samples = folder / "samples.f32"
    size = samples.stat().st_size
    with samples.open("rb") as file:
        ends = file.read(4096)
        file.seek(max(0, size - 4096))
        ends += file.read()
    return [
        hashlib.sha256((folder / "index.npz").read_bytes()).hexdigest(),
        f"{size} {hashlib.sha256(ends).hexdigest()}",
    ]


def _clear_parts(folder: Path) -> None:
    """Removes what a killed process left a day ago or longer."""
    for left in folder.parent.glob(f".part-{folder.name}-*"):
        if time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)


def _remove_older(folder: Path) -> None:
    own = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{own}-*"):
        if other.name != folder.name and len(other.name) == len(folder.name):
            shutil.rmtree(other, ignore_errors=True)
