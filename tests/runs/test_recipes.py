"""The recipes of published experiments: each is read as `seqkit train --config` reads it, its model built in small."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seqkit.models import SequenceModel
from seqkit.models.config import model_options
from seqkit.runs import RunConfig, parse_settings, train
from seqkit.runs.source import build_source
from seqkit.runs.steps import fit_step_sizes

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
COMMAND = re.compile(r"seqkit (?:train|search) --config (\S+\.yaml)((?: --model \S+| --[\w-]+| [\w.]+=\S+)*)")


def name_of(path):
    return path.stem


def head(path):
    """The comment that a recipe begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]


def words_of(command):
    """Model and settings of the words behind `--config FILE`, without the stop of a sentence."""
    words = shlex.split(command.rstrip(".,;:)`"))
    model = words[words.index("--model") + 1] if "--model" in words else None
    return model, parse_settings(word for word in words if "=" in word)


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_is_read_and_says_what_it_is(path):
    comment = head(path)
    assert 1 <= len(comment) <= 5
    assert "ublish" in " ".join(comment)
    config = RunConfig.build(file=path)
    assert RunConfig.from_dict(config.to_dict()) == config
    assert build_source(config.data).name == config.data.name


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_model_answers_for_its_data(path):
    """Without the data: what is known of them is enough, as their length stands in for its median."""
    sizes = {"d_model": 8, **({"order": 8} if "order" in model_options(RunConfig.build(file=path).model.name) else {})}
    config = RunConfig.build(file=path, settings=sizes)
    info = build_source(config.data).info()
    longest = SimpleNamespace(sets={"train": SimpleNamespace(lengths=[info.max_length])})
    config = fit_step_sizes(config, longest)
    model = SequenceModel.from_config(config.model, info, seed=0).eval()
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 40, info.n_channels), dtype=np.float32))
    with torch.no_grad():
        answers = model(values)
    assert answers.shape == ((2, 40, info.n_outputs) if info.task == "sequence" else (2, info.n_outputs))
    assert answers.isfinite().all()
    assert not torch.equal(answers[0], answers[1])


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_commands_in_its_comment_are_right(path):
    text = "\n".join(head(path))
    found = COMMAND.findall(text)
    assert len(found) == text.count("--config ")  # none is written in a way that is not read here
    for file, rest in found:
        model, settings = words_of(rest)
        assert (ROOT / file).resolve() == path
        config = RunConfig.build(model=model, settings=settings, file=path)
        assert build_source(config.data).name == config.data.name


def test_lists_name_every_recipe():
    for page in ("RESULTS.md", "recipes/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        missing = [path.name for path in RECIPES if path.name not in text]
        assert not missing, f"{page} does not name {missing}"


def test_results_name_files_that_are_there():
    text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:recipes|benchmarks|examples|docs)/[\w./-]*\w\.(?:yaml|md|py|png)", text))
    missing = sorted(name for name in named if not (ROOT / name).is_file())
    assert len(named) > 20
    assert not missing


@pytest.mark.slow
def test_one_runs_from_its_file_to_an_answer(tmp_path):
    """Copying in small: two of four symbols, which half of the samples behind "now" would be right about by chance."""
    small = {"length": 12, "tokens": 2, "symbols": 4, "size": 600, "test_size": 100, "epochs": 6, "learning_rate": 0.01}
    shape = {"d_model": 32, "order": 16, "device": "cpu", "batch_size": 25}
    run = train(
        config=ROOT / "recipes/copying.yaml", model="s4d", out=tmp_path / "run", progress=False, **small, **shape
    )
    assert run.summary["n_series"] == {"train": 540, "val": 60, "test": 100}
    assert run.metrics["accuracy"] > 0.95  # 10/12 without memory, 10.5/12 by guessing
    again = RunConfig.build(file=tmp_path / "run" / "config.yaml")
    assert again.data.options["length"] == 12
    assert again.training.weight_decay == 0
