"""A file is whole or not there, whatever goes wrong while it is written."""

import errno
import os
import stat
import subprocess

import pytest
import torch
from safetensors.torch import save_file

from seqkit.files import write_whole


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_writes_a_new_file_in_a_new_folder_and_replaces_an_old_one(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    write_whole(path, lambda p: p.write_text("one"))
    write_whole(path, lambda p: p.write_text("two"))
    assert path.read_text() == "two"
    assert names(path.parent) == ["c.txt"]


def test_who_reads_the_old_file_meanwhile_reads_all_of_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        write_whole(path, lambda p: p.write_text("new"))
        assert reader.read() == "old"  # moved into place in one go, not written over


def test_the_temporary_file_lies_beside_and_keeps_the_ending(tmp_path):
    seen = []
    write_whole(tmp_path / "w.safetensors", lambda p: seen.append(p) or save_file({"a": torch.ones(2)}, p))
    assert seen[0].parent == tmp_path
    assert seen[0].suffix == ".safetensors"
    assert names(tmp_path) == ["w.safetensors"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), OSError(errno.EIO, "input/output")])
@pytest.mark.parametrize("old", ["old", None])
def test_a_writer_that_fails_leaves_what_was_and_no_temporary(tmp_path, error, old):
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)

    def write(part):
        part.write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        write_whole(path, write)
    assert caught.value is error
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert not old or path.read_text() == old


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_in_one_sentence(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(part):
        part.write_text("half")
        raise error

    with pytest.raises(OSError, match=r"the disk is full, so a\.txt was not written; free some space") as caught:
        write_whole(path, write)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert caught.value.__cause__ is error
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "old")


def test_a_disk_without_room_for_a_name_is_full_too(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match=r"the disk is full, so a\.txt was not written"):
        write_whole(tmp_path / "a.txt", lambda p: p.write_text("x"))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written_is_named_and_not_called_full(tmp_path, monkeypatch, number):
    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("seqkit.files._is_full", lambda _: True)  # as a disc that is only read says
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_whole(tmp_path / "a.txt", lambda p: p.write_text("x"))
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a.txt"))


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file" / "a.txt", lambda p: p.write_text("x"))
    assert (tmp_path / "file").read_text() == "x"


def test_permissions_are_those_of_any_new_file(tmp_path):
    def private(part):
        part.unlink()
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))

    before = os.umask(0o027)
    try:
        for name, write in (("a", lambda p: p.write_text("x")), ("b", private)):
            write_whole(tmp_path / name, write)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    finally:
        os.umask(before)


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    "write",
    [
        lambda p: p.write_bytes(bytes(200_000)),
        lambda p: torch.save(torch.zeros(50_000), p),
        lambda p: save_file({"a": torch.zeros(50_000)}, p),
    ],
)
def test_a_disk_that_really_is_full(small_disk, write):
    path = small_disk / "a.bin"
    path.write_text("old")
    with pytest.raises(OSError, match=r"the disk is full, so a\.bin was not written"):
        write_whole(path, write)
    assert (names(small_disk), path.read_text()) == (["a.bin"], "old")
