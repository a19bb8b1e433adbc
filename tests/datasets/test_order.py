"""The order of training: a function of seed and epoch, little padding, workers, and going on within an epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.datasets import EpochBatches, SeriesDataModule, SeriesSet, get_source, loader
from seqkit.datasets.batching import training_loader
from seqkit.datasets.order import Draw, padded_share
from seqkit.datasets.rows import LazyRows

# More worker processes than cores are slow, not wrong.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

INFO = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))


def places(batches: EpochBatches) -> list[list[int]]:
    return [draw.places for draw in batches]


def uneven(n: int = 100) -> np.ndarray:
    return np.random.default_rng(1).integers(5, 60, n)


def series_of(lengths: np.ndarray) -> SeriesSet:
    return SeriesSet([np.full((n, 1), i) for i, n in enumerate(lengths)], ["ab"[i % 2] for i in range(len(lengths))])


@pytest.mark.parametrize("lengths", [np.full(20, 7), uneven(20)], ids=["equal", "uneven"])
def test_order_is_drawn_from_seed_and_epoch(lengths: np.ndarray) -> None:
    orders = set()
    for seed in range(3):
        batches = EpochBatches(lengths, 4, seed)
        for epoch in range(3):
            batches.set_epoch(epoch)
            torch.manual_seed(epoch)
            order = places(batches)
            assert order == places(batches)
            assert sorted(place for one in order for place in one) == list(range(20))
            assert len(order) == len(batches)
            assert all(len(one) <= 4 for one in order)
            orders.add(str(order))
    assert len(orders) == 9


def test_equal_series_come_first_equally_often() -> None:
    firsts = [places(EpochBatches(np.full(4, 9), 1, seed))[0][0] for seed in range(400)]
    assert all(70 < firsts.count(k) < 130 for k in range(4))  # uniform: 100 each, standard deviation 8.7


def test_batches_of_similar_length_pad_little_and_come_in_random_order() -> None:
    lengths = uneven(500)
    plain, similar = (list(EpochBatches(lengths, 16, 0, bucket=bucket)) for bucket in (False, True))
    assert padded_share(lengths, plain) > 0.3
    assert padded_share(lengths, similar) < 0.08
    longest = [int(lengths[draw.places].max()) for draw in similar]
    assert longest != sorted(longest)
    epochs = EpochBatches(lengths, 16, 0)
    epochs.set_epoch(1)
    assert {frozenset(one) for one in places(epochs)} != {frozenset(draw.places) for draw in similar}


def test_few_long_series_get_a_batch_of_their_own() -> None:
    lengths = np.array([10] * 30 + [1000, 1000])
    assert sorted(len(one) for one in places(EpochBatches(lengths, 32, 0))) == [2, 30]


def test_cuts_cost_least() -> None:
    """Against every way of cutting eight sorted series into batches of at most three."""

    def ways(n: int) -> list[list[int]]:
        return [[]] if n == 0 else [[k, *rest] for k in (1, 2, 3) if k <= n for rest in ways(n - k)]

    lengths = np.array([3, 4, 4, 9, 9, 10, 30, 31])

    def cost(sizes: list[int]) -> float:
        parts = np.split(lengths, np.cumsum(sizes)[:-1])
        return sum(len(part) * part.max() for part in parts) + 0.25 * 3 * lengths.mean() * len(sizes)

    got = EpochBatches(lengths, 3, 0)
    assert cost(np.diff([0, *got._cuts, 8]).tolist()) == pytest.approx(min(map(cost, ways(8))))


def test_padding_stays_below_a_tenth_on_japanese_vowels() -> None:
    pytest.importorskip("sktime")
    module = SeriesDataModule(get_source("japanese_vowels"))
    module.setup()
    assert padded(module.sets["train"].lengths) < 0.1


def test_padding_stays_below_a_tenth_on_plaid() -> None:
    pytest.importorskip("sktime")
    from sktime.datasets import load_plaid

    samples, _ = load_plaid(split="train", return_X_y=True)
    assert padded(np.array([len(one) for one in samples.iloc[:, 0]])) < 0.1


def padded(lengths: np.ndarray) -> float:
    batches = EpochBatches(lengths, 32, 0)
    draws: list[Draw] = []
    for epoch in range(10):
        batches.set_epoch(epoch)
        draws += batches
    return padded_share(lengths, draws)


def seen(batches: object) -> list[list[float]]:
    return [batch.values[:, 0, 0].tolist() for batch in batches]  # type: ignore[attr-defined]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_goes_on_after_the_last_batch_given(num_workers: int) -> None:
    series = series_of(uneven())

    def make() -> object:
        return training_loader(series, INFO, batch_size=8, seed=3, num_workers=num_workers)

    whole, broken, resumed = make(), make(), make()
    for one in (whole, broken):
        one.sampler.set_epoch(2)  # type: ignore[attr-defined]
    expected = seen(whole)
    given = iter(broken)  # type: ignore[call-overload]
    first = [next(given).values[:, 0, 0].tolist() for _ in range(5)]
    state = broken.state_dict()  # type: ignore[attr-defined]
    assert state == {"epoch": 2, "given": 5, "batches": len(expected), "seed": 3}
    resumed.load_state_dict(state)  # type: ignore[attr-defined]
    assert first + seen(resumed) == expected
    assert resumed.state_dict()["given"] == len(expected)  # type: ignore[attr-defined]
    assert seen(resumed) == expected  # the next pass is a whole one


def test_a_state_at_the_end_of_an_epoch_is_the_start_of_the_next() -> None:
    one = training_loader(series_of(uneven()), INFO, batch_size=8, seed=0)
    list(one)
    other = training_loader(series_of(uneven()), INFO, batch_size=8, seed=0)
    other.load_state_dict(one.state_dict())
    one.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert seen(other) == seen(one)


@pytest.mark.parametrize(("options", "words"), [({"batch_size": 9}, "batches in an epoch"), ({"seed": 1}, "a seed")])
def test_a_state_of_another_training_is_refused(options: dict[str, int], words: str) -> None:
    state = training_loader(series_of(uneven()), INFO, batch_size=4, seed=0).state_dict()
    other = training_loader(series_of(uneven()), INFO, **{"batch_size": 4, "seed": 0, **options})
    with pytest.raises(ValueError, match=f"{words}.*resume with the same data, batch size and seed"):
        other.load_state_dict(state)


def _drawn(i: int) -> np.ndarray:
    """A reader that draws from both global generators, as somebody's augmentation may."""
    return np.array([[np.random.rand()], [torch.rand(()).item()]])  # noqa: NPY002


def test_workers_repeat_no_random_numbers_and_their_number_does_not_matter() -> None:
    series = SeriesSet(LazyRows(np.full(40, 2), 1, _drawn), ["ab"[i % 2] for i in range(40)])
    drawn = []
    for num_workers in (0, 1, 3):
        batches = training_loader(series, INFO, batch_size=4, seed=0, num_workers=num_workers)
        epochs = []
        for epoch in range(2):
            batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            epochs += [batch.values.ravel().tolist() for batch in batches]
        drawn.append(epochs)
    assert drawn[0] == drawn[1] == drawn[2]
    numbers = np.array(drawn[0]).ravel()
    assert len(np.unique(numbers)) == len(numbers) == 160


def test_workers_start_beside_busy_threads() -> None:
    """Forking beside OpenMP threads must not hang: the threads are gone in the child."""
    torch.set_num_threads(2)
    try:
        big = torch.randn(400, 400)
        for _ in range(3):
            (big @ big).sum()
            batches = loader(series_of(uneven(30)), INFO, batch_size=4, seed=0, num_workers=2)
            assert sum(len(batch.lengths) for batch in batches) == 30
    finally:
        torch.set_num_threads(1)
