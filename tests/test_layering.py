"""An import only goes down the layers, and each optional library is imported in its own place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

# Folder on disk -> the name it is imported by. The links inside seqkit/ are not followed: each file counts once.
ROOTS = {"seqkit": "seqkit", "kernels": "seqkit.kernels", "datasets": "seqkit.datasets", "cli": "seqkit.cli"}

# Lowest first. A module may import its own package and rows below its own; the longest name that fits is the package.
# What everyone uses (`checks` words errors) lies under the kernels; the facade `seqkit` gathers names from all rows.
# The face of `seqkit.datasets` gathers readers and data modules, so it lies above both and they do not import it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("seqkit.checks", "seqkit.files", "seqkit.extensions", "seqkit.tune", "seqkit.version"),
    ("seqkit.kernels", "seqkit.batch", "seqkit.figures", "seqkit.registry"),
    ("seqkit.nn", "seqkit.hippo", "seqkit.structured", "seqkit.datasets"),
    ("seqkit.ssm", "seqkit.attention", "seqkit.longconv", "seqkit.datasets.module"),
    ("seqkit.models", "seqkit.datasets.__init__"),
    ("seqkit.tasks", "seqkit.streaming", "seqkit.distributed", "seqkit.distill", "seqkit.search"),
    ("seqkit.runs", "seqkit.bench"),
    ("seqkit.estimators",),
    ("seqkit.cli",),
    ("seqkit", "seqkit.__main__"),
)
HEIGHT = {package: height for height, row in enumerate(LAYERS) for package in row}

# What the rows alone would allow: data and learning meet in the row of `runs`, not before.
DATA = ("seqkit.datasets", "seqkit.datasets.module", "seqkit.datasets.__init__")
MAY_ONLY_IMPORT = {
    "seqkit.kernels": ("seqkit.checks",),
    **dict.fromkeys(DATA, (*LAYERS[0], "seqkit.batch", *DATA)),
}
LOWEST_USER_OF_DATA = HEIGHT["seqkit.runs"]

# Library -> the modules that may import it.
PLACES = {
    "lightning": (
        *("seqkit.tasks*", "seqkit.distill*", "seqkit.distributed*", "seqkit.datasets.module"),
        *("seqkit.estimators*", "seqkit.runs*", "seqkit.cli*"),
    ),
    "sktime": ("seqkit.estimators*", "seqkit.datasets.*"),
    "triton": ("seqkit.kernels.*.triton", "seqkit.kernels.*.triton.*"),
    "torchaudio": ("seqkit.datasets.speech*",),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), ("seqkit.streaming.export*",)),
    "pyspark": ("seqkit.streaming.spark*",),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client"), ("seqkit.streaming.server.*",)),
}
PLACES["pytorch_lightning"] = PLACES["lightning_fabric"] = PLACES["lightning"]

# The arithmetic needs torch alone; numba and its arrays may serve a CPU path's loops, triton has its place above.
KERNEL_LIBRARIES = {"torch": ("*",), "triton": ("*",), "numba": ("*.cpu", "*.loops"), "numpy": ("*.cpu", "*.loops")}


class Import(NamedTuple):
    """`module` imports `target` in `line` of its file."""

    module: str
    target: str
    line: int


def modules(root: Path) -> dict[str, Path]:
    """Every module of the four folders under its import name."""
    found = {}
    for folder, package in ROOTS.items():
        for path in sorted((root / folder).rglob("*.py")):
            inside = path.relative_to(root / folder).with_suffix("").parts
            found[".".join((package, *inside)).removesuffix(".__init__")] = path
    return found


def imports(root: Path) -> list[Import]:
    """Every import of every module: statements at any depth, and importlib.import_module with a literal name."""
    known = modules(root)
    return [
        Import(module, target, line)
        for module, path in known.items()
        for target, line in targets(ast.parse(path.read_text(encoding="utf-8")), module, path, known)
    ]


def targets(tree: ast.Module, module: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from seqkit import checks` takes a module, `from seqkit.checks import nearest` a name in one.
                name = f"{base}.{alias.name}"
                yield (name if name in known else base), node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno


def package_of(module: str) -> str | None:
    """The longest name in the table of layers that `module` is or lies in; a facade is its own files alone."""
    if module in {"seqkit", "seqkit.__main__"}:
        return module
    if module == "seqkit.datasets":
        return "seqkit.datasets.__init__"
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
    return next((name for name in names if name in HEIGHT), None)


def fault(found: Import) -> str | None:
    """What is wrong with one import of a module that has a place, or None."""
    library = found.target.split(".")[0]
    here = package_of(found.module)
    if here is None:
        return None
    if library in PLACES and not any(fnmatchcase(found.module, place) for place in PLACES[library]):
        return f"may not import {library}"
    if library != "seqkit":
        stranger = here == "seqkit.kernels" and library not in sys.stdlib_module_names
        if stranger and not any(fnmatchcase(found.module, place) for place in KERNEL_LIBRARIES.get(library, ())):
            return f"may not import {library}; kernels need torch alone"
        return None
    there = package_of(found.target)
    if there is None:
        return f"imports {found.target}, which has no place in the table of layers"
    if there == here:
        return None
    if HEIGHT[there] >= HEIGHT[here]:
        return f"imports {found.target}, which does not lie below it"
    if here in MAY_ONLY_IMPORT and there not in MAY_ONLY_IMPORT[here]:
        return f"imports {found.target}; {here} may only import {', '.join(MAY_ONLY_IMPORT[here])}"
    if there in DATA and here not in DATA and HEIGHT[here] < LOWEST_USER_OF_DATA:
        return f"imports {found.target}; data meets models and tasks in seqkit.runs, not before"
    return None


def faults(root: Path) -> list[str]:
    homeless = [f"{one} has no place in the table of layers" for one in modules(root) if package_of(one) is None]
    return homeless + [f"{one.module}:{one.line} {reason}" for one in imports(root) if (reason := fault(one))]


def test_imports_only_go_down(repository: Path) -> None:
    assert faults(repository) == []


def test_all_four_folders_are_read(repository: Path) -> None:
    found = modules(repository)
    for module in ("seqkit.checks", "seqkit.kernels", "seqkit.datasets", "seqkit.cli"):
        assert module in found
    assert len(set(found.values())) == len(found)
    assert any(one.module.startswith("seqkit.kernels.") and one.target == "torch" for one in imports(repository))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


BAD = {
    "up": ("seqkit/nn/a.py", "from seqkit.ssm import LSSL"),
    "up, plain import": ("seqkit/nn/a.py", "import seqkit.models.config"),
    "up, relative": ("seqkit/nn/deep/a.py", "from ...tasks import task"),
    "up, inside a function": ("seqkit/hippo/a.py", "def f():\n    from seqkit.models import x"),
    "up, for types only": ("seqkit/ssm/a.py", "if TYPE_CHECKING:\n    from seqkit.tasks import x"),
    "up, by importlib": ("seqkit/ssm/a.py", "import importlib\nimportlib.import_module('seqkit.runs')"),
    "up, module taken from the root": ("seqkit/nn/a.py", "from seqkit import models"),
    "sideways": ("seqkit/nn/a.py", "from seqkit.hippo import legs"),
    "facade from below": ("cli/train.py", "from seqkit import LSSL"),
    "facade, plain": ("seqkit/tasks/a.py", "import seqkit"),
    "kernels and batch": ("kernels/krylov/cpu.py", "from seqkit.batch import Batch"),
    "kernels and scipy": ("kernels/krylov/cpu.py", "import scipy.fft"),
    "kernels and numpy": ("kernels/krylov/reference.py", "import numpy as np"),
    "datasets and nn": ("datasets/module.py", "from seqkit.nn import GRU"),
    "datasets and kernels": ("datasets/mnist.py", "from seqkit.kernels import krylov"),
    "reader and data module": ("datasets/mnist.py", "from seqkit.datasets.module import DataModule"),
    "reader and the face of datasets": ("datasets/mnist.py", "from seqkit.datasets import load"),
    "tasks and datasets": ("seqkit/tasks/a.py", "from seqkit.datasets import load"),
    "models and datasets": ("seqkit/models/a.py", "from seqkit.datasets.mnist import load"),
    "lightning in a reader": ("datasets/mnist.py", "import lightning as L"),
    "lightning in a model": ("seqkit/models/a.py", "from lightning.pytorch import LightningModule"),
    "sktime in a task": ("seqkit/tasks/a.py", "import sktime.base"),
    "triton in a reference": ("kernels/krylov/reference.py", "import triton.language as tl"),
    "torchaudio in another reader": ("datasets/mnist.py", "import torchaudio"),
    "a package nobody placed": ("seqkit/helpers/a.py", "import math"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_import_is_found(case: str, tmp_path: Path) -> None:
    name, text = BAD[case]
    tree = {"seqkit/__init__.py": "", "seqkit/models/__init__.py": "", "seqkit/checks.py": "import torch"}
    assert faults(write(tmp_path, tree)) == []
    assert len(faults(write(tmp_path, {name: text}))) == 1


def test_a_good_tree_passes(tmp_path: Path) -> None:
    tree = {
        "seqkit/__init__.py": "import importlib\nimportlib.import_module('seqkit.models')",
        "seqkit/__main__.py": "from seqkit.cli.main import main",
        "seqkit/checks.py": "import torch",
        "seqkit/files.py": "import os",
        "seqkit/ssm/lssl.py": "from seqkit.nn import mixer\nfrom . import base\nfrom ..hippo.measures import legs",
        "seqkit/runs/train.py": "import lightning\nfrom seqkit.datasets.module import M\nfrom seqkit.tasks import T",
        "kernels/krylov/__init__.py": "from seqkit.checks import check_shape\nfrom seqkit.kernels.krylov import op",
        "kernels/krylov/triton.py": "import triton",
        "kernels/krylov/cpu.py": "import math\nimport numba\nimport torch",
        "datasets/module.py": "import lightning\nfrom seqkit.datasets.mnist import load\nfrom seqkit import files",
        "datasets/__init__.py": "from seqkit.datasets.module import M\nfrom seqkit.datasets.mnist import load",
        "datasets/speech_commands.py": "import torchaudio",
        "datasets/bundled.py": "import sktime",
        "cli/main.py": "def train():\n    from seqkit.runs import train",
    }
    assert faults(write(tmp_path, tree)) == []
