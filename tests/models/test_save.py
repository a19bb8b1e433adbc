"""A model on disk: bit for bit, without pickle, and in words when something is wrong."""

import json
import pickle
import subprocess
import sys

import pytest
import torch

from seqkit.models import load_model, save_model
from seqkit.structured import describe_structured, replace_linear


@pytest.fixture
def saved(build, tmp_path):
    save_model(build(dtype=torch.float32), tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", ["classification", "regression", "sequence", "tags"])
@pytest.mark.parametrize("mixer", ["lssl", "s4", "s4d", "lstm", "gru"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_bit_equal(build, tmp_path, mixer, task, dtype):
    model = build(mixer, task, dtype)
    save_model(model.train(), tmp_path / "deep" / "folder")
    generator = torch.get_rng_state()
    loaded = load_model(str(tmp_path / "deep" / "folder"))
    assert torch.equal(torch.get_rng_state(), generator)
    assert (loaded.info, loaded.config) == (model.info, model.config)
    assert not loaded.training
    mine, theirs = model.state_dict(), loaded.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) and mine[key].dtype == theirs[key].dtype for key in mine)
    values = torch.randn(2, 9, 2, dtype=dtype)
    assert torch.equal(loaded(values), model.eval()(values))
    assert {path.name for path in (tmp_path / "deep" / "folder").iterdir()} == {"model.safetensors", "model.json"}


def test_structured_layers_come_back(build, tmp_path):
    model = build(dtype=torch.float32).eval()
    names = replace_linear(model, "monarch", select=lambda name, layer: True, n_blocks=(2, 1))
    save_model(model, tmp_path)
    generator = torch.get_rng_state()
    loaded = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), generator)
    assert names
    assert describe_structured(loaded) == json.loads(json.dumps(describe_structured(model)))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    path = tmp_path / "model.json"
    path.write_text(path.read_text().replace(names[-1], "nowhere"))
    with pytest.raises(
        ValueError, match=r"does not describe a model .*must name dense layers of the model, got 'nowhere'"
    ):
        load_model(tmp_path)


def test_another_process_reads_the_same_model(build, saved):
    values = torch.linspace(-1, 1, 12).reshape(1, 6, 2)
    code = (
        "import sys, torch, seqkit\n"
        "model = seqkit.load(sys.argv[1])\n"
        "print(model(torch.linspace(-1, 1, 12).reshape(1, 6, 2)).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True).stdout
    assert torch.allclose(torch.tensor(json.loads(out)), build(dtype=torch.float32)(values), atol=1e-6)


def test_nothing_is_unpickled(saved, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a model file was unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    load_model(saved)


def test_a_pickle_in_place_of_weights_is_not_run(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    torch.save({"weights": Trap()}, saved / "model.safetensors")
    with pytest.raises(ValueError, match="is damaged"):
        load_model(saved)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no {name}; give the folder of a finished run"):
        load_model(saved)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no model\.json"):
        load_model(tmp_path / "nowhere")


def one_sentence(error):
    return "\n" not in str(error.value) and "Traceback" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
def test_truncated_weights(saved, keep):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or does not belong") as error:
        load_model(saved)
    assert one_sentence(error)


@pytest.mark.parametrize("at", [0, 8, 20])
def test_corrupt_weights(saved, at):
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[at : at + 6] = b"\xff" * 6
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or does not belong") as error:
        load_model(saved)
    assert one_sentence(error)


@pytest.mark.parametrize("other", [{"d_model": 8}, {"n_layers": 1}, {"order": 4}])
def test_weights_of_another_model(build, saved, tmp_path, other):
    save_model(build(dtype=torch.float32, **other), tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"does not belong to model\.json") as error:
        load_model(saved)
    assert one_sentence(error)
    assert "backbone" in str(error.value) or "head" in str(error.value)


def write(saved, change):
    path = saved / "model.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", '"x"', "{}", '{"format": "one"}', '{"format": null}', "\x00"])
def test_damaged_description(saved, text):
    (saved / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json is damaged .*; restore it or retrain") as error:
        load_model(saved)
    assert one_sentence(error)


def test_description_that_is_not_text(saved):
    (saved / "model.json").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=r"model\.json is damaged"):
        load_model(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("info"),
        lambda d: d.pop("config"),
        lambda d: d.update(info=[1]),
        lambda d: d.update(config=[1]),
        lambda d: d["info"].pop("n_channels"),
        lambda d: d["info"].update(n_channels="two"),
        lambda d: d["info"].update(colour="red"),
        lambda d: d["config"].update(colour="red"),
        lambda d: d["config"].update(d_model=-1),
        lambda d: d["config"]["options"].update(order="many"),
    ],
)
def test_description_of_no_model(saved, change):
    write(saved, change)
    with pytest.raises(ValueError, match=r"model\.json does not describe a model .*; restore it or retrain") as error:
        load_model(saved)
    assert one_sentence(error)


def test_a_model_that_nobody_registered(saved):
    write(saved, lambda d: d["config"].update(name="lsll"))
    with pytest.raises(
        ValueError, match=r"not known here: .*imported first \(--import FILE.py\), or did you mean lssl"
    ) as error:
        load_model(saved)
    assert one_sentence(error)


def test_newer_format(saved):
    write(saved, lambda d: d.update(format=2))
    with pytest.raises(ValueError, match="has format 2, this seqkit reads up to 1; upgrade seqkit"):
        load_model(saved)
