"""Estimators out of the files that their `save` wrote."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from sktime.base import load

__all__ = ["load_estimator"]


def load_estimator(path: str | Path) -> Any:
    """Reads a fitted estimator of this toolkit from the file that `estimator.save(path)` wrote.

    The file holds a pickle, and reading one runs code that it holds: read only files of your own.

    Args:
        path: The file, with its ending `.zip`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or holds something else.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from seqkit.estimators import HiPPOFeaturesClassifier
        >>> X, y = np.random.default_rng(0).normal(size=(6, 2, 20)), np.array(list("ababab"))
        >>> fitted = HiPPOFeaturesClassifier(n_filters=50, random_state=0).fit(X, y)
        >>> file = Path(tempfile.mkdtemp()) / "fitted"
        >>> _ = fitted.save(str(file))
        >>> bool((load_estimator(f"{file}.zip").predict(X) == fitted.predict(X)).all())
        True
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give the .zip that an estimator's save() wrote")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a file that an estimator's save() wrote, or it is damaged; save it again")
    try:
        fitted = load(path)
    except (KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise ValueError(f"{path} is not a file that an estimator's save() wrote, or it is damaged: {error}") from error
    if not hasattr(fitted, "streaming_engine"):
        raise ValueError(f"{path} holds a {type(fitted).__name__}, which is no estimator of this toolkit")
    return fitted
