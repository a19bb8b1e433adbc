"""One model as convolution and as recurrence, at any rate, with padding that means nothing."""

import numpy as np
import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel

MIXERS = ("lssl", "s4", "s4d", "lstm", "gru")
TIMED = ("lssl", "s4", "s4d")
TASKS = ("classification", "regression", "sequence", "tags")
POOLS = ("mean", "last", "max")
LIMIT = {torch.float64: 1e-9, torch.float32: 1e-4}


def series(length=23, batch=3, dtype=torch.float64):
    return 5 + 2 * torch.randn(batch, length, 2, dtype=dtype)


def by_steps(model, values, **given):
    state, outputs = model.initial_state(len(values)), []
    for k in range(values.shape[1]):
        out, state = model.step(values[:, k], state, **given)
        outputs.append(out)
    return outputs if model.pool is None else outputs[-1:]


def in_blocks(model, values, **given):
    state, outputs = model.initial_state(len(values)), []
    for block in values.split([1, 9, values.shape[1] - 10], dim=1):
        out, state = model.scan(block, state, **given)
        outputs.append(out)
    return torch.cat(outputs, dim=1) if model.pool is None else outputs[-1]


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("task", TASKS)
def test_forward_equals_steps_equals_blocks(build, error, mixer, task, dtype):
    values = series(dtype=dtype)
    for pool in POOLS if task == "classification" else ("mean",):
        model = build(mixer, task, dtype, pool=pool)
        for given in ({}, {"sample_rate": 4.0}) if mixer in TIMED else ({}, {"sample_rate": 10.0}):
            whole = model(values, **given)
            n_outputs = model.info.n_outputs
            assert whole.shape == ((3, 23, n_outputs) if model.pool is None else (3, n_outputs))
            stepped = by_steps(model, values, **given)
            assert error(torch.stack(stepped, 1) if model.pool is None else stepped[-1], whole) < LIMIT[dtype]
            assert error(in_blocks(model, values, **given), whole) < LIMIT[dtype]


@pytest.mark.parametrize("pool", POOLS)
def test_output_so_far_is_forward_on_the_series_so_far(build, error, pool):
    model, values = build(pool=pool), series()
    state = model.initial_state(3)
    for k in range(23):
        out, state = model.step(values[:, k], state)
        assert error(out, model(values[:, : k + 1])) < 1e-9


@pytest.mark.parametrize("mixer", TIMED)
def test_uneven_times_equal_steps_of_that_rate(build, error, mixer):
    model, values = build(mixer), series(12, batch=1)
    times = 100 + torch.rand(1, 12, dtype=torch.float64).add(0.02).mul(0.2).cumsum(1)
    gaps = [0.1, *times[0].diff().tolist()]
    state = model.initial_state(1)
    for k in range(12):
        out, state = model.step(values[:, k], state, sample_rate=1 / gaps[k])
    whole = model(values, timestamps=times)
    assert error(out, whole) < 1e-9
    state = model.initial_state(1)
    _, state = model.scan(values[:, :5], state, timestamps=times[:, :5])
    out, state = model.scan(values[:, 5:], state, timestamps=times[:, 5:], sample_rate=1 / gaps[5])
    assert error(out, whole) < 1e-9
    even = torch.arange(12, dtype=torch.float64)[None] / 10
    assert error(model(values, timestamps=even), model(values)) < 1e-9


def test_times_in_whole_seconds_keep_their_digits(build, error):
    model, values = build(dtype=torch.float32), series(6, dtype=torch.float32)
    since_1970 = (1_700_000_000 + torch.arange(6)).expand(3, -1)
    assert error(model(values, timestamps=since_1970), model(values, timestamps=torch.arange(6).expand(3, -1))) < 1e-6


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("mixer", MIXERS)
def test_padding_changes_no_output_no_gradient_no_prediction(build, error, mixer, pool):
    model = build(mixer, pool=pool)
    lengths = torch.tensor([14, 6, 1])
    values = series(14)
    for i, n in enumerate(lengths):
        values[i, n:] = torch.nan
    weights = torch.randn(3, 3, dtype=torch.float64)
    out = model(values, lengths)
    (out * weights).sum().backward()
    padded = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert set(padded) == dict(model.named_parameters()).keys()
    model.zero_grad()
    alone = torch.cat([model(values[i : i + 1, :n]) for i, n in enumerate(lengths)])
    (alone * weights).sum().backward()
    assert error(out, alone) < 1e-10
    for name, p in model.named_parameters():
        assert error(padded[name], p.grad) < 1e-8, name
    predicted = model.predict(values, lengths)
    for i, n in enumerate(lengths):
        assert error(predicted[i], model.predict(values[i : i + 1, :n])[0]) < 1e-10
    assert torch.allclose(predicted.sum(-1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("task", ["sequence", "tags"])
def test_padding_of_sequence_targets(build, error, task):
    model, lengths, values = build("lssl", task), torch.tensor([14, 6, 1]), series(14)
    for i, n in enumerate(lengths):
        values[i, n:] = torch.inf
    for outputs in (model(values, lengths), model.predict(values, lengths)):
        for i, n in enumerate(lengths):
            assert (outputs[i, n:] == 0).all()
    out, predicted = model(values, lengths), model.predict(values, lengths)
    for i, n in enumerate(lengths):
        assert error(out[i, :n], model(values[i : i + 1, :n])[0]) < 1e-10
        assert error(predicted[i, :n], model.predict(values[i : i + 1, :n])[0]) < 1e-10


@pytest.mark.parametrize("mixer", MIXERS)
def test_blocks_with_lengths_go_on_where_each_series_stopped(build, error, mixer):
    model, first, second = build(mixer), torch.tensor([5, 9, 2]), torch.tensor([4, 1, 7])
    u, v = series(9), series(7)
    _, state = model.scan(u, model.initial_state(3), first)
    out, _ = model.scan(v, state, second)
    for i in range(3):
        joined = torch.cat([u[i, : first[i]], v[i, : second[i]]])[None]
        assert error(out[i : i + 1], model(joined)) < 1e-9


@pytest.mark.parametrize("mixer", TIMED)
def test_half_the_sample_rate_is_rate_two(build, error, mixer):
    model = build(mixer, "regression")
    assert (model.rate(5.0), model.rate(20.0), model.rate(None)) == (2.0, 0.5, 1.0)
    assert model.uses_rate
    # A slow signal, sampled half as often: told so, the model sees the same thing.
    t = torch.arange(0, 40, 0.1, dtype=torch.float64)
    slow = 5 + torch.stack([(0.3 * t).sin(), (0.2 * t).cos()], -1)[None]
    whole = model(slow) - 70
    told = model(slow[:, ::2], sample_rate=5.0) - 70
    untold = model(slow[:, ::2]) - 70
    assert error(told, whole) < 0.05
    assert error(told, whole) < 0.2 * error(untold, whole)


def test_data_without_a_sample_rate_count_as_one_hertz():
    info = DataInfo("toy", "regression", n_channels=1)
    model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4), info)
    assert model.rate(0.5) == 2.0
    with pytest.raises(ValueError, match="`sample_rate` must be a finite number above 0, got -5"):
        model.rate(-5)
    with pytest.raises(ValueError, match=r"`sample_rate` must be finite numbers above 0, got 0\.0 for stream 1"):
        model.step(torch.zeros(2, 1), model.initial_state(2), sample_rate=torch.tensor([1.0, 0.0]))


def test_a_baseline_refuses_what_it_cannot_use(build):
    model, values = build("gru"), series()
    assert not model.uses_rate
    assert torch.equal(model(values, sample_rate=10.0), model(values))
    with pytest.raises(ValueError, match="GRU has no notion of the sampling step"):
        model(values, sample_rate=5.0)
    with pytest.raises(ValueError, match="GRU has no notion of the sampling step"):
        model(values, timestamps=torch.arange(23).expand(3, -1))


def test_values_are_standardised_before_and_scaled_after(build, error):
    model, values = build(task="regression"), series()
    values[:, :, 0] = 5.0  # the mean of the channel: what the encoder sees of it is 0
    changed = model(values)
    with torch.no_grad():
        model.encoder.weight[:, 0] = 0
    assert error(model(values), changed) < 1e-12
    before = model(values)
    model.head.set_statistics(torch.full((2,), 0.0), torch.full((2,), 1.0))
    assert error(model(values) * 12 + 70, before) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float16])
def test_values_of_any_real_dtype_go_in(build, error, dtype):
    model = build(dtype=torch.float32)
    values = series(dtype=torch.float32).round()
    assert error(model(values.to(dtype)), model(values)) < 1e-6
    assert error(by_steps(model, values.to(dtype))[-1], model(values)) < 1e-4
    assert torch.equal(model(torch.from_numpy(values.numpy().astype(np.float64))), model(values))


@pytest.mark.parametrize("form", ["forward", "scan", "predict", "step"])
def test_wrong_input_is_refused_in_one_sentence(build, form):
    model, values = build(), series(5)
    state = model.initial_state(3)

    def call(values, *rest):
        if form == "scan":
            return model.scan(values, state, *rest)
        if form == "step":
            return model.step(values[:, 0], state)
        return (model if form == "forward" else model.predict)(values, *rest)

    call(values)
    with pytest.raises(ValueError, match=r"`values` must .*, 2\), got .*; the model was trained on 2 channels"):
        call(values[:, :, :1])
    if form == "step":
        return
    with pytest.raises(ValueError, match="`values` must have shape"):
        call(values[0])
    with pytest.raises(ValueError, match="`values` must hold at least one sample a series"):
        call(values[:, :0])
    for lengths, words in (
        ([5, 5], r"`lengths` must have shape \(3,\)"),
        ([5, 0, 5], r"lengths\[1\] is 0; every series needs at least one sample"),
        ([5, 6, 5], r"lengths\[1\] is 6; the batch holds 5 samples"),
        ([5.0, 4.0, 5.0], "`lengths` must be whole numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            call(values, torch.tensor(lengths))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_predict_refuses_what_is_not_finite(build, bad):
    model, values = build(), series(5)
    values[1, 3, 0] = bad
    with pytest.raises(ValueError, match=r"`values` has 1 NaN or infinite values, the first at \(1, 3, 0\)"):
        model.predict(values)
    assert model.predict(values, torch.tensor([5, 3, 5])).isfinite().all()  # past the end nobody looks


def test_predict_leaves_mode_and_gradients_alone(build):
    model, values = build(dropout=0.5).train(), series()
    assert torch.equal(model.predict(values), model.predict(values))
    assert model.training
    assert not model.predict(values).requires_grad
    with pytest.raises(ValueError, match="NaN"):
        model.predict(values * torch.nan)
    assert model.training
    model.eval()
    assert torch.equal(model.predict(values), model(values).softmax(-1))
    assert not model.training


def test_seed_fixes_the_weights_and_leaves_the_generator(build):
    info = DataInfo("toy", "regression", n_channels=1)
    config = ModelConfig.preset("s4d", d_model=4, n_layers=1, order=4)
    before = torch.get_rng_state()
    first, again, other = (SequenceModel.from_config(config, info, seed=s).state_dict() for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    torch.manual_seed(3)
    assert torch.equal(SequenceModel.from_config(config, info).state_dict()["encoder.weight"], first["encoder.weight"])
    assert not torch.equal(torch.get_rng_state(), before)


def test_target_kind_and_classes_must_agree():
    config = ModelConfig.preset("gru", d_model=4, n_layers=1)
    for task, classes, words in (
        ("classification", (), "needs at least two classes, got \\[\\]"),
        ("classification", ("a",), "needs at least two classes, got \\['a'\\]"),
        ("regression", ("a", "b"), "a regression has no classes"),
    ):
        with pytest.raises(ValueError, match=words):
            SequenceModel.from_config(config, DataInfo("toy", task, n_channels=1, classes=classes))


def test_number_of_parameters_counts_what_is_trained(build):
    model = build("lssl", train_A=False, train_dt=False)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert model.n_parameters == sum(p.numel() for p in trained)
    assert model.n_parameters < sum(p.numel() for p in model.parameters())
