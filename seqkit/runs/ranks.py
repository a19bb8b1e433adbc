"""What `seqkit train --parallel` starts once per rank: `python -m seqkit.runs.ranks REQUEST`."""

from __future__ import annotations

import json
import sys

from seqkit.extensions import import_code
from seqkit.runs.config import RunConfig
from seqkit.runs.parallel import train_parallel
from seqkit.runs.parallel_config import ParallelConfig

__all__ = ["main"]


def main(request: str) -> int:
    """Runs one rank and returns its exit status; a failure is one sentence.

    Args:
        request: Arguments of `train_parallel` as JSON, and under "imports" what its starter was told to import.
    """
    values = json.loads(request)
    try:
        for what in values.pop("imports"):
            import_code(what)
        for name, build in (("config", RunConfig.from_dict), ("parallel", lambda one: ParallelConfig(**one))):
            if values[name] is not None:
                values[name] = build(values[name])
        train_parallel(**values)
    except (ValueError, ImportError, OSError, FloatingPointError) as error:
        print(f"seqkit: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


if __name__ == "__main__":
    sys.stderr.flush()
    status = main(sys.argv[1])
    sys.stderr.flush()
    sys.stdout.flush()
    sys.exit(status)
