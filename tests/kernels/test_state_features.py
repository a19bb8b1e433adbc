"""state_features: loops and plain torch equal the definition; time, gaps and blocks mean what they say."""

import math
import warnings

import numpy as np
import pytest
import torch

from seqkit.kernels.state_features import (
    Filters,
    carry_features,
    cpu,
    filter_outputs,
    pack,
    sample_outputs,
    start,
    state_features,
)

NAN = math.nan


def bank(n_filters: int, n_channels: int, seed: int = 0) -> Filters:
    draw = torch.Generator().manual_seed(seed)

    def uniform() -> torch.Tensor:
        return torch.rand(n_filters, generator=draw)

    tau = torch.exp(uniform() * 4 - 0.3)
    return Filters(
        1 / tau,
        torch.clamp(8 * uniform() / tau, max=3.0),
        2 * math.pi * uniform(),
        torch.randint(1, 5, (n_filters,), generator=draw),
        torch.randn(n_filters, n_channels, generator=draw),
        uniform() < 0.5,
    )


def one_filter(decay: float = 0.5, turn: float = 0.0, stages: int = 1, sloped: bool = False) -> Filters:
    number = torch.ones(1)
    return Filters(
        decay * number, turn * number, 0 * number, torch.tensor([stages]), torch.ones(1, 1), torch.tensor([sloped])
    )


@pytest.fixture(params=["numba", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(cpu, "HAS_NUMBA", False)
    else:
        pytest.importorskip("numba")
    return request.param


@pytest.mark.parametrize("n_thresholds", [1, 4, 7])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_filters", [1, 70])
def test_equals_the_definition(path: str, n_filters: int, channels: int, n_thresholds: int) -> None:
    torch.manual_seed(1)
    values = torch.randn(6, 300, channels)
    values[torch.rand(values.shape) < 0.3] = NAN
    values[2, 5:10] = NAN
    values[4, :7] = NAN
    values[5] = NAN
    filters, thresholds = bank(n_filters, channels), torch.randn(n_filters, n_thresholds) * 0.3
    given = {"lengths": torch.tensor([300, 1, 30, 7, 20, 300]), "steps": torch.rand(6, 300) + 0.3}
    want = state_features(values, filters, thresholds, **given, backend="reference")
    got = state_features(values, filters, thresholds, **given, backend="cpu")
    assert got.dtype == torch.float32
    assert torch.equal(got.isnan(), want.isnan())
    assert bool(got[5].isnan().all())
    rest = [want.nan_to_num()[..., n_thresholds:], got.nan_to_num()[..., n_thresholds:]]
    torch.testing.assert_close(*rest, atol=3e-6, rtol=1e-5)
    # An output within rounding of a threshold may count on either side.
    off = (got - want).nan_to_num()[..., :n_thresholds].abs()
    assert float(off.max()) < 0.02
    assert float((off > 1e-5).float().mean()) < 0.01


def test_a_filter_is_the_equation() -> None:
    decay, turn, dt = 0.4, 0.9, 1.0
    values = torch.tensor([[1.0], [2.0], [-1.0]])
    a, h = complex(math.exp(-decay) * math.cos(turn), math.exp(-decay) * math.sin(turn)), math.tanh(decay * dt / 2)
    stages, before, want = [0j, 0j], 1.0 + 0j, []
    for u in (1.0, 2.0, -1.0):
        first = a * (stages[0] + h * before) + h * u
        second = a * (stages[1] + h * stages[0]) + h * first
        stages, before = [first, second], u + 0j
        want.append(second.real)
    for backend in ("reference", "cpu"):
        got = filter_outputs(values, one_filter(decay, turn, 2), backend=backend)
        assert got.flatten().tolist() == pytest.approx(want, abs=1e-6)


def test_a_constant_passes_and_its_slope_is_none(path: str) -> None:
    values, thresholds = torch.full((1, 200, 1), 3.0), torch.tensor([[2.9]])
    level = state_features(values, one_filter(), thresholds)[0, 0]
    assert float(level[-1]) == pytest.approx(3.0, abs=1e-5)
    assert float(level[1]) <= 3.0 + 1e-5
    slope = state_features(values, one_filter(sloped=True), torch.tensor([[1e-10]]))[0, 0]
    assert slope.abs().max() < 1e-15


@pytest.mark.parametrize("turn", [0.0, 0.1])
@pytest.mark.parametrize("sloped", [False, True])
def test_the_same_signal_at_another_rate_has_the_same_features(sloped: bool, turn: float, path: str) -> None:
    times = torch.arange(4000, dtype=torch.float64) / 4
    signal = (torch.sin(times / 20) + torch.cos(times / 33)).float().view(1, -1, 1)
    filters, thresholds = one_filter(0.05, turn, 2, sloped), torch.tensor([[0.01, 0.2]])
    fine = state_features(signal, filters, thresholds, steps=0.25)[0, 0]
    coarse = state_features(signal[:, ::4], filters, thresholds, steps=1.0)[0, 0]
    uneven = torch.rand(1000, generator=torch.Generator().manual_seed(0)) < 0.5
    kept = torch.cat([torch.tensor([0]), 4 * uneven.nonzero().flatten()]).unique()
    steps = torch.diff(times[kept], prepend=times[kept][:1] - 1)
    thinned = state_features(signal[:, kept], filters, thresholds, steps=steps[None])[0, 0]
    torch.testing.assert_close(coarse, fine, atol=0.01, rtol=0.02)
    torch.testing.assert_close(thinned, fine, atol=0.03, rtol=0.06)


def test_an_unobserved_sample_is_as_if_it_were_not_there(path: str) -> None:
    values = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(0))
    gone = torch.arange(50) % 5 == 3
    holes = values.clone()
    holes[0, gone] = NAN
    filters, thresholds = bank(40, 2), torch.zeros(40, 2)
    places = (~gone).nonzero().flatten()
    steps = torch.diff(places, prepend=torch.tensor([-1])).double()[None]
    want = state_features(values[:, ~gone], filters, thresholds, steps=steps)
    torch.testing.assert_close(state_features(holes, filters, thresholds), want, rtol=0, atol=0)


def test_padding_changes_nothing(path: str) -> None:
    values = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0))
    filters, thresholds, lengths = bank(40, 2), torch.zeros(40, 2), torch.tensor([40, 11, 1])
    want = [state_features(values[i : i + 1, :n], filters, thresholds)[0] for i, n in enumerate(lengths.tolist())]
    values[1, 11:], values[2, 1:] = 1e9, NAN
    got = state_features(values, filters, thresholds, lengths=lengths)
    torch.testing.assert_close(got, torch.stack(want), rtol=0, atol=0)


@pytest.mark.parametrize("block", [1, 7, 130])
def test_carried_on_equals_whole(block: int, path: str) -> None:
    values = torch.randn(2, 300, 2, generator=torch.Generator().manual_seed(0))
    values[:, 3:9] = NAN
    values[1, :2] = NAN
    filters, thresholds = bank(40, 2), torch.randn(40, 4) * 0.2
    packed = pack(filters, thresholds)
    state = start(packed, 2)
    for k in range(0, 300, block):
        before = [field.clone() for field in state]
        got, after = carry_features(values[:, k : k + block], packed, state, steps=0.5)
        assert all(torch.equal(field.nan_to_num(), one.nan_to_num()) for field, one in zip(state, before, strict=True))
        state = after
    want = state_features(values, filters, thresholds, steps=0.5)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)


def test_streams_with_nothing_new_stay() -> None:
    packed = pack(bank(10, 1), torch.zeros(10, 2))
    first, state = carry_features(torch.ones(2, 1, 1), packed, start(packed, 2))
    both, state = carry_features(torch.full((2, 1, 1), 2.0), packed, state, lengths=torch.tensor([0, 1]))
    assert torch.equal(both[0], first[0])
    assert not torch.equal(both[1], first[1])


def test_threads_share_the_series() -> None:
    values = torch.randn(9, 30, 1, generator=torch.Generator().manual_seed(0))
    filters, thresholds, before = bank(10, 1), torch.zeros(10, 2), torch.get_num_threads()
    torch.set_num_threads(1)
    want = state_features(values, filters, thresholds)
    torch.set_num_threads(3)
    try:
        assert torch.equal(state_features(values, filters, thresholds), want)
    finally:
        torch.set_num_threads(before)


def test_long_series_count_exactly() -> None:
    pytest.importorskip("numba")
    values = torch.ones(1, 300_000, 1)
    shares = state_features(values, one_filter(decay=5.0), torch.tensor([[0.5]]))[0, 0]
    assert float(shares[0]) > 0.99999
    assert float(shares[2]) == pytest.approx(1.0, abs=1e-5)


def test_inputs_stay_and_nothing_warns(path: str) -> None:
    values = torch.full((1, 5, 1), NAN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bool(state_features(values, one_filter(), torch.zeros(1, 1)).isnan().all())
    assert bool(values.isnan().all())


BAD = {
    "`values` must be float32": {"values": torch.zeros(1, 5, 1, dtype=torch.float64)},
    "`values` must have shape \\(B, L, 1\\)": {"values": torch.zeros(1, 5, 2)},
    "`values` has 1 NaN or infinite": {"values": torch.full((1, 1, 1), math.inf)},
    "`thresholds` must have shape \\(1, T\\)": {"thresholds": torch.zeros(2, 1)},
    "`filters.decay` must lie above 0": {"filters": one_filter(decay=0.0)},
    "`filters.stages` must lie between 1 and 4, got 5": {"filters": one_filter(stages=5)},
    "`steps` must be a finite number above 0": {"steps": 0.0},
    "`steps` must be finite and above 0": {"steps": torch.tensor([-1.0])},
    "`steps` must be a number or have shape": {"steps": torch.ones(3)},
    "lengths\\[0\\] is 9": {"lengths": torch.tensor([9])},
    "state_features has no Triton kernels": {"backend": "triton"},
}


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_used_is_named(words: str) -> None:
    given = {"values": torch.zeros(1, 5, 1), "filters": one_filter(), "thresholds": torch.zeros(1, 1), **BAD[words]}
    with pytest.raises((ValueError, TypeError), match=words):
        state_features(**given)


@pytest.mark.parametrize("waiting", [0.0, 0.4, 3.7, 200.0])
@pytest.mark.parametrize("gone", [(), (0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("step", [0.3, 1.0, 1.0000009, 2.5, 90.0])
def test_rows_have_room_for_the_time_that_passed_without_values(
    waiting: float, gone: tuple[int, ...], step: float
) -> None:
    """Compiled loops do not look where they write."""
    pytest.importorskip("numba")
    from seqkit.kernels.state_features import loops

    values, steps = np.ones((5, 1), dtype=np.float32), np.full(5, step)
    values[list(gone)] = np.nan
    rows, spans = np.zeros((1000, 2), dtype=np.float32), np.zeros(1000)
    written = loops.take_rows(values, steps, np.ones(1, dtype=np.float32), np.array([1.0, waiting]), rows, spans)
    assert 0 < written <= loops.most_rows(steps, waiting)


@pytest.mark.parametrize("length", [1, 30, 250])
def test_sampled_outputs_are_those_of_the_series_that_was_chosen(length: int, path: str) -> None:
    values = torch.randn(3, length, 2, generator=torch.Generator().manual_seed(0))
    filters = bank(70, 2)
    packed = pack(filters, torch.zeros(70, 0))
    chosen = torch.arange(2 * len(packed.kind)).view(-1, 2) % 3
    got = sample_outputs(values, packed, chosen, most=100)
    whole = torch.stack([filter_outputs(one, filters) for one in values])
    stride = max(1, -(-length // 100))
    for b in range(len(packed.kind)):
        for lane, f in enumerate(packed.order[b].tolist()):
            if f >= 0:
                want = whole[chosen[b, lane // 16], ::stride, f]
                torch.testing.assert_close(got[f, : len(want)], want, atol=1e-6, rtol=1e-5)
                assert bool(got[f, len(want) :].isnan().all())


def test_a_state_goes_on_without_the_loops_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    values = torch.randn(2, 60, 2, generator=torch.Generator().manual_seed(0))
    packed = pack(bank(40, 2), torch.zeros(40, 3))
    state = start(packed, 2)
    for k in range(0, 60, 20):
        monkeypatch.setattr(cpu, "HAS_NUMBA", k != 20)
        got, state = carry_features(values[:, k : k + 20], packed, state)
    want = state_features(values, bank(40, 2), torch.zeros(40, 3))
    torch.testing.assert_close(got[..., 3:], want[..., 3:], atol=3e-6, rtol=1e-5)
    assert float((got - want)[..., :3].abs().max()) < 0.03  # an output within rounding of a threshold


@pytest.mark.parametrize("decay", [1e-3, 1e-6, 1e-9])
def test_memories_of_a_billion_samples_and_tiny_steps_lose_nothing(decay: float) -> None:
    values = torch.randn(1, 50, 1, generator=torch.Generator().manual_seed(0)) * 1e3 + 1e6
    for stages in (1, 2, 3, 4):
        filters, thresholds = one_filter(decay, stages=stages), torch.zeros(1, 1)
        for step in (1.0, 1e-3, 1.0 / 3):
            want = state_features(values, filters, thresholds, steps=step, backend="reference")[..., 1:]
            got = state_features(values, filters, thresholds, steps=step, backend="cpu")[..., 1:]
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-15)
