"""The Monarch mixer against its formula written out sample by sample, and what it says of time and of both sides."""

import pytest
import torch

from seqkit import DataInfo, ModelConfig
from seqkit.longconv import ImplicitFilter, MonarchMixer
from seqkit.longconv.short import KEPT, lag_weights
from seqkit.models import SequenceModel, load_model, save_model
from seqkit.structured import StructuredLinear, densify

D = 3
OPTIONS = [
    {},
    {"residual": False, "bias": False},
    {"causal": False},
    {"causal": False, "residual": False, "form": "monarch"},
]


def error(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).square().mean().sqrt() / b.square().mean().sqrt())


def mixer(**options):
    torch.manual_seed(0)
    return MonarchMixer(D, **{"window": 9.0, "filter_width": 5, **options}).double()


def signal_at(x, times, time, step=1.0):
    """A series at one time: linear between its samples, from 0 and to 0 in the first step and the last."""
    nodes = [times[0] - step, *times, times[-1] + (times[-1] - times[-2] if len(times) > 1 else step)]
    values = [torch.zeros_like(x[0]), *x, torch.zeros_like(x[0])]
    for k in range(len(nodes) - 1):
        if nodes[k] <= time <= nodes[k + 1]:
            share = (time - nodes[k]) / (nodes[k + 1] - nodes[k])
            return (1 - share) * values[k] + share * values[k + 1]
    return torch.zeros_like(x[0])


def written_out(layer, u, times, step=1.0):
    """One series (L, D): every lag in loops, from the weights alone."""
    x = u @ layer.project.weight.T + (0 if layer.project.bias is None else layer.project.bias)
    short = []
    for time in times:
        lags = [signal_at(x, times, time - m, step) for m in range(3)]
        short.append(layer.short.bias + sum(w * lag for w, lag in zip(layer.short.weight, lags, strict=True)))
    x2, x1, v = torch.stack(short).split(D, 1)
    signals = torch.cat([x1 * v, u], 1) if layer.residual else x1 * v
    taps = layer.filter().chunk(1 if layer.causal else 2, 1)
    y = []
    for k, time in enumerate(times):
        total = layer.D * signals[k]
        for i in range(layer.filter.reach):
            total = total + taps[0][i] * signal_at(signals, times, time - i, step)
            if not layer.causal:
                total = total + taps[1][i] * signal_at(signals, times, time + 1 + i, step)
        y.append(total)
    y = torch.stack(y)
    mixed = x2 * y[:, :D] + (y[:, D:] if layer.residual else 0)
    return mixed @ layer.out.weight.T + (0 if layer.out.bias is None else layer.out.bias)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("length", [1, 6, 25])
def test_whole_series_are_the_formula(options, length):
    layer, u = mixer(**options), torch.randn(2, length, D, dtype=torch.float64)
    times = [float(k) for k in range(length)]
    expected = torch.stack([written_out(layer, one, times) for one in u])
    assert error(layer(u), expected) < 1e-12


@pytest.mark.parametrize("options", OPTIONS)
def test_uneven_series_are_the_formula(options):
    layer, u = mixer(**options), torch.randn(2, 20, D, dtype=torch.float64)
    times = (torch.rand(2, 20, dtype=torch.float64) + 0.5).cumsum(1)
    expected = torch.stack([written_out(layer, one, t.tolist(), 1.3) for one, t in zip(u, times, strict=True)])
    assert error(layer(u, timestamps=times, rate=1.3), expected) < 1e-12


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("rate", [0.5, 0.7, 3.0])
def test_another_rate_is_the_same_as_times(causal, rate):
    layer, u = mixer(causal=causal), torch.randn(1, 30, D, dtype=torch.float64)
    times = rate * torch.arange(30, dtype=torch.float64)[None]
    assert error(layer(u, rate=rate), layer(u, timestamps=times, rate=rate)) < 1e-12


def test_a_smooth_series_is_mapped_alike_at_half_and_at_twice_the_rate():
    layer = mixer(window=40.0)
    time = torch.arange(0, 120, 0.5, dtype=torch.float64)
    fine = torch.stack([(time / 7).sin(), (time / 5).cos(), (time / 11).sin()], 1)[None]
    whole = layer(fine[:, ::2])
    half = layer(fine[:, ::4], rate=2.0)
    assert error(half[:, 25:], whole[:, ::2][:, 25:]) < 0.02
    assert error(layer(fine, rate=0.5)[:, ::2][:, 50:], whole[:, 50:]) < 0.01
    assert error(layer(fine[:, ::4])[:, 25:], whole[:, ::2][:, 25:]) > 0.1  # where the rate is not told


def test_the_window_is_the_reach():
    layer, u = mixer(window=7.0, residual=False), torch.randn(1, 30, D, dtype=torch.float64)
    changed = u.clone()
    changed[:, 10] += 1
    moved = (layer(changed) - layer(u)).detach().abs().amax(-1)[0]
    # Two samples later the short filter still reads it, and the long ones reach six steps further.
    assert (moved[10:19] > 1e-9).all()
    assert float(moved[:10].max()) < 1e-13
    assert float(moved[19:].max()) < 1e-13


def test_filters_keep_their_energy_whatever_their_reach():
    torch.manual_seed(0)
    energies = ImplicitFilter(200, window=400.0)().detach().square().sum(0)
    assert 0.3 < float(energies.mean()) < 3


def test_lags_beyond_what_is_kept_read_the_oldest():
    weights = lag_weights(torch.full((KEPT,), 0.25))
    assert weights[1].tolist() == [0, 0, 0, 0, 1]
    assert weights[2].tolist() == [0, 0, 0, 0, 1]


def test_streams_of_different_rates_are_stepped_together():
    layer, u = mixer(), torch.randn(2, 30, D, dtype=torch.float64)
    rates = torch.tensor([0.5, 2.0])
    state = layer.initial_state(2)
    for k in range(30):
        y, state = layer.step(u[:, k], state, rate=rates)
        for i, rate in enumerate((0.5, 2.0)):
            assert error(y[i], layer(u[i : i + 1, : k + 1], rate=rate)[0, -1]) < 1e-11


def test_a_block_after_uneven_samples_reads_them_where_they_were():
    layer, u = mixer(), torch.randn(1, 24, D, dtype=torch.float64)
    times = torch.cat([torch.rand(1, 9, dtype=torch.float64).add(0.4).cumsum(1), torch.zeros(1, 15).double()], 1)
    times[:, 9:] = times[:, 8:9] + torch.arange(1, 16)
    _, state = layer.scan(u[:, :9], layer.initial_state(1), timestamps=times[:, :9])
    y, _ = layer.scan(u[:, 9:], state)
    assert error(y, layer(u, timestamps=times)[:, 9:]) < 1e-12


def test_rows_taken_in_parts_have_the_same_gradients(monkeypatch):
    from seqkit.longconv import direct

    found = []
    for numbers in (1 << 21, 40):
        monkeypatch.setattr(direct, "NUMBERS", numbers)
        layer, times = mixer(causal=False), torch.rand(2, 12, generator=torch.Generator().manual_seed(1)).cumsum(1)
        u = torch.arange(72, dtype=torch.float64).view(2, 12, D).sin().requires_grad_()
        layer(u, timestamps=times.double()).square().sum().backward()
        found.append([u.grad, *(p.grad for p in layer.parameters())])
    for mine, theirs in zip(*found, strict=True):
        assert error(mine, theirs) < 1e-12


def test_forms_agree():
    for causal in (True, False):
        stages, transforms = mixer(form="monarch", causal=causal), mixer(form="fft", causal=causal)
        u = torch.randn(3, 50, D, dtype=torch.float64)
        assert error(stages(u), transforms(u)) < 1e-13


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`window` must be given for MonarchMixer, got None"):
        MonarchMixer(4)
    with pytest.raises(ValueError, match="`window` must be a finite number above 0, got -1"):
        MonarchMixer(4, window=-1)
    with pytest.raises(ValueError, match="`causal` must be true or false, got 'no'"):
        MonarchMixer(4, window=8, causal="no")
    with pytest.raises(ValueError, match="`filter_width` must be a whole number of at least 1, got 0"):
        MonarchMixer(4, window=8, filter_width=0)
    with pytest.raises(ValueError, match="did you mean monarch"):
        MonarchMixer(4, window=8, form="monarchs")


def built(**changes):
    info = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))
    config = ModelConfig.preset("monarch", d_model=16, n_layers=1, window=12.0, **changes)
    return SequenceModel.from_config(config, info, seed=0).eval()


def test_the_preset_is_monarch_in_both_dimensions(tmp_path):
    model, u = built(), torch.randn(2, 20, 2)
    layers = [layer for layer in model.modules() if isinstance(layer, StructuredLinear)]
    assert [layer.structure for layer in layers] == ["monarch", "monarch"]
    assert model.n_parameters < built(output="mlp").n_parameters
    save_model(model, tmp_path / "run")
    assert torch.equal(load_model(tmp_path / "run")(u), model(u))
    densify(model)
    save_model(model, tmp_path / "dense")
    assert error(load_model(tmp_path / "dense")(u), model(u)) < 1e-6


def test_a_pooled_model_takes_monarch_maps_too():
    info = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))
    config = ModelConfig.preset("hippo_legs", d_model=16, n_layers=2, output="monarch")
    model = SequenceModel.from_config(config, info, seed=0)
    assert sum(isinstance(layer, StructuredLinear) for layer in model.modules()) == 4
    assert model(torch.randn(2, 20, 2)).shape == (2, 2)
