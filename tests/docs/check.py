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
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # these are read when torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("MPLBACKEND", "Agg")

from commands import problems
from pages import commands
from python_blocks import run_pages

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
    failed: list[str] = []
    if options.only != "commands":
        import seqkit.kernels
        import seqkit.models  # noqa: F401  what most pages need is imported once, before processes are forked

        pages = chosen(options.pages, WITH_PYTHON)
        for outcome in run_pages(pages, options.jobs):
            failed += outcome.failed
    if options.only != "python":  # last, as it imports everything into this process, which pages are forked from
        for path in chosen(options.pages, WITH_COMMANDS):
            failed += problems(commands(path), os.path.relpath(path))
    for sentence in failed:
        print(f"\nFAILED {sentence}", file=sys.stderr)
    used = sum(os.times()[:4])
    print(f"{len(failed)} failed; {time.monotonic() - start:.0f} s, {used:.0f} s of the processor")
    return int(bool(failed))


def chosen(given: list[Path], patterns: tuple[str, ...]) -> list[Path]:
    """The pages that were named, or all of the patterns, the large ones first so that processes end together."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern) if path.suffix in (".md", ".py", ".yaml")]
    wanted = {path.resolve() for path in given}
    found = [path for path in found if not wanted or path in wanted]
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


if __name__ == "__main__":
    sys.exit(main())
