"""Each example says how it is run and what to expect, saves a picture, and stands in the list with it."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
LIST = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_says_how_it_is_run_and_draws(script):
    text = script.read_text(encoding="utf-8")
    words = ast.get_docstring(ast.parse(text)) or ""
    assert f"python examples/{script.name}" in words
    assert "Expect" in words
    assert re.search(r"save_figure|draw_|\.png", text.split('"""', 2)[2])


def test_the_list_has_each_script_once_with_its_picture():
    rows = re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \|.*\]\(([^)]+)\) \|$", LIST, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [script.name for script in SCRIPTS]
    for name, picture in rows:
        assert picture == f"pictures/{Path(name).stem}.png"
        assert (FOLDER / picture).read_bytes().startswith(b"\x89PNG")


def test_no_two_examples_share_a_number():
    numbers = [script.name[:2] for script in SCRIPTS]
    assert numbers == [f"{k + 1:02}" for k in range(len(SCRIPTS))]
