"""Names, options, and what may not be imported to list them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqkit.datasets import get_source, source_names, source_options


def test_unknown_names_and_options_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean japanese_vowels"):
        get_source("japanese_vowel")
    with pytest.raises(ValueError, match="did you mean permuted_mnist"):
        source_options("permuted_mnst")
    with pytest.raises(ValueError, match="data mnist has no key 'permutaton'; did you mean permutation"):
        get_source("mnist", permutaton="none")
    with pytest.raises(ValueError, match="data japanese_vowels has no key 'root'"):
        get_source("japanese_vowels", root="/data")
    with pytest.raises(ValueError, match="data 'folder' needs `path`"):
        get_source("folder")


def test_options_are_those_of_the_class() -> None:
    table = ("id", "time", "target", "channels", "task", "sample_rate", "form", "gaps")
    assert source_options("folder") == (*table, "horizon", "window", "stride", "season", "cut", "overlap")
    assert source_options("permuted_mnist") == ("permutation", "root")
    assert source_options("japanese_vowels") == ()


@pytest.mark.parametrize("name", [name for name in source_names() if name != "folder"])
def test_every_set_describes_itself(name: str) -> None:
    source = get_source(name)
    facts = source.describe()
    assert {"title", "task", "series", "lengths", "licence", "origin", "files"} <= set(facts)
    assert facts["task"] == source.info().task
    assert source.info().name == source.name == name


def test_listing_imports_nothing_heavy(repository: Path) -> None:
    script = (
        "import sys, seqkit.datasets as d\n"
        "[(d.get_source(n).describe(), d.get_source(n).info(), d.source_options(n))"
        " for n in d.source_names() if n != 'folder']\n"
        "print([m for m in ('torch', 'lightning', 'pandas', 'pyarrow', 'sktime') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"


def test_vowels_without_sktime_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs sktime, which is not installed; run: pip install 'seqkit\[sktime\]'"):
        get_source("japanese_vowels").prepare()
