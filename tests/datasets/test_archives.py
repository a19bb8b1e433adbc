"""Unpacking: the same files as other tools find, whole or nothing, and every way out of the folder closed."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import archives, members
from seqkit.datasets.archives import read_member, unpack

LONG = "b" * 120 + "/" + "ü" * 60 + ".wav"
FILES = {
    "set-1.0/train.csv": b"a,b\n" * 9000,
    "set-1.0/wav/one.wav": np.random.default_rng(0).bytes(600_000),
    "set-1.0/empty": b"",
    f"set-1.0/{LONG}": b"long",
}
KINDS = ("zip", "stored zip", "tar", "gnu tar", "tar.gz")


def make(path: Path, kind: str, files: dict[str, bytes]) -> Path:
    if "zip" in kind:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    layout = tarfile.GNU_FORMAT if "gnu" in kind else tarfile.PAX_FORMAT
    with tarfile.open(path, "w:gz" if "gz" in kind else "w", format=layout) as packed:
        for name, content in files.items():
            add(packed, name, content)
    return path


def add(packed: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    packed.addfile(member, io.BytesIO(content))


def files_in(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    return found


def refused(archive: Path, words: str, **options: Any) -> None:
    """Refused with one sentence that names the archive, and with nothing left anywhere."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ValueError, match=words) as caught:
        unpack(archive, archive.parent / "refused", **options)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_packed_comes_out(kind: str, tmp_path: Path) -> None:
    archive = make(tmp_path / "any name", kind, FILES)
    unpack(archive, tmp_path / "deep" / "out")
    assert files_in(tmp_path / "deep" / "out") == FILES
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_some_and_without_their_first_folder(kind: str, tmp_path: Path) -> None:
    archive = make(tmp_path / "a", kind, FILES)
    unpack(archive, tmp_path / "out", members=["*.wav", "set-1.0/empty"], strip=1)
    wanted = {name.removeprefix("set-1.0/"): content for name, content in FILES.items() if "train" not in name}
    assert files_in(tmp_path / "out") == wanted
    for name, content in FILES.items():
        assert read_member(archive, name) == content
    refused(
        archive, r"has no \*\.mat and no other; it is not the expected archive", members=["*.wav", "other", "*.mat"]
    )
    refused(archive, "holds nothing to unpack", strip=9)
    with pytest.raises(ValueError, match=r"has no notes\.txt"):
        read_member(archive, "notes.txt")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", "zip", FILES)
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out", strip=1)
    (tmp_path / "out" / "train.csv").write_bytes(b"mine")
    for folder in (tmp_path / "out", archive):
        with pytest.raises(FileExistsError, match=r"is there already, so a\.zip was not unpacked"):
            unpack(archive, folder)
    assert (tmp_path / "out" / "train.csv").read_bytes() == b"mine"
    with pytest.raises(FileNotFoundError, match="there is no archive"):
        unpack(tmp_path / "none.zip", tmp_path / "new")


def test_permissions_are_those_of_new_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        add(packed, "f", b"x", mode=0o4777)
        add(packed, "d", type=tarfile.DIRTYPE, mode=0)
    unpack(tmp_path / "a.tar", tmp_path / "out")
    (tmp_path / "any").touch()
    assert (tmp_path / "out" / "f").stat().st_mode == (tmp_path / "any").stat().st_mode
    assert stat.S_IMODE((tmp_path / "out" / "d").stat().st_mode) & 0o700 == 0o700


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil", "leads out of its folder"),
        ("a/../../evil", "leads out of its folder"),
        ("a\\..\\..\\evil", "leads out of its folder"),
        ("a/..", "leads out of its folder"),
        ("/tmp/evil", "absolute path"),
        ("//host/evil", "absolute path"),
        ("\\evil", "absolute path"),
        ("C:\\evil", "absolute path"),
        ("c:evil", "absolute path"),
        ("x" * 256, "no name of a file"),
        ("d/" * 40 + "f", "no name of a file"),
    ],
)
def test_names_that_lead_elsewhere(kind: str, name: str, words: str, tmp_path: Path) -> None:
    for strip in (0, 1):
        refused(make(tmp_path / "a", kind, {"fine/f": b"x", name: b"evil"}), words, strip=strip)


@pytest.mark.parametrize("kind", KINDS)
def test_one_name_twice(kind: str, tmp_path: Path) -> None:
    refused(make(tmp_path / "a", kind, {"f": b"1", "./f": b"2"}), "twice, or as file and folder")
    refused(make(tmp_path / "a", kind, {"f": b"1", "f/g": b"2"}), "twice, or as file and folder")
    refused(make(tmp_path / "a", kind, {"f/g": b"1", "f": b"2"}), "twice, or as file and folder")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
        (tarfile.GNUTYPE_SPARSE, "of an unusual kind"),
        (b"V", "of an unusual kind"),
    ],
)
def test_links_and_devices_in_a_tar(kind: bytes, words: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        add(packed, "fine", b"x")
        add(packed, "odd", type=kind, linkname="/etc")
        add(packed, "odd/f", b"through it")
    refused(tmp_path / "a.tar", f"'odd', {words}; only plain files are unpacked")
    unpack(tmp_path / "a.tar", tmp_path / "out", members=["fine"])
    assert files_in(tmp_path / "out") == {"fine": b"x"}


@pytest.mark.parametrize(("mode", "words"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a device")])
def test_links_and_devices_in_a_zip(mode: int, words: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        odd = zipfile.ZipInfo("odd")
        odd.external_attr = (mode | 0o777) << 16
        packed.writestr(odd, "/etc/passwd")
    refused(tmp_path / "a.zip", f"'odd', {words}")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "a.zip", "stored zip", {"f": b"secret"}).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", "which is encrypted")


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_the_limit(kind: str, tmp_path: Path) -> None:
    archive = make(tmp_path / "a", kind, {str(i): bytes(1000) for i in range(10)})
    refused(archive, "more than the 9999 bytes allowed", limit=9999)
    unpack(archive, tmp_path / "out", limit=10_000)
    with pytest.raises(ValueError, match="more than the 999 bytes allowed"):
        read_member(archive, "3", limit=999)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_told_by_its_ratio(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make(tmp_path / "a", kind, {"f": bytes(2 << 20)})
    assert archives.RATIO * archive.stat().st_size < (2 << 20)
    monkeypatch.setattr(archives, "HARMLESS", 1 << 20)
    refused(archive, "more than 200 times its size")


def test_a_size_that_lies_does_not_get_past_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both directories of the zip say 10 bytes, and a megabyte comes."""
    content = bytes(1 << 20)
    data = bytearray(make(tmp_path / "a.zip", "zip", {"f": content}).read_bytes())
    for place in (22, data.index(b"PK\1\2") + 24):
        assert struct.unpack_from("<I", data, place)[0] == len(content)
        struct.pack_into("<I", data, place, 10)
    (tmp_path / "a.zip").write_bytes(data)
    written = []
    count = archives._Spent.counted
    monkeypatch.setattr(
        archives._Spent, "counted", lambda self, blocks: (written.append(len(b)) or b for b in count(self, blocks))
    )
    refused(tmp_path / "a.zip", "is damaged or not the data set", limit=1000)
    assert sum(written) <= 1000


def test_entries_that_share_their_bytes(tmp_path: Path) -> None:
    """An overlapping zip bomb: many entries of the directory, one piece of data."""
    data = make(tmp_path / "a.zip", "zip", {"f": bytes(1 << 20)}).read_bytes()
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entry = data[start:end]
    last = bytearray(data[end:])
    struct.pack_into("<HHI", last, 8, 50, 50, 50 * len(entry))
    (tmp_path / "a.zip").write_bytes(data[:start] + entry * 50 + last)
    assert len(zipfile.ZipFile(tmp_path / "a.zip").infolist()) == 50
    refused(tmp_path / "a.zip", "twice, or as file and folder")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    for kind in KINDS:
        refused(make(tmp_path / "a", kind, FILES), "more than 3 members")


def test_a_header_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_HEADERS", 1 << 20)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        add(packed, "f", b"x", pax_headers={"comment": "x" * (2 << 20)})
    refused(tmp_path / "a.tar.gz", "a header is too long")


def test_a_size_below_nothing_does_not_go_round_in_circles(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("f").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024 as GNU writes large numbers
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) * 3 + bytes(1024))
    refused(tmp_path / "a.tar", "is damaged or not the data set")


def test_data_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_TAIL", 1 << 20)
    inner = gzip.decompress(make(tmp_path / "a.tar.gz", "tar.gz", FILES).read_bytes())
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(inner + bytes(3 << 20)))
    refused(tmp_path / "a.tar.gz", "goes on after its end")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere(kind: str, tmp_path: Path) -> None:
    whole = make(tmp_path / "a", kind, FILES).read_bytes()
    # What pads a plain tar to full records may be missing: the files are all there.
    needed = len(whole) if "tar" not in kind or "gz" in kind else len(whole.rstrip(b"\0")) + 512
    for keep in (*range(0, 3000, 511), *range(3072, needed, 40_961), needed - 1):
        (tmp_path / "a").write_bytes(whole[:keep])
        refused(tmp_path / "a", "is damaged or not the data set")


@pytest.mark.parametrize("kind", ["zip", "stored zip", "tar.gz"])
def test_a_changed_byte_is_noticed(kind: str, tmp_path: Path) -> None:
    whole = make(tmp_path / "a", kind, FILES).read_bytes()
    for place in range(2000, 600_000, 59_951):
        (tmp_path / "a").write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        refused(tmp_path / "a", "is damaged or not the data set")


def test_random_damage_ends_in_a_sentence(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    small = {f"d/{i}": random.bytes(50 * i) for i in range(4)}
    for kind in KINDS:
        whole = np.frombuffer(make(tmp_path / "a", kind, small).read_bytes(), dtype=np.uint8)
        for _ in range(60):
            bad = whole.copy()
            bad[random.integers(len(bad), size=3)] = random.integers(256, size=3)
            (tmp_path / "a").write_bytes(bad.tobytes())
            try:
                unpack(tmp_path / "a", tmp_path / "out")
            except ValueError as error:
                assert re.match(rf"{tmp_path}/a (is damaged|holds|unpacks)[^\n]*$", str(error))  # noqa: PT017
                assert [path.name for path in tmp_path.iterdir()] == ["a"]
            else:
                shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\3\4", b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"<html>" * 500, b"7z" * 999]
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", "is damaged or not the data set")


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_stopped_half_way_leaves_nothing(stop: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make(tmp_path / "a.zip", "zip", FILES)
    lay_down: Callable[..., None] = archives._lay_down

    def stopped(target: Path, *rest: Any) -> None:
        if target.name == "empty":
            raise stop
        lay_down(target, *rest)

    monkeypatch.setattr(archives, "_lay_down", stopped)
    with pytest.raises(type(stop)) as caught:
        unpack(archive, tmp_path / "out")
    if isinstance(stop, OSError):
        assert "the disk is full, so a.zip was not unpacked; free some space" in str(caught.value)
    assert os.listdir(tmp_path) == ["a.zip"]
