"""A search as a run: its folder, its comparison, its end after an interruption, and its model read back."""

import json

import pytest
import torch
import yaml

from seqkit.models import load_model
from seqkit.runs import RunConfig
from seqkit.runs.searching import SearchConfig, search, split_settings
from seqkit.runs.training import train
from seqkit.structured.xd import operation_layers

SMALL = {"epochs": 2, "d_model": 6, "n_layers": 1, "n_levels": 2, "kernel_size": 3, "dropout": 0.0, "device": "cpu"}
TINY = SearchConfig(depth=1, warmup_epochs=1)


def plain(path):
    """A finished search without what differs from run to run."""
    summary = json.loads((path / "summary.json").read_text())
    return {key: summary[key] for key in ("results", "operations", "epochs", "best_epoch", "n_parameters")}


@pytest.fixture(scope="module")
def finished(waves_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "run"
    return search(str(waves_file), search=TINY, out=out, progress=False, **SMALL)


def test_the_folder_holds_both_runs(finished):
    path = finished.path
    names = {one.name for one in path.iterdir()}
    assert {"config.yaml", "search.yaml", "metrics.csv", "model.safetensors", "operations.png", "unsearched"} <= names
    assert (path / "unsearched" / "summary.json").is_file()
    assert yaml.safe_load((path / "search.yaml").read_text()) == TINY.to_dict()
    assert RunConfig.from_file(path / "config.yaml") == RunConfig.from_file(path / "unsearched" / "config.yaml")
    assert finished.searched.summary["epochs"] == finished.unsearched.summary["epochs"] == 2
    assert finished.searched.summary["unsearched"]["results"] == finished.unsearched.summary["results"]
    assert len(finished.operations) == 2
    assert set(finished.searched.summary["operations"]) == set(finished.operations)
    header = (path / "metrics.csv").read_text().splitlines()[0]
    assert "lr_operations" in header
    assert search(out=path, resume=True, progress=False).operations == finished.operations


def test_the_searched_model_is_read_back(finished):
    model = load_model(finished.path)
    layers = operation_layers(model)
    assert set(layers) == set(finished.operations)
    assert not any(layer.is_convolution for layer in layers.values())
    again = finished.searched.model(torch.ones(2, 30, 2))
    assert torch.equal(model(torch.ones(2, 30, 2)), again)
    with pytest.raises(ValueError, match="cannot stream, because its convolutions were replaced"):
        model.initial_state()
    with pytest.raises(ValueError, match="`x` must have the size"):
        model(torch.ones(2, 90, 2))


@pytest.mark.parametrize("when", ["unsearched", "searched"])
def test_a_stopped_search_goes_on_as_if_unbroken(finished, waves_file, tmp_path, monkeypatch, when):
    from seqkit.tasks.callbacks import Checkpoint

    written, usual = [], Checkpoint.on_train_epoch_end

    def stop(self, trainer, pl_module):
        usual(self, trainer, pl_module)
        written.append(self.path)
        if len(written) == (1 if when == "unsearched" else 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "on_train_epoch_end", stop)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as stopped:
        search(str(waves_file), search=TINY, out=out, progress=False, **SMALL)
    assert stopped.value.args == (str(out),)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="holds a search; resume it with"):
        train(out=out, resume=True, progress=False)
    assert plain(search(out=out, resume=True, progress=False).path) == plain(finished.path)


def test_a_search_at_rate_zero_is_the_network(finished, waves_file, tmp_path):
    still = SearchConfig(depth=1, operation_learning_rate=0.0)
    found = search(str(waves_file), search=still, out=tmp_path / "run", progress=False, **SMALL, gradient_clip=None)
    for part, metrics in found.unsearched.summary["results"].items():
        assert found.searched.summary["results"][part] == pytest.approx(metrics, rel=1e-4)
    assert all(one["name"] == "convolution" for one in found.searched.summary["operations"].values())


def test_overwriting_leaves_nothing_of_the_run_before(finished, waves_file, tmp_path):
    out = tmp_path / "run"
    train(str(waves_file), "tcn", out=out, progress=False, **{**SMALL, "epochs": 1})
    with pytest.raises(FileNotFoundError, match=r"holds no search.yaml, so its run is no search"):
        search(out=out, resume=True, progress=False)
    with pytest.raises(FileExistsError, match="holds a run already"):
        search(str(waves_file), search=TINY, out=out, progress=False, **SMALL)
    again = search(str(waves_file), search=TINY, out=out, overwrite=True, progress=False, **SMALL)
    assert plain(again.path) == plain(finished.path)


def test_settings_are_parted_and_checked():
    chosen, rest = split_settings({"depth": 1, "search.causal": "stack", "epochs": 2, "causal": False})
    assert chosen == SearchConfig(depth=1, causal="stack")
    assert rest == {"epochs": 2, "causal": False}
    with pytest.raises(ValueError, match="dept"):
        split_settings({"search.dept": 1})


def test_a_warm_up_of_all_epochs_is_refused(waves_file, tmp_path):
    never = SearchConfig(depth=1, warmup_epochs=2)
    with pytest.raises(ValueError, match="`warmup_epochs` must be below the 2 epochs of the run"):
        search(str(waves_file), search=never, out=tmp_path / "run", progress=False, **SMALL)
    assert not (tmp_path / "run").exists()


def test_a_model_without_convolutions_is_refused(waves_file, tmp_path):
    with pytest.raises(ValueError, match=r"`model` must hold an nn.Conv1d or nn.Conv2d to replace"):
        search(str(waves_file), "gru", out=tmp_path / "run", progress=False, epochs=1, d_model=4, n_layers=1)
    assert not (tmp_path / "run").exists()
