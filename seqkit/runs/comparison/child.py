"""One training of a comparison in a process of its own: what fails there ends nothing else.

    python -m seqkit.runs.comparison.child CONFIG FOLDER [--import X] [--resume] [--offline] [--quiet]

The last line of standard output is a JSON object, {} or {"error": "..."}.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from seqkit.distributed.launcher import end_with_launcher
from seqkit.extensions import import_code
from seqkit.runs.config import RunConfig
from seqkit.runs.training import train

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, and says why where model, data or machine fail; a fault of the program ends it with its traceback."""
    end_with_launcher()
    parser = argparse.ArgumentParser(description="One training of a comparison.")
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--import", dest="imports", action="append", default=[])
    for option in ("--resume", "--offline", "--quiet"):
        parser.add_argument(option, action="store_true")
    chosen = parser.parse_args(arguments)
    answer: dict[str, str] = {}
    try:
        for what in chosen.imports:
            import_code(what)
        if chosen.resume:
            train(resume=True, out=chosen.folder, offline=chosen.offline, progress=not chosen.quiet)
        else:
            config = RunConfig.from_file(chosen.config)
            train(config=config, out=chosen.folder, overwrite=True, offline=chosen.offline, progress=not chosen.quiet)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, ArithmeticError, ImportError, OSError, RuntimeError, MemoryError) as error:
        answer = {"error": str(error) or type(error).__name__}
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
