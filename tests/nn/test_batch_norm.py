"""Batch normalisation against torch's own, and what a batch of one row does."""

import pytest
import torch
from torch import nn

from seqkit.nn import BatchNorm, Perceptron, perceptron_norms


def test_it_is_torchs_in_training_and_after():
    own, theirs = BatchNorm(4).double(), nn.BatchNorm1d(4).double()
    for layer in (own, theirs):
        nn.init.constant_(layer.weight, 1.5)
        nn.init.constant_(layer.bias, -0.5)
    for k in range(3):
        x = k + (k + 1) * torch.randn(7, 4, dtype=torch.float64)
        ours, reference = x.clone().requires_grad_(), x.clone().requires_grad_()
        assert torch.allclose(own(ours), theirs(reference), rtol=1e-12)
        for value, layer in ((ours, own), (reference, theirs)):
            layer(value).pow(3).sum().backward()
        assert torch.allclose(ours.grad, reference.grad, rtol=1e-9)
    own.eval()
    theirs.eval()
    assert torch.allclose(own(x), theirs(x), rtol=1e-12)
    again = BatchNorm(4).double().eval()
    again.load_state_dict(own.state_dict())
    assert torch.equal(again(x[:1]), own(x)[:1])  # what else is in the batch changes nothing


def test_one_row_is_normalised_by_what_was_seen_before():
    norm, x = BatchNorm(3), torch.randn(9, 3) * 4 + 2
    norm(x)
    before = norm.mean.clone()
    one = norm(x[:1])
    assert torch.equal(one, norm.eval()(x[:1]))
    assert torch.equal(norm.mean, before)
    assert norm(x.view(3, 3, 3)).shape == (3, 3, 3)


def test_a_perceptron_may_have_it():
    perceptron, x = Perceptron(5, 6, n_layers=1, norm="batch", output="linear"), torch.randn(30, 5)
    z = perceptron.enter(x)
    y = (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
    z = z + perceptron.maps[0](nn.functional.gelu(y))
    wanted = (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(perceptron(x), wanted, atol=1e-5)
    assert perceptron_norms() == ["layer", "rms", "none", "batch"]
    with pytest.raises(ValueError, match="`norm` must be one of layer, rms, none, batch, got 'group'"):
        Perceptron(5, 6, norm="group")
