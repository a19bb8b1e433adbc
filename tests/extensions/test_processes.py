"""What this process imported for the user reaches the processes that it starts, and saved models name it."""

import json

import pytest
import torch
import yaml

from seqkit.batch import DataInfo
from seqkit.extensions import import_code
from seqkit.models import ModelConfig, SequenceModel, load_model, model_names, save_model
from seqkit.tasks.run_folder import RunFolder

PRESET = "from seqkit.models import register_model\nregister_model('own_here', mixer='gru')\n"
FAMILY = """
from seqkit.structured import LowRank, register_structure


@register_structure("own_family")
class Own(LowRank):
    pass
"""


class Started(Exception):  # noqa: N818 - the good end
    pass


def test_a_training_of_a_comparison_is_told_what_this_process_imported(mine, names, monkeypatch):
    from seqkit.runs import RunConfig
    from seqkit.runs.comparison import running

    path = mine / "own_here.py"
    path.write_text(PRESET)
    import_code(path)
    config = mine / "config.yaml"
    config.write_text(yaml.safe_dump(RunConfig.build("digits", "own_here").to_dict()))

    def start(command, **_):
        assert command[2:7] == ["seqkit.runs.comparison.child", str(config), str(mine / "r"), "--import", str(path)]
        raise Started

    monkeypatch.setattr(running.subprocess, "Popen", start)
    with pytest.raises(Started):
        running.run_training(config, RunFolder(mine / "r"), offline=True, quiet=True)


def test_a_training_of_a_comparison_imports_what_it_is_told(mine, names, monkeypatch, capsys):
    from seqkit.runs.comparison import child

    path = mine / "own_there.py"
    path.write_text(PRESET)
    monkeypatch.setattr(child, "train", lambda **_: print(json.dumps("own_here" in model_names())))
    assert child.main(["config.yaml", str(mine / "r"), "--resume", "--import", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["true", "{}"]
    (mine / "faulty.py").write_text("1 / 0\n")
    assert child.main(["config.yaml", str(mine / "r"), "--import", str(mine / "faulty.py")]) == 0
    assert "faulty.py, line 1: ZeroDivisionError" in json.loads(capsys.readouterr().out)["error"]


def test_a_rank_imports_what_it_is_told(mine, names, monkeypatch, capsys):
    from seqkit.runs import ranks

    path = mine / "own_rank.py"
    path.write_text(PRESET)
    monkeypatch.setattr(ranks, "train_parallel", lambda **_: print("own_here" in model_names()))
    assert ranks.main(json.dumps({"imports": [str(path)], "config": None, "parallel": None})) == 0
    assert capsys.readouterr().out == "True\n"
    assert ranks.main(json.dumps({"imports": ["nowhere.py"], "config": None, "parallel": None})) == 1
    assert capsys.readouterr().err.startswith("seqkit: nowhere.py is not there")


def test_a_saved_model_names_the_family_of_its_layers(mine, names):
    from seqkit.structured import replace_linear
    from seqkit.structured.registry import _STRUCTURES

    path = mine / "own_family.py"
    path.write_text(FAMILY)
    import_code(path)
    config = ModelConfig.preset("gru", d_model=16, n_layers=1)
    model = SequenceModel.from_config(config, DataInfo("toy", "regression", n_channels=1), seed=0)
    replace_linear(model, "own_family", rank=2)
    save_model(model, mine / "saved")
    assert json.loads((mine / "saved" / "model.json").read_text())["imports"][0]["registers"] == [
        "structure own_family"
    ]
    for ours, theirs in zip(load_model(mine / "saved").parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    del _STRUCTURES._classes["own_family"]
    with pytest.raises(ValueError, match=f"saved uses structure own_family of .*; add --import {path} if you trust it"):
        load_model(mine / "saved")
