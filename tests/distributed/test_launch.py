"""Ranks of one machine: what they are told, what is said when one fails, and that none outlives its launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqkit.distributed import launcher, processes, start_ranks


def python(code: str) -> list[str]:
    """A command that starts in hundredths of a second: nothing of seqkit is imported."""
    return [sys.executable, "-S", "-c", f"import os, sys, time; rank = int(os.environ['RANK']); {code}"]


def test_each_rank_is_told_its_place_as_torchrun_tells_it(tmp_path: Path) -> None:
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OWN"]
    code = f"open(f'{tmp_path}/{{rank}}', 'w').write(' '.join(os.environ[name] for name in {names}))"
    assert start_ranks(python(code), 3, environment={"OWN": "word"}) == 0
    assert [(tmp_path / str(k)).read_text() for k in range(3)] == [f"{k} {k} 3 3 127.0.0.1 word" for k in range(3)]


def test_the_rank_that_fails_is_shown_and_gives_the_status(capfd: pytest.CaptureFixture[str]) -> None:
    assert start_ranks(python("print('a word'); sys.exit(5 if rank == 1 else 0)"), 2) == 5
    shown = capfd.readouterr()
    assert shown.out == "a word\n"  # of rank 0 alone
    assert shown.err == "[rank 1] a word\n"
    assert start_ranks(python("os.kill(os.getpid(), 9) if rank == 0 else None"), 2) == 128 + 9


def test_ranks_that_go_on_after_another_failed_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_GRACE", 0.2)
    began = time.monotonic()
    assert start_ranks(python("sys.exit(3) if rank else time.sleep(300)"), 2) == 3
    assert time.monotonic() - began < 200


def test_a_limit_stops_all_of_them(tmp_path: Path) -> None:
    code = f"open(f'{tmp_path}/{{rank}}', 'w').write(str(os.getpid())); time.sleep(100)"
    with pytest.raises(TimeoutError, match=r"the ranks did not end within 1 s and were stopped"):
        start_ranks(python(code), 2, limit=1.0)
    written = [path.read_text() for path in tmp_path.iterdir()]  # a rank may be stopped before it writes
    assert not any(alive(int(pid)) for pid in written if pid)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_ends_with_the_one_that_held_its_pipe() -> None:
    # By its path, which takes a tenth of a second; by its name torch is imported.
    code = f"import runpy; runpy.run_path({launcher.__file__!r})['end_with_launcher'](); print(1, flush=True); input()"
    variables = dict(os.environ)
    with launcher.held_pipe(variables) as pipe:
        rank = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            **{"env": variables, "pass_fds": [pipe], "stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
        )
        assert rank.stdout is not None
        assert rank.stdout.readline() == b"1\n"
        assert rank.poll() is None
    assert rank.wait(30) == 1
    rank.communicate()


LAUNCHERS = {
    "start_ranks": "start_ranks([sys.executable, __file__, folder], 2)",
    "run_ranks": "run_ranks(stay, 2, folder)",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", LAUNCHERS)
def test_ranks_do_not_outlive_a_launcher_that_is_killed(how: str, tmp_path: Path) -> None:
    script = tmp_path / "launches.py"
    script.write_text(
        "import os, sys, time\n"
        "from seqkit.distributed import is_rank, join, run_ranks, start_ranks\n"
        "def stay(world, folder):\n"
        "    open(f'{folder}/pid{world.rank}', 'w').write(str(os.getpid()))\n"
        "    time.sleep(300)\n"
        "if __name__ == '__main__':\n"
        "    folder = sys.argv[1]\n"
        f"    stay(join(), folder) if is_rank() else {LAUNCHERS[how]}\n"
    )
    killed = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    pids = [tmp_path / f"pid{rank}" for rank in range(2)]
    while not all(path.is_file() and path.read_text() for path in pids):
        assert killed.poll() is None
        time.sleep(0.05)
    ranks = [int(path.read_text()) for path in pids]
    assert all(alive(pid) for pid in ranks)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    end = time.monotonic() + 20
    while any(alive(pid) for pid in ranks) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in ranks)
