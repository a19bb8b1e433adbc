"""LSTM and GRU against their published equations, one sample after the other."""

import pytest
import torch

from seqkit.nn import GRU, LSTM

D = 3


def lstm_by_hand(core, u):
    W, R, b, c = core.weight_ih_l0, core.weight_hh_l0, core.bias_ih_l0, core.bias_hh_l0
    hidden = cell = torch.zeros(D, dtype=u.dtype)
    for sample in u:
        i, f, g, o = (W @ sample + b + R @ hidden + c).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        yield hidden


def gru_by_hand(core, u):
    W, R, b, c = core.weight_ih_l0, core.weight_hh_l0, core.bias_ih_l0, core.bias_hh_l0
    hidden = torch.zeros(D, dtype=u.dtype)
    for sample in u:
        (r, z, n), (rh, zh, nh) = (W @ sample + b).chunk(3), (R @ hidden + c).chunk(3)
        z = (z + zh).sigmoid()
        hidden = (1 - z) * (n + (r + rh).sigmoid() * nh).tanh() + z * hidden
        yield hidden


@pytest.mark.parametrize(("mixer", "by_hand"), [(LSTM(D), lstm_by_hand), (GRU(D), gru_by_hand)])
def test_equations(mixer, by_hand):
    mixer = mixer.double()
    u = torch.randn(2, 11, D, dtype=torch.float64)
    expected = torch.stack([torch.stack(list(by_hand(mixer.core, series))) for series in u])
    assert torch.allclose(mixer(u), expected, rtol=1e-12)


@pytest.mark.parametrize("cls", [LSTM, GRU])
def test_wrong_samples_are_refused(cls):
    mixer = cls(D)
    with pytest.raises(ValueError, match="d_model is 3"):
        mixer.step(torch.zeros(1, 5), mixer.initial_state(1))
    with pytest.raises(ValueError, match="`d_model` must be a whole number"):
        cls(0)
