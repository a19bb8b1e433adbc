"""Runs the scripts of examples/, several at once: `make examples`, or `python tests/docs/run_examples.py SCRIPTS`.

Each script is a process of its own, forked from one that has imported the libraries that most of them need, so their
import is paid once. seqkit itself is imported by each script, which finds everything else as from the command line:
its name in `sys.argv`, `__main__`, the environment, and signals. Each script's name and time are printed, and its
output where it failed. The exit status is 1 where one failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    *("torch", "scipy.special", "scipy.signal", "matplotlib.figure", "matplotlib.backends.backend_agg", "yaml", "rich"),
    *("lightning", "torchmetrics", "pandas", "sklearn.ensemble", "sklearn.pipeline", "sktime.datasets", "typer"),
)
# Read when torch, numpy and pyarrow are imported. Threads would not live on in a forked process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("MPLBACKEND", "Agg")


class Ended(NamedTuple):
    """A script that is done: its exit status (below 0: the signal that ended it), its times in s, what it printed."""

    script: Path
    status: int
    seconds: float
    processor_seconds: float
    printed: str


class Running(NamedTuple):
    """A script's process, the file that it prints to, and when it began."""

    script: Path
    output: IO[bytes]
    start: float


def main() -> int:
    """Runs all scripts, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", type=Path, help="scripts to run; all of examples/ if left out")
    parser.add_argument("--jobs", type=int, default=2, help="scripts at a time")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one script may take")
    options = parser.parse_args()
    scripts = [path.resolve() for path in options.scripts] or sorted((ROOT / "examples").glob("*.py"))
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # scripts end, too
    start, failed = time.monotonic(), []
    for ended in run_scripts(scripts, options.jobs, options.limit):
        name = os.path.relpath(ended.script)
        used = f"{ended.seconds:.1f} s, {ended.processor_seconds:.1f} s of the processor"
        print(f"{name}: {words_for(ended.status)}{used}")
        if ended.status:
            failed.append(name)
            print(ended.printed)
        sys.stdout.flush()
    used = sum(os.times()[:4])
    print(f"{len(failed)} of {len(scripts)} failed; {time.monotonic() - start:.0f} s, {used:.0f} s of the processor")
    if failed:
        print("FAILED", *failed, file=sys.stderr)
    return int(bool(failed))


def words_for(status: int) -> str:
    """What a status means; nothing where all is well."""
    if status < 0:
        return f"FAILED, ended by {signal.Signals(-status).name}, "
    return f"FAILED with exit status {status}, " if status else ""


def run_scripts(scripts: Sequence[Path], jobs: int, limit: float = 900.0) -> Iterator[Ended]:
    """Runs scripts, `jobs` at a time and each for `limit` seconds at most, and gives each when it has ended.

    When this ends early (Ctrl-C, an error, a generator that is closed), scripts that still run are ended with all
    processes that they have started.

    In the process of a script nothing is given: `SystemExit` is raised here when the script is done, so that the
    interpreter ends as always. What a caller does on its way out must bear being done there as well.
    """
    forked = can_fork()
    waiting, running = list(scripts), dict[int, Running]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                script, output = waiting.pop(0), tempfile.TemporaryFile()  # noqa: SIM115 - closed with `Running`
                sys.stdout.flush()
                process = os.fork() if forked else start(script, output)
                if process == 0:
                    running.clear()
                    become(script, output)
                with contextlib.suppress(OSError):
                    os.setpgid(process, process)  # as it does itself; here, lest it is to be ended before it has
                running[process] = Running(script, output, time.monotonic())
            time.sleep(0.02)
            for process, one in list(running.items()):
                late = time.monotonic() - one.start > limit
                if late:
                    end(process, signal.SIGKILL)
                    os.write(one.output.fileno(), f"took more than {limit:g} s\n".encode())
                found, status, used = os.wait4(process, 0 if late else os.WNOHANG)
                if found:
                    del running[process]
                    end(process, signal.SIGTERM)  # what the script has left behind
                    with one.output:
                        one.output.seek(0)
                        printed = one.output.read().decode(errors="replace").rstrip()
                    seconds = time.monotonic() - one.start, used.ru_utime + used.ru_stime
                    yield Ended(one.script, os.waitstatus_to_exitcode(status), *seconds, printed)
    finally:
        for process in running:
            end(process, signal.SIGKILL)
        for process, one in running.items():
            os.waitpid(process, 0)
            one.output.close()


def start(script: Path, output: IO[bytes]) -> int:
    """Starts a script by an interpreter of its own and returns its process."""
    words = [sys.executable, os.path.relpath(script)]
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    printed = [(os.POSIX_SPAWN_DUP2, output.fileno(), number) for number in (1, 2)]
    return os.posix_spawn(sys.executable, words, os.environ, file_actions=[nothing, *printed], setpgroup=0)


def become(script: Path, output: IO[bytes]) -> NoReturn:
    """Makes the process that this is called in, a fork, that of a script, and ends with it."""
    os.setpgid(0, 0)  # what it starts is ended with it, and Ctrl-C is for the process that it comes from
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    name = os.path.relpath(script)
    sys.argv, sys.path[0] = [name], str(script.parent)
    sys.modules["__main__"] = module = types.ModuleType("__main__")
    module.__file__ = name  # processes that the script spawns read it
    exec(compile(script.read_bytes(), name, "exec"), module.__dict__)
    sys.exit()


def end(process: int, how: signal.Signals) -> None:
    """Ends a script and the processes that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, how)


def can_fork() -> bool:
    """Imports the libraries and says whether processes that are forked from this one can use them.

    Only Linux bears a fork after such imports, CUDA does not, and no thread may run. pyarrow's allocator would start
    one.
    """
    if sys.platform != "linux" or Path("/dev/nvidiactl").exists():
        return False
    with_thread = os.environ.get("JE_ARROW_MALLOC_CONF")
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    for name in LIBRARIES:
        importlib.import_module(name)
    del os.environ["JE_ARROW_MALLOC_CONF"]
    if with_thread is not None:
        os.environ["JE_ARROW_MALLOC_CONF"] = with_thread
    alone = threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1
    if not alone:
        print("not forked: the import of a library has started a thread, so each script imports its own")
    return alone


if __name__ == "__main__":
    sys.exit(main())
