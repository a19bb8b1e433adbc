"""One life for every mixer of the registry: shapes, gradients, the online form, padding, rate, saving."""

import copy
import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from seqkit.nn import mixer_names, sample_steps, scan_by_step

B = 3


def _cases():
    spec = importlib.util.spec_from_file_location("seqkit_contract_cases", Path(__file__).with_name("cases.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_shared = _cases()
CASES, D, LIMIT, WITHOUT_UNIT = _shared.CASES, _shared.D, _shared.LIMIT, _shared.WITHOUT_UNIT
build, rms_error = _shared.build, _shared.rms_error
STREAMING = [case for case in CASES if case not in _shared.CANNOT_STREAM]
CAUSAL = [case for case in CASES if case not in _shared.TWO_SIDED]


def rates(mixer):
    return (0.5, 1.0, 2.0) if mixer.uses_rate else (1.0,)


def by_steps(mixer, u, rate=1.0):
    state, outputs = mixer.initial_state(len(u)), []
    for k in range(u.shape[1]):
        y, state = mixer.step(u[:, k], state, rate=rate)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def test_every_registered_mixer_has_a_case():
    assert {name for name, _ in CASES.values()} == set(mixer_names())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [1, 2, 7, 63])
def test_shape_and_dtype(case, length):
    for dtype in LIMIT:
        u = torch.randn(B, length, D, dtype=dtype)
        y = build(case, dtype)(u)
        assert y.shape == u.shape
        assert y.dtype == dtype


@pytest.mark.parametrize("case", STREAMING)
@pytest.mark.parametrize("dtype", LIMIT)
def test_forward_equals_steps_equals_scan_in_blocks(case, dtype):
    mixer = build(case, dtype)
    u = torch.randn(B, 61, D, dtype=dtype)
    for rate in rates(mixer):
        whole = mixer(u, rate=rate)
        stepped, last = by_steps(mixer, u, rate)
        assert rms_error(stepped, whole) < LIMIT[dtype]
        state, blocks = mixer.initial_state(B), []
        for block in u.split([1, 30, 16, 14], dim=1):
            y, state = mixer.scan(block, state, rate=rate)
            blocks.append(y)
        assert rms_error(torch.cat(blocks, 1), whole) < LIMIT[dtype]
        for mine, theirs in zip(state, last, strict=True):
            assert rms_error(mine, theirs) < LIMIT[dtype]


@pytest.mark.parametrize("case", STREAMING)
def test_forms_agree_after_training(case):
    mixer = build(case, torch.float32, perturbed=False)
    optimizer = torch.optim.Adam(mixer.parameters(), lr=0.01)
    u, target = torch.randn(B, 40, D), torch.randn(B, 40, D)
    for _ in range(20):
        loss = nn.functional.mse_loss(mixer(u), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for rate in rates(mixer):
        assert rms_error(by_steps(mixer, u, rate)[0], mixer(u, rate=rate)) < LIMIT[torch.float32]


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient(case):
    mixer = build(case)
    mixer(torch.randn(B, 20, D, dtype=torch.float64)).square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("case", STREAMING)
def test_gradients_of_both_forms_agree(case):
    mixer = build(case)
    u = torch.randn(B, 17, D, dtype=torch.float64)
    grads = []
    for form in (lambda x: mixer(x), lambda x: by_steps(mixer, x)[0]):
        x = u.clone().requires_grad_()
        mixer.zero_grad()
        form(x).cos().sum().backward()
        grads.append([x.grad, *(p.grad.clone() for p in mixer.parameters())])
    for mine, theirs in zip(*grads, strict=True):
        assert rms_error(mine, theirs) < 1e-8


@pytest.mark.parametrize("case", CAUSAL)
def test_causality(case):
    mixer = build(case)
    u = torch.randn(1, 30, D, dtype=torch.float64)
    changed = u.clone()
    changed[:, 20:] += 1.0
    before, after = mixer(u), mixer(changed)
    assert (before[:, :20] - after[:, :20]).abs().max() < 1e-12 * before.abs().max()
    assert (before[:, 20:] - after[:, 20:]).abs().max() > 1e-3


@pytest.mark.parametrize("case", CASES)
def test_padding_changes_nothing(case):
    mixer = build(case)
    lengths = torch.tensor([9, 25, 1])
    u = torch.randn(B, 25, D, dtype=torch.float64)
    for i, n in enumerate(lengths):
        u[i, n:] = torch.nan  # what lies past the end must not even be looked at
    u.requires_grad_()
    y = mixer(u, lengths=lengths)
    y.square().sum().backward()
    padded_grads = [u.grad, *(p.grad.clone() for p in mixer.parameters())]
    mixer.zero_grad()
    alone_grads = []
    streams = case in STREAMING
    if streams:
        _, state = mixer.scan(u.detach(), mixer.initial_state(B), lengths=lengths)
    for i, n in enumerate(lengths):
        x = u.detach()[i : i + 1, :n].requires_grad_()
        alone = mixer(x)
        alone.square().sum().backward()
        alone_grads.append(x.grad)
        assert rms_error(y[i : i + 1, :n], alone) < 1e-11
        assert (y[i, n:] == 0).all()
        assert rms_error(padded_grads[0][i : i + 1, :n], x.grad) < 1e-10
        assert (padded_grads[0][i, n:] == 0).all()
        if streams:
            _, own = mixer.scan(x.detach(), mixer.initial_state(1))
            for mine, theirs in zip(state, own, strict=True):
                assert rms_error(mine[i : i + 1], theirs) < 1e-11
    for mine, parameter in zip(padded_grads[1:], mixer.parameters(), strict=True):
        assert rms_error(mine, parameter.grad) < 1e-9


@pytest.mark.parametrize("case", STREAMING)
def test_scan_with_lengths_carries_each_series_own_state(case):
    mixer = build(case)
    first, second = torch.tensor([4, 11, 7]), torch.tensor([6, 1, 9])
    u, v = torch.randn(B, 11, D, dtype=torch.float64), torch.randn(B, 9, D, dtype=torch.float64)
    _, state = mixer.scan(u, mixer.initial_state(B), lengths=first)
    y, state = mixer.scan(v, state, lengths=second)
    for i in range(B):
        joined = torch.cat([u[i, : first[i]], v[i, : second[i]]])[None]
        whole, own = mixer.scan(joined, mixer.initial_state(1))
        assert rms_error(y[i, : second[i]], whole[0, first[i] :]) < 1e-10
        for mine, theirs in zip(state, own, strict=True):
            assert rms_error(mine[i : i + 1], theirs) < 1e-10


@pytest.mark.parametrize("case", CASES)
def test_rate_and_timestamps(case):
    mixer = build(case)
    u = torch.randn(B, 12, D, dtype=torch.float64)
    times = torch.arange(12, dtype=torch.float64).expand(B, -1)
    if not mixer.uses_rate:
        for given in ({"rate": 2.0}, {"timestamps": times}):
            with pytest.raises(ValueError, match="no notion of the sampling step"):
                mixer(u, **given)
        if case in STREAMING:
            with pytest.raises(ValueError, match="no notion of the sampling step"):
                mixer.step(u[:, 0], mixer.initial_state(B), rate=2.0)
        return
    assert rms_error(mixer(u, rate=2.0, timestamps=2 * times), mixer(u, rate=2.0)) < 1e-9
    if case in WITHOUT_UNIT:
        assert rms_error(mixer(u, rate=2.0), mixer(u)) < 1e-12
    else:
        assert rms_error(mixer(u, rate=2.0), mixer(u)) > 1e-3
    uneven = torch.rand(B, 12, dtype=torch.float64).add(0.2).cumsum(1)
    with pytest.raises(ValueError, match="must increase"):
        mixer(u, timestamps=uneven.flip(1))
    if case not in STREAMING:
        assert rms_error(mixer(u, timestamps=uneven), mixer(u)) > 1e-3
        return
    # Uneven times, different for each series, with padding: the form by steps is the definition.
    lengths = torch.tensor([12, 5, 8])
    y = mixer(u, timestamps=uneven, lengths=lengths)
    for i, n in enumerate(lengths):
        state, steps = mixer.initial_state(1), [1.0, *uneven[i].diff().tolist()]
        for k in range(int(n)):
            out, state = mixer.step(u[i : i + 1, k], state, rate=steps[k])
            assert rms_error(y[i : i + 1, k], out) < 1e-9
    _, state = mixer.scan(u, mixer.initial_state(B), timestamps=uneven, lengths=lengths)
    _, expected = scan_by_step(mixer, u, mixer.initial_state(B), steps=sample_steps(uneven, 1.0), lengths=lengths)
    for mine, theirs in zip(state, expected, strict=True):
        assert rms_error(mine, theirs) < 1e-11
    if case in WITHOUT_UNIT:
        assert rms_error(mixer(u, timestamps=uneven), mixer(u)) > 1e-3


@pytest.mark.parametrize("case", _shared.CANNOT_STREAM)
def test_what_cannot_stream_says_so(case):
    mixer = build(case)
    u = torch.randn(B, 5, D, dtype=torch.float64)
    state = (u[:, 0],)
    for asked in (mixer.initial_state, lambda: mixer.step(u[:, 0], state), lambda: mixer.scan(u, state)):
        with pytest.raises(ValueError, match="cannot stream, because"):
            asked()


@pytest.mark.parametrize("case", CASES)
def test_bad_input_has_one_sentence(case):
    mixer = build(case)
    u = torch.randn(B, 5, D, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"d_model is {D}"):
        mixer(u[:, :, :2])
    with pytest.raises(ValueError, match=r"lengths\[1\] is 0; every series needs at least one sample"):
        mixer(u, lengths=torch.tensor([5, 0, 2]))
    with pytest.raises(ValueError, match=r"lengths\[2\] is 6; the batch holds 5"):
        mixer(u, lengths=torch.tensor([5, 1, 6]))
    with pytest.raises(ValueError, match="at least one sample"):
        mixer(u[:, :0])
    with pytest.raises(ValueError, match="rate"):
        mixer(u, rate=0.0)
    if case in STREAMING:
        one = torch.ones(B, dtype=torch.float64)
        wrong = (0.0, -1.0, math.nan, math.inf, one.index_fill(0, torch.tensor(1), math.nan), -one, one[1:])
        for rate in wrong if mixer.uses_rate else wrong[:2]:
            with pytest.raises(ValueError, match=r"`rate` must be|a rate other than 1"):
                mixer.step(u[:, 0], mixer.initial_state(B), rate=rate)


@pytest.mark.parametrize("case", CASES)
def test_saving_copying_and_printing(case):
    mixer, other = build(case), build(case)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(mixer.state_dict())
    u = torch.randn(B, 9, D, dtype=torch.float64)
    assert torch.equal(other(u), mixer(u))
    assert torch.equal(copy.deepcopy(mixer)(u), mixer(u))
    assert type(mixer).__name__ in repr(mixer)
    if case not in STREAMING:
        return
    state = mixer.scan(u, mixer.initial_state(B))[1]
    stored = type(state)(*(tensor.clone() for tensor in state))
    assert torch.equal(mixer.step(u[:, 0], stored)[0], mixer.step(u[:, 0], state)[0])
    assert all(tensor.shape[0] == B and not tensor.is_complex() for tensor in state)


@pytest.mark.parametrize("case", CASES)
def test_autocast_keeps_a_recurrence_in_float32(case):
    mixer = build(case, torch.float32)
    u = torch.randn(B, 30, D)
    expected = mixer(u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mixer(u)
    assert torch.isfinite(y).all()
    limit = 1e-6 if mixer.uses_rate and case not in _shared.WITHOUT_RECURRENCE else 0.1
    assert rms_error(y.float(), expected) < limit
    assert all(p.dtype == torch.float32 for p in mixer.parameters())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler looks at it itself
@pytest.mark.parametrize("case", ["lssl", "s4", "s4d", "gru", "hippo_rnn", "hippo_rnn-legt", "lmu", *_shared.COMPILED])
def test_compiles(case):
    mixer = build(case, torch.float32)
    u = torch.randn(B, 16, D)
    compiled = torch.compile(mixer, backend="aot_eager")
    assert rms_error(compiled(u), mixer(u)) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_slow_parameters_exist(case):
    mixer = build(case)
    names = dict(mixer.named_parameters())
    assert set(mixer.slow_parameters) <= set(names)
