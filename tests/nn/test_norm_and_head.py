"""Norms and heads against their equations, and the statistics that they take."""

import pytest
import torch

from seqkit.nn import ClassHead, InputNorm, ValueHead, build_norm, norm_names


def test_input_norm_standardises_each_channel_and_saves_its_statistics():
    norm, x = InputNorm(2), torch.randn(100, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([100.0, -7.0])
    assert torch.equal(norm(x), x)
    norm.set_statistics(x.mean(0), x.std(0))
    y = norm(x)
    assert torch.allclose(y.mean(0), torch.zeros(2), atol=1e-4)
    assert torch.allclose(y.std(0), torch.ones(2), atol=1e-4)
    other = InputNorm(2)
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other(x), y)
    assert repr(norm) == "InputNorm(n_channels=2)"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.uint8])
def test_input_norm_takes_any_real_dtype(dtype):
    x = torch.tensor([[1, 2], [30, 40]]).to(dtype)
    norm = InputNorm(2)
    norm.set_statistics(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    assert norm(x).dtype == torch.float32
    assert torch.equal(norm(x), torch.tensor([[0.0, 0.0], [14.5, 9.5]]))


def test_norms_look_at_one_sample_only():
    x = torch.randn(2, 9, 6)
    for name in norm_names():
        norm = build_norm(name, 6)
        assert torch.allclose(norm(x)[:, 3], norm(x[:, 3]), atol=1e-6)
    with pytest.raises(ValueError, match="`norm` must be one of layer, rms, none"):
        build_norm("batch", 6)


def test_class_head_is_linear():
    head, x = ClassHead(4, 3), torch.randn(5, 2, 4)
    assert torch.allclose(head(x), x @ head.linear.weight.T + head.linear.bias, atol=1e-6)


def test_value_head_answers_in_units_of_the_target():
    head, x = ValueHead(4, 2), torch.randn(5, 4)
    plain = x @ head.linear.weight.T + head.linear.bias
    assert torch.allclose(head(x), plain, atol=1e-6)
    mean, std = torch.tensor([70.0, -3.0]), torch.tensor([12.0, 0.5])
    head.set_statistics(mean, std)
    assert torch.allclose(head(x), plain * std + mean, atol=1e-4)
    assert set(head.state_dict()) == {"linear.weight", "linear.bias", "offset", "scale"}


@pytest.mark.parametrize("layer", [InputNorm(2), ValueHead(4, 2)])
def test_wrong_statistics_are_refused_and_change_nothing(layer):
    good = torch.ones(2)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for mean, std, words in (
        (torch.zeros(3), good, r"`mean` must have shape \(2\), got \(3,\)"),
        (good, torch.ones(1), r"`std` must have shape \(2\)"),
        (good, torch.tensor([1.0, 0.0]), "`std` must be above 0 everywhere.*use 1 for what is constant"),
        (good, torch.tensor([1.0, torch.nan]), "`std` has 1 NaN or infinite"),
        (torch.tensor([torch.inf, 0.0]), good, "`mean` has 1 NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=words):
            layer.set_statistics(mean, std)
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("head", [ClassHead, ValueHead])
def test_heads_refuse_sizes_below_one(head):
    with pytest.raises(ValueError, match="`n_outputs` must be a whole number of at least 1"):
        head(4, 0)
