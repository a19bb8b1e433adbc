"""Sizes as plain values: presets, changes, words for what is wrong."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel, config, model_names, register_model
from seqkit.nn import mixer_names

INFO = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))


def test_every_mixer_has_a_preset():
    assert {ModelConfig.preset(name).mixer for name in model_names()} - {None} == set(mixer_names())


@pytest.mark.parametrize("name", model_names())
def test_every_preset_builds_and_goes_to_text_and_back(name):
    config = ModelConfig.preset(name)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ModelConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config
    small = {"d_model": 4, "n_layers": 1, **({"order": 4} if "order" in config.options else {})}
    model = SequenceModel.from_config(ModelConfig.preset(name, **small), INFO)
    assert model(torch.zeros(1, 5, 2)).shape == (1, 2)


def test_sizes_of_the_paper():
    # Gu et al. 2021, LSSL (arXiv:2110.13985), section 5 and appendix.
    small, large = ModelConfig.preset("lssl_small"), ModelConfig.preset("lssl_large")
    assert (small.d_model, small.options["order"], small.n_layers) == (128, 128, 6)
    assert (large.d_model, large.options["order"], large.n_layers) == (256, 256, 4)
    assert large.options["channels"] == 4


def test_options_may_be_named_directly_or_together():
    direct = ModelConfig.preset("s4d", order=8, d_model=16, channels=2)
    together = ModelConfig.preset("s4d", d_model=16, options={"order": 8, "channels": 2})
    assert direct == together
    assert direct.options["discretization"] == "bilinear"
    assert ModelConfig.preset("lssl_large", order=64).options["channels"] == 4
    assert ModelConfig.preset("s4d", options=None) == ModelConfig.preset("s4d")


def test_arguments_are_not_changed():
    changes = {"order": 8, "options": {"channels": 2}}
    ModelConfig.preset("s4d", **changes)
    values = {"name": "s4d", "options": {"order": 8}}
    ModelConfig.from_dict(values)
    assert changes == {"order": 8, "options": {"channels": 2}}
    assert values == {"name": "s4d", "options": {"order": 8}}


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("s4dd", {}, "`model` must be one of .*did you mean s4d"),
        ("s4d", {"ordre": 8}, "model s4d has no key 'ordre'; did you mean order"),
        ("s4d", {"d_modle": 8}, "did you mean d_model"),
        ("gru", {"order": 8}, "model gru has no key 'order'"),
        ("s4d", {"options": {"ordre": 8}}, "mixer s4d has no key 'ordre'; did you mean order"),
        ("s4d", {"options": [8]}, r"`options` must be a mapping of names to values, got \[8\]"),
        ("s4d", {"d_model": 0}, "`d_model` must be a whole number of at least 1, got 0"),
        ("s4d", {"d_model": "wide"}, "`d_model` must be a whole number of at least 1, got 'wide'"),
        ("s4d", {"n_layers": 1.5}, "`n_layers`"),
        ("s4d", {"dropout": 1.0}, "`dropout`"),
        ("s4d", {"norm": "btach"}, "`norm` must be one of layer, rms, none"),
        ("s4d", {"activation": None}, "`activation` must be one of"),
        ("s4d", {"output": "gate"}, "did you mean gated"),
        ("s4d", {"pool": "avg"}, "`pool` must be one of mean, last, max"),
    ],
)
def test_wrong_settings_are_refused_in_words(name, changes, words):
    with pytest.raises(ValueError, match=words):
        ModelConfig.preset(name, **changes)


def test_a_config_made_without_a_preset_is_checked_alike():
    assert SequenceModel.from_config(ModelConfig("gru", d_model=4, n_layers=1), INFO)(torch.zeros(1, 3, 2)).shape
    with pytest.raises(ValueError, match="did you mean gru"):
        ModelConfig(name="gruu")
    with pytest.raises(ValueError, match="`n_layers`"):
        replace(ModelConfig(), n_layers=0)
    with pytest.raises(ValueError, match="has no key 'odrer'"):
        ModelConfig(options={"odrer": 4})


def test_options_a_mixer_refuses_are_refused_when_it_is_built():
    with pytest.raises(ValueError, match="`discretization` must be one of"):
        SequenceModel.from_config(ModelConfig.preset("lssl", discretization="forward"), INFO)


def test_a_model_of_ones_own_is_known_by_name_and_a_wrong_one_is_not(monkeypatch):
    monkeypatch.setattr(config, "PRESETS", dict(config.PRESETS))
    register_model("slow", mixer="s4d", sizes={"output": "linear"}, dt_max=0.01)
    register_model("slow", mixer="s4d", sizes={"output": "linear"}, dt_max=0.01)  # the same again is no harm
    assert ModelConfig.preset("slow").options["dt_max"] == 0.01
    assert ModelConfig.preset("slow").output == "linear"
    for wrong, words in (
        ({"name": "gru", "mixer": "s4d"}, "'gru' is already registered"),
        ({"name": "mine", "mixer": "s4e"}, "did you mean s4 or s4d"),
        ({"name": "mine", "mixer": "s4d", "dt_maximum": 1}, "did you mean dt_max"),
        ({"name": "mine", "mixer": "s4d", "sizes": {"width": 1}}, "width"),
        ({"name": "mine", "mixer": "s4d", "sizes": {"output": "best"}}, "`output` must be one of"),
    ):
        with pytest.raises(ValueError, match=words):
            register_model(**wrong)
    assert "mine" not in model_names()
