"""Out-of-fold targets on disk: a plan and a file a fold, checked by checksums, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from seqkit.distill.folds import Folds
from seqkit.files import write_whole

__all__ = ["FoldStore", "FoldValues", "OutOfFoldTargets", "fingerprint"]

FORMAT = 1
Array = np.ndarray[Any, Any]


def fingerprint(*parts: Any) -> str:
    """A checksum of arrays and plain values, to tell whether stored targets are of these data.

    Args:
        parts: Arrays, and anything that JSON can hold.

    Example:
        >>> fingerprint(np.arange(3), "a") == fingerprint(np.arange(3), "b")
        False
    """
    sums = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            sums.update(f"{part.dtype.str}{part.shape}".encode())
            sums.update(np.ascontiguousarray(part).tobytes())
        else:
            sums.update(json.dumps(part, sort_keys=True, default=str).encode())
        sums.update(b"\0")
    return sums.hexdigest()


class FoldValues(NamedTuple):
    """What is kept of a fold.

    Args:
        values: Probabilities or values, (m, k), float32.
        seen: Score of the teacher on what it was trained on.
        unseen: Score on the fold's samples.
        square: Mean squared residual of each value, (k,), of a regression; empty for classes.
    """

    values: Array
    seen: float
    unseen: float
    square: Array


@dataclass(frozen=True, eq=False)
class OutOfFoldTargets:
    """What teachers say of each training sample, and what they had seen.

    Args:
        ids: Name of each sample.
        folds: Which teacher labelled it.
        values: Probabilities (n, k), or values (n, k) of a regression, float32; NaN where no teacher labels a sample.
        classes: Labels in the order of the columns; empty for a regression.
        v: Variance of the residual at each sample, (n, k), of a regression; None for probabilities, whose variance is
            p (1 - p). It comes from the residuals of the other folds, so that a label has no part in its own.
        seen: For each fold the teacher's score on what it was trained on: accuracy, or mean squared error.
        unseen: The same on the samples that it labels.

    Example:
        >>> from seqkit.distill import in_sample_fold
        >>> OutOfFoldTargets(("a",), in_sample_fold(1), np.ones((1, 1), np.float32)).in_sample
        True
    """

    ids: tuple[str, ...]
    folds: Folds
    values: Array
    classes: tuple[str, ...] = ()
    v: Array | None = None
    seen: tuple[float, ...] = field(default=())
    unseen: tuple[float, ...] = field(default=())

    @property
    def in_sample(self) -> bool:
        """Whether teachers labelled what they were trained on."""
        return self.folds.in_sample

    @property
    def taught(self) -> Array:
        """Which samples a teacher labelled, (n,) bool."""
        return np.asarray(self.folds.fold >= 0)

    def overfit(self) -> float:
        """Score of the teachers on what they were trained on, less that on what they label: 0 where nothing overfits.

        Of a regression, one less the ratio of the two errors: 1 for a teacher that remembers every sample.
        """
        seen, unseen = float(np.mean(self.seen)), float(np.mean(self.unseen))
        if self.classes:
            return seen - unseen
        return 0.0 if unseen == 0 else 1 - seen / unseen


class FoldStore:
    """A folder of targets, written fold by fold.

        plan.json              what is to be labelled: ids, folds, classes, fingerprint, and a checksum of all that
        fold-000.safetensors   values of the samples of a fold, with the checksums of the plan and of themselves

    Args:
        path: The folder; None keeps everything in memory.

    Example:
        >>> import tempfile
        >>> from seqkit.distill import in_sample_fold
        >>> store = FoldStore(tempfile.mkdtemp())
        >>> store.begin(["a", "b"], in_sample_fold(2), ["x"], fingerprint("these data"))
        >>> store.write(0, np.ones((2, 1)), seen=0.5, unseen=0.5)
        >>> store.read(0).values.tolist()
        [[1.0], [1.0]]
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._memory: dict[int, FoldValues] = {}
        self._plan = ""

    def begin(self, ids: Sequence[Hashable], folds: Folds, classes: Sequence[str], of: str) -> None:
        """Writes the plan, or checks that the folder's is the same.

        Args:
            ids: Name of each sample.
            folds: Who labels what.
            classes: Labels in the order of the columns.
            of: Fingerprint of data, labels and teachers.

        Raises:
            FileExistsError: the path is a file.
            ValueError: the folder holds targets of other data, folds or teachers, or a damaged plan.
        """
        plan = {
            "format": FORMAT,
            "ids": [str(one) for one in ids],
            "fold": folds.fold.tolist(),
            "train": [_ranges(train) for train in folds.train],
            "in_sample": folds.in_sample,
            "classes": list(classes),
            "fingerprint": of,
        }
        self._plan = fingerprint(plan)
        if self.path is None:
            return
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file, and targets need a folder of their own; name another")
        file = self.path / "plan.json"
        if file.is_file():
            before = _read_plan(file)
            for key, what in (
                *(("ids", "samples"), ("classes", "classes"), ("fold", "folds"), ("train", "folds")),
                *(("in_sample", "folds"), ("fingerprint", "data or another teacher")),
            ):
                if before[key] != plan[key]:
                    raise ValueError(f"{self.path} holds targets of other {what}; name another folder or remove it")
            return
        text = json.dumps({**plan, "sha256": self._plan}) + "\n"
        write_whole(file, lambda part: part.write_text(text, encoding="utf-8"))

    def has(self, k: int) -> bool:
        """Whether fold k was labelled before; what is there is checked when it is read."""
        return k in self._memory if self.path is None else self._file(k).is_file()

    def write(self, k: int, values: Array, *, seen: float, unseen: float, square: Array | None = None) -> None:
        """Keeps what fold k's teacher says, whole or not at all.

        Args:
            k: Number of the fold.
            values: Probabilities or values of its samples, (m, k).
            seen: Score on what the teacher was trained on.
            unseen: Score on the fold's samples.
            square: Mean squared residual of each value on the fold's samples, (k,), of a regression.
        """
        values = np.ascontiguousarray(values, dtype=np.float32)
        square = np.zeros(0) if square is None else np.ascontiguousarray(square, dtype=np.float64)
        if self.path is None:
            self._memory[k] = FoldValues(values, float(seen), float(unseen), square)
            return
        about = {"plan": self._plan, "fold": str(k), "seen": repr(float(seen)), "unseen": repr(float(unseen))}
        about["sha256"] = fingerprint(values, square, about)
        write_whole(self._file(k), lambda part: save_file({"values": values, "square": square}, part, metadata=about))

    def read(self, k: int) -> FoldValues:
        """What was kept of fold k.

        Raises:
            ValueError: the file is damaged, or of another plan.
        """
        if self.path is None:
            return self._memory[k]
        file = self._file(k)
        try:
            with safe_open(file, framework="numpy") as opened:
                about, values = dict(opened.metadata() or {}), opened.get_tensor("values")
                square = opened.get_tensor("square")
            told = about.pop("sha256")
            mine, scores = fingerprint(values, square, about), (float(about["seen"]), float(about["unseen"]))
        except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
            raise ValueError(f"{file} is damaged; remove it, and its fold is labelled anew") from error
        if mine != told:
            raise ValueError(f"{file} is damaged (its checksum differs); remove it, and its fold is labelled anew")
        if about["plan"] != self._plan or about["fold"] != str(k):
            raise ValueError(f"{file} belongs to other targets; remove it, and its fold is labelled anew")
        return FoldValues(values, *scores, square)

    def load(self) -> OutOfFoldTargets:
        """All targets of a folder that is complete, for people who only have the folder.

        Raises:
            FileNotFoundError: no plan, or a fold that was not labelled yet.
            ValueError: a damaged file.
        """
        if self.path is None or not (self.path / "plan.json").is_file():
            raise FileNotFoundError(
                f"{self.path} holds no targets (no plan.json); name the folder they were written to"
            )
        plan = _read_plan(self.path / "plan.json")
        self._plan = fingerprint(plan)
        train = tuple(_places(ranges) for ranges in plan["train"])
        folds = Folds(np.array(plan["fold"], dtype=np.int64), train, in_sample=plan["in_sample"])
        missing = [k for k in range(folds.n_folds) if not self.has(k)]
        if missing:
            raise FileNotFoundError(
                f"{self.path} lacks fold {missing[0]} of {folds.n_folds}; resume the run that made it"
            )
        return self.gather(plan["ids"], folds, plan["classes"])

    def gather(self, ids: Sequence[Hashable], folds: Folds, classes: Sequence[str]) -> OutOfFoldTargets:
        """Joins the folds.

        Args:
            ids: Name of each sample.
            folds: Who labelled what.
            classes: Labels in the order of the columns; none for a regression.

        Raises:
            ValueError: a damaged file.
        """
        read = [self.read(k) for k in range(folds.n_folds)]
        width = read[0].values.shape[1]
        values = np.full((len(folds), width), np.nan, dtype=np.float32)
        for k, (found, *_) in enumerate(read):
            places = folds.members(k)
            if found.shape != (len(places), width):
                raise ValueError(
                    f"fold {k} must hold values of shape ({len(places)}, {width}), got {found.shape}; remove its file"
                )
            values[places] = found
        return OutOfFoldTargets(
            tuple(str(one) for one in ids),
            folds,
            values,
            tuple(classes),
            None if classes else _residual_variance(values, [one.square for one in read], folds),
            tuple(one.seen for one in read),
            tuple(one.unseen for one in read),
        )

    def _file(self, k: int) -> Path:
        assert self.path is not None  # only asked where there is a folder
        return self.path / f"fold-{k:03d}.safetensors"


def _residual_variance(values: Array, squares: list[Array], folds: Folds) -> Array:
    """Mean squared residual of the other folds, for each sample; of the only fold where there is one."""
    sizes = np.array([len(folds.members(k)) for k in range(folds.n_folds)], dtype=np.float64)
    sums = np.stack(squares) * sizes[:, None]
    out = np.ones_like(values)
    for k in range(folds.n_folds):
        others = np.arange(folds.n_folds) != k if folds.n_folds > 1 else np.ones(1, dtype=bool)
        out[folds.members(k)] = sums[others].sum(axis=0) / sizes[others].sum()
    return out


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        plan = dict(json.loads(file.read_text(encoding="utf-8")))
        told, version = plan.pop("sha256"), plan["format"]
        whole = fingerprint(plan) == told
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged; remove the folder, and all folds are labelled anew") from error
    if not whole:
        raise ValueError(
            f"{file} is damaged (its checksum differs); remove the folder, and all folds are labelled anew"
        )
    if not isinstance(version, int) or version > FORMAT:
        raise ValueError(f"{file} has format {version!r}, this seqkit reads up to {FORMAT}; upgrade seqkit")
    return plan


def _ranges(places: Array) -> list[list[int]]:
    """Rising places as ranges [first, past the last], which are few where folds are blocks."""
    if len(places) == 0:
        return []
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    return [[int(run[0]), int(run[-1]) + 1] for run in np.split(places, cuts)]


def _places(ranges: list[list[int]]) -> Array:
    return np.concatenate([np.arange(first, stop) for first, stop in ranges])
