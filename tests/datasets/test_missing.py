"""Missing values from file to batch: which were observed, statistics of those only, and what cannot be learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, SeriesSet, Source, get_source, loader
from seqkit.datasets.rows import LazyRows, StoredRows

INFO = DataInfo("toy", "classification", n_channels=2, classes=("a", "b"))


def gappy(n: int = 40, seed: int = 0) -> SeriesSet:
    random = np.random.default_rng(seed)
    values = [random.normal([5.0, -100.0], [2.0, 10.0], (int(random.integers(3, 12)), 2)) for _ in range(n)]
    for one in values[::2]:
        one[random.random(one.shape) < 0.4] = np.nan
        one[0] = 5.0, -100.0
    return SeriesSet(values, ["ab"[i % 2] for i in range(n)], names=[f"s{i}" for i in range(n)])


class Toy(Source):
    """Any sets as a source."""

    name = "toy"

    def __init__(self, **sets: SeriesSet) -> None:
        self.sets = sets

    def info(self) -> DataInfo:
        raise AssertionError("not asked for")

    def describe(self) -> dict[str, object]:
        return {}

    def prepare(self, *, offline: bool = False) -> None:
        pass

    def load(self) -> dict[str, SeriesSet]:
        return dict(self.sets)

    def read(self, path: str | Path, split: str = "all") -> SeriesSet:
        raise AssertionError("not asked for")


def module_of(**sets: SeriesSet) -> SeriesDataModule:
    module = SeriesDataModule(Toy(**sets), batch_size=8)
    module.setup()
    return module


def test_batches_say_what_was_observed() -> None:
    series, at = gappy(), 0
    for batch in loader(series, INFO, batch_size=7):
        assert batch.observed is not None
        assert batch.observed.dtype == torch.bool
        assert batch.observed.shape == batch.values.shape
        for k, n in enumerate(batch.lengths.tolist()):
            one = series.values[at]
            np.testing.assert_array_equal(batch.observed[k, :n], ~np.isnan(one))
            np.testing.assert_array_equal(batch.values[k, :n], np.nan_to_num(one, nan=0.0))
            assert not batch.observed[k, n:].any()
            assert not batch.values[k, n:].any()
            at += 1
    assert at == 40
    assert np.isnan(series.values[0]).any()  # the series themselves stay


def test_a_set_without_gaps_has_no_mask() -> None:
    series = gappy()
    assert next(iter(loader(series.select(range(1, 40, 2)), INFO))).observed is None
    # One rule for the whole set: a batch without gaps has its mask too.
    batch = next(iter(loader(series.select([1, 3, 0]), INFO, batch_size=2)))
    assert batch.observed is not None
    assert batch.observed.sum() == 2 * batch.lengths.sum()


def test_statistics_are_those_of_the_observed_training_values() -> None:
    module = module_of(all=gappy(60))
    train = np.concatenate(module.sets["train"].values).astype(np.float64)
    mean, std = module.statistics()
    for c in range(2):
        there = train[~np.isnan(train[:, c]), c]
        assert float(mean[c]) == pytest.approx(there.mean(), rel=1e-6)
        assert float(std[c]) == pytest.approx(there.std(), rel=1e-6)
    assert module.missing == pytest.approx(np.isnan(train).mean())
    assert module.info.missing


def test_the_other_parts_do_not_count() -> None:
    whole = SeriesSet([np.ones((5, 2)) * i for i in range(10)], ["a", "b"] * 5)
    for part in ("val", "test"):
        module = module_of(**{"train": whole, "val": whole, part: gappy()})
        assert not module.info.missing
        assert module.missing == 0
        assert module.sets[part].has_missing
        assert torch.equal(module.statistics().mean, torch.full((2,), 4.5))
        batch = next(iter(module.loader(module.sets[part])))
        assert batch.observed is not None
        assert next(iter(module.train_dataloader())).observed is None


@pytest.mark.parametrize("channels", [(), ("pulse", "flow")])
def test_a_channel_that_training_never_sees_is_refused(channels: tuple[str, ...]) -> None:
    values = [np.stack([np.arange(4.0), np.full(4, np.nan)], axis=1) for _ in range(10)]
    values[7][2, 1] = 1.0  # the validation part has one
    train = SeriesSet(values[:7], ["a", "b"] * 3 + ["a"], channels=channels, origin="toy.csv")
    val = SeriesSet(values[7:], ["a", "b", "a"], channels=channels)
    name = "'flow'" if channels else "1"
    with pytest.raises(ValueError, match=f"channel {name} of toy.csv is missing in every training series"):
        module_of(train=train, val=val)


def test_rows_read_when_asked_for() -> None:
    plain = gappy(20)
    lazy = LazyRows(plain.lengths, 2, lambda i: plain.values[i], missing=True)
    total = np.concatenate(plain.values)
    stored = StoredRows(total, np.cumsum(plain.lengths) - plain.lengths, plain.lengths, missing=True)
    want = module_of(all=plain)
    for rows in (lazy, stored):
        module = module_of(all=SeriesSet(rows, plain.target))
        assert module.missing == want.missing
        assert all(torch.equal(a, b) for a, b in zip(module.statistics(), want.statistics(), strict=True))
        for batch, other in zip(module.test_dataloader(), want.test_dataloader(), strict=True):
            assert torch.equal(batch.values, other.values)
            assert batch.observed is not None
            assert other.observed is not None
            assert torch.equal(batch.observed, other.observed)
    empty = LazyRows([2] * 8, 1, lambda i: np.full((2, 1), np.nan if i == 3 else i), missing=True)
    with pytest.raises(ValueError, match="series '3' of the data has no value at all"):
        module_of(train=SeriesSet(empty, list("abababab")), val=SeriesSet([np.ones((2, 1))], ["a"]))


def test_workers_and_pinned_memory_carry_the_mask() -> None:
    series = gappy(12)
    here, there = (list(loader(series, INFO, batch_size=5, num_workers=n)) for n in (0, 1))
    for one, two in zip(here, there, strict=True):
        assert one.observed is not None
        assert two.observed is not None
        assert torch.equal(one.observed, two.observed)


def test_a_users_table(tmp_path: Path) -> None:
    rows = ["series,time,pulse,flow,target"]
    for i in range(12):
        for k in range(6):
            pulse = "" if k == i % 6 else str(k)
            flow = "NA" if k > 2 else "?" if k == 2 else str(10 * k)
            rows.append(f"s{i},{k / 10},{pulse},{flow},{'ab'[i % 2]}")
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    module = SeriesDataModule(get_source("folder", path=tmp_path / "mine.csv"), batch_size=4)
    module.setup()
    assert module.missing == pytest.approx((1 / 6 + 4 / 6) / 2)
    assert module.info.sample_rate == 10  # a row with gaps has its time
    assert float(module.statistics().mean[1]) == pytest.approx(5.0)
