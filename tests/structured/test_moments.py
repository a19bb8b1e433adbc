"""Moments of what layers read, and replacements that use them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seqkit.batch import Batch, DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.structured import input_moments, replace_linear, sparsify


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Network(nn.Module):
    """Two arguments, dropout, a layer without a bias, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64, bias=False)
        self.unused, self.last = nn.Linear(64, 64), nn.Linear(64, 3)
        self.drop = nn.Dropout(0.5)
        self.double()

    def forward(self, x: Tensor, shift: float = 0.0) -> Tensor:
        out: Tensor = self.last(self.second(self.drop(self.first(x + shift).relu())))
        return out


def rows() -> Tensor:
    """Rows around a mean, in few directions."""
    return 2 + gaussian(300, 5) @ gaussian(5, 64, seed=1) + 0.05 * gaussian(300, 64, seed=2)


def test_moments_are_those_of_all_rows() -> None:
    model, X = Network(), rows()
    model.drop.train(False)
    modes = [module.training for module in model.modules()]
    found = input_moments(model, [X[:100].view(4, 25, 64), (X[100:150],), {"x": X[150:] - 1, "shift": 1.0}])
    assert list(found) == ["first", "second", "last"]
    assert found["first"].n_rows == 300
    for name, read in (("first", X), ("second", model.first(X).relu().detach())):
        assert torch.allclose(found[name].mean, read.mean(0), rtol=1e-10)
        assert torch.allclose(found[name].covariance, torch.cov(read.mT, correction=0), rtol=1e-8, atol=1e-10)
        assert torch.allclose(found[name].second, read.mT @ read / 300, rtol=1e-8)
    assert [module.training for module in model.modules()] == modes
    assert not model.first._forward_pre_hooks


def test_a_failing_model_is_left_as_it_was() -> None:
    model = Network()
    with pytest.raises(RuntimeError):
        input_moments(model, [torch.zeros(2, 3).double()])
    assert model.training
    assert not model.first._forward_pre_hooks


def test_replacements_with_data_keep_the_outputs() -> None:
    dense, X = Network().eval(), rows()
    want = dense(X)

    def error(**options: object) -> float:
        model = Network().eval()
        replace_linear(model, "low_rank", select=lambda name, _: name in ("first", "second"), rank=8, **options)
        assert model.first.bias is not None
        assert model.second.bias is None
        return float((torch.linalg.norm(model(X) - want) / torch.linalg.norm(want)).detach())

    assert error(data=[X]) < 0.3 * error()
    assert error(data=input_moments(dense, [X])) == error(data=[X])


def test_the_bias_takes_up_the_mean() -> None:
    model, X = Network().eval(), rows()
    want, bias = model.first(X).mean(0), model.first.bias
    replace_linear(model, "monarch", select=lambda name, _: name == "first", data=[X])
    assert model.first.bias is bias
    assert torch.allclose(model.first(X).mean(0), want, rtol=1e-10)


def test_a_bias_of_two_layers_takes_up_no_mean() -> None:
    torch.manual_seed(0)
    layers, X = [nn.Linear(64, 64).double() for _ in range(2)], rows()
    layers[1].bias = layers[0].bias
    alone = nn.Sequential(nn.Linear(64, 64, bias=False)).double()
    alone[0].weight = nn.Parameter(layers[0].weight.detach().clone())
    model, bias = nn.Sequential(*layers), layers[0].bias.detach().clone()
    for each in (model, alone):
        replace_linear(each, "low_rank", data=[X], rank=4)
    assert model[0].bias is model[1].bias
    assert torch.equal(model[0].bias, bias)
    assert torch.allclose(model[0].weight, alone[0].weight, rtol=1e-10)  # so the fit keeps the mean itself


def test_sparsify_with_data_keeps_a_model_of_this_toolkit() -> None:
    info = DataInfo("pulse", "classification", n_channels=3, classes=("rest", "run"), sample_rate=100.0)
    config = ModelConfig.preset("s4d", d_model=64, n_layers=2, order=4)
    values, lengths = gaussian(20, 30, 3).float(), torch.arange(11, 31)
    want = SequenceModel.from_config(config, info, seed=0).eval()(values, lengths)

    def error(structure: str, **options: object) -> float:
        model = SequenceModel.from_config(config, info, seed=0)
        report = sparsify(model, 0.25, structure, **options)
        assert report.kept["encoder"] == "narrower than 32"
        assert all(layer.density <= 0.2501 for layer in report.layers)
        return float((torch.linalg.norm(model.eval()(values, lengths) - want) / torch.linalg.norm(want)).detach())

    for structure in ("pixelfly", "monarch", "low_rank"):
        assert error(structure, data=[Batch(values, None, lengths)]) < 0.5 * error(structure)


def test_data_of_no_use_are_refused_and_nothing_changes() -> None:
    model, X = Network(), rows()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for words, structure, options in (
        ("`data` must be None with fresh=True", "low_rank", {"fresh": True}),
        ("`data` must be None for 'butterfly', .* low_rank or monarch or pixelfly take it", "butterfly", {}),
        ("`data` must reach every layer that is replaced, got nothing that 'unused' reads", "low_rank", {}),
    ):
        with pytest.raises(ValueError, match=words):
            replace_linear(model, structure, select=lambda name, _: name != "last", data=[X], **options)
    with pytest.raises(ValueError, match="`data` must hold at least one item"):
        sparsify(model, data=[])
    with pytest.raises(ValueError, match=r"`the covariance of what first reads` has .* NaN or infinite values"):
        sparsify(model, data=[X / 0])
    with pytest.raises(ValueError, match="`data` must reach every layer that is replaced, got nothing that 'unused'"):
        sparsify(model, data=[X])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model.first) is nn.Linear
