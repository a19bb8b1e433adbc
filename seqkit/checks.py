"""The one place that words errors: what a value must be, what was given, what to do."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # methods of tensors are enough here, and listing data sets must not wait for torch
    from torch import Tensor

__all__ = [
    "IMPORT_FIRST",
    "NotFiniteError",
    "check_choice",
    "check_finite",
    "check_keys",
    "check_lengths",
    "check_not_negative",
    "check_path",
    "check_positive",
    "check_positive_int",
    "check_shape",
    "check_unit_interval",
    "check_whole",
    "missing_extra",
    "nearest",
]


IMPORT_FIRST = "one of your own must be imported first (--import FILE.py)"
"""What to do about a name that nobody has registered yet."""


class NotFiniteError(ValueError):
    """A value is NaN or infinite where only numbers are of use."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Words a hint with the allowed names nearest to `name`, or all of them when none is near.

    Example:
        >>> nearest("lsll", ["lssl", "s4d"])
        'did you mean lssl?'
        >>> nearest("zzz", ["lssl", "s4d"])
        'choose one of lssl, s4d'
    """
    names = sorted(str(item) for item in allowed)
    close = [item for item in names if item.lower() == name.lower()]
    close = close or difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose one of {', '.join(names)}" if names else "no other name is allowed here"


def check_choice(name: str, value: str, allowed: Iterable[str], *, own: bool = False) -> str:
    """Returns `value` when it is one of `allowed`.

    Args:
        name: What it is called.
        value: What was given.
        allowed: The names that there are.
        own: Whether people may register further ones, so that the sentence says how they become known.

    Raises:
        ValueError: it is not; the sentence names the nearest allowed values.

    Example:
        >>> check_choice("pool", "mean", ("mean", "last"))
        'mean'
    """
    allowed = list(allowed)
    if value not in allowed and own:
        close = nearest(str(value), allowed)
        hint = f", or {close}" if close.startswith("did") else ""  # all names stand in the sentence already
        raise ValueError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}; {IMPORT_FIRST}{hint}")
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}; {nearest(str(value), allowed)}")
    return value


def check_whole(kind: str, cls: type) -> None:
    """Refuses a class of which no object can be made.

    Raises:
        ValueError: it leaves out what its abstract class asks for; the sentence names it.

    Example:
        >>> check_whole("number", int)
    """
    lacking = sorted(getattr(cls, "__abstractmethods__", ()))
    if lacking:
        raise ValueError(f"a {kind} must define {', '.join(lacking)}, which {cls.__qualname__} lacks; write it there")


def check_keys(what: str, keys: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuses a key that nothing reads.

    Raises:
        ValueError: a key is not allowed; the sentence names the nearest ones.

    Example:
        >>> check_keys("model", ["order"], ["order", "dropout"])
    """
    allowed = list(allowed)
    for key in keys:
        if key not in allowed:
            raise ValueError(f"{what} has no key {key!r}; {nearest(key, allowed)}")


def check_positive(name: str, value: float) -> float:
    """Returns `value` when it is a finite number above zero.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_positive("dt", 0.1)
        0.1
    """
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be a finite number above 0, got {value!r}")
    return value


def check_not_negative(name: str, value: float) -> float:
    """Returns `value` when it is a finite number, 0 or above.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_not_negative("weight_decay", 0.0)
        0.0
    """
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
        raise ValueError(f"`{name}` must be a finite number, 0 or above, got {value!r}")
    return value


def check_positive_int(name: str, value: int) -> int:
    """Returns `value` when it is a whole number of at least 1.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_positive_int("order", 64)
        64
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}")
    return value


def check_unit_interval(name: str, value: float, *, open_end: bool = True) -> float:
    """Returns `value` when it lies in [0, 1), or in [0, 1] with `open_end=False`.

    Raises:
        ValueError: it does not.

    Example:
        >>> check_unit_interval("dropout", 0.2)
        0.2
    """
    inside = isinstance(value, (int, float)) and value >= 0 and (value < 1 if open_end else value <= 1)
    if not inside:
        raise ValueError(f"`{name}` must lie between 0 and 1{' (1 excluded)' if open_end else ''}, got {value!r}")
    return value


def check_path(name: str, value: object, advice: str) -> None:
    """Refuses arrays and frames where the name or path of data belongs.

    Raises:
        ValueError: the value is neither text nor a path.

    Example:
        >>> check_path("data", "walks.csv", "save the arrays first")
    """
    if not isinstance(value, (str, os.PathLike)):
        shape = getattr(value, "shape", None)
        of_shape = "" if shape is None else f" of shape {tuple(shape)}"
        raise ValueError(f"`{name}` must be a name or a path, got {type(value).__name__}{of_shape}; {advice}")


def check_shape(name: str, value: Tensor, shape: Sequence[int | str], advice: str = "") -> None:
    """Refuses a tensor whose shape differs from `shape`; a string in `shape` stands for any size.

    Raises:
        ValueError: the number of dimensions or a fixed size differs.

    Example:
        >>> import torch
        >>> check_shape("u", torch.zeros(2, 9, 3), ("B", "L", 3))
    """
    fits = value.dim() == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, value.shape, strict=False)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(
            f"`{name}` must have shape ({wanted}), got {tuple(value.shape)}{'; ' + advice if advice else ''}"
        )


def check_finite(name: str, value: Tensor, advice: str = "remove or fill these samples first") -> None:
    """Refuses NaN and infinite values, naming the first place.

    Raises:
        NotFiniteError: a value is NaN or infinite; a ValueError.

    Example:
        >>> import torch
        >>> check_finite("x", torch.ones(3))
    """
    finite = value.isfinite()
    if not bool(finite.all()):
        place = tuple(int(i) for i in (~finite).nonzero()[0])
        count = int((~finite).sum())
        raise NotFiniteError(f"`{name}` has {count} NaN or infinite values, the first at {place}; {advice}")


def check_lengths(lengths: Tensor, batch_size: int, longest: int) -> None:
    """Refuses lengths that are not whole numbers between 1 and the padded length, one per series.

    Raises:
        ValueError: wrong shape, dtype or value; the sentence names the first wrong series.

    Example:
        >>> import torch
        >>> check_lengths(torch.tensor([3, 5]), batch_size=2, longest=5)
    """
    if lengths.dim() != 1 or len(lengths) != batch_size:
        raise ValueError(f"`lengths` must have shape ({batch_size},), one per series, got {tuple(lengths.shape)}")
    if lengths.is_floating_point() or str(lengths.dtype) == "torch.bool":
        raise ValueError(f"`lengths` must be whole numbers, got dtype {lengths.dtype}")
    bad = ((lengths < 1) | (lengths > longest)).nonzero()
    if len(bad):
        i = int(bad[0])
        n = int(lengths[i])
        rule = "every series needs at least one sample" if n < 1 else f"the batch holds {longest} samples a series"
        raise ValueError(f"lengths[{i}] is {n}; {rule}")


def missing_extra(package: str, extra: str, purpose: str) -> ImportError:
    """Words the error for an optional package that is not installed.

    Example:
        >>> print(missing_extra("pandas", "data", "Reading CSV files"))
        Reading CSV files needs pandas, which is not installed; run: pip install 'seqkit[data]'
    """
    return ImportError(f"{purpose} needs {package}, which is not installed; run: pip install 'seqkit[{extra}]'")
