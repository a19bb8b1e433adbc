"""The streams of a server: exact over restarts and whatever arrives together, bounded memory, nothing half done."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch

from seqkit.hippo import HiPPOMemory
from seqkit.streaming import MemoryEngine, ModelEngine, Stream, from_bytes, to_bytes
from seqkit.streaming.server import Answer, Job, Keeper, Store, UniformEngine, exact_groups
from seqkit.streaming.server.uniform import parts

_spec = importlib.util.spec_from_file_location("seqkit_served", Path(__file__).with_name("served.py"))
served = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(served)
keeper_at, pushed, small_engine, small_model = (
    served.keeper_at,
    served.pushed,
    served.small_engine,
    served.small_model,
)


def schedule(seed: int, streams: int = 9, rounds: int = 20) -> dict[str, list[Job]]:
    """Pushes of each stream in their order: samples, blocks, gaps, and some streams with times."""
    rng = np.random.default_rng(seed)
    jobs: dict[str, list[Job]] = {}
    for s in range(streams):
        name, clock, count, timed = f"s{s}", 0.0, 0, s % 3 == 0
        jobs[name] = []
        for _ in range(rounds):
            n = int(rng.choice([1, 1, 1, 1, 5]))
            values = rng.normal(size=(n, 2))
            values[rng.uniform(size=values.shape) < 0.1] = np.nan
            times = clock + np.cumsum(rng.uniform(0.005, 0.02, n)) if timed else None
            clock = times[-1] if times is not None else 0.0
            jobs[name].append(pushed(name, values[0] if n == 1 else values, times, count))
            count += n
    return jobs


def mixed(jobs: dict[str, list[Job]], seed: int, largest: int) -> list[list[Job]]:
    """The same pushes in batches of chance, each stream's in their order."""
    rng, left, batches = np.random.default_rng(seed), {name: list(queue) for name, queue in jobs.items()}, []
    while left:
        batch: list[Job] = []
        for _ in range(int(rng.integers(1, largest + 1))):
            if left:
                name = str(rng.choice(sorted(left)))
                batch.append(left[name].pop(0))
                if not left[name]:
                    del left[name]
        batches.append(batch)
    return batches


def finals(keeper: Keeper, names: list[str]) -> list[bytes]:
    """Whole states, so that every bit counts and not only the predictions."""
    return [keeper.handle([Job("snapshot", ("", name))])[0].body for name in names]


def test_any_batches_any_kills_any_evictions_give_the_same_bits(tmp_path: Path) -> None:
    jobs = schedule(0)
    alone = keeper_at(tmp_path / "alone.db")
    for queue in jobs.values():
        for job in queue:
            assert alone.handle([job])[0].status == 200
    expected = finals(alone, sorted(jobs))
    for seed in range(2):
        path = tmp_path / f"{seed}.db"
        keeper = keeper_at(path, resident=4, store_every=7)
        for k, batch in enumerate(mixed(jobs, seed, 12)):
            assert all(answer.status == 200 for answer in keeper.handle(batch))
            assert len(keeper) <= 4
            if k % 5 == 4:  # what a killed process leaves are the files alone
                path = killed(keeper, path, k)
                keeper = keeper_at(path, resident=4, store_every=7)
                keeper.recover()
        assert finals(keeper, sorted(jobs)) == expected
        assert keeper.tally.evicted > 0
        keeper.store.close()
    alone.store.close()


def killed(keeper: Keeper, path: Path, k: int) -> Path:
    """The files as they are at this moment, elsewhere."""
    new = path.with_name(f"{path.stem}-{k}.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{new}{suffix}")
    keeper.store.close()
    return new


def test_answers_are_those_of_a_stream() -> None:
    engine, rng = small_engine(), np.random.default_rng(0)
    keeper, stream = keeper_at(":memory:", engine), Stream(engine.engine)
    for _ in range(5):
        values = rng.normal(size=2).astype(np.float32)
        [answer] = keeper.handle([pushed("a", values)])
        probabilities = stream.push(values)
        np.testing.assert_allclose(list(answer.body["probabilities"].values()), probabilities, rtol=1e-5)
        assert answer.body["prediction"] == stream.predict()
    block = rng.normal(size=(40, 2)).astype(np.float32)
    [answer] = keeper.handle([pushed("a", block)])
    np.testing.assert_allclose(list(answer.body["probabilities"].values()), stream.push(block), rtol=1e-5)
    assert answer.body["count"] == stream.count == 45


def test_a_snapshot_goes_on_in_a_stream_and_back() -> None:
    engine = small_engine()
    keeper, stream = keeper_at(":memory:", engine), Stream(engine.engine)
    keeper.handle([pushed("a", [1, 2]), pushed("a", [3, 4])])
    stream.load_state_dict(from_bytes(finals(keeper, ["a"])[0]))
    stream.push([5, 6])
    [answer] = keeper.handle([Job("restore", ("", "b"), data=to_bytes(stream.state_dict()))])
    assert answer == Answer(201, {"stream": "b", "count": 3})
    [a, b] = keeper.handle([pushed("a", [5, 6]), Job("predict", ("", "b"))])
    assert a.body["probabilities"] == pytest.approx(b.body["probabilities"], rel=1e-5)


def test_a_repeated_push_is_answered_and_not_taken_and_a_gap_is_refused() -> None:
    keeper = keeper_at(":memory:")
    first = keeper.handle([pushed("a", [1, 2], count=0), pushed("a", [[3, 4], [5, 6]], count=1)])
    again = keeper.handle([pushed("a", [1, 2], count=0), pushed("a", [[3, 4], [5, 6]], count=1)])
    assert [answer.body.get("repeated", False) for answer in first + again] == [False, False, True, True]
    assert again[1].body == {**first[1].body, "repeated": True}
    for count, values in ((4, [1, 2]), (2, [[1, 2], [3, 4]])):  # after the end, and across it
        [answer] = keeper.handle([pushed("a", values, count=count)])
        assert answer.status == 409
        assert "has 3 samples" in answer.body["error"]
    assert keeper.handle([pushed("new", [1, 2], count=7)])[0].status == 409
    assert keeper.handle([Job("predict", ("", "new"))])[0].status == 404
    assert keeper.streams == 1


def test_a_wrong_push_among_others_changes_nothing_else() -> None:
    keeper, other = keeper_at(":memory:"), keeper_at(":memory:")
    for one in (keeper, other):
        one.handle([pushed(name, [1, 1], times=1.0) for name in "abc"])
    late = [pushed("a", [2, 2], times=2.0), pushed("b", [2, 2], times=0.5), pushed("c", [2, 2], times=2.0)]
    answers = keeper.handle(late)
    assert [answer.status for answer in answers] == [200, 422, 200]
    assert "must rise" in answers[1].body["error"]
    other.handle([late[0], late[2]])
    assert finals(keeper, ["a", "b", "c"]) == finals(other, ["a", "b", "c"])


def test_clients_have_streams_of_their_own_and_as_many_as_allowed() -> None:
    keeper = keeper_at(":memory:", streams_per_client=2)
    assert keeper.handle([pushed("a", [1, 2], client="x"), pushed("a", [5, 6], client="y")])[1].body["count"] == 1
    assert keeper.handle([Job("open", ("x", "b"))])[0].status == 201
    [answer] = keeper.handle([pushed("c", [1, 2], client="x")])
    assert (answer.status, answer.body["error"]) == (429, "a client may have 2 streams; close some first")
    assert keeper.handle([Job("close", ("x", "b")), pushed("c", [1, 2], client="x")])[1].status == 200
    assert keeper.handle([Job("predict", ("y", "c"))])[0].status == 404
    assert keeper.streams == 3


def test_a_closed_stream_begins_anew() -> None:
    keeper = keeper_at(":memory:")
    [_, closed, anew] = keeper.handle([pushed("a", [1, 2]), Job("close", ("", "a")), pushed("a", [1, 2])])
    assert closed.body == {"stream": "a", "closed": True}
    assert anew.body["count"] == 1
    assert keeper.handle([Job("close", ("", "b"))])[0].status == 404


def test_idle_streams_cost_no_memory() -> None:
    keeper = keeper_at(":memory:", resident=8)
    for begin in range(0, 400, 50):
        keeper.handle([pushed(str(s), [1, s]) for s in range(begin, begin + 50)])
    keeper.handle([Job("open", ("", f"idle {k}")) for k in range(200)])
    assert len(keeper) == 8
    assert len(keeper.pool) == 8
    assert keeper.streams == 600
    assert keeper.handle([Job("predict", ("", "3"))])[0].body["count"] == 1


def test_what_could_not_be_stored_never_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = keeper_at(tmp_path / "a.db", resident=2)
    keeper.handle([pushed("a", [1, 2]), pushed("b", [1, 2])])
    before = finals(keeper, ["a", "b"])

    def full(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(keeper.store, "append", full)
        answers = keeper.handle([pushed("a", [3, 4]), pushed("c", [3, 4]), Job("close", ("", "b"))])
        assert {answer.status for answer in answers} == {507}
        assert "make room" in answers[0].body["error"]
    assert finals(keeper, ["a", "b"]) == before
    assert keeper.handle([pushed("a", [3, 4], count=1), pushed("c", [3, 4], count=0)])[0].status == 200
    assert keeper.streams == 3


def test_the_log_is_cut_and_slow_streams_do_not_keep_it(tmp_path: Path) -> None:
    keeper = keeper_at(tmp_path / "a.db", store_every=2)
    keeper.handle([pushed("slow", [1, 2]), pushed("closed", [3, 4])])
    for k in range(2200):
        keeper.handle([pushed("quick", [k, 1])])
        if k == 5:
            keeper.handle([Job("close", ("", "closed"))])
    expected = finals(keeper, ["quick", "slow"])
    [rows] = keeper.store._db.execute("SELECT count(*) FROM samples").fetchone()
    assert rows < 1500
    assert keeper.store.unfinished().keys() <= {keeper.store.find("", "quick")}
    keeper.store.close()
    again = keeper_at(tmp_path / "a.db", store_every=2)
    again.recover()
    assert finals(again, ["quick", "slow"]) == expected
    again.store.close()


def test_what_the_log_holds_of_a_replaced_or_closed_stream_does_not_come_back(tmp_path: Path) -> None:
    keeper = keeper_at(tmp_path / "a.db")
    keeper.handle([pushed("a", [1, 2])])
    [early] = finals(keeper, ["a"])
    keeper.handle([pushed("a", [3, 4]), pushed("a", [5, 6]), pushed("b", [7, 8])])
    assert keeper.handle([Job("restore", ("", "a"), data=early, replace=True)])[0] == Answer(
        200, {"stream": "a", "count": 1}
    )
    keeper.handle([Job("close", ("", "b"))])
    keeper.store.close()
    again = keeper_at(tmp_path / "a.db")
    assert again.recover() == 0
    assert finals(again, ["a"]) == [early]
    assert again.handle([pushed("new", [1, 1])])[0].body["count"] == 1
    again.store.close()
    last = keeper_at(tmp_path / "a.db")
    assert last.recover() == 1
    assert last.handle([Job("predict", ("", "new"))])[0].body["count"] == 1
    last.store.close()


def test_a_failing_job_does_not_take_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = keeper_at(":memory:")
    whole = keeper.pool.push_block

    def breaks(stream: object, x: object, times: object = None) -> object:
        whole(stream, x, times)
        raise RuntimeError("torch ran out of something")

    monkeypatch.setattr(keeper.pool, "push_block", breaks)
    answers = keeper.handle([pushed("a", [1, 2]), pushed("b", [[1, 2], [3, 4]]), pushed("a", [3, 4])])
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert answers[2].body["count"] == 2
    assert keeper.handle([Job("predict", ("", "b"))])[0].status == 404
    assert len(keeper.pool) == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"no safetensors",
        to_bytes({"count": torch.tensor([1])}),
        {"format": torch.tensor([99])},
        {"format": torch.tensor([], dtype=torch.int64)},
        {"fingerprint": torch.zeros(16, dtype=torch.uint8)},
        {"clock": torch.tensor([1.0])},
        {"state.held": torch.zeros(3)},
    ],
    ids=["empty", "junk", "lacking", "version", "no version", "model", "clock", "shape"],
)
def test_a_wrong_snapshot_is_refused_and_the_stream_stays(damage: object) -> None:
    keeper = keeper_at(":memory:")
    keeper.handle([pushed("a", [1, 2])])
    [good] = finals(keeper, ["a"])
    data = damage if isinstance(damage, bytes) else to_bytes({**from_bytes(good), **damage})
    for job in (Job("restore", ("", "a"), data=data, replace=True), Job("restore", ("", "new"), data=data)):
        [answer] = keeper.handle([job])
        assert answer.status == 422, answer
        assert len(answer.body["error"]) > 20
    assert finals(keeper, ["a"]) == [good]
    assert keeper.handle([Job("predict", ("", "new"))])[0].status == 404


def test_a_store_is_for_one_model_and_one_process(tmp_path: Path) -> None:
    engine = small_engine()
    store = Store(tmp_path / "a.db", engine.fingerprint, 1.0, durability="power")
    with pytest.raises(OSError, match="in use by another process"):
        Store(tmp_path / "a.db", engine.fingerprint, 1.0)
    store.close()
    with pytest.raises(ValueError, match="has model"):
        Store(tmp_path / "a.db", "0" * 32, 1.0)
    with pytest.raises(ValueError, match="has first step"):
        Store(tmp_path / "a.db", engine.fingerprint, 2.0)
    (tmp_path / "text.db").write_text("not a database, but long enough to look like a header of one" * 20)
    with pytest.raises(ValueError, match="is no store of streams"):
        Store(tmp_path / "text.db", engine.fingerprint, 1.0)
    with pytest.raises(ValueError, match="`durability` must be"):
        Store(tmp_path / "b.db", engine.fingerprint, 1.0, durability="luck")


@pytest.mark.parametrize("name", ["gru", "s4d", "hippo_legs", "hippo_rnn"])
def test_groups_of_the_found_sizes_do_not_depend_on_company(name: str) -> None:
    engine = ModelEngine(small_model(name))
    uniform = UniformEngine(engine)
    n = 20
    x = np.random.default_rng(1).normal(size=(3, n, 2)).astype(np.float32)
    together, alone = uniform.start(n), uniform.start(n)
    for k in range(3):
        whole = uniform.step(together, None, x[k], None, None)
        for row in np.random.default_rng(k).permutation(n):
            one = uniform.step(alone, np.array([row]), x[k, row : row + 1], None, None)
            np.testing.assert_array_equal(one[0], whole[row], f"{uniform.sizes} {uniform.guards}")
    for row in range(n):
        one, other = uniform.read(together, row), uniform.read(alone, row)
        assert all(torch.equal(one[leaf], other[leaf]) for leaf in one)


def test_an_engine_that_rounds_by_company_is_stepped_one_by_one() -> None:
    class Uneven(MemoryEngine):
        def step(self, states, rows, x, steps, observed):
            return super().step(states, rows, x, steps, observed) + 1e-9 * np.arange(len(x))[:, None, None]

    assert exact_groups(Uneven(HiPPOMemory(4))) == ((1,), False)
    assert len(exact_groups(MemoryEngine(HiPPOMemory(8)))[0]) > 1


def test_parts_cover_all_streams_once() -> None:
    for sizes in ((1,), (16,), (4, 16), (1, 4, 16, 64)):
        for n in range(1, 150):
            cut = parts(n, sizes)
            assert sum(taken for taken, _ in cut) == n
            assert all(taken <= size and size in sizes for taken, size in cut)
