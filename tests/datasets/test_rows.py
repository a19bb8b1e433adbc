"""Rows that are read when asked for: nothing is read before, and what is read is checked."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesSet, loader
from seqkit.datasets.batching import fit_channels
from seqkit.datasets.ondisk import FileSamples
from seqkit.datasets.rows import LazyRows, StoredRows
from seqkit.datasets.targets import as_task, info_of

LENGTHS = np.array([4, 2, 3])


class Reader:
    """Notes which series were read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, i: int) -> np.ndarray:
        self.read.append(i)
        return np.stack([np.arange(LENGTHS[i]), np.full(LENGTHS[i], 10 * i)], axis=1)


def lazy() -> tuple[Reader, SeriesSet]:
    reader = Reader()
    return reader, SeriesSet(LazyRows(LENGTHS, 2, reader), [1, 2, 1], channels=("t", "i"), sample_rate=8.0)  # type: ignore[arg-type]


def test_nothing_is_read_before_a_series_is_asked_for() -> None:
    reader, series = lazy()
    two = series.select([2, 0])
    thin = two.subsample(2)
    joined = SeriesSet.join([series, series])
    fitted = fit_channels(joined, DataInfo("toy", "classification", n_channels=1, classes=("1",), channels=("i",)))
    as_task(series, "regression")
    info = info_of("toy", {"all": series})
    assert (len(series), series.n_channels, series.lengths.tolist()) == (3, 2, [4, 2, 3])
    assert (two.lengths.tolist(), thin.lengths.tolist(), thin.sample_rate) == ([3, 4], [2, 2], 4.0)
    assert (len(fitted), fitted.n_channels, info.max_length) == (6, 1, 4)
    batches = loader(fitted, DataInfo("toy", "classification", n_channels=1, classes=("1", "2")), batch_size=2, seed=0)
    assert len(batches) == 3
    assert reader.read == []
    assert thin.values[0].tolist() == [[0, 20], [2, 20]]
    assert fitted.values[4].ravel().tolist() == [10, 10]
    assert reader.read == [2, 1]
    assert series.values[-1].dtype == np.float32
    assert [len(one) for one in series.values[1:]] == [2, 3]
    with pytest.raises(IndexError, match="no series 3; there are 3"):
        series.values[3]


def test_lists_and_rows_join() -> None:
    _, series = lazy()
    plain = SeriesSet([np.ones((5, 2))], ["3"], channels=("t", "i"), sample_rate=8.0)
    joined = SeriesSet.join([plain, series])
    assert joined.lengths.tolist() == [5, 4, 2, 3]
    assert [float(one[-1, 1]) for one in joined.values] == [1, 0, 10, 20]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (np.zeros((3, 1)), r"listed with shape \(2, 1\) .* read with \(3, 1\); its file has changed"),
        (np.array([[0.0], [np.inf]]), "series 1 of toy.wav has an infinite value at sample 1, channel 0"),
        (np.array([[0.0], [1e300]]), "infinite"),
        (np.array([[np.nan], [0.0]]), "a NaN at sample 0"),
    ],
)
def test_what_is_read_is_checked(row: np.ndarray, words: str) -> None:
    rows = LazyRows([2, 2], 1, lambda i: row if i else np.zeros((2, 1)), origin="toy.wav")
    assert not rows[0].any()
    with pytest.raises(ValueError, match=words):
        rows[1]


def test_a_series_without_samples_is_refused_unread() -> None:
    with pytest.raises(ValueError, match=r"lengths\[1\] is 0; every series needs at least one sample"):
        SeriesSet(LazyRows([2, 0], 1, lambda i: np.zeros((2, 1))))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2"])
def test_samples_in_a_file_are_those_that_were_written(tmp_path: Path, dtype: str) -> None:
    samples = np.random.default_rng(0).integers(-99, 99, (50, 3)).astype(dtype)
    path = tmp_path / "samples"
    path.write_bytes(b"header" + samples.tobytes())
    found = FileSamples(path, (50, 3), dtype, offset=6)
    for part in (slice(0, 50), slice(7, 9), slice(3, 20, 2), slice(48, 99), slice(5, 5)):
        assert np.array_equal(found[part], samples[part])
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again[10:12], samples[10:12])
    rows = StoredRows(found, [0, 30], [30, 20]).take([1])
    assert np.array_equal(rows[0], samples[30:].astype(np.float32))
    assert rows[0].dtype == np.float32


def test_a_file_that_is_cut_off_is_said() -> None:
    with pytest.raises(FileNotFoundError):
        FileSamples(Path("/nowhere/samples"), (1, 1))


def test_a_short_file_is_refused_when_opened_and_when_it_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    np.zeros((10, 2), np.float32).tofile(path)
    with pytest.raises(ValueError, match="has 80 bytes and should have 88; it is cut off"):
        FileSamples(path, (11, 2))
    found = FileSamples(path, (10, 2))
    with path.open("r+b") as file:
        file.truncate(40)
    with pytest.raises(ValueError, match="was changed while it was read"):
        found[0:10]


def test_series_lie_within_the_samples() -> None:
    with pytest.raises(ValueError, match="must end within the 5 samples, got an end at 6"):
        StoredRows(np.zeros((5, 1)), [0, 3], [3, 3])
    with pytest.raises(ValueError, match=r"`samples` must be \(total, C\)"):
        StoredRows(np.zeros(5), [0], [5])
