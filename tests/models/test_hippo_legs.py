"""The classifier on LegS coefficients: the same series at any speed, whole, in blocks, sample by sample, from disk."""

import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel, load_model, save_model


def series(length=23, batch=3):
    return 5 + 2 * torch.randn(batch, length, 2, dtype=torch.float64)


@pytest.fixture
def model():
    info = DataInfo("toy", "classification", n_channels=2, classes=("a", "b", "c"), sample_rate=10.0)
    config = ModelConfig.preset("hippo_legs", d_model=12, n_layers=2, order=6)
    model = SequenceModel.from_config(config, info, seed=0)
    model.input_norm.set_statistics(torch.tensor([5.0, -1.0]), torch.tensor([2.0, 0.5]))
    return model.double().eval()


def test_speed_and_rate_change_nothing(model):
    x = series()
    faster = x.repeat_interleave(2, dim=1)
    assert (model(faster) - model(x)).abs().max() < 1e-12
    assert (model(faster, sample_rate=20.0) - model(x)).abs().max() < 1e-12
    assert model.uses_rate


def test_stream_equals_whole(model):
    x = series()
    state = model.initial_state(3)
    for k in range(23):
        out, state = model.step(x[:, k], state)
        assert (out - model(x[:, : k + 1])).abs().max() < 1e-11
    out, state = model.scan(x[:, :10].repeat_interleave(2, dim=1), model.initial_state(3), sample_rate=20.0)
    out, state = model.scan(x[:, 10:], state)
    assert (out - model(x)).abs().max() < 1e-11


def test_missing_samples_with_times(model):
    x = series()
    keep = torch.tensor([0, 1, 3, 4, 8, 9, 15, 22])
    held = torch.repeat_interleave(keep, keep.diff(prepend=torch.tensor([-1])))
    times = keep.double().expand(3, -1) / 10
    assert (model(x[:, keep], timestamps=times) - model(x[:, held])).abs().max() < 1e-12


def test_padding_changes_nothing(model):
    x, lengths = series(), torch.tensor([23, 4, 1])
    whole = x.clone()
    for i, n in enumerate(lengths):
        x[i, n:] = torch.nan
    out = model(x, lengths)
    for i, n in enumerate(lengths):
        assert (out[i] - model(whole[i : i + 1, :n])[0]).abs().max() < 1e-12


def test_every_parameter_gets_a_gradient(model):
    model.train()(series()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_disk(model, tmp_path):
    save_model(model, tmp_path)
    again, x = load_model(tmp_path), series()
    assert torch.equal(again(x), model(x))
    assert again.config == model.config


def test_regression(model):
    info = DataInfo("toy", "regression", n_channels=2, n_targets=2)
    config = ModelConfig.preset("hippo_legs", d_model=8, order=4)
    out = SequenceModel.from_config(config, info)(torch.randn(3, 9, 2))
    assert out.shape == (3, 2)


def test_what_it_cannot_do_is_refused():
    info = DataInfo("toy", "sequence", n_channels=2, n_targets=1)
    with pytest.raises(ValueError, match="hippo_legs has one output for a whole series"):
        SequenceModel.from_config(ModelConfig.preset("hippo_legs"), info)
    with pytest.raises(ValueError, match="`pool` must be legs for hippo_legs"):
        ModelConfig.preset("hippo_legs", pool="mean")
    with pytest.raises(ValueError, match="model hippo_legs has no key 'dt_min'"):
        ModelConfig.preset("hippo_legs", dt_min=0.1)


def test_other_models_may_pool_by_legs():
    info = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))
    model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=6, n_layers=1, order=4, pool="legs"), info)
    model.eval()
    x = torch.randn(3, 20, 2)
    state, outputs = model.initial_state(3), None
    for block in x.split([7, 13], dim=1):
        outputs, state = model.scan(block, state)
    assert torch.allclose(outputs, model(x), atol=1e-4)


def test_normalised_by_batches_it_is_still_a_stream():
    info = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))
    config = ModelConfig.preset("hippo_legs", d_model=8, order=5, norm="batch", output="linear", dropout=0.0)
    model, x = SequenceModel.from_config(config, info, seed=0).double(), series()
    for _ in range(5):
        model(series(23, 16))
    assert not torch.allclose(model(x)[:1], model(x[:1]))  # in training the others count
    model.eval()
    assert (model(x)[:1] - model(x[:1])).abs().max() < 1e-12
    state = model.initial_state(3)
    for k in range(23):
        out, state = model.step(x[:, k], state)
    assert (out - model(x)).abs().max() < 1e-11
    with pytest.raises(ValueError, match="`norm` must be one of layer, rms, none, got 'batch'"):
        ModelConfig.preset("s4d", norm="batch")
