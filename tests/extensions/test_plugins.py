"""Installed packages register by entry points: late, once, and one that fails is a warning."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

from seqkit.cli.importing import plain_warnings
from seqkit.extensions import ExtensionWarning
from seqkit.streaming import csv_lines

GOOD = """
from seqkit.models import register_model
print("good is imported")
register_model("from_good", mixer="gru", summary="of a package")
"""
CALLED = """
def register():
    from seqkit.models import register_model
    register_model("from_called", mixer="lstm")
"""


def install(folder: Path, name: str, entry: str, text: str) -> None:
    """Lays a package down as pip does."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[seqkit.plugins]\n{name} = {entry}\n")
    (folder / f"{entry.partition(':')[0]}.py").write_text(text)


CODE = """
import contextlib, io, json, sys
import seqkit
from seqkit.cli.main import main
from seqkit.models import ModelConfig
from seqkit.extensions import origin_of

assert ModelConfig.preset("s4d").name == "s4d"
assert not [name for name in sys.modules if name.startswith("seqkit_")]
print("so far nothing")
assert ModelConfig.preset("from_good").mixer == "gru"
print(origin_of("model", "from_good"))
sys.argv = ["seqkit", "models", "--json"]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    main()
listed = json.loads(shown.getvalue())
print(listed["from_good"]["summary"], "from_called" in listed)
try:
    ModelConfig.preset("from_broken")
except ValueError as error:
    print("from_called, from_good, got 'from_broken'" in str(error))
"""


def test_packages_are_asked_late_and_one_that_fails_is_a_warning(tmp_path):
    install(tmp_path, "seqkit-good", "seqkit_good", GOOD)
    install(tmp_path, "seqkit-called", "seqkit_called:register", CALLED)
    install(tmp_path, "seqkit-broken", "seqkit_broken", "import no_such_package_of_mine\n")
    surroundings = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CODE], env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "so far nothing",
        "good is imported",
        "Origin(kind='package', name='seqkit-good', mark='1.0')",
        "of a package True",
        "True",
    ]
    assert (
        done.stderr.count("ExtensionWarning: the package seqkit-broken could not be loaded (ModuleNotFoundError: ") == 1
    )


def test_the_doctor_names_packages_and_what_they_registered(tmp_path):
    install(tmp_path, "seqkit-called", "seqkit_called:register", CALLED)
    install(tmp_path, "seqkit-broken", "seqkit_broken", "import no_such_package_of_mine\n")
    surroundings = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-m", "seqkit", "doctor", "--json"]
    done = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    broken, called = found["plugins"]
    assert called == {"package": "seqkit-called", "version": "1.0", "registers": ["model from_called"], "error": ""}
    assert (broken["package"], broken["registers"]) == ("seqkit-broken", [])
    assert "No module named 'no_such_package_of_mine'" in broken["error"]
    assert broken["error"] in found["advice"]
    assert done.stderr == ""


def test_the_command_line_shows_a_warning_as_a_line(capsys, monkeypatch):
    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest, **more: others.append(str(message)))
    with plain_warnings():
        warnings.simplefilter("always")
        warnings.warn("the package b could not be loaded", ExtensionWarning, stacklevel=1)
        warnings.warn_explicit("times are not read", UserWarning, csv_lines.__file__, 1)
        warnings.warn_explicit("somebody else's", UserWarning, "/elsewhere/other.py", 7)
    assert others == ["somebody else's"]
    assert capsys.readouterr().err == "note: the package b could not be loaded\nnote: times are not read\n"
