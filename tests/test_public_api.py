"""Every public name exists, says what it is and shows how it is used; siblings take the same options alike."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol

import pytest

import seqkit.attention
import seqkit.longconv
import seqkit.ssm  # noqa: F401 - all register their mixers
from seqkit.nn import Mixer, get_mixer, mixer_names

ROOT = Path(__file__).resolve().parent.parent
PLACES = {"seqkit": "seqkit", "kernels": "seqkit.kernels", "datasets": "seqkit.datasets", "cli": "seqkit.cli"}


def module_paths() -> dict[str, Path]:
    """Import name -> file, for every module a user may import."""
    found = {}
    for folder, package in PLACES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = path
    return {name: path for name, path in found.items() if not name.rpartition(".")[2].startswith("_")}


MODULES = module_paths()
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


def load(name: str) -> ModuleType:
    """Imports a module, or skips the test where a package that the module imports is not installed."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for imported in names:
            if find_spec(imported.split(".")[0]) is None:
                pytest.skip(f"needs {imported.split('.')[0]}, which is not installed")
    return importlib.import_module(name)


def fault(value: Any, *, needs_example: bool) -> str | None:
    """What a public class or function lacks, or None."""
    if not isinstance(value, (type, FunctionType)):
        return None
    text = value.__doc__ or ""
    # NamedTuple and dataclass write a signature into an empty docstring.
    if not text.strip() or (isinstance(value, type) and text.startswith(f"{value.__name__}(")):
        return "has no docstring"
    if not needs_example or ">>> " in text:
        return None
    if isinstance(value, type):
        structure = issubclass(value, tuple) or getattr(value, "_is_protocol", False)
        if structure or issubclass(value, Exception):
            return None
    return "shows no example"


def faults(module: ModuleType, *, needs_example: bool) -> list[str]:
    found = {name: fault(getattr(module, name), needs_example=needs_example) for name in module.__all__}
    return [f"{module.__name__}.{name} {reason}" for name, reason in found.items() if reason]


@pytest.mark.parametrize("name", MODULES)
def test_module_lists_its_names(name: str) -> None:
    # A package of commands, or one that only holds others, has nothing to list.
    module = load(name)
    text = MODULES[name].read_text(encoding="utf-8")
    defines = any(isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.ImportFrom)) for n in ast.parse(text).body)
    assert hasattr(module, "__all__") or not defines, f"{name} has no __all__"
    listed = list(getattr(module, "__all__", ()))
    assert [item for item in listed if not hasattr(module, item)] == []
    assert len(set(listed)) == len(listed)
    assert module.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_described(name: str) -> None:
    module = load(name)
    if hasattr(module, "__all__"):
        assert faults(module, needs_example=False) == []


@pytest.mark.parametrize("name", [package for package in PACKAGES if not package.startswith("seqkit.cli")])
def test_names_of_packages_show_an_example(name: str) -> None:
    # Commands show theirs in `--help`; what a package offers to scripts shows it as a doctest.
    module = load(name)
    if hasattr(module, "__all__"):
        assert faults(module, needs_example=True) == []


def options(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def disagreements(classes: list[type]) -> dict[str, dict[str, Any]]:
    """Options that siblings share by name and not by default: option -> class -> default."""
    by_option: dict[str, dict[str, Any]] = defaultdict(dict)
    for cls in classes:
        for option, default in options(cls).items():
            by_option[option][cls.__name__] = default
    return {option: found for option, found in by_option.items() if len({repr(value) for value in found.values()}) > 1}


def test_mixers_share_defaults() -> None:
    classes: list[type] = [get_mixer(name) for name in mixer_names()]
    assert len(classes) >= 5
    found = disagreements(classes)
    # A memory's window is its unit of time and must be given; that of attention counts samples.
    attention = {cls.__name__ for cls in classes if cls.__module__.startswith("seqkit.attention")}
    windows = found.pop("window", {})
    assert {repr(default) for cls, default in windows.items() if cls not in attention} <= {"None"}
    assert len({repr(default) for cls, default in windows.items() if cls in attention}) == 1
    assert found == {}


@pytest.mark.parametrize("name", mixer_names())
def test_mixer_takes_its_width_first(name: str) -> None:
    parameters = list(inspect.signature(get_mixer(name)).parameters.values())
    assert parameters[0].name == "d_model"
    assert {parameter.kind for parameter in parameters[1:]} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("method", ["forward", "initial_state", "step", "scan"])
@pytest.mark.parametrize("name", mixer_names())
def test_mixer_methods_have_the_contracts_signature(name: str, method: str) -> None:
    def shape(cls: type) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(getattr(cls, method)).parameters.values()
        return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]

    assert shape(get_mixer(name)) == shape(Mixer)


def test_the_checks_can_fail() -> None:
    class Silent: ...

    class Terse:
        """One sentence."""

    class Shown:
        """One sentence.

        >>> 1
        1
        """

    class Pair(NamedTuple):
        a: int

    class Contract(Protocol):
        """One sentence."""

    assert fault(Silent, needs_example=False) == "has no docstring"
    assert fault(Pair, needs_example=False) == "has no docstring"
    assert fault(Terse, needs_example=True) == "shows no example"
    assert fault(Terse, needs_example=False) is None
    assert fault(Shown, needs_example=True) is None
    assert fault(Contract, needs_example=True) is None

    class One:
        def __init__(self, d_model: int, *, order: int = 64, dropout: float = 0.0) -> None: ...

    class Two:
        def __init__(self, d_model: int, *, order: int = 32, dropout: float = 0.0) -> None: ...

    assert disagreements([One, Two]) == {"order": {"One": 64, "Two": 32}}
