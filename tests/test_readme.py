"""The README's Python runs as it stands."""

import re

import pytest


def blocks(repository):
    return re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.S)


@pytest.mark.parametrize("name", ["seqkit.LSSL", "HiPPOFeaturesClassifier"])
def test_example_runs(repository, name):
    (code,) = (code for code in blocks(repository) if name in code)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.slow
def test_training_example_reaches_what_the_readme_says(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = (code for code in blocks(repository) if "seqkit.train" in code)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["run"].metrics["accuracy"] >= 0.98
    assert names["model"].info.n_channels == 12
