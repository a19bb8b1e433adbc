"""A file or module of one's own is imported, once, and what fails in it is one sentence."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

from seqkit.extensions.origins import Origin, file_origin, importing

__all__ = ["given_code", "import_code"]

_GIVEN: dict[str, Origin] = {}
_RULE = "`--import` must name a file that ends in .py, or a module such as bells.layers"


def import_code(what: str | Path) -> ModuleType:
    """Imports a file or module, so that what it registers is known: the same as `--import`.

    A file is the module of its name, as `import bells` would have it, so the two are one; where another module has that
    name, or it is none, it is a module named after its path. Files beside it can be imported by it. Modules are also
    looked for in the working folder.

    Args:
        what: Path of a file that ends in .py, or the dotted name of a module.

    Returns:
        The module; the same one however often it is asked for.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: there is no such module, or its code failed; the sentence names the file and line.
        ValueError: neither the path of a Python file nor the name of a module.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "bells_of_mine.py"
        >>> _ = path.write_text("size = 3")
        >>> import_code(path).size
        3
    """
    text = str(what)
    if text.endswith(".py") or os.sep in text:
        return _import_file(Path(text).expanduser())
    if not all(part.isidentifier() for part in text.split(".")):
        raise ValueError(f"{_RULE}, got {text!r}")
    return _import_module(text)


def given_code() -> list[Origin]:
    """The files and modules that this process was told to import, in their order."""
    return list(_GIVEN.values())


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise FileNotFoundError(f"{path} {what}, so it cannot be imported; name a file that ends in .py, or a module")
    if path.suffix != ".py":
        raise ValueError(f"{_RULE}, got {str(path)!r}")
    path = path.resolve()
    origin = file_origin(path)
    module = _imported_already(path) or _execute(path, origin)
    _GIVEN[origin.name] = origin
    return module


def _imported_already(path: Path) -> ModuleType | None:
    """The module that this file already is, under whatever name, `__main__` included."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")  # as it stands: some modules import more when asked
        if isinstance(file, str) and Path(file).name == path.name and Path(file).resolve() == path:
            return module
    return None


def _execute(path: Path, origin: Origin) -> ModuleType:
    _look_in(path.parent)
    name = _name_of(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importing(origin):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sys.modules.pop(name, None)
        raise _failed(error, str(path), lambda frame: frame.f_code.co_filename == str(path)) from error
    return module


def _name_of(path: Path) -> str:
    """Name of the module that a file becomes: its own where Python would find this file by it, else one of its path."""
    stem = path.stem
    if stem.isidentifier() and stem not in sys.modules:
        spec = importlib.util.find_spec(stem)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path:
            return stem
    return f"seqkit_import_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def _import_module(name: str) -> ModuleType:
    _look_in(Path.cwd())
    origin, top = Origin("module", name), name.partition(".")[0]
    try:
        with importing(origin):
            module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and (name + ".").startswith(error.name + "."):
            raise ImportError(
                f"there is no module {name}; name one that Python finds from here, or a file that ends in .py"
            ) from error
        raise _failed(error, name, lambda frame: _top_of(frame) == top) from error
    _GIVEN[name] = origin
    return module


def _look_in(folder: Path) -> None:
    """Lets imports find what lies in a folder, after all else, so that nothing there stands in front of a library."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()  # the file may be younger than the last look


def _top_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _failed(error: BaseException, what: str, is_own: Callable[[FrameType], bool]) -> ImportError:
    """What went wrong, with the last place in the code that was to be imported."""
    place, line = what, None
    if isinstance(error, SyntaxError) and error.filename:
        place, line = error.filename, error.lineno
    trace = error.__traceback__
    while trace is not None:
        if not isinstance(error, SyntaxError) and is_own(trace.tb_frame):
            place, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    where = place if line is None else f"{place}, line {line}"
    said = (str(error).splitlines() or [""])[0]
    if isinstance(error, SyntaxError):
        said = error.msg
    words = type(error).__name__ + (f": {said}" if said else "")
    return ImportError(f"{where}: {words}; mend it, and import it again")
