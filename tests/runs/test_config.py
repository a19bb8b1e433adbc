"""The configuration: where values come from, and what a wrong key or value says."""

from functools import partial

import numpy as np
import pytest
import yaml

import seqkit
from seqkit.runs import RunConfig, parse_settings
from seqkit.runs.data import build_data_module, describe_data


def build(**settings):
    return RunConfig.build("japanese_vowels", "s4d", settings=settings)


@pytest.mark.parametrize("use", [seqkit.train, partial(seqkit.predict, "run"), partial(seqkit.evaluate, "run")])
def test_arrays_where_a_path_belongs_are_told_where_to_go(use):
    with pytest.raises(
        ValueError, match=r"`data` must be a name or a path, got ndarray of shape \(3, 4\); save arrays"
    ):
        use(np.zeros((3, 4)))


@pytest.mark.parametrize(("word", "hint"), [("digits", "--data digits"), ("20", "for example epochs=20")])
def test_a_word_that_is_no_setting_is_told_what_it_should_be(word, hint):
    with pytest.raises(ValueError, match=f"settings are written key=value, got '{word}'; .*{hint}"):
        parse_settings(["order=8", word])


def test_a_channel_that_rises_like_a_time_is_named(tmp_path):
    rows = [f"{i},{k / 9},{(-1) ** k * k},{k % 4},{'ab'[i % 2]}" for i in range(20) for k in range(5 + i % 3)]
    path = tmp_path / "ecg.csv"
    path.write_text("\n".join(["series,t,x,y,target", *rows]) + "\n")
    said = describe_data(build_data_module(RunConfig.build(path)))
    assert "series of 5 to 7 samples; 3 channels (t, x, y)" in said
    assert said.endswith("; t rises from sample to sample in every series: if it is the time, say data.time=t")
    told = describe_data(build_data_module(RunConfig.build(path, settings={"time": "t"})))
    assert "2 channels (x, y)" in told
    assert "rises from" not in told


def test_later_sources_win(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("seed: 3\nmodel: {name: lssl, order: 12}\ntraining: {epochs: 7, learning_rate: 1e-3}\n")
    config = RunConfig.build(file=file, settings={"epochs": 9})
    assert (config.seed, config.model.name, config.model.options["order"]) == (3, "lssl", 12)
    assert (config.training.epochs, config.training.learning_rate) == (9, 1e-3)
    assert RunConfig.build(model="s4", file=file).model.name == "s4"


def test_round_trip_through_yaml():
    config = build(epochs=3, order=16, dropout=0)
    assert RunConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, "no key 'epoch'.*did you mean epochs"),
        ({"model.ordr": 3}, "no key 'model.ordr'.*model.order"),
        ({"measure": "legs"}, "no key 'measure' for data japanese_vowels and model s4d"),
        ({"epochs": 0}, "`epochs` must be a whole number of at least 1, got 0"),
        ({"dropout": 1.0}, "`dropout` must lie between 0 and 1"),
        ({"learning_rate": -1}, "`learning_rate` must be a finite number above 0"),
        ({"precision": "8"}, "`precision` must be one of"),
        ({"seed": -1}, "`seed` must be a whole number"),
        ({"validation": 1}, r"`validation` must lie between 0 \(keep none\) and 1"),
        ({"pool": "meen"}, "did you mean mean"),
        ({"permutation": "none"}, "no key 'permutation'"),
        ({"train_A": "maybe"}, "`train_A` must be true or false, got 'maybe'"),
        ({"start": 3}, "`start` must be a name such as legs, got 3"),
        ({"lr": 3}, "no key 'lr'.* choose one of activation, batch_size"),
    ],
)
def test_wrong_settings_say_what_is_allowed(settings, words):
    with pytest.raises(ValueError, match=words):
        build(**settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format: 99\n", "has format 99, this seqkit reads up to 1; upgrade seqkit"),
        ("modle: {}\n", "no key 'modle'; did you mean model"),
        ("model: [1]\n", "section `model`"),
        ("model: {name: [\n", "not a YAML file"),
        ("- 1\n", "must hold sections"),
        ("training: {epoch: 3}\n", "no key 'epoch'; did you mean epochs"),
        ("data: {bath_size: 3}\n", "no key 'bath_size'; did you mean batch_size"),
        ("model: {options: 3}\n", "section `model`"),
        ("model: {options: {ordr: 3}}\n", "no key 'ordr'; did you mean order"),
    ],
)
def test_wrong_files_say_what_is_wrong(tmp_path, text, words):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        RunConfig.build(file=file)


def test_missing_file_and_unknown_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        RunConfig.build(file=tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="did you mean japanese_vowels"):
        RunConfig.build("japanese_vowel")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        RunConfig.build(str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match="did you mean lssl"):
        RunConfig.build(model="lsl")


def test_own_data_by_path(tmp_path):
    (tmp_path / "x.npz").touch()
    data = RunConfig.build(str(tmp_path / "x.npz")).data
    assert (data.name, data.path) == ("folder", str(tmp_path / "x.npz"))


def test_settings_words():
    assert parse_settings(["a=1e-3", "b=null", "c=x", "d=[1, 2]", "e="]) == {
        "a": 1e-3,
        "b": None,
        "c": "x",
        "d": [1, 2],
        "e": "",
    }
    with pytest.raises(ValueError, match="key=value"):
        parse_settings(["epochs"])


def test_a_resolved_configuration_wins_over_the_recipe(tmp_path):
    first = build(order=8, dt_min=0.02, dropout=0.25, batch_size=7)
    assert build().model.options["order"] != 8
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(first.to_dict(), sort_keys=False))
    assert RunConfig.build(file=file) == first
    assert RunConfig.from_file(file) == first
    changed = RunConfig.build(file=file, settings={"order": 4})
    assert (changed.model.options["order"], changed.model.options["dt_min"]) == (4, 0.02)


@pytest.mark.parametrize("lines", [0, 5, -1])
def test_a_cut_off_configuration_of_a_run_is_refused(tmp_path, lines):
    file = tmp_path / "config.yaml"
    text = yaml.safe_dump(build().to_dict(), sort_keys=False).splitlines()
    file.write_text("\n".join(text[:lines]))
    with pytest.raises(ValueError, match=r"config.yaml lacks .*seed.*; restore it"):
        RunConfig.from_file(file)


def test_values_that_yaml_takes_for_numbers(tmp_path):
    assert build(precision=32).training.precision == "32"
    (tmp_path / "x.csv").touch()
    settings = {"id": 0, "target": [1, 2], "time": 3, "data.channels": 4, "sample_rate": 50}
    options = RunConfig.build(str(tmp_path / "x.csv"), settings=settings).data.options
    assert options == {"id": "0", "target": ["1", "2"], "time": "3", "channels": "4", "sample_rate": 50}


def test_other_data_than_the_file_s(tmp_path):
    (tmp_path / "x.csv").touch()
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(RunConfig.build(str(tmp_path / "x.csv")).to_dict()))
    data = RunConfig.build("japanese_vowels", file=file).data
    assert (data.name, data.path) == ("japanese_vowels", None)


def test_a_path_is_found_again_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").touch()
    (tmp_path / "c.yaml").write_text("data: {path: x.csv}\n")
    whole = str((tmp_path / "x.csv").resolve())
    assert RunConfig.build(file="c.yaml").data.path == whole
    assert RunConfig.build("x.csv").data.path == whole
    assert RunConfig.build(tmp_path / "x.csv").data.path == whole


def test_a_model_of_a_paper_keeps_its_size_whatever_the_recipe():
    config = RunConfig.build("japanese_vowels", "lssl_small")
    assert (config.model.d_model, config.model.n_layers, config.model.options["order"]) == (128, 6, 128)
    assert config.training.input_noise > 0  # the rest of the recipe holds
    assert RunConfig.build("japanese_vowels", "lssl").model.d_model == 256


def test_the_network_of_the_hippo_paper_has_its_size_on_the_paper_s_data():
    config = RunConfig.build("permuted_mnist", "hippo_rnn")
    assert (config.model.d_model, config.model.n_layers, config.model.dropout) == (512, 1, 0.0)
    assert (config.model.options["order"], config.model.options["measure"], config.model.pool) == (512, "legs", "last")
    assert (config.data.batch_size, config.data.validation, config.training.epochs) == (100, 0.1, 50)
    training = config.training
    assert (training.learning_rate, training.weight_decay, training.gradient_clip) == (0.001, 0.0, None)
    assert RunConfig.build("mnist", "hippo_rnn").model == config.model
    letters = RunConfig.build("character_trajectories", "hippo_rnn")
    assert (letters.model.d_model, letters.model.options["order"], letters.training.label_smoothing) == (256, 256, 0.0)


def test_a_refinement_is_of_one_model_and_yields_to_the_user():
    assert RunConfig.build("permuted_mnist", "s4d").data.batch_size == 50
    assert RunConfig.build("permuted_mnist").model.name == "s4d"
    assert RunConfig.build("japanese_vowels", "hippo_rnn").model.options["order"] == 128
    own = RunConfig.build("permuted_mnist", "hippo_rnn", settings={"order": 64, "learning_rate": 0.01, "batch_size": 8})
    assert (own.model.options["order"], own.model.d_model) == (64, 512)
    assert (own.training.learning_rate, own.data.batch_size) == (0.01, 8)


def test_options_of_a_set_stay_numbers():
    settings = {"train_rate": 100, "drop": 0.5, "data.drop_seed": 3, "data.train_series": 50}
    data = RunConfig.build("character_trajectories", settings=settings).data
    assert data.options == {"train_rate": 100, "drop": 0.5, "drop_seed": 3}
    assert data.train_series == 50


def test_names_can_be_given_as_settings():
    config = RunConfig.build(settings={"data.name": "japanese_vowels", "model.name": "lssl", "measure": "legt"})
    assert (config.model.name, config.model.options["measure"]) == ("lssl", "legt")
