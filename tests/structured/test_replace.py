"""Dense layers of a module become structured and dense again, whatever the module looks like."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqkit.structured import StructuredLinear, densify, replace_linear


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Sequential(nn.Linear(64, 64, bias=False)), nn.Linear(64, 1))


def test_layers_that_would_not_shrink_stay() -> None:
    model = network().double()
    bias = model[0].bias
    assert replace_linear(model, "monarch") == ["0", "2.0"]
    assert isinstance(model[0], StructuredLinear)
    assert type(model[3]) is nn.Linear
    assert model[0].bias is bias
    assert list(model.state_dict())[:2] == ["0.bias", "0.matrix.factors.0"]


def test_full_rank_changes_nothing_and_densify_is_exact() -> None:
    model, x = network().double(), torch.randn(5, 64, dtype=torch.float64)
    want, keys = model(x), list(model.state_dict())
    replace_linear(model, "low_rank", rank=1, select=lambda name, layer: name == "3")
    assert torch.allclose(model(x), want, atol=1e-12)
    replace_linear(model, "monarch")
    sparse = model(x)
    assert not torch.allclose(sparse, want, atol=1e-2)
    assert densify(model, select=lambda name, layer: name == "2.0") == ["2.0"]
    assert densify(model) == ["0", "3"]
    assert torch.allclose(model(x), sparse, atol=1e-12)
    assert sorted(model.state_dict()) == sorted(keys)
    assert densify(model) == []


def test_fresh_layers_keep_the_size_of_rows() -> None:
    model, near = network(), network()
    size = model[0].weight.detach().square().mean()
    replace_linear(model, "monarch", fresh=True)
    replace_linear(near, "monarch")
    assert 0.8 < model[0].weight.detach().square().mean() / size < 1.25
    assert near[0].weight.detach().square().mean() / size < 0.7


def test_a_shared_layer_stays_shared_and_shared_weights_stay_dense() -> None:
    layer = nn.Linear(64, 64)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(64, 64))
    replace_linear(model, "monarch")
    assert model[0] is model[2]
    tied = nn.Sequential(nn.Embedding(64, 64), nn.Linear(64, 64))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match=r"`model` must hold an nn.Linear layer to replace, got Sequential with none"):
        replace_linear(tied, "monarch")


def test_attention_of_torch_still_runs() -> None:
    model = nn.TransformerEncoderLayer(64, 2, 128, dropout=0.0, batch_first=True).double()
    assert replace_linear(model, "monarch") == ["linear1", "linear2"]
    x = torch.randn(2, 5, 64, dtype=torch.float64)
    trained = model(x)
    with torch.no_grad():
        assert torch.allclose(model.eval()(x), trained, atol=1e-10)


def test_frozen_layers_stay_frozen_and_modes_are_kept() -> None:
    model = network().eval()
    model[0].requires_grad_(False)
    replace_linear(model, "monarch")
    assert not any(parameter.requires_grad for parameter in model[0].parameters())
    assert all(not module.training for module in model.modules())


def test_what_cannot_be_replaced_is_said() -> None:
    with pytest.raises(ValueError, match="none that is selected"):
        replace_linear(network(), "monarch", select=lambda name, layer: False)
    with pytest.raises(ValueError, match="has no key 'blocks'"):
        replace_linear(network(), "monarch", select=lambda name, layer: True, blocks=3)
    with pytest.raises(ValueError, match="did you mean monarch"):
        replace_linear(network(), "monarhc")


def test_a_layer_with_several_names_is_chosen_by_any() -> None:
    layer = nn.Linear(64, 64)
    model = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer)})
    assert replace_linear(model, select=lambda name, _: name == "b.0") == ["a"]
    assert model["b"][0] is model["a"]
    assert densify(model, select=lambda name, _: name == "b.0") == ["a"]
    assert type(model["b"][0]) is nn.Linear


def test_a_sentence_says_why_and_where() -> None:
    for options, words in (
        ({"structure": "low_rank", "rank": 0}, r"'low_rank' makes smaller \(`rank` must be a whole number"),
        (
            {"n_blocks": 2.0},
            r"makes smaller \(`n_blocks` must be a number, a pair \(input, output\) or None, got 2.0\)",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            replace_linear(network(), **options)
    model = network()
    model[2][0].weight.data[1, 2] = torch.inf
    with pytest.raises(ValueError, match=r"`2.0.weight` has 1 NaN or infinite values, the first at \(1, 2\)"):
        replace_linear(model)
    assert type(model[0]) is nn.Linear
    assert replace_linear(model, fresh=True) == ["0", "2.0"]
    with pytest.raises(ValueError, match="`linear` must know its sizes, got a lazy layer"):
        StructuredLinear.from_linear(nn.LazyLinear(3))
