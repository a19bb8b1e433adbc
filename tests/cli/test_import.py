"""`--import`: models and data sets of one's own at the command line, and runs that ask for them again."""

import json
import subprocess
import sys

import pytest
import yaml

from seqkit.cli.main import app, main

OWN = '''
import numpy as np
from torch import nn

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesSet, Source, register_source
from seqkit.models import register_model
from seqkit.nn import GRU, MaxPool, register_mixer, register_pool


@register_mixer("own_mixer")
class Own(GRU):
    """A GRU with an option."""

    def __init__(self, d_model: int, gain: float = 1.0) -> None:
        super().__init__(d_model)
        self.gain = gain


@register_pool("own_pool")
class OwnPool(MaxPool):
    pass


register_model("own_model", mixer="own_mixer", summary="a model of mine", sizes={"pool": "own_pool"})


@register_source("own_waves", waves=30)
class Waves(Source):
    name = "own_waves"

    def __init__(self, waves: int = 10) -> None:
        self.waves = waves

    def info(self):
        return DataInfo("own_waves", "classification", n_channels=1, classes=("fast", "slow"), max_length=20)

    def describe(self):
        return {"title": "Waves of mine", "task": "classification", "files": None}

    def prepare(self, *, offline=False):
        pass

    def read(self, path, split="all"):
        return SeriesSet([np.loadtxt(path)[:, None]])

    def load(self):
        rows = [np.sin((0.3 + i % 2) * np.arange(20.0 - i % 5))[:, None] for i in range(self.waves)]
        return {"all": SeriesSet(rows, [("slow", "fast")[i % 2] for i in range(self.waves)])}
'''
SMALL = ["epochs=1", "d_model=4", "n_layers=1", "device=cpu"]


@pytest.fixture
def forget(monkeypatch):
    """Makes this process a new one, as far as names go; also at the end."""
    from seqkit.datasets import registry
    from seqkit.extensions import code, origins
    from seqkit.models import config
    from seqkit.nn import mixer, pool

    kept = [
        mixer._MIXERS._classes,
        pool._POOLS._classes,
        config.PRESETS,
        registry._ENTRIES,
        code._GIVEN,
        origins._CLAIMS,
    ]
    before, modules, path = [dict(one) for one in kept], set(sys.modules), list(sys.path)

    def back() -> None:
        for one, old in zip(kept, before, strict=True):
            one.clear()
            one.update(old)
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", "")).endswith("own.py"):
                del sys.modules[name]
        sys.path[:] = path

    yield back
    back()


@pytest.fixture
def own(tmp_path, monkeypatch, forget):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


def test_every_command_that_takes_models_or_data_has_the_option():
    import typer

    root = typer.main.get_command(app)
    found = {}
    for name, command in root.commands.items():
        for inner, one in getattr(command, "commands", {"": command}).items():
            found[f"{name} {inner}".strip()] = any("--import" in option.opts for option in one.params)
    assert {name for name, has in found.items() if not has} == {"bench", "doctor"}


@pytest.mark.filterwarnings("always:run was made with another version")
def test_a_run_asks_for_what_it_was_trained_with(monkeypatch, capfd, own, forget):
    """The whole way of a model, a pooling and a data set of one's own."""
    words = ["train", "--import", "own.py", "--model", "own_model", "--data", "own_waves", "waves=40", "gain=2"]
    status, out, err = run(monkeypatch, capfd, *words, *SMALL, "--out", "run", "--json")
    assert status == 0, err
    assert json.loads(out.splitlines()[-1])["model"] == "own_model"
    config = yaml.safe_load((own.parent / "run" / "config.yaml").read_text())
    assert config["data"]["options"] == {"waves": 40}
    assert config["model"]["options"] == {"gain": 2}
    names = ["model own_model", "mixer own_mixer", "pool own_pool", "data own_waves"]
    assert [(one["file"], one["registers"]) for one in config["imports"]] == [(str(own), names)]
    saved = json.loads((own.parent / "run" / "model.json").read_text())
    assert saved["imports"][0]["registers"] == names[:3]

    forget()
    (own.parent / "new.csv").write_text("".join(f"{k % 3}\n" for k in range(9)))
    for command in (
        ["evaluate", "run"],
        ["predict", "run", "new.csv"],
        ["stream", "run"],
        ["export", "run"],
        ["train", "--resume", "--out", "run"],
        ["train", "--config", "run/config.yaml", "--dry-run"],
    ):
        status, out, err = run(monkeypatch, capfd, *command)
        assert (status, out) == (2, ""), command
        assert f"no run imports by itself; add --import {own} if you trust it" in err
        assert len(err.strip().splitlines()) == 1
    assert "own" not in sys.modules

    status, out, err = run(monkeypatch, capfd, "evaluate", "run", "--import", "own.py", "--json")
    assert status == 0, err
    assert json.loads(out.splitlines()[-1])["metrics"].keys() == {"accuracy", "loss"}
    forget()
    own.write_text(OWN + "\n# changed\n")
    status, out, err = run(monkeypatch, capfd, "train", "--resume", "--out", "run", "--import", "./own.py")
    assert status == 0
    assert "note: run was made with another version of own.py than the one that is imported" in err
    status, _, err = run(monkeypatch, capfd, "export", "run", "--import", "own.py")
    assert status == 2
    assert "got a Own" in err


def test_lists_and_descriptions_know_them(monkeypatch, capfd, own):
    status, out, _ = run(monkeypatch, capfd, "models", "--import", "own.py", "--json")
    assert (status, json.loads(out)["own_model"]["summary"]) == (0, "a model of mine")
    status, out, _ = run(monkeypatch, capfd, "data", "list", "--import", "own", "--json")
    assert json.loads(out)["own_waves"]["title"] == "Waves of mine"
    status, out, _ = run(monkeypatch, capfd, "data", "info", "own_waves", "--json")
    assert json.loads(out)["classes"] == ["fast", "slow"]
    status, out, _ = run(monkeypatch, capfd, "data", "prepare", "own_waves")
    assert out == "own_waves is ready\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "own_model"], "got 'own_model'; one of your own must be imported first (--import FILE.py)"),
        (
            ["--data", "own_waves"],
            "no file named 'own_waves'; one of your own must be imported first (--import FILE.py)",
        ),
        (["--import", "nowhere.py"], "nowhere.py is not there, so it cannot be imported"),
        (["--import", "faulty.py"], "faulty.py, line 3: ZeroDivisionError: division by zero; mend it"),
        (["--import", "own.py", "--model", "own_mode"], "or did you mean own_model?"),
        (["--import", "own.py", "--model", "own_model", "gian=2"], "did you mean gain?"),
    ],
)
def test_one_sentence_for_each_mistake(monkeypatch, capfd, own, words, said):
    (own.parent / "faulty.py").write_text("import math\n\nx = 1 / 0\n")
    status, _, err = run(monkeypatch, capfd, "train", *words)
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_how_to_go_on_names_the_file(own, forget):
    from seqkit.cli.importing import again
    from seqkit.extensions import import_code

    before = again()
    import_code("own.py")
    assert again() == f"{before} --import {own}"


@pytest.mark.slow
def test_processes_that_a_command_starts_know_them(own):
    """Ranks and trainings of a comparison are new processes."""
    common = ["--import", "own.py", "--data", "own_waves", *SMALL]
    for words in (
        ["compare", "--models", "own_model,gru", "--out", "c", "--json"],
        ["train", "--model", "own_model", "n_layers=2", "--parallel", "pipeline=2", "--out", "p", "--json"],
    ):
        command = [sys.executable, "-m", "seqkit", words[0], *common, *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        assert all(not row["note"] for row in answer.get("rows", []))
    words = [sys.executable, "-m", "seqkit", "train", "--resume", "--out", "p"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"add --import {own} if you trust it" in done.stderr
