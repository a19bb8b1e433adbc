"""Fetching: mirrors, checksums, going on after a break, one process at a time, and what is said without a network."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from seqkit.datasets import download, get_source, mnist, transfer
from seqkit.datasets.download import fetch
from seqkit.datasets.source import data_root as where

CONTENT = np.random.default_rng(0).bytes(1_500_000)
BREAK = 900_000


class Site:
    """A web server of this machine: what it has, how it behaves, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/f": CONTENT}
        self.ranges = True
        self.shift = 0  # bytes by which it misses the place that was asked for
        self.breaks = 0  # answers that end after BREAK bytes
        self.midway: Callable[[], Any] = lambda: None  # called when half of an answer is sent
        self.asked: list[tuple[str, str | None]] = []

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        said = request.headers.get("Range")
        self.asked.append((request.path, said))
        content = self.files.get(request.path)
        if content is None:
            request.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", said)[1]) if said and self.ranges else 0
        if start and start >= len(content):
            request.send_error(416)
            return
        start += self.shift if start else 0
        rest = content[start:]
        request.send_response(206 if said and self.ranges else 200)
        if said and self.ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        if self.breaks:
            self.breaks -= 1
            rest = rest[:BREAK]
        request.wfile.write(rest[: len(rest) // 2])
        self.midway()
        request.wfile.write(rest[len(rest) // 2 :])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                site.answer(self)

        def log_message(self, *words: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Refuses every address, and says which were asked."""
    asked = []

    def refuse(request: Any, timeout: float) -> None:
        asked.append(request.full_url)
        raise OSError(f"no route to {request.full_url}")

    monkeypatch.setattr(transfer.urllib.request, "urlopen", refuse)
    return asked


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def get(site: Site, path: Path, known: str = "", urls: tuple[str, ...] = ("/f",)) -> None:
    fetch([site.url + url for url in urls], path, known or sha256(CONTENT), offline=False, what="the files")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_next_mirror_is_tried(site: Site, tmp_path: Path) -> None:
    site.files = {"/wrong": b"wrong", "/right": b"right"}
    get(site, tmp_path / "deep" / "f", md5(b"right"), ("/wrong", "/none", "/right", "/never"))
    assert (tmp_path / "deep" / "f").read_bytes() == b"right"
    assert [path for path, _ in site.asked] == ["/wrong", "/none", "/right"]
    assert names(tmp_path / "deep") == ["f"]


def test_a_server_that_is_not_there_is_passed_over(site: Site, tmp_path: Path) -> None:
    urls = ["http://127.0.0.1:9/f", "nonsense", f"{site.url}/f"]
    fetch(urls, tmp_path / "f", sha256(CONTENT), offline=False, what="the files")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_cut_connection_is_gone_on_with_at_once(site: Site, tmp_path: Path) -> None:
    site.breaks = 1
    get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert site.asked == [("/f", None), ("/f", f"bytes={BREAK}-")]
    assert names(tmp_path) == ["f"]


def test_what_came_is_kept_for_the_next_call(site: Site, tmp_path: Path) -> None:
    site.breaks, site.ranges = 99, False  # without ranges a second try brings no more than the first
    with pytest.raises(FileNotFoundError, match=rf"ended after {BREAK} of 1500000 bytes.*kept in f\.part"):
        get(site, tmp_path / "f")
    assert names(tmp_path) == ["f.part"]
    assert (tmp_path / "f.part").read_bytes() == CONTENT[:BREAK]
    site.breaks, site.ranges, site.asked = 0, True, []
    get(site, tmp_path / "f")
    assert site.asked == [("/f", f"bytes={BREAK}-")]
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert names(tmp_path) == ["f"]


def test_another_mirror_goes_on_where_the_first_broke(site: Site, tmp_path: Path) -> None:
    site.files["/g"] = CONTENT
    site.breaks = 1
    site.midway = lambda: site.files.pop("/f", None)
    get(site, tmp_path / "f", urls=("/f", "/g"))
    assert site.asked == [("/f", None), ("/f", f"bytes={BREAK}-"), ("/g", f"bytes={BREAK}-")]
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "part",
    [CONTENT[:BREAK], b"of another file", CONTENT + b"and more", b"x" * len(CONTENT)],
    ids=["begun", "other", "longer", "same size"],
)
@pytest.mark.parametrize("behaviour", ["ranges", "no ranges", "wrong place"])
def test_whatever_lies_there_the_right_file_comes(part: bytes, behaviour: str, site: Site, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(part)
    site.ranges = behaviour != "no ranges"
    site.shift = 1 if behaviour == "wrong place" else 0
    get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert names(tmp_path) == ["f"]


def test_a_whole_part_needs_no_network(no_network: list[str], tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT)
    fetch(["http://a/f"], tmp_path / "f", sha256(CONTENT), offline=False, what="the files")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert no_network == []


@pytest.mark.parametrize("kind", [md5, sha256])
def test_a_wrong_file_is_not_kept_and_both_checksums_are_said(
    kind: Callable[[bytes], str], site: Site, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        get(site, tmp_path / "f", kind(b"right"))
    assert f"checksum {kind(CONTENT)}, which does not match the known hash {kind(b'right')}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_wrong_file_that_lies_there_is_replaced(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    get(site, tmp_path / "f")
    get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(site.asked) == 1


def test_the_name_is_only_taken_by_a_checked_file(site: Site, tmp_path: Path) -> None:
    seen = []
    site.midway = lambda: seen.append(names(tmp_path))
    get(site, tmp_path / "f")
    assert seen == [["f.part"]]
    mode = (tmp_path / "f").stat().st_mode
    (tmp_path / "any").touch()
    assert mode == (tmp_path / "any").stat().st_mode


def test_without_a_checksum_the_size_counts_and_nothing_is_continued(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "f"
    fetch([site.url + "/f"], path, None, offline=False, what="the file")
    assert path.read_bytes() == CONTENT
    site.files["/f"] = b"another"
    fetch([site.url + "/f"], path, None, offline=False, what="the file")  # what is there counts
    assert path.read_bytes() == CONTENT
    path.unlink()
    (tmp_path / "f.part").write_bytes(b"half of something")
    fetch([site.url + "/f"], path, None, offline=False, what="the file")
    assert path.read_bytes() == b"another"
    assert names(tmp_path) == ["f"]


def test_without_a_checksum_a_cut_connection_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.ranges, site.breaks = False, 1000
    with pytest.raises(FileNotFoundError, match="the connection ended"):
        fetch([site.url + "/f", site.url + "/f"], tmp_path / "f", None, offline=False, what="the file")
    assert names(tmp_path) == []
    site.files["/g"], site.breaks = CONTENT[::-1], 1  # the first breaks off for good, and the second is another file
    site.files["/f"] = b"x" * 2_000_000
    site.midway = lambda: site.files.pop("/f", None)
    fetch([site.url + "/f", site.url + "/g"], tmp_path / "f", None, offline=False, what="the file")
    assert (tmp_path / "f").read_bytes() == CONTENT[::-1]


def test_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "served").write_bytes(CONTENT)
    (tmp_path / "f.part").write_bytes(CONTENT[:7])
    urls = [(tmp_path / "none").as_uri(), (tmp_path / "served").as_uri()]
    fetch(urls, tmp_path / "f", sha256(CONTENT), offline=False, what="the files")
    assert names(tmp_path) == ["f", "served"]


def test_ctrl_c_leaves_the_part(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:BREAK])
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    site.midway = interrupt
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            get(site, tmp_path / "f")
    finally:
        signal.signal(signal.SIGINT, before)
    assert names(tmp_path) == ["f.part"]
    kept = (tmp_path / "f.part").read_bytes()
    assert CONTENT.startswith(kept)
    assert len(kept) >= BREAK
    site.midway = lambda: None
    get(site, tmp_path / "f")
    assert site.asked[1] == ("/f", f"bytes={len(kept)}-")
    assert (tmp_path / "f").read_bytes() == CONTENT


SCRIPT = """
import sys
from pathlib import Path
from seqkit.datasets.download import fetch
fetch([sys.argv[1]], Path(sys.argv[2]), sys.argv[3], offline=False, what="the files")
"""


def start(site: Site, path: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", SCRIPT, f"{site.url}/f", str(path), sha256(CONTENT)]
    return subprocess.Popen(words, stderr=subprocess.PIPE)


def test_of_two_processes_one_fetches(site: Site, tmp_path: Path) -> None:
    both_run = threading.Event()
    site.midway = lambda: both_run.wait(60)
    one, two = start(site, tmp_path / "f"), start(site, tmp_path / "f")
    held = tmp_path / "f.part"
    while not (held.is_file() and held.stat().st_size and all(opens(each, held) for each in (one, two))):
        assert one.poll() is None
        assert two.poll() is None
        time.sleep(0.01)
    both_run.set()
    for each in (one, two):
        assert each.communicate(timeout=60)[1] == b""
        assert each.returncode == 0
    assert site.asked == [("/f", None)]
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert names(tmp_path) == ["f"]


def opens(process: subprocess.Popen[bytes], path: Path) -> bool:
    folder = Path(f"/proc/{process.pid}/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc to see which files a process has open")
    return any(os.path.realpath(link) == str(path.resolve()) for link in folder.iterdir() if link.is_symlink())


def test_a_killed_process_holds_nobody_up(site: Site, tmp_path: Path) -> None:
    killed = threading.Event()
    site.midway = lambda: killed.wait(60)
    process = start(site, tmp_path / "f")
    while not ((tmp_path / "f.part").is_file() and (tmp_path / "f.part").stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    killed.set()
    get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert site.asked[1][1] is not None
    assert names(tmp_path) == ["f"]


def test_without_locks_each_process_has_its_own_part(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_hold", lambda file, name: False)
    seen = []
    site.midway = lambda: seen.append(names(tmp_path))
    get(site, tmp_path / "f")
    assert re.fullmatch(r"f\.[0-9a-f]{12}\.part", seen[0][0])
    assert len(seen[0]) == 1
    assert (tmp_path / "f").read_bytes() == CONTENT
    (tmp_path / "f").unlink()
    site.breaks, site.ranges = 99, False
    with pytest.raises(FileNotFoundError) as caught:
        get(site, tmp_path / "f")
    assert "kept" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_is_named(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, block: bytes) -> None:
        file.write(block[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_write", full)
        with pytest.raises(OSError, match="the disk is full, so f was not fetched whole; free some space") as caught:
            get(site, tmp_path / "f")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "f"))
    get(site, tmp_path / "f")
    assert site.asked[-1] == ("/f", "bytes=1000-")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_silent_server_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    over = threading.Event()
    site.files["/f"] = CONTENT[:10]
    site.midway = lambda: over.wait(60)
    with pytest.raises(FileNotFoundError, match="timed out"):
        get(site, tmp_path / "f")
    over.set()


def test_progress_is_shown_on_a_terminal_only(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    get(site, tmp_path / "f")
    assert capfd.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    get(site, tmp_path / "shown [1].zip")
    assert "shown [1].zip" in terminal.getvalue()
    assert "1.5/1.5 MB" in terminal.getvalue()


def test_without_network_the_manual_steps_are_said(no_network: list[str], tmp_path: Path) -> None:
    for name in ("mnist", "character_trajectories"):
        source = get_source(name, root=tmp_path / name)
        with pytest.raises(FileNotFoundError) as caught:
            source.prepare()
        words = str(caught.value)
        assert "no route to https://" in words
        assert f"put it in {tmp_path / name}" in words
        assert "SEQKIT_DATA" in words
        assert "\n" not in words
        assert not [file for file in (tmp_path / name).rglob("*") if file.is_file()]
    assert sum("ossci-datasets" in url for url in no_network) == 1
    assert sum("cvdf-datasets" in url for url in no_network) == 1


def test_offline_asks_nobody(no_network: list[str], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing is fetched offline"):
        get_source("mnist", root=tmp_path).prepare(offline=True)
    assert no_network == []
    assert names(tmp_path) == []


def test_files_that_are_there_are_not_fetched(no_network: list[str], tmp_path: Path, twins: ModuleType) -> None:
    twins.write_mnist(tmp_path)
    get_source("mnist", root=tmp_path).prepare()
    assert no_network == []


def test_a_download_is_ready_to_load(
    site: Site, tmp_path: Path, twins: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = twins.write_mnist(tmp_path / "made")
    served = {name: gzip.compress(gzip.decompress((made / f"{name}.gz").read_bytes())) for name in mnist.FILES}
    monkeypatch.setattr(mnist, "FILES", {name: md5(data) for name, data in served.items()})
    monkeypatch.setattr(mnist, "MIRRORS", (f"{site.url}/dead/", f"{site.url}/"))
    site.files = {f"/{name}.gz": data for name, data in served.items()}
    source = get_source("permuted_mnist", root=tmp_path / "root")
    source.prepare()
    assert {part: len(series) for part, series in source.load().items()} == {"train": 60, "test": 20}


def test_the_root_is_argument_then_environment_then_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEQKIT_DATA", "/from/environment")
    assert where("/given") == Path("/given")
    assert where() == Path("/from/environment")
    monkeypatch.delenv("SEQKIT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert where() == tmp_path / "seqkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert where() == tmp_path / ".cache" / "seqkit"
