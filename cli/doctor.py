"""`seqkit doctor`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from seqkit.cli.options import Json
from seqkit.cli.show import as_json, table
from seqkit.version import __version__

if TYPE_CHECKING:
    from seqkit.extensions import Plugin

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
    "pandas": "data",
    "pyarrow": "data",
    "optuna": "hpo",
    "fastapi": "serve",
    "onnxruntime": "export",
    "pyspark": "spark",
}


def doctor(
    json_: Json = False,
) -> None:
    """Say what is installed, what hardware is seen, and what to mend: for a look and for bug reports."""
    import torch

    from seqkit.extensions import find_plugins
    from seqkit.kernels.backend import VARIABLE
    from seqkit.kernels.explain import paths

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
        VARIABLE: os.environ.get(VARIABLE, "not set"),
        "compiled loops": _numba(packages["numba"]),
        "Triton kernels": _triton(),
    }
    plugins = find_plugins()
    operators = [one._asdict() for device in ("cpu", *(["cuda"] * torch.cuda.is_available())) for one in paths(device)]
    advice = [
        f"{name} is missing: pip install 'seqkit[{extra}]'"
        for name, extra in _PACKAGES.items()
        if packages[name] is None
    ]
    if root and not Path(root).is_dir():
        advice.append(f"SEQKIT_DATA is {root}, which is no folder: correct it or unset it")
    advice += [plugin.error for plugin in plugins if plugin.error]
    advice += sorted({one["reason"] for one in operators if one["backend"] is None})
    if json_:
        as_json(
            {
                **facts,
                "packages": packages,
                "plugins": [one._asdict() for one in plugins],
                "operators": operators,
                "advice": advice,
            }
        )
        return
    rows = [*facts.items(), *((name, found or "not installed") for name, found in packages.items())]
    rows += [(f"plugin {one.package}", _plugin(one)) for one in plugins] or [("plugins", "none installed")]
    table("seqkit doctor", ["", ""], rows)
    table(
        "operators, for float32 tensors", ["", "on", '"auto" takes', "cannot serve"], [_row(one) for one in operators]
    )
    for line in advice or ["nothing to mend"]:
        typer.echo(line)


def _numba(found: str | None) -> str:
    """Whether numba is there and loads: a numba that does not fit NumPy is installed and of no use."""
    if found is None:
        return "none: numba is not installed, and torch serves instead"
    try:
        import numba
    except Exception as error:  # whatever a broken installation raises
        return f"none: numba {found} does not load ({error})"
    return f"by numba {numba.__version__}"


def _triton() -> str:
    """Where Triton's kernels can run."""
    import torch

    from seqkit.kernels.backend import HAS_TRITON, interpreting

    if not HAS_TRITON:
        return "none: Triton is not installed"
    if interpreting():
        return "under the interpreter, slowly (TRITON_INTERPRET)"
    return "on CUDA devices" if torch.cuda.is_available() else "none: no CUDA device, and the interpreter is off"


def _plugin(plugin: Plugin) -> str:
    """What a package that registers names brought."""
    return f"{plugin.version}: {', '.join(plugin.registers) or ('not loaded' if plugin.error else 'registers nothing')}"


def _row(one: dict[str, Any]) -> tuple[str, str, str, str]:
    """An operator's line of the table."""
    form = "" if one["backend"] != "cpu" else " (loops by numba)" if one["compiled"] else " (torch)"
    missing = "; ".join(f"{path}: {why}" for path, why in one["refused"].items())
    return one["operator"], one["device"], f"{one['backend'] or 'nothing'}{form}", missing


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
