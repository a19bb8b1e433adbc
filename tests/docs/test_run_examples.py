"""The examples' runner: scripts run as from the command line, failures are told, and none outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import run_examples

sys.path.remove(str(Path(__file__).parent))

# What a script may count on, processes that it spawns and its own exit handlers among it.
FINE = """
import atexit, multiprocessing, os, signal, sys
from pathlib import Path

def double(x):
    return 2 * x

if __name__ == "__main__":
    assert sys.argv == [__file__] and Path(__file__).name == "fine.py"
    assert sys.path[0] == str(Path(__file__).parent.resolve())
    assert ("torch" in sys.modules) == (not Path("/dev/nvidiactl").exists())  # it was forked
    assert "seqkit" not in sys.modules
    assert sys.stdin.read() == "" and "JE_ARROW_MALLOC_CONF" not in os.environ
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(double, [3]) == [6]
    atexit.register(Path("PLACE/done").touch)
    raise SystemExit
"""
WRONG = "import subprocess\nsubprocess.run(['echo', 'by echo'])\nprint('before')\n1 / 0\n"
LONG = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
open("PLACE/long", "w").write(str(child.pid) + "\\n")
time.sleep(300)
"""


def write(folder, **scripts):
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text.replace("PLACE", str(folder)))
    return [folder / f"{name}.py" for name in scripts]


def begin(*words, libraries):
    """The runner as a process of its own, with few libraries, as the import of all takes seconds."""
    code = f"import sys, run_examples\nrun_examples.LIBRARIES = {libraries}\nsys.exit(run_examples.main())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def alive(process):
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def waits_for(truth, seconds=60):
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="scripts are forked on Linux alone")
def test_a_forked_script_is_as_from_the_command_line_and_a_failure_is_shown(tmp_path):
    scripts = write(tmp_path, fine=FINE, wrong=WRONG, killed="import os\nos.kill(os.getpid(), 9)")
    with begin(*scripts, libraries=("torch", "pandas")) as runner:  # pandas brings pyarrow, which has a thread
        printed, _ = runner.communicate(timeout=300)
    assert runner.returncode == 1, printed
    lines = {Path(line.split(":")[0]).name: line for line in printed.splitlines() if ".py: " in line}
    assert "FAILED" not in lines["fine.py"], printed
    assert (tmp_path / "done").exists()
    assert "FAILED with exit status 1" in lines["wrong.py"]
    assert "FAILED, ended by SIGKILL" in lines["killed.py"]
    for words in ("by echo", "before", "ZeroDivisionError", "2 of 3 failed"):
        assert words in printed
    assert "fine" not in printed.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_scripts_have_started_ends_with_the_runner(tmp_path, how):
    with begin(*write(tmp_path, long=LONG), libraries=()) as runner:
        waits_for(lambda: (tmp_path / "long").exists() and (tmp_path / "long").read_text().endswith("\n"))
        child = int((tmp_path / "long").read_text())
        assert alive(child)
        runner.send_signal(how)
        assert runner.wait(60) != 0
    waits_for(lambda: not alive(child))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_script_that_takes_too_long_is_ended_also_where_none_is_forked(tmp_path, monkeypatch):
    monkeypatch.setattr(run_examples, "can_fork", lambda: False)
    (ended,) = run_examples.run_scripts(write(tmp_path, long=LONG), 1, limit=3.0)
    assert ended.status == -signal.SIGKILL
    assert ended.printed == "took more than 3 s"
    waits_for(lambda: not alive(int((tmp_path / "long").read_text())))
