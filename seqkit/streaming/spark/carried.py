"""What is sent to Spark's workers, and made ready there once in each process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyspark import cloudpickle

from seqkit.extensions import import_code
from seqkit.extensions.code import given_code
from seqkit.models import SequenceModel, load_model
from seqkit.streaming.engine import Engine
from seqkit.streaming.engines import as_engine

__all__ = ["Carried", "carry", "engine_of", "model_of"]

KEPT = 4
"""Models that a worker keeps ready; workers serve one query after the other."""


@dataclass(frozen=True)
class Carried:
    """A model on its way to the workers, by value: they need no folder in common with the driver.

    Spark pickles all that it sends to its own workers, and so is this; a run folder is read on the driver, and nothing
    of it is unpickled there.

    Args:
        digest: Tells one from another.
        content: The model or whatever is streamed, pickled.
        options: Keyword arguments of `as_engine`.
        code: Files and modules that the driver was told to import; a worker imports them by the same names.

    Example:
        >>> from seqkit import S4D
        >>> carried = carry(S4D(2, order=4), backend="torch")
        >>> engine_of(carried).kind, engine_of(carried) is engine_of(carried)
        ('S4D', True)
    """

    digest: str
    content: bytes = field(repr=False, compare=False)
    options: tuple[tuple[str, Any], ...] = ()
    code: tuple[str, ...] = ()


def carry(what: Any, **options: Any) -> Carried:
    """Packs a model, or the model of a run folder.

    Args:
        what: As for `Stream`.
        options: Keyword arguments of `as_engine`, for what is streamed.

    Raises:
        FileNotFoundError: there is no such run.
        TypeError: what cannot be sent.

    Example:
        >>> from seqkit import S4D
        >>> len(carry(S4D(2, order=4)).digest)
        64
    """
    if isinstance(what, (str, Path)):
        what = load_model(what)
    try:
        content = bytes(cloudpickle.dumps(what))  # type: ignore[no-untyped-call]
    except Exception as error:  # pickling raises whatever the object's own code raises
        raise TypeError(
            f"a {type(what).__name__} cannot be sent to Spark's workers ({error}); give a run folder or a model"
        ) from error
    code = tuple(origin.name for origin in given_code())
    return Carried(hashlib.sha256(content).hexdigest(), content, tuple(sorted(options.items())), code)


@lru_cache(maxsize=KEPT)
def engine_of(carried: Carried) -> Engine:
    """The engine, made on first use: a worker goes through many micro-batches, and loading takes longer than one."""
    return as_engine(_content(carried), **dict(carried.options))


@lru_cache(maxsize=KEPT)
def model_of(carried: Carried) -> SequenceModel:
    """The model, made on first use."""
    model: SequenceModel = _content(carried)
    return model.eval()


def _content(carried: Carried) -> Any:
    """What was sent, once the code that it needs is there."""
    for name in carried.code:
        try:
            import_code(name)
        except (FileNotFoundError, ImportError) as error:
            raise type(error)(
                f"the driver imported {name}, which this worker cannot ({error}); put it there on every worker"
            ) from error
    return cloudpickle.loads(carried.content)
