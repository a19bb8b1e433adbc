"""A slow link on one machine: it is as slow as asked for, counts what passes, and shows what compression is worth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqkit.distributed import SlowLink
from seqkit.distributed import slow_link as module

MISSING = SlowLink.missing()
needs_rights = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

SEND = """
import os, socket, time
rank, address = int(os.environ["RANK"]), (os.environ["MASTER_ADDR"], 29900)
if rank == 0:
    with socket.create_server(address) as server:
        near, _ = server.accept()
        got = 0
        while part := near.recv(65536):
            got += len(part)
        near.close()
        print(got, os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"], flush=True)
else:
    for _ in range(200):
        try:
            near = socket.create_connection(address)
            break
        except OSError:
            time.sleep(0.02)
    near.sendall(bytes(500_000))
    near.close()
"""


@needs_rights
def test_a_link_is_as_slow_as_asked_for_and_counts_what_passes(capfd: pytest.CaptureFixture[str]) -> None:
    with SlowLink(rate=20) as link:
        began = time.monotonic()
        assert link.run([sys.executable, "-S", "-c", SEND], limit=60.0) == 0
        assert time.monotonic() - began > 8 * (500_000 - 64 * 1024) / 20e6  # the bucket lets 64 KiB through at once
        assert capfd.readouterr().out == "500000 2 0\n"
        back, there = link.bytes_sent()
        assert 500_000 * 1.01 < there < 500_000 * 1.15
        assert back < 50_000
        names = [*link.names, link._hub]
    told = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not any(name in told for name in names)


@needs_rights
def test_a_rank_that_fails_or_hangs_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    with SlowLink() as link:
        code = "import os, sys; print('a word', file=sys.stderr); sys.exit(int(os.environ['RANK']) * 4)"
        assert link.run([sys.executable, "-S", "-c", code]) == 4
        assert "[rank 1] a word" in capfd.readouterr().err
        with pytest.raises(TimeoutError, match=r"did not end within 0.5 s"):
            link.run([sys.executable, "-S", "-c", "import time; time.sleep(100)"], limit=0.5)


def test_without_rights_or_tools_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda tool: None)
    with pytest.raises(PermissionError, match=r"a slow link needs rights .*: there is no `ip`; install iproute2"):
        SlowLink().__enter__()
    monkeypatch.undo()

    def refused(*words: str) -> str:
        raise OSError("Operation not permitted")

    monkeypatch.setattr(module.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(module, "_call", refused)
    assert "run as root, or inside `unshare -Urnm`" in str(SlowLink.missing())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ends": 1}, "`ends` must be from 2 to 100, got 1"),
        ({"rate": 0}, "`rate` must be a finite number above 0, got 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SlowLink(**options)


@needs_rights
@pytest.mark.slow
def test_compression_is_worth_it_on_a_slow_link_and_costs_little_on_a_fast_one(tmp_path: Path) -> None:
    """At 20 Mbit/s messages outweigh the work even where others use the cores; on idle ones see the measured page."""
    command, seconds = [sys.executable, str(Path(__file__).with_name("slow_link_rank.py")), str(tmp_path)], {}
    for rate in (20.0, None):
        with SlowLink(rate=rate) as link:
            assert link.run(command, limit=300.0) == 0
            counted = link.bytes_sent()
        found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
        seconds[rate] = found[0]
        for rank in range(2):  # headers, and what ranks agree on
            assert found[rank]["bytes"] < counted[rank] < 1.1 * found[rank]["bytes"] + 200_000
    assert seconds[20.0]["plain"] > 2.5 * seconds[20.0]["coded"]
    assert seconds[None]["coded"] < 2 * seconds[None]["plain"] + 0.1
