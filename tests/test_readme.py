"""The README fits on a screen, its links lead somewhere, and a training ends where it says."""

import re

import pytest


@pytest.fixture
def readme(repository):
    return (repository / "README.md").read_text()


def test_a_reader_sees_it_at_once(readme):
    assert len(readme.splitlines()) <= 75
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len([line for line in block.splitlines() if line and not line.startswith("import")]) <= 5


def test_links_and_pictures_are_there(repository, readme):
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", readme) if "://" not in target}
    assert len(targets) > 10
    assert [target for target in sorted(targets) if not (repository / target).exists()] == []
    assert (repository / "docs" / "images" / "letter.png").stat().st_size < 100_000


@pytest.mark.slow
def test_training_example_reaches_what_the_readme_says(readme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["run"].metrics["accuracy"] >= 0.98
    assert names["stream"].predict() in names["seqkit"].load("runs/first").info.classes
