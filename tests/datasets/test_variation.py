"""Training series that differ each time: what is drawn, that it is drawn for training alone, and that it repeats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.batching import loader, training_loader
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.variation import Variation
from seqkit.datasets.windows import Windows

INFO = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))


def wave(n=200):
    t = np.arange(n) / n
    return np.stack([np.sin(9 * t), t**2 - 3], axis=1).astype(np.float32)


def drawn(seed, shift, n):
    """The three numbers of a draw, by what the docstring says of them."""
    rng = np.random.default_rng(seed)
    return int(rng.random() * (min(shift, n - 1) + 1)), rng.uniform(-1, 1), rng.uniform(-1, 1)


@pytest.mark.parametrize("seed", range(4))
def test_a_series_is_shifted_played_faster_and_made_louder(seed):
    row, vary = wave(), Variation(speed=0.25, gain=0.5, shift=20)
    found = vary.apply(row, np.random.default_rng(seed))
    start, speed, gain = drawn(seed, 20, len(row))
    step, factor = 1.25**speed, 1.5**gain
    places = start + step * np.arange(len(found))
    assert places[-1] <= len(row) - 1 < places[-1] + step
    for c in range(2):
        wanted = factor * np.interp(places, np.arange(len(row)), row[:, c].astype(np.float64))
        np.testing.assert_allclose(found[:, c], wanted, rtol=1e-5, atol=1e-5)
    assert found.dtype == np.float32


def test_ranges_are_what_the_options_say():
    row = np.arange(400, dtype=np.float32)[:, None] + 1
    rng = np.random.default_rng(0)
    lengths = [len(Variation(speed=0.25).apply(row, rng)) for _ in range(200)]
    assert 319 <= min(lengths) < 330
    assert 480 < max(lengths) <= 499
    firsts = {int(Variation(shift=3).apply(row, rng)[0, 0]) for _ in range(60)}
    assert firsts == {1, 2, 3, 4}
    gains = [float(Variation(gain=1.0).apply(row, rng)[0, 0]) for _ in range(200)]
    assert 0.5 <= min(gains) < 0.55
    assert 1.8 < max(gains) <= 2.0


def test_frames_vary_sample_by_sample():
    row, vary = wave(96), Variation(speed=0.3, shift=5)
    plain = vary.apply(row, np.random.default_rng(1))
    framed = vary.apply(row.reshape(24, 8), np.random.default_rng(1), frame=4)
    assert framed.shape == (-(-len(plain) // 4), 8)
    np.testing.assert_array_equal(framed.reshape(-1, 2)[: len(plain)], plain)
    assert (framed.reshape(-1, 2)[len(plain) :] == plain[-1]).all()


@pytest.mark.parametrize("n", [1, 2])
def test_the_shortest_series_keep_a_sample(n):
    for seed in range(10):
        found = Variation(speed=3.0, gain=1.0, shift=50).apply(wave(200)[:n], np.random.default_rng(seed))
        assert len(found) >= 1
        assert np.isfinite(found).all()


def test_only_training_batches_vary_anew_in_each_epoch_and_alike_for_a_seed():
    series = SeriesSet([wave()] * 4, ["a", "b", "a", "b"])

    def batches(epoch):
        made = training_loader(series, INFO, batch_size=4, seed=3, vary=Variation(speed=0.2))
        made.sampler.set_epoch(epoch)
        return [batch.values for batch in made]

    first, again, later = batches(0)[0], batches(0)[0], batches(1)[0]
    assert torch.equal(first, again)
    assert first.shape != later.shape or not torch.equal(first, later)
    assert not torch.equal(first[0], first[1])
    (plain,) = loader(series, INFO, batch_size=4)
    assert torch.equal(plain.values, torch.from_numpy(np.stack([wave()] * 4)))


def test_the_module_frames_every_part_and_varies_training():
    module = SeriesDataModule(get_source("japanese_vowels"), frame=4, vary=Variation(gain=1.0))
    plain = SeriesDataModule(get_source("japanese_vowels"))
    for one in (module, plain):
        one.setup()
    assert (module.info.n_channels, module.info.sample_rate) == (48, pytest.approx(plain.info.sample_rate / 4))
    batch, own = next(iter(module.test_dataloader())), plain.sets["test"].values[0]
    assert torch.equal(batch.values[0, 0], torch.from_numpy(own[:4].reshape(-1)))
    training = next(iter(module.train_dataloader()))
    known = {one[:4].tobytes() for one in map(np.asarray, plain.sets["train"].values)}
    assert not any(one[0].numpy().reshape(4, 12).tobytes() in known for one in training.values)
    assert module.statistics().mean.shape == (48,)


@pytest.mark.parametrize("uneven", [True, False])
def test_samples_that_are_dropped_go_with_their_times_or_keep_their_place(uneven):
    rows = [np.arange(1.0, n + 1, dtype=np.float32)[:, None] for n in (40, 60, 60)]
    times = [2.0 * np.arange(len(row)) ** 1.5 for row in rows] if uneven else None
    series, info = SeriesSet(rows, ["a", "b", "a"], timestamps=times), DataInfo("toy", "classification", 1, ("a", "b"))
    made = training_loader(series, info, batch_size=3, seed=0, vary=Variation(drop=0.8))
    (batch,), (again,) = list(made), list(training_loader(series, info, batch_size=3, seed=0, vary=made.dataset.vary))
    assert torch.equal(batch.values, again.values)
    assert (batch.observed is None) == uneven
    for i, n in enumerate(batch.lengths.tolist()):
        row = batch.values[i, :n, 0]
        place = row.long() - 1 if uneven else torch.arange(n)[batch.observed[i, :n, 0]]
        size = 40 if int(place[-1]) == 39 else 60
        assert place[-1] == size - 1  # a series ends where it ended
        assert 0.1 * size < len(place) < size
        if uneven:
            since = torch.from_numpy(2.0 * place.numpy() ** 1.5).float()
            torch.testing.assert_close(batch.timestamps[i, :n], since - since[0])
        else:
            assert n == size
            assert batch.timestamps is None
            assert torch.equal(row[place], place + 1.0)
            assert row.sum() == row[place].sum()  # 0 where nothing was observed


def test_the_share_that_is_dropped_is_drawn_too():
    rng = np.random.default_rng(0)
    shares = [1 - Variation(drop=0.5).kept(4000, rng).mean() for _ in range(200)]
    assert 0 <= min(shares) < 0.03
    assert 0.47 < max(shares) < 0.53
    before = rng.bit_generator.state
    assert Variation(gain=0.1).kept(9, rng).all()
    assert rng.bit_generator.state == before  # runs without it draw what they always drew


def test_what_may_not_vary_is_refused():
    timed = SeriesSet([np.zeros((3, 1))], timestamps=[np.array([0.0, 1.0, 3.0])])
    each = SeriesSet([np.zeros((3, 1))], [np.zeros((3, 1))])
    windows = SeriesSet(Windows([np.zeros((9, 1))], np.array([0]), np.array([0]), 3, horizon=1, places=(0,)))
    Variation(gain=0.5).check(timed)
    for bad, why in ((timed, "uneven times"), (each, "a target for each sample")):
        with pytest.raises(ValueError, match=f"`vary_speed` and `vary_shift` must be 0 .*{why}"):
            Variation(speed=0.1).check(bad)
    Variation(drop=0.5).check(timed)
    Variation(drop=0.5).check(each)
    both = SeriesSet(timed.values, [np.zeros((3, 1))], timestamps=timed.timestamps)
    with pytest.raises(ValueError, match=r"`vary_drop` must be 0 where samples have both times and targets.*got 0\.5"):
        Variation(drop=0.5).check(both)
    with pytest.raises(ValueError, match=r"must be 0 for forecasts, got 0, 0\.5, 0, 0:"):
        Variation(gain=0.5).check(windows)
    for bad in ({"speed": -0.1}, {"gain": float("nan")}, {"shift": 1.5}, {"shift": True}, {"drop": 1.0}):
        with pytest.raises(ValueError, match=f"`vary_{next(iter(bad))}` must (be|lie)"):
            Variation(**bad)
