"""Layers that start as drawn filters, against the filters' own definition sample by sample."""

import numpy as np
import pytest
import torch

from seqkit.estimators.bank import level_skip, responses, start_as
from seqkit.estimators.filters import draw_filters
from seqkit.kernels.state_features.reference import outputs_reference
from seqkit.nn import get_mixer
from seqkit.ssm import LSSL

LENGTH = 90


def drawn(count=24, between=(0.7, 18.0)):
    return draw_filters(count, 1, between, np.random.default_rng(0))


def test_responses_are_those_of_the_exact_kernel():
    bank = drawn(4, (3.0, 9.0))
    one = next(k for k in range(4) if int(bank.stages[k]) == 1 and not bool(bank.sloped[k]))
    rate = complex(-float(bank.decay[one]), float(bank.turn[one]))
    weight = np.tanh(float(bank.decay[one]) / 2)
    l = np.arange(LENGTH)
    # A 1 between two zeros, taken up on the way up and on the way down.
    kernel = weight * np.exp(rate * l) * (1 + np.where(l > 0, 1.0, 0.0)) * np.exp(1j * float(bank.phase[one]))
    np.testing.assert_allclose(responses(bank, LENGTH)[one], kernel.real, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("mixer", "limit"), [("lssl", 0.02), ("s4", 0.02), ("s4d", 0.35)])
def test_a_layer_answers_as_the_filters_do(mixer, limit):
    torch.manual_seed(0)
    bank = drawn()
    layer = get_mixer(mixer)(24, order=16)
    error = start_as(layer, bank, LENGTH)
    assert error.median() < limit
    signal = torch.randn(LENGTH, 1)
    signal[0] = 0.0  # before it a filter of the slope is at rest
    exact = outputs_reference(signal, bank, torch.ones(LENGTH))[0]
    with torch.no_grad():
        found = (signal + layer(signal[None].expand(1, -1, 24)))[0].double()
    found = found * (found * exact).sum(0) / found.square().sum(0)  # in the filter's units
    missed = (found - exact).norm(dim=0) / exact.norm(dim=0)
    steady = ~bank.sloped.bool()  # the others' skip is set by the level
    assert missed[steady & (error < limit)].max() < 4 * limit
    assert missed.median() < 2 * limit


@pytest.mark.parametrize("mixer", ["lssl", "s4", "s4d"])
def test_filters_of_the_slope_do_not_see_a_level(mixer):
    bank = drawn()
    layer = get_mixer(mixer)(24, order=16)
    start_as(layer, bank, LENGTH)
    with torch.no_grad():
        ones = torch.ones(1, 3000, 24)
        found = (ones + layer(ones))[0]
    share = found[-100:].mean(dim=0).abs() / found.abs().amax(dim=0)
    assert share[bank.sloped.bool()].max() < 2e-3


def test_long_responses_are_looked_at_in_part():
    layer = LSSL(4, order=16)
    assert start_as(layer, draw_filters(4, 1, (300.0, 900.0), np.random.default_rng(0)), 5000).max() < 0.4


def test_level_skip_is_the_answer_to_a_constant():
    layer = LSSL(4, order=8, dt_min=0.1, dt_max=0.5)
    with torch.no_grad():
        layer.D.copy_(level_skip(layer))
        ones = torch.ones(1, 2000, 4)
        assert (ones + layer(ones))[0, -1].abs().max() < 1e-3
