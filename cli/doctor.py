"""`seqkit doctor`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.show import as_json, table
from seqkit.version import __version__

__all__ = ["doctor"]

_PACKAGES = {
    "torch": "core",
    "numpy": "core",
    "scipy": "core",
    "safetensors": "core",
    "lightning": "train",
    "torchmetrics": "train",
    "sktime": "sktime",
    "scikit-learn": "sktime",
    "numba": "cpu",
    "triton": "gpu",
    "torchaudio": "audio",
    "matplotlib": "plot",
    "pooch": "data",
    "pandas": "data",
    "pyarrow": "data",
}


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """Say what is installed, what hardware is seen, and what to mend: for a look and for bug reports."""
    import torch

    packages = {name: _version(name) for name in _PACKAGES}
    root = os.environ.get("SEQKIT_DATA")
    facts = {
        "seqkit": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "no device",
        "SEQKIT_DATA": root or "not set",
    }
    advice = [
        f"{name} is missing: pip install 'seqkit[{extra}]'"
        for name, extra in _PACKAGES.items()
        if packages[name] is None
    ]
    if root and not Path(root).is_dir():
        advice.append(f"SEQKIT_DATA is {root}, which is no folder: correct it or unset it")
    if json_:
        as_json({**facts, "packages": packages, "advice": advice})
        return
    rows = [*facts.items(), *((name, found or "not installed") for name, found in packages.items())]
    table("seqkit doctor", ["", ""], rows)
    for line in advice or ["nothing to mend"]:
        typer.echo(line)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
