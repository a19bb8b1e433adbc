"""Missing values in every model: held values whole and as a stream, whatever stands in the gaps."""

import json
from dataclasses import replace

import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.models import ModelConfig, SequenceModel, load_model, save_model

MODELS = ("lssl", "s4d", "gru", "hippo_legs")
TIMED = ("lssl", "s4d", "hippo_legs")
INFO = DataInfo("toy", "classification", n_channels=2, classes=("a", "b", "c"), sample_rate=10.0)
MEAN, STD = torch.tensor([5.0, -1.0]), torch.tensor([2.0, 0.5])


def build(name="s4d", *, missing=False, dtype=torch.float64, task=INFO, **changes):
    sizes = {"gru": {}, "hippo_legs": {"order": 6}}.get(name, {"order": 6, "dt_min": 0.05, "dt_max": 0.5})
    config = ModelConfig.preset(name, **{"d_model": 6, "n_layers": 2, **sizes, **changes})
    model = SequenceModel.from_config(config, replace(task, missing=missing), seed=0)
    model.input_norm.set_statistics(MEAN, STD)
    if model.reads_missing:  # as after training: at the start what is missing weighs nothing
        generator = torch.Generator().manual_seed(2)
        model.encoder.weight.data[:, 2:] = torch.randn(model.encoder.weight[:, 2:].shape, generator=generator)
    return model.to(dtype).eval()


def gappy(length=19, batch=3, share=0.4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    values = 5 + 2 * torch.randn(batch, length, 2, dtype=dtype, generator=generator)
    observed = torch.rand(batch, length, 2, generator=generator) >= share
    observed[0, :3] = False  # nothing yet: the training mean
    return torch.where(observed, values, torch.nan), observed


def filled(values, observed):
    """The held values by the definition, in the data's units."""
    out = values.clone()
    for i in range(len(values)):
        for c in range(values.shape[2]):
            last = MEAN[c]
            for k in range(values.shape[1]):
                last = values[i, k, c] if observed[i, k, c] else last
                out[i, k, c] = last
    return out


def error(a, b):
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_knows_no_gaps_sees_held_values(name):
    model, (values, observed) = build(name), gappy()
    assert error(model(values, observed=observed), model(filled(values, observed))) < 1e-12
    assert error(model.predict(values, observed=observed), model.predict(filled(values, observed))) < 1e-12
    assert not model.reads_missing


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_forward_equals_steps_equals_blocks(name, missing):
    model, (values, observed) = build(name, missing=missing), gappy()
    for rate in (None, 4.0) if name in TIMED else (None,):
        whole = model(values, observed=observed, sample_rate=rate)
        state = model.initial_state(3)
        assert state.held.shape == (3, 2)
        for k in range(19):
            out, state = model.step(values[:, k], state, observed=observed[:, k], sample_rate=rate)
        assert error(out, whole) < 1e-9
        assert error(state.held * STD + MEAN, filled(values, observed)[:, -1]) < 1e-12
        state = model.initial_state(3)
        for block, there in zip(values.split([1, 8, 10], 1), observed.split([1, 8, 10], 1), strict=True):
            out, state = model.scan(block, state, observed=there, sample_rate=rate)
        assert error(out, whole) < 1e-9


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", TIMED)
def test_uneven_times(name, missing):
    model, (values, observed) = build(name, missing=missing), gappy()
    times = torch.rand(3, 19, dtype=torch.float64).add(0.02).mul(0.2).cumsum(1)
    whole = model(values, observed=observed, timestamps=times)
    if not missing or name == "hippo_legs":
        assert error(whole, model(filled(values, observed), timestamps=times)) < 1e-12
    _, state = model.scan(values[:, :7], model.initial_state(3), observed=observed[:, :7], timestamps=times[:, :7])
    for k in range(7, 19):
        step = times[:, k : k + 1].clone()
        gap = times[:, k] - times[:, k - 1]
        outs = []
        for i in range(3):  # a step of its own for each stream
            alone = type(state)(*(_row(part, i) for part in state))
            outs.append(
                model.scan(
                    values[i : i + 1, k : k + 1],
                    alone,
                    observed=observed[i : i + 1, k : k + 1],
                    timestamps=step[i : i + 1],
                    sample_rate=1 / float(gap[i]),
                )
            )
        state = _stack([new for _, new in outs])
    assert error(torch.cat([out for out, _ in outs]), whole) < 1e-9


def _row(part, i):
    if isinstance(part, torch.Tensor):
        return part[i : i + 1]
    if part is None:
        return None
    items = [_row(one, i) for one in part]
    return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)


def _stack(parts):
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    if parts[0] is None:
        return None
    items = [_stack(list(column)) for column in zip(*parts, strict=True)]
    return type(parts[0])(*items) if hasattr(parts[0], "_fields") else type(parts[0])(items)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_neither_gaps_nor_the_past_end_change_anything(name, missing):
    model, (values, observed) = build(name, missing=missing), gappy()
    lengths = torch.tensor([19, 4, 1])
    weights = torch.randn(3, 3, dtype=torch.float64)

    def everything(values, observed):
        model.zero_grad()
        leaf = values.clone().requires_grad_()
        out = model(leaf, lengths, observed=observed)
        (out * weights).sum().backward()
        gradients = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
        return out.detach(), model.predict(values, lengths, observed=observed), leaf.grad, gradients

    past = torch.arange(19)[:, None] >= lengths[:, None, None]
    zero = everything(torch.where(observed, values, 0.0), observed)
    for other_values, other_observed in (
        (values, observed),
        (torch.where(observed, values, torch.inf), observed),
        (values, observed & ~past),
        (torch.where(past, torch.nan, values), observed | past),
    ):
        found = everything(other_values, other_observed)
        for one, two in zip(found[:3], zero[:3], strict=True):
            assert torch.equal(one, two)
        assert all(torch.equal(found[3][key], zero[3][key]) for key in zero[3])
    assert (zero[2][~observed | past] == 0).all()
    for i, n in enumerate(lengths):
        alone = model(values[i : i + 1, :n], observed=observed[i : i + 1, :n])
        assert error(zero[0][i : i + 1], alone) < 1e-11


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("missing", [False, True])
def test_all_observed_is_none_given(name, missing):
    model, (values, observed) = build(name, missing=missing), gappy(share=0.0)
    values, everything = values.nan_to_num(5.0), torch.ones_like(observed)
    lengths = torch.tensor([19, 4, 1])
    assert torch.equal(model(values, lengths, observed=everything), model(values, lengths))


@pytest.mark.parametrize("name", ["s4d", "gru"])
def test_what_is_missing_is_read_where_training_has_gaps(name):
    model, (values, observed) = build(name, missing=True), gappy()
    assert model.reads_missing
    assert model.encoder.in_features == 4
    held = filled(values, observed)
    assert error(model(held, observed=torch.ones_like(observed)), model(values, observed=observed)) > 1e-4
    model.train()(values, observed=observed).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key
    assert model.encoder.weight.grad[:, 2:].abs().max() > 0


@pytest.mark.parametrize("name", ["s4d", "gru"])
def test_a_fresh_model_starts_as_one_that_only_holds(name):
    config, (values, observed) = ModelConfig.preset(name, d_model=6, n_layers=1), gappy(dtype=torch.float32)
    held, reading = (SequenceModel.from_config(config, replace(INFO, missing=m), seed=3).eval() for m in (False, True))
    assert error(reading(values, observed=observed), held(values, observed=observed)) < 1e-6
    assert reading.n_parameters == held.n_parameters + 2 * 6


@pytest.mark.parametrize(("given", "data", "reads"), [(None, True, True), (True, False, True), (False, True, False)])
def test_the_choice_can_be_made_by_hand(given, data, reads):
    model = build("s4d", missing=data, reads_missing=given)
    assert model.reads_missing is reads
    assert model.encoder.in_features == (4 if reads else 2)


def test_wrong_choices_are_refused():
    with pytest.raises(ValueError, match="`reads_missing` must be true, false or null, got 1"):
        ModelConfig.preset("s4d", reads_missing=1)
    with pytest.raises(ValueError, match="`reads_missing` must be false or null for hippo_legs"):
        ModelConfig.preset("hippo_legs", reads_missing=True)
    assert not build("hippo_legs", missing=True, reads_missing=False).reads_missing
    assert not build("hippo_legs", missing=True).reads_missing


@pytest.mark.parametrize("task", ["sequence", "tags"])
def test_targets_for_each_sample(task):
    classes = ("in", "out") if task == "tags" else ()
    info = DataInfo("toy", "sequence", n_channels=2, classes=classes, sample_rate=10.0)
    model, (values, observed) = build("s4d", missing=True, task=info), gappy()
    whole, state = model(values, observed=observed), model.initial_state(3)
    for k in range(19):
        out, state = model.step(values[:, k], state, observed=observed[:, k])
        assert error(out, whole[:, k]) < 1e-10
    later = values.clone()
    later[:, 10:] += 1
    assert error(model(later, observed=observed)[:, :10], whole[:, :10]) < 1e-11  # nothing looks ahead
    assert error(model(later, observed=observed)[:, 10:], whole[:, 10:]) > 1e-3


@pytest.mark.parametrize("missing", [False, True])
def test_disk(missing, tmp_path):
    model, (values, observed) = build("s4d", missing=missing, dtype=torch.float32), gappy(dtype=torch.float32)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.reads_missing is missing
    assert (again.info, again.config) == (model.info, model.config)
    assert torch.equal(again(values, observed=observed), model(values, observed=observed))


def test_a_folder_saved_before_there_were_missing_values_loads(tmp_path):
    model, (values, observed) = build("s4d", dtype=torch.float32), gappy(dtype=torch.float32)
    save_model(model, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    del description["config"]["reads_missing"], description["info"]["missing"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert torch.equal(load_model(tmp_path)(values, observed=observed), model(values, observed=observed))


def test_values_that_count_must_be_numbers():
    model, (values, observed) = build(), gappy()
    assert model.predict(values, observed=observed).isfinite().all()
    with pytest.raises(ValueError, match=r"NaN or infinite values.*; fill them, or say with `observed` which values"):
        model.predict(values)
    values[1, 2, 0] = torch.inf
    observed[1, 2, 0] = True
    with pytest.raises(ValueError, match=r"`values` has 1 NaN or infinite values, the first at \(1, 2, 0\)"):
        model.predict(values, observed=observed)


@pytest.mark.parametrize("form", ["forward", "predict", "scan", "step"])
def test_another_shape_or_kind_is_refused(form):
    model, (values, observed) = build(), gappy()

    def call(observed):
        if form == "step":
            return model.step(values[:, 0], model.initial_state(3), observed=observed[:, 0])
        if form == "scan":
            return model.scan(values, model.initial_state(3), observed=observed)
        return getattr(model, form)(values, observed=observed)

    call(observed)
    with pytest.raises(ValueError, match="`observed` must be of dtype bool"):
        call(observed.long())
    with pytest.raises(ValueError, match="`observed` must have shape"):
        call(observed[..., :1])


def test_whole_numbers_and_half_precision_go_in():
    model, (values, observed) = build("s4d", missing=True, dtype=torch.float32), gappy(dtype=torch.float32)
    whole = values.nan_to_num(3.0).round()
    reference = model(whole, observed=observed)
    assert error(model(whole.long(), observed=observed), reference) < 1e-5
    assert error(model(whole.half(), observed=observed), reference) < 1e-5


def test_it_compiles():
    model, (values, observed) = build("gru", missing=True, dtype=torch.float32), gappy(dtype=torch.float32)
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        assert error(compiled(values, observed=observed), model(values, observed=observed)) < 1e-6
