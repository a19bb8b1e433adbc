"""Message buffers: the same in memory and on disk, read ahead without ever reading what is old, and kept whole."""

import errno
import fcntl
import json
import math
import os
import threading

import pytest
import torch

from seqkit.distributed import DeltaCodec, MessageStore, Receiver, Sender
from seqkit.distributed import read_ahead as ahead_module

KINDS = {
    "float32": {},
    "bfloat16": {"dtype": torch.bfloat16},
    "8 bits": {"bits": 8},
    "4 bits": {"bits": 4, "group": 32},
    "2 bits": {"bits": 2, "group": 16},
}


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("kind", KINDS)
def test_reads_what_was_written_whatever_the_order(kind: str, place: str, tmp_path) -> None:
    """Beside a dictionary, with growth, overwriting and reads ahead."""
    store = MessageStore((4, 32), path=tmp_path / "rows" if place == "disk" else None, **KINDS[kind])
    wanted = {}
    for turn in range(12):
        ids = torch.randperm(150)[:20]
        store.prefetch(torch.randperm(150)[:30])
        values = torch.randn(20, 4, 32) * (1 + turn)
        kept = store.write(ids, values)
        limit = {"float32": 0, "bfloat16": 0.005, "8 bits": 0.02, "4 bits": 0.2, "2 bits": 0.9}[kind]
        assert float((kept - values).norm() / values.norm()) <= limit
        wanted.update({int(one): row for one, row in zip(ids, kept, strict=True)})
        some = [one for one in torch.randperm(150).tolist() if one in wanted][:25]
        assert torch.equal(store.read(some), torch.stack([wanted[one] for one in some]))
    assert len(store) == len(wanted)
    assert store.seen(range(150)).tolist() == [one in wanted for one in range(150)]
    store.close()


def test_what_was_written_is_read_without_another_rounding() -> None:
    """Both ends would part otherwise: one uses what it wrote, the other what it read."""
    for options in KINDS.values():
        store = MessageStore((64,), **options)
        kept = store.write([0], torch.randn(1, 64))
        assert torch.equal(store.read([0]), kept)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_the_formula_and_the_size_of_the_file(kind: str, tmp_path) -> None:
    rows, length = 10, 3 * 40
    row = {
        "float32": 4 * length,
        "bfloat16": 2 * length,
        "8 bits": length + 2 * math.ceil(length / 64),
        "4 bits": length // 2 + 2 * math.ceil(length / 32),
        "2 bits": length // 4 + 2 * math.ceil(length / 16),
    }[kind]
    memory = MessageStore((3, 40), capacity=rows, **KINDS[kind])
    disk = MessageStore((3, 40), path=tmp_path, capacity=rows, **KINDS[kind])
    assert memory.nbytes == disk.nbytes == rows * row == (tmp_path / "messages.rows").stat().st_size
    disk.close()


def test_capacity_is_kept_and_without_one_it_grows(tmp_path) -> None:
    store = MessageStore((2,), capacity=3)
    store.write([0, 1, 2], torch.zeros(3, 2))
    store.write([2], torch.ones(1, 2))
    with pytest.raises(ValueError, match="`capacity` must be at least the number of samples, got 3 and one more, 'a'"):
        store.write(["a"], torch.zeros(1, 2))
    for path in (None, tmp_path):
        grows = MessageStore((2,), path=path)
        values = torch.randn(500, 2)
        for start in range(0, 500, 50):
            grows.prefetch(range(start))
            grows.write(range(start, start + 50), values[start : start + 50])
        assert torch.equal(grows.read(range(500)), values)
        grows.close()


def test_unseen_samples_are_never_zeros() -> None:
    store = MessageStore((2,))
    with pytest.raises(KeyError, match="`ids` must be samples that were written, got 3; ask `seen` first"):
        store.read([3])
    store.prefetch([3])
    assert store.seen([3]).tolist() == [False]
    assert store.read([]).shape == (0, 2)
    assert store.write([], torch.zeros(0, 2)).shape == (0, 2)


def test_a_row_written_while_it_is_read_ahead_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MessageStore((2,), capacity=4)
    store.write([0, 1], torch.zeros(2, 2))
    gate, slow = threading.Event(), ahead_module.gather

    def waits(data, slots):
        found = slow(data, slots)  # the old rows
        if threading.current_thread() is not threading.main_thread():
            assert gate.wait(20)
        return found

    monkeypatch.setattr(ahead_module, "gather", waits)
    store.prefetch([0, 1])
    store.write([1], torch.ones(1, 2))
    gate.set()
    assert torch.equal(store.read([0, 1]), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    store.close()


def test_reads_come_from_what_was_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MessageStore((2,))
    values = store.write([0, 1, 2], torch.randn(3, 2))
    store.prefetch([2, 0])
    store.flush()
    asked = []
    plain = ahead_module.gather
    monkeypatch.setattr(ahead_module, "gather", lambda data, slots: asked.append(list(slots)) or plain(data, slots))
    assert torch.equal(store.read([2, 0]), values[[2, 0]])
    assert asked == []  # nothing was looked up again
    assert torch.equal(store.read([2, 0]), values[[2, 0]])
    assert asked == [[2, 0]]
    store.close()


def test_what_was_read_ahead_and_never_taken_is_let_go() -> None:
    store = MessageStore((2,))
    values = store.write(range(40), torch.randn(40, 2))
    for start in range(0, 40, 4):
        store.prefetch(range(start, start + 4))
    assert len(store.ahead.coming) <= 8
    assert torch.equal(store.read(range(40)), values)
    store.close()


def test_digest_is_of_contents_alone() -> None:
    a, b = MessageStore((2,)), MessageStore((2,), capacity=7)
    values = torch.randn(4, 2)
    a.write([3, 1, "x"], values[:3])
    for place, one in ((2, "x"), (0, 3), (1, 1)):
        b.write([one], values[place : place + 1])
    assert a.digest() == b.digest()
    b.write([1], values[3:])
    assert a.digest() != b.digest()
    c = MessageStore((2,))
    c.write([3, 1, "y"], values[:3])
    assert a.digest() != c.digest()


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path) -> None:
    store = MessageStore((4, 8), **KINDS[kind])
    store.write([5, "b", 1], torch.randn(3, 4, 8))
    for _ in range(2):  # a second time over the first
        store.save(tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2
    other = MessageStore((4, 8), path=tmp_path / "rows", capacity=3, **KINDS[kind])
    other.write([9], torch.randn(1, 4, 8))
    assert other.load(tmp_path / "kept") == 3
    assert other.digest() == store.digest()
    assert not bool(other.seen([9]))
    other.close()
    empty = MessageStore((4, 8), **KINDS[kind])
    empty.save(tmp_path / "empty")
    assert store.load(tmp_path / "empty") == 0 == len(store)


def test_what_does_not_fit_or_is_broken_is_refused(tmp_path) -> None:
    store = MessageStore((4,))
    store.write([1], torch.ones(1, 4))
    store.save(tmp_path)
    with pytest.raises(ValueError, match=r"must be of a buffer with shape \[5\], got \[4\]"):
        MessageStore((5,)).load(tmp_path)
    with pytest.raises(ValueError, match="must be of a buffer with dtype bfloat16, got float32"):
        MessageStore((4,), torch.bfloat16).load(tmp_path)
    with pytest.raises(ValueError, match="must be of a buffer with bits 8, got None"):
        MessageStore((4,), bits=8).load(tmp_path)
    (rows,) = tmp_path.glob("*.bin")
    whole = rows.read_bytes()
    rows.write_bytes(b"\x01" + whole[1:])
    with pytest.raises(ValueError, match="must be as it was written, got another checksum"):
        store.load(tmp_path)
    rows.unlink()
    with pytest.raises(ValueError, match="must have its rows beside it"):
        store.load(tmp_path)
    assert json.loads((tmp_path / "messages.json").read_text())["ids"] == [1]


def test_a_missing_buffer_makes_all_samples_unseen(tmp_path) -> None:
    store = MessageStore((4,))
    store.write([1], torch.ones(1, 4))
    with pytest.warns(UserWarning, match="holds no message buffer, so every sample counts as unseen"):
        assert store.load(tmp_path / "nothing") == 0
    assert store.seen([1]).tolist() == [False]


def test_a_failed_save_leaves_the_last_one(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MessageStore((4,))
    store.write([1], torch.ones(1, 4))
    store.save(tmp_path)
    before = store.digest()
    store.write([1], torch.zeros(1, 4))
    monkeypatch.setattr(json, "dumps", lambda page: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.save(tmp_path)
    monkeypatch.undo()
    store.load(tmp_path)
    assert store.digest() == before


def test_two_stores_do_not_share_a_folder(tmp_path) -> None:
    store = MessageStore((4,), path=tmp_path)
    with pytest.raises(ValueError, match="`path` must be a folder of this store alone"):
        MessageStore((4,), path=tmp_path)
    store.close()
    MessageStore((4,), path=tmp_path).close()


def test_more_samples_than_memory_would_hold_train_from_disk(tmp_path) -> None:
    """Two ends on disk with reads ahead give the bytes and values of two in memory."""
    shape, found = (16, 32), {}
    for place in ("memory", "disk"):
        paths = [None, None] if place == "memory" else [tmp_path / "a", tmp_path / "b"]
        a, b = (MessageStore(shape, path=path, capacity=60) for path in paths)
        sender, receiver = Sender(DeltaCodec(2), shape, a), Receiver(DeltaCodec(2), shape, b)
        torch.manual_seed(0)
        values, blobs = torch.randn(60, *shape), []
        for _ in range(3):
            values = values + 0.3 * torch.randn(60, *shape)
            order = torch.randperm(60).split(8)
            for batch, coming in zip(order, [*order[1:], order[0]], strict=True):
                blob = sender.encode(batch, values[batch])
                a.prefetch(coming)
                b.prefetch(coming)
                receiver.decode(batch, blob)
                blobs.append(blob)
        assert a.digest() == b.digest()
        found[place] = (torch.cat(blobs), a.digest())
        a.close()
        b.close()
    assert torch.equal(found["memory"][0], found["disk"][0])
    assert found["memory"][1] == found["disk"][1]


def test_resumed_training_is_the_one_that_went_on(tmp_path) -> None:
    """Buffers, what was seen, and the sender's random numbers make up the state."""
    shape = (64,)

    def make(seed: int) -> tuple[Sender, Receiver]:
        codec = DeltaCodec(3, rounding="stochastic", generator=torch.Generator().manual_seed(seed))
        return Sender(codec, shape, MessageStore(shape)), Receiver(DeltaCodec(3), shape, MessageStore(shape))

    def epochs(sender: Sender, receiver: Receiver, first: int, last: int) -> list[torch.Tensor]:
        found = []
        for epoch in range(first, last):
            x = torch.randn(6, 64, generator=torch.Generator().manual_seed(epoch))
            found.append(receiver.decode(range(epoch, epoch + 6), sender.encode(range(epoch, epoch + 6), x)))
        return found

    whole = epochs(*make(1), 0, 6)
    sender, receiver = make(1)
    epochs(sender, receiver, 0, 3)
    sender.side.store.save(tmp_path / "a")
    receiver.side.store.save(tmp_path / "b")
    state = sender.state_dict()
    sender, receiver = make(2)
    sender.side.store.load(tmp_path / "a")
    receiver.side.store.load(tmp_path / "b")
    sender.load_state_dict(state)
    for got, want in zip(epochs(sender, receiver, 3, 6), whole[3:], strict=True):
        assert torch.equal(got, want)


WRONG = [
    (lambda: MessageStore((4,), torch.float16), "`dtype` must be torch.float32 or torch.bfloat16, got torch.float16"),
    (lambda: MessageStore((4,), bits=7), "`bits` must be 2 to 6 or 8, or None for `dtype` as it is, got 7"),
    (lambda: MessageStore((4,), torch.bfloat16, bits=4), "`dtype` must be left at torch.float32 where `bits` is given"),
    (lambda: MessageStore((4,), capacity=0), "`capacity` must be a whole number of at least 1, got 0"),
    (lambda: MessageStore((4,)).write([1], torch.zeros(1, 5)), r"`values` must have shape \(1, 4\), got \(1, 5\)"),
    (lambda: MessageStore((4,)).seen([1, 1]), "`ids` must name each sample once, got 1 twice"),
    (lambda: MessageStore((4,)).seen([(1, 2)]), r"`ids` must be whole numbers or strings, got \(1, 2\)"),
    (lambda: MessageStore((4,)).seen(torch.tensor([0.5])), "`ids` must be whole numbers or strings, got 0.5"),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_wrong_arguments_are_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_a_full_disk_is_said_and_what_was_written_stays(tmp_path, monkeypatch) -> None:
    store = MessageStore((3,), path=tmp_path)
    n = store.nbytes // store.row_bytes
    store.write(range(n), torch.ones(n, 3))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"the disk is full, and .* need \d+ bytes here"):
        store.write([n], torch.ones(1, 3))
    assert torch.equal(store.read(range(n)), torch.ones(n, 3))
    assert len(store) == n


def test_a_file_system_without_locks_serves(tmp_path, monkeypatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    store = MessageStore((3,), path=tmp_path)
    store.write([0], torch.ones(1, 3))
    assert torch.equal(store.read([0]), torch.ones(1, 3))
    store.close()
