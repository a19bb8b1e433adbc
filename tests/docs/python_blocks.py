"""Runs the Python blocks of pages: those of a page in order, in one namespace, a process and a folder of their own."""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pages import Block, python_blocks


class Outcome(NamedTuple):
    """What became of a page: seconds of the processor, what was run, sentences on what was skipped and what failed."""

    page: str
    seconds: float
    n_run: int
    skipped: list[str]
    failed: list[str]


def run_each(work: Sequence[Callable[[], Outcome]], names: Sequence[str], jobs: int, limit: float) -> list[Outcome]:
    """Runs each piece of work in a process of its own, `jobs` at a time, each for `limit` seconds at most.

    Processes are forked from this one, which has imported libraries already; a page can still change anything without
    another page noticing, as long as nothing has been computed here.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    waiting, running, done = list(zip(names, work, strict=True)), {}, []
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                (name, piece), report = waiting.pop(0), Path(folder, f"{len(waiting)}.json")
                process = context.Process(target=_work, args=(piece, report))
                process.start()
                running[process.sentinel] = (process, name, report, time.monotonic())
            multiprocessing.connection.wait(list(running), timeout=1.0)
            for sentinel, (process, name, report, start) in list(running.items()):
                late = process.is_alive() and time.monotonic() - start > limit
                if late:
                    process.kill()
                elif process.is_alive():
                    continue
                process.join()
                del running[sentinel]
                done.append(_read(name, report, f"took more than {limit:.0f} s" if late else "its process died"))
                _say(done[-1])
    return done


def _read(name: str, report: Path, otherwise: str) -> Outcome:
    if not report.is_file():
        return Outcome(name, 0.0, 0, [], [f"{name}: {otherwise}"])
    return Outcome(*json.loads(report.read_text(encoding="utf-8")))


def _say(outcome: Outcome) -> None:
    words = f"{outcome.n_run} run, {outcome.seconds:.1f} s" + (", FAILED" if outcome.failed else "")
    print(f"{outcome.page}: {words}", flush=True)
    for sentence in outcome.skipped:
        print(f"  skipped {sentence}", flush=True)


def _work(piece: Callable[[], Outcome], report: Path) -> None:
    """The process of one piece; what processes that it starts print comes after what failed."""
    log = report.with_suffix(".log")
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    outcome = piece()
    printed = log.read_text(encoding="utf-8", errors="replace")[-2000:].rstrip()
    outcome = outcome._replace(failed=[f"{sentence}\n{printed}".rstrip() for sentence in outcome.failed])
    part = report.with_suffix(".part")
    part.write_text(json.dumps(outcome), encoding="utf-8")
    part.replace(report)


def run_page(path: Path) -> Outcome:
    """Runs the blocks of a page until one fails, for those after it build on it."""
    name = os.path.relpath(path)
    module = types.ModuleType("__main__")  # as in a script, so that what blocks define can be pickled and reloaded
    sys.modules["__main__"] = module
    skipped: list[str] = []
    failed: list[str] = []
    n_run, number, start = 0, 0, time.process_time()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in python_blocks(path):
            number += block.language == "python"
            where = f"{name}, block {number} at line {block.line}"
            reason = block.skip or missing(block.needs)
            if reason:
                skipped.append(f"{where}: {reason}")
                continue
            shown = io.StringIO()
            try:
                with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
                    execute(block, path, module.__dict__)
            except BaseException as error:
                failed.append(f"{where}: {words_for(error, path)}\n{shown.getvalue()[-2000:]}".rstrip())
                break
            n_run += block.language == "python"
    return Outcome(name, round(time.process_time() - start, 1), n_run, skipped, failed)


def execute(block: Block, path: Path, names: dict[str, Any]) -> None:
    """Runs one block so that tracebacks show the page and its lines."""
    text = "\n" * (block.line - 1) + block.text + "\n"
    file = f"{path}:{block.line}"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)


def words_for(error: BaseException, path: Path) -> str:
    """The error, and the line of the page that it comes from."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(f"{path}:")]
    place = f"line {frames[-1].lineno}: `{frames[-1].line}`: " if frames else ""
    return f"{place}{type(error).__name__}: {error}"


def missing(name: str) -> str:
    """Why data named by a page cannot be used here; empty where they can."""
    root = os.environ.get("SEQKIT_DATA")
    if name and (not root or not Path(root, name).exists()):
        return f"needs {name}, and SEQKIT_DATA " + (f"has none ({root})" if root else "is not set")
    return ""
