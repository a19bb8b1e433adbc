"""What the mixer contract brings along: the registry, masks, steps from times."""

import pytest
import torch

from seqkit.nn import (
    GRU,
    LSTM,
    get_mixer,
    mask_past_end,
    mixer_names,
    mixer_options,
    register_mixer,
    sample_steps,
)
from seqkit.ssm import S4D


def test_registry_knows_names_and_options():
    assert {"gru", "lstm", "lssl", "s4", "s4d"} <= set(mixer_names())
    assert get_mixer("s4d") is S4D
    options = mixer_options("s4d", {"order": 8})
    assert (options["order"], options["channels"]) == (8, 1)
    assert "d_model" not in options
    assert S4D(4, **options).order == 8


def test_registry_refuses_in_a_sentence():
    with pytest.raises(ValueError, match="did you mean lssl"):
        get_mixer("lsl")
    with pytest.raises(ValueError, match="mixer s4d has no key 'ordre'; did you mean order"):
        mixer_options("s4d", {"ordre": 8})
    with pytest.raises(ValueError, match="'gru' is already registered: GRU"):
        register_mixer("gru")(LSTM)
    assert get_mixer("gru") is GRU


def test_mask_sets_padding_to_zero_and_stops_its_gradient():
    x = torch.randn(2, 4, 3)
    x[0, 1:] = torch.nan
    x.requires_grad_()
    y = mask_past_end(x, torch.tensor([1, 4]))
    assert (y[0, 1:] == 0).all()
    assert torch.equal(y[1], x[1])
    y.sum().backward()
    assert x.grad[:, :, 0].tolist() == [[1, 0, 0, 0], [1, 1, 1, 1]]
    assert mask_past_end(x, None) is x


def test_steps_are_differences_of_times():
    times = torch.tensor([[10.0, 11.0, 13.5], [0.0, 0.25, 0.0]])
    steps = sample_steps(times, 0.5, torch.tensor([3, 2]))
    assert steps.tolist() == [[0.5, 1.0, 2.5], [0.5, 0.25, 1.0]]


def test_whole_numbers_as_times_lose_nothing():
    nanoseconds = torch.tensor([[1_700_000_000_000_000_000, 1_700_000_000_000_000_003]])
    assert sample_steps(nanoseconds, 0.5).tolist() == [[0.5, 3.0]]


@pytest.mark.parametrize("times", [[0.0, 2.0, 1.0], [0.0, 1.0, 1.0], [0.0, torch.nan, 2.0], [0.0, 1.0, torch.inf]])
def test_times_that_do_not_increase_are_refused(times):
    with pytest.raises(ValueError, match="`timestamps` of series 1 must increase and be finite"):
        sample_steps(torch.tensor([[0.0, 1.0, 2.0], times]), 1.0)
