"""NumPy .npz files into series; nothing in them is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.batch import TaskKind
from seqkit.checks import nearest
from seqkit.datasets.npzlarge import in_place, rows_in_place
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.table import few_whole_numbers
from seqkit.datasets.timing import sampling

__all__ = ["read_npz"]

_ARRAYS = ("X", "values", "lengths", "y", "timestamps")
_SUFFIXES = ("", "_train", "_val", "_test")


def read_npz(path: Path, task: TaskKind | None = None, *, use_target: bool = True) -> dict[str, SeriesSet]:
    """Series of a .npz file by part, or as "all".

    Args:
        path: The file. It holds `X` (n, L, C) or (n, L), or for unequal lengths `X` and `lengths`, or `values`
            (total, C) and `lengths` (n,). Optional are `y` (n,), (n, T), (n, L, T) or, beside `values`, (total,) or
            (total, T); `timestamps` shaped like the samples; and `sample_rate`. Each array may carry _train, _val or
            _test.
        task: Meaning of `y` where its shape and kind leave it open.
        use_target: Whether `y` is looked at.

    Raises:
        ValueError: arrays that are missing, unknown, or do not fit; or pickled objects.
    """
    arrays = _open(path)
    known = [f"{name}{suffix}" for name in _ARRAYS for suffix in _SUFFIXES]
    for name in arrays:
        if name not in known and name != "sample_rate":
            close = nearest(name, [*known, "sample_rate"])
            hint = (
                close
                if close.startswith("did")
                else "save samples as X and targets as y, as numpy.savez(path, X=..., y=...) does"
            )
            raise ValueError(f"{path} has an array {name!r}, which nothing reads; {hint}")
    rate = float(arrays["sample_rate"]) if "sample_rate" in arrays else None
    parts = {}
    for suffix in _SUFFIXES:
        own = {name: arrays[f"{name}{suffix}"] for name in _ARRAYS if f"{name}{suffix}" in arrays}
        if not use_target:
            own.pop("y", None)
        if own:
            parts[suffix[1:] or "all"] = _series(own, suffix, rate, task, str(path))
    if not parts:
        raise ValueError(f"{path} has no array X; save it with numpy.savez(path, X=..., y=...)")
    if "all" in parts and len(parts) > 1:
        raise ValueError(f"{path} has arrays with and without _train, _val or _test; use one way of naming")
    return parts


def _open(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            out: dict[str, Array] = {}
            for name in arrays.files:
                large = in_place(path, arrays.zip, name) if name.startswith(("X", "values")) else None
                out[name] = arrays[name] if large is None else large
            return out
    except ValueError as error:
        if "pickle" in str(error):
            raise ValueError(
                f"{path} has an array of Python objects, which is not opened, since it could run code; save series of "
                "unequal lengths as values (total, C) and lengths (n,)"
            ) from None
        raise ValueError(f"{path} is not a readable .npz file ({error})") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or not a .npz file ({error})") from None


def _series(own: dict[str, Array], suffix: str, rate: float | None, task: TaskKind | None, origin: str) -> SeriesSet:
    if ("X" in own) == ("values" in own):
        raise ValueError(f"{origin} needs either X{suffix} or values{suffix} with lengths{suffix}, and has {list(own)}")
    samples = own["X"] if "X" in own else own["values"]
    if samples.dtype.kind not in "fiub":
        raise ValueError(f"the samples of {origin} must be numbers, got dtype {samples.dtype}")
    if samples.shape[:1] == (0,):
        raise ValueError(f"{origin} has no series; at least one is needed")
    ragged = "values" in own
    if ragged and "lengths" not in own:
        raise ValueError(f"{origin} has values{suffix} but no lengths{suffix}, the number of samples of each series")
    if samples.ndim == (1 if ragged else 2):
        samples = samples[..., None]  # one channel
    if samples.ndim != (2 if ragged else 3):
        wanted = "values (total, C)" if ragged else "X (n, L, C) or (n, L)"
        raise ValueError(f"{origin} must have {wanted}, got shape {samples.shape}")
    lengths = _lengths(own, samples, ragged, suffix, origin)
    timestamps, own_rate = None, None
    if "timestamps" in own:
        times = _cut(own["timestamps"].astype(np.float64), lengths, ragged, "timestamps", origin)
        timestamps, own_rate = sampling(times, [str(i) for i in range(len(lengths))], origin)
    return SeriesSet(
        values=rows_in_place(samples, lengths, origin)
        if isinstance(samples, np.memmap)
        else _cut(samples, lengths, ragged, "values", origin),
        target=_target(own.get("y"), lengths, samples, ragged, task, origin),
        timestamps=timestamps,
        sample_rate=rate if rate is not None else own_rate,
        origin=origin,
    )


def _lengths(own: dict[str, Array], samples: Array, ragged: bool, suffix: str, origin: str) -> Array:
    if "lengths" not in own:
        return np.full(len(samples), samples.shape[1])
    lengths = own["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise ValueError(f"lengths{suffix} of {origin} must be whole numbers (n,), got {lengths.dtype} {lengths.shape}")
    lengths = lengths.astype(np.int64)
    low = np.flatnonzero(lengths < 1)
    if len(low):
        raise ValueError(f"lengths[{low[0]}] is {lengths[low[0]]}; every series needs at least one sample ({origin})")
    if ragged and lengths.sum() != len(samples):
        raise ValueError(
            f"lengths{suffix} of {origin} add up to {lengths.sum()}, but values has {len(samples)} samples"
        )
    if not ragged and (len(lengths) != len(samples) or lengths.max() > samples.shape[1]):
        raise ValueError(f"lengths{suffix} of {origin} must be {len(samples)} numbers of at most {samples.shape[1]}")
    return lengths


def _cut(rows: Array, lengths: Array, ragged: bool, what: str, origin: str) -> list[Array]:
    if ragged and len(rows) == lengths.sum():
        return np.split(rows, np.cumsum(lengths)[:-1])
    if not ragged and rows.ndim >= 2 and len(rows) == len(lengths) and rows.shape[1] >= lengths.max():
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]
    raise ValueError(f"{what} of {origin} must be shaped like the samples, got {rows.shape}")


def _target(y: Array | None, lengths: Array, samples: Array, ragged: bool, task: TaskKind | None, origin: str) -> Any:
    if y is None:
        return None
    labels = y.dtype.kind in "USb" or (y.dtype.kind in "iu" and few_whole_numbers(y.ravel()))
    if not _per_sample(y, len(lengths), samples, ragged, task, labels, origin):
        if len(y) != len(lengths):
            raise ValueError(f"{origin} has {len(lengths)} series but y has {len(y)} targets")
        if y.ndim == 1 and labels:
            return [str(one) for one in y.tolist()]
        if y.ndim > 2 or y.dtype.kind not in "fiu":
            raise ValueError(f"y of {origin} must be (n,), (n, T) or one per sample, got {y.dtype} of shape {y.shape}")
        return y.astype(np.float64)
    rows = _cut(y, lengths, ragged, "y", origin)
    if labels and y.ndim == (1 if ragged else 2):
        return [np.array([str(one) for one in row.tolist()]) for row in rows]
    if y.dtype.kind not in "fiu":
        raise ValueError(f"y of {origin} has labels of shape {y.shape}; labels per sample need one axis fewer")
    return [row.astype(np.float64) for row in rows]


def _per_sample(
    y: Array, n: int, samples: Array, ragged: bool, task: TaskKind | None, labels: bool, origin: str
) -> bool:
    """Whether `y` has a target for each sample rather than for each series."""
    if ragged:
        fits = len(y) == len(samples)
        return fits and (len(y) != n or task == "sequence")
    if y.ndim < 2 or y.shape[:2] != samples.shape[:2]:
        return False
    if y.ndim == 3 or labels or task is not None:
        return y.ndim == 3 or labels or task == "sequence"
    raise ValueError(
        f"y of {origin} has shape {y.shape}, {y.shape[1]} values for a series or one for each sample; give task="
    )
