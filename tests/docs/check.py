"""Does what the documentation tells its reader to do: `make docs-code`, or `python tests/docs/check.py PAGES`.

The Python blocks of README.md and docs/*.md run, and the commands of these, of the recipes, the examples and the lists
of results are tried up to where they would begin to work. The exit status is 1 where anything failed, each failure with
its page, block and line.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # these are read when torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("MPLBACKEND", "Agg")

from commands import problems
from pages import commands
from python_blocks import Outcome, run_each, run_page

ROOT = Path(__file__).resolve().parents[2]
WITH_PYTHON = ("README.md", "docs/*.md")
WITH_COMMANDS = (*WITH_PYTHON, "CONTRIBUTING.md", "RESULTS.md", "benchmarks/README.md", "recipes/*", "examples/*.py")


def main() -> int:
    """Checks all pages, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="pages to check; all if left out")
    parser.add_argument("--jobs", type=int, default=2, help="pages at a time")
    parser.add_argument("--only", choices=("python", "commands"), help="one of the two checks")
    options = parser.parse_args()
    start = time.monotonic()
    work: dict[str, Callable[[], Outcome]] = {}
    if options.only != "python":  # first, as it takes longest
        work["commands"] = partial(try_commands, chosen(options.pages, WITH_COMMANDS))
    if options.only != "commands":
        work |= {os.path.relpath(path): partial(run_page, path) for path in chosen(options.pages, WITH_PYTHON)}
    # What most need is imported once, before processes are forked. None of it imports triton: pages say how it runs.
    import seqkit.kernels
    import seqkit.models  # noqa: F401

    failed = [sentence for one in run_each([*work.values()], [*work], options.jobs, 900.0) for sentence in one.failed]
    for sentence in failed:
        print(f"\nFAILED {sentence}", file=sys.stderr)
    used = sum(os.times()[:4])
    print(f"{len(failed)} failed; {time.monotonic() - start:.0f} s, {used:.0f} s of the processor")
    return int(bool(failed))


def try_commands(paths: list[Path]) -> Outcome:
    """Tries the commands of all pages."""
    start, found = time.process_time(), {os.path.relpath(path): commands(path) for path in paths}
    failed = [sentence for name, shown in found.items() for sentence in problems(shown, name)]
    n_tried = sum(map(len, found.values()))
    return Outcome("commands", round(time.process_time() - start, 1), n_tried, [], failed)


def chosen(given: list[Path], patterns: tuple[str, ...]) -> list[Path]:
    """The pages that were named, or all of the patterns, the large ones first so that processes end together."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern) if path.suffix in (".md", ".py", ".yaml")]
    wanted = {path.resolve() for path in given}
    found = [path for path in found if not wanted or path in wanted]
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


if __name__ == "__main__":
    sys.exit(main())
