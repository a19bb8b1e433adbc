"""Which parameter trains how: the groups of every mixer, and of anyone's optimiser."""

import pytest
import torch
from torch import nn

from seqkit.nn import get_mixer, mixer_names, mixer_options
from seqkit.tasks import param_groups

SSM = ("lssl", "s4", "s4d")


def groups_by_name(model, **rates):
    return {group["name"]: group for group in param_groups(model, **{"learning_rate": 0.01, **rates})}


def names_of(model, group):
    own = {id(p): name for name, p in model.named_parameters()}
    return {own[id(p)] for p in group["params"]}


def mixer(name, **options):
    small = {"order": 4, **({"window": 10.0} if name in ("lmu", "monarch") else {})}
    known = mixer_options(name)
    return get_mixer(name)(4, **{key: value for key, value in small.items() if key in known}, **options)


def test_the_state_space_parameters_are_those_of_the_papers():
    # A, B and the step; never C and D.
    expected = {
        "lssl": {"A.skew", "A.damping", "A.low_rank", "B", "log_dt"},
        "s4": {"damping", "frequency", "P", "B", "log_dt"},
        "s4d": {"log_damping", "frequency", "B", "log_dt"},
    }
    for name in SSM:
        layer = mixer(name)
        assert names_of(layer, groups_by_name(layer)["state space"]) == expected[name]
        inside = nn.Sequential(nn.Linear(4, 4), layer)
        assert names_of(inside, groups_by_name(inside)["state space"]) == {f"1.{key}" for key in expected[name]}
    assert "state space" not in groups_by_name(mixer("gru"))


@pytest.mark.parametrize("name", mixer_names())
def test_every_trained_parameter_is_in_one_group(make_model, name):
    model = make_model(name=name)
    groups = param_groups(model, learning_rate=0.01)
    parameters = [p for group in groups for p in group["params"]]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert sum(p.numel() for p in parameters) == model.n_parameters
    assert all(group["weight_decay"] == (0.01 if group["name"] == "matrices" else 0.0) for group in groups)
    by_name = {group["name"]: group for group in groups}
    assert all(p.dim() == 1 for p in by_name["vectors"]["params"])
    assert all(p.dim() > 1 for p in by_name["matrices"]["params"])


def test_frozen_parameters_are_left_out():
    layer = mixer("lssl", train_A=False)
    assert names_of(layer, groups_by_name(layer)["state space"]) == {"log_dt"}
    layer.requires_grad_(False)
    with pytest.raises(ValueError, match="must have parameters to train, got LSSL with none"):
        param_groups(layer, learning_rate=0.01)


def test_rates():
    layer = mixer("s4d")
    assert groups_by_name(layer)["state space"]["lr"] == 0.001
    assert groups_by_name(layer, learning_rate=1e-4)["state space"]["lr"] == 1e-4
    assert groups_by_name(layer, ssm_learning_rate=0.5)["state space"]["lr"] == 0.5
    assert groups_by_name(layer, weight_decay=0.3)["matrices"]["weight_decay"] == 0.3
    for rates, words in (
        ({"learning_rate": 0.0}, "`learning_rate` must be a finite number above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate`"),
        ({"ssm_learning_rate": -1e-3}, "`ssm_learning_rate` must be a finite number above 0, got -0.001"),
        ({"weight_decay": -0.1}, "`weight_decay` must be a finite number, 0 or above, got -0.1"),
        ({"weight_decay": "0"}, "`weight_decay`"),
    ):
        with pytest.raises(ValueError, match=words):
            groups_by_name(layer, **rates)


@pytest.mark.parametrize("name", mixer_names())
def test_adamw_decays_matrices_only(name):
    layer = mixer(name)
    before = {key: p.detach().clone() for key, p in layer.named_parameters()}
    optimizer = torch.optim.AdamW(param_groups(layer, learning_rate=0.1, weight_decay=0.5))
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)  # what moves now moves by decay alone
    optimizer.step()
    decayed = names_of(layer, groups_by_name(layer)["matrices"])
    for key, p in layer.named_parameters():
        assert torch.allclose(p, before[key] * (0.95 if key in decayed else 1.0))
