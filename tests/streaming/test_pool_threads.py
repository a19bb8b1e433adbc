"""Several threads use one pool: it grows and shrinks under them, and each stream is as if it had been alone."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from seqkit import S4D, Stream, StreamPool

THREADS, STREAMS, PUSHES = 3, 6, 16


@pytest.fixture(autouse=True)
def _often_interrupted():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def test_threads_take_turns(tmp_path: Path) -> None:
    pool = StreamPool(S4D(1, order=4), capacity=1)
    values = np.random.default_rng(0).normal(size=(THREADS, PUSHES, STREAMS, 1))
    failures: list[BaseException] = []

    def work(t: int) -> None:
        try:
            for k in range(PUSHES):
                n = min(STREAMS, k + 1)  # more and more streams, so that room is made again and again
                pool.push([f"{t} {i}" for i in range(n)], values[t, k, :n])
                pool.fork(f"{t} 0", f"{t} fork")
                pool.close(f"{t} fork")
                if k % 8 == 0:
                    pool.save(tmp_path / f"{t}")
                    assert len([*pool]) >= n
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(t,)) for t in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(pool) == THREADS * STREAMS
    for t in range(THREADS):
        for i in range(STREAMS):
            alone = Stream(pool.engine)
            last = alone.push(values[t, i:, i])[-1]
            assert pool.count(f"{t} {i}") == alone.count
            np.testing.assert_allclose(pool.output(f"{t} {i}"), last, rtol=1e-4, atol=1e-6)


def test_copies_and_pickles_of_a_pool_go_on() -> None:
    pool = StreamPool(S4D(1, order=4))
    pool.push(["a"], [[1.0]])
    others = [copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))]
    want = pool.push(["a"], [[2.0]])
    for other in others:
        np.testing.assert_array_equal(other.push(["a"], [[2.0]]), want)
        assert other.count("a") == pool.count("a")
