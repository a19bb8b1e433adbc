"""What a wheel, an sdist and the development install hold, and that nothing lands beside `seqkit` on a user's path."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

FOLDERS = {"seqkit": "seqkit", "kernels": "seqkit/kernels", "datasets": "seqkit/datasets", "cli": "seqkit/cli"}
LINKED = ("kernels", "datasets", "cli")


def python(
    *arguments: str, cwd: Path, executable: str = sys.executable, path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs Python with PYTHONPATH set to `path` and nothing else of the caller's."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    if path:
        environment["PYTHONPATH"] = path
    return subprocess.run(
        [executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def sources(root: Path) -> dict[str, Path]:
    """Place in the wheel -> file on disk, for modules, pages and the typing marker; links are not followed."""
    found = {
        f"{place}/{path.relative_to(root / folder).as_posix()}": path
        for folder, place in FOLDERS.items()
        for pattern in ("*.py", "*.html")
        for path in (root / folder).rglob(pattern)
    }
    return found | {"seqkit/py.typed": root / "seqkit/py.typed"}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def source_copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build from: setuptools writes build/ and egg-info beside the sources."""
    root = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, root / name)
    for folder in FOLDERS:
        shutil.copytree(repository / folder, root / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def build(source: Path, out: Path, *what: str) -> Path:
    result = python("-m", "build", "--no-isolation", *what, "--outdir", str(out), str(source), cwd=out)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source_copy, tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Interpreter of an empty environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    assert python("-m", "venv", "--without-pip", str(folder), cwd=folder).returncode == 0
    interpreter = str(folder / "bin" / "python")
    pip = ("-m", "pip", "--python", interpreter, "install", "--no-deps", "--no-index", "--quiet")
    result = python(*pip, str(wheel), cwd=folder)
    assert result.returncode == 0, result.stderr
    return interpreter


def test_package_list_is_the_disk(repository: Path, project: dict) -> None:
    on_disk = {place.rpartition("/")[0].replace("/", ".") for place in sources(repository) if "__init__.py" in place}
    listed = project["tool"]["setuptools"]["packages"]
    assert listed == sorted(listed)
    assert set(listed) == on_disk


def test_every_module_lies_in_a_package(repository: Path) -> None:
    found = sources(repository)
    assert [place for place in found if f"{place.rpartition('/')[0]}/__init__.py" not in found] == []


def test_wheel_holds_the_sources(repository: Path, wheel: Path) -> None:
    expected = {place: path.read_bytes() for place, path in sources(repository).items()}
    held = {name: data for name, data in contents(wheel).items() if ".dist-info/" not in name}
    assert set(held) == set(expected)
    assert held == expected


def test_wheel_has_one_top_level_name(wheel: Path, project: dict) -> None:
    version = project["project"]["version"]
    assert {name.split("/")[0] for name in contents(wheel)} == {"seqkit", f"seqkit-{version}.dist-info"}


def test_wheel_says_what_it_is(wheel: Path, project: dict) -> None:
    held = contents(wheel)
    info = f"seqkit-{project['project']['version']}.dist-info"
    metadata = held[f"{info}/METADATA"].decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert b"Apache License" in held[f"{info}/licenses/LICENSE"]
    assert "seqkit = seqkit.cli.main:main" in held[f"{info}/entry_points.txt"].decode()


def test_version_is_written_the_same_twice(repository: Path, project: dict) -> None:
    namespace: dict[str, str] = {}
    exec((repository / "seqkit/version.py").read_text(encoding="utf-8"), namespace)
    assert namespace["__version__"] == project["project"]["version"]


def test_sdist_builds_the_same_wheel(source_copy: Path, wheel: Path, tmp_path: Path) -> None:
    # Without a flag, `build` makes the sdist and then the wheel from the unpacked sdist.
    rebuilt = build(source_copy, tmp_path)
    assert len(list(tmp_path.glob("*.tar.gz"))) == 1
    assert contents(rebuilt) == contents(wheel)


def test_installed_wheel_adds_only_seqkit(installed: str, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u\n"
        f"names = {LINKED}\n"
        "print([n for n in names if u.find_spec(n)], [n for n in names if not u.find_spec('seqkit.' + n)])"
    )
    result = python("-P", "-c", code, cwd=tmp_path, executable=installed)
    assert result.stdout.strip() == "[] []", result.stdout + result.stderr
    assert (Path(installed).parent / "seqkit").is_file()


def test_installed_wheel_imports(repository: Path, installed: str, tmp_path: Path, project: dict) -> None:
    # The packages it depends on are lent by the environment that runs the tests; .pth files there stay unread, so the
    # development install is not found and every module comes from the wheel.
    packages = project["tool"]["setuptools"]["packages"]
    code = (
        "import importlib, pathlib, sys\n"
        f"files = [importlib.import_module(name).__file__ for name in {packages}]\n"
        "print({pathlib.Path(f).is_relative_to(sys.prefix) for f in files})"
    )
    result = python("-P", "-c", code, cwd=tmp_path, executable=installed, path=sysconfig.get_path("purelib"))
    assert result.stdout.strip() == "{True}", result.stdout + result.stderr


@pytest.mark.parametrize("name", LINKED)
def test_links_are_relative_and_committed(name: str, repository: Path) -> None:
    assert os.readlink(repository / "seqkit" / name) == f"../{name}"
    if not (repository / ".git").exists():
        pytest.skip("not a git clone: what is committed cannot be seen")
    listed = ["git", "ls-files", "--stage", f"seqkit/{name}"]
    mode = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=True).stdout.split()[0]
    assert mode == "120000"


def test_no_source_is_ignored_by_git(repository: Path) -> None:
    # A pattern such as `runs/` without its leading slash once hid a whole package from commits and from ruff.
    if not (repository / ".git").exists():
        pytest.skip("not a git clone: what is ignored cannot be seen")
    names = "\n".join(str(path.relative_to(repository)) for path in sources(repository).values())
    asked = ["git", "check-ignore", "--no-index", "--stdin"]
    ignored = subprocess.run(asked, cwd=repository, input=names, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == []
    assert ignored.returncode == 1, ignored.stderr


@pytest.mark.parametrize("name", LINKED)
def test_top_level_import_is_refused(name: str, repository: Path) -> None:
    # `python -c` puts the working folder on the path, where ./datasets would otherwise shadow Hugging Face's package.
    result = python("-c", f"import {name}", cwd=repository)
    assert result.returncode == 1
    assert f"ImportError: this folder is the package seqkit.{name}" in result.stderr


def test_development_install_serves_the_sources(repository: Path, tmp_path: Path) -> None:
    try:
        importlib.metadata.distribution("seqkit")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("seqkit is not installed here, only found on the path; `make venv` installs it")
    code = (
        "import importlib\n"
        "for name in ('seqkit', 'seqkit.nn', 'seqkit.kernels', 'seqkit.datasets', 'seqkit.cli'):\n"
        "    print(importlib.import_module(name).__file__)"
    )
    result = python("-P", "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {Path(line).resolve().is_relative_to(repository) for line in result.stdout.split()} == {True}
    assert len(result.stdout.split()) == 5
