"""Several samples as one step: the same numbers, in the same order, with their times and names."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from seqkit.datasets.frames import frame_series
from seqkit.datasets.rows import LazyRows
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.windows import Windows


def series(lengths=(7, 4, 1), **more):
    rng = np.random.default_rng(0)
    return SeriesSet([rng.standard_normal((n, 2)).astype(np.float32) for n in lengths], ["a", "b", "a"], **more)


@pytest.mark.parametrize("size", [2, 3, 10])
def test_frames_hold_every_sample_in_its_order(size):
    plain = series(sample_rate=100.0, channels=("x", "y"))
    framed = frame_series(plain, size)
    assert framed.lengths.tolist() == [-(-n // size) for n in (7, 4, 1)]
    assert framed.sample_rate == pytest.approx(100.0 / size)
    assert framed.channels[:3] == ("x.0", "y.0", "x.1")
    assert framed.target == plain.target
    assert framed.names == plain.names
    for one, frames in zip(plain.values, framed.values, strict=True):
        for k in range(size * len(frames)):
            sample = one[min(k, len(one) - 1)]
            assert frames[k // size, 2 * (k % size) : 2 * (k % size) + 2].tolist() == sample.tolist()


def test_frames_of_rows_are_read_late_and_can_be_sent_to_workers():
    read = []
    rows = LazyRows([5], 1, lambda i: read.append(i) or np.ones((5, 1)))
    framed = frame_series(SeriesSet(rows), 2)
    assert read == []
    assert framed.values[0].shape == (3, 2)
    assert read == [0]
    again = pickle.loads(pickle.dumps(frame_series(series(), 2).values))
    assert np.array_equal(again[0], frame_series(series(), 2).values[0])


def test_missing_values_stay_missing():
    gappy = SeriesSet([np.array([[1.0], [np.nan], [3.0]])])
    framed = frame_series(gappy, 2)
    assert framed.has_missing
    np.testing.assert_array_equal(framed.values[0], [[1.0, np.nan], [3.0, 3.0]])


def test_one_sample_at_a_time_changes_nothing():
    plain = series()
    assert frame_series(plain, 1) is plain


def test_what_cannot_be_framed_is_refused():
    timed = SeriesSet([np.zeros((3, 1))], timestamps=[np.array([0.0, 1.0, 3.0])])
    each = SeriesSet([np.zeros((3, 1))], [np.zeros((3, 1))])
    windows = SeriesSet(Windows([np.zeros((9, 1))], np.array([0]), np.array([0]), 3, horizon=1, places=(0,)))
    for bad, why in ((timed, "uneven times"), (each, "a target for each sample"), (windows, "cut into windows")):
        with pytest.raises(ValueError, match=f"`frame` must be 1 where .* got 2: the data .*{why}"):
            frame_series(bad, 2)
    for size in (0, True, 1.5):
        with pytest.raises(ValueError, match="`frame` must be a whole number of at least 1"):
            frame_series(series(), size)
