"""Trainings in processes of their own, that Ctrl-C reaches once and that go on where they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from seqkit.distributed.launcher import held_pipe
from seqkit.extensions import import_options
from seqkit.runs.config import RunConfig
from seqkit.runs.settings import IMPORTS
from seqkit.tasks.run_folder import RunFolder

__all__ = ["STOPPED", "run_training"]

INTERRUPTED = 130
STOPPED = "it was stopped early"
LOOK_EVERY = 0.3
"""Seconds between looks at a training that may be stopped early."""


def run_training(
    config: Path, folder: RunFolder, *, offline: bool, quiet: bool, stop: Callable[[], bool] | None = None
) -> str | None:
    """Trains, or goes on with, one run.

    Args:
        config: Whole configuration as YAML.
        folder: Where the run lies.
        offline: Fetch nothing.
        quiet: Show no progress.
        stop: Asked again and again whether to stop early; None to let it run.

    Returns:
        None when it is finished, or why it failed; `STOPPED` where `stop` said so.

    Raises:
        KeyboardInterrupt: the user stopped it; what it had is kept.
    """
    command = [sys.executable, "-m", "seqkit.runs.comparison.child", str(config), str(folder.path)]
    # Only what this process imported for the user goes there: a configuration's own word is not enough.
    command += import_options(RunConfig.from_file(config).to_dict().get(IMPORTS, []))
    command += [
        option
        for option, wanted in (
            ("--resume", folder.checkpoint.is_file()),
            ("--offline", offline),
            ("--quiet", quiet),
        )
        if wanted
    ]
    # A session of its own: the terminal would send Ctrl-C to both, and a training that gets it twice stops at once.
    errors = subprocess.PIPE if quiet else None
    surroundings = {"OMP_WAIT_POLICY": "passive", **os.environ}  # read when torch is imported there
    with held_pipe(surroundings) as end:  # a training that nobody waits for ends
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env=surroundings,
            pass_fds=[end],
        )
        try:
            said, unsaid = _wait(child, stop)
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            child.communicate()
            raise
    if said is None:
        return STOPPED
    if child.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode == -signal.SIGKILL:
        return "the system ended it: out of memory"
    if child.returncode:
        last = (unsaid or "").strip().splitlines()
        return f"it ended with status {child.returncode}" + (f": {last[-1][:200]}" if last else "")
    error: str | None = json.loads(said.splitlines()[-1]).get("error")
    return error


def _wait(child: subprocess.Popen[str], stop: Callable[[], bool] | None) -> tuple[str | None, str | None]:
    """What the training printed; None for a training that was ended because `stop` said so."""
    while True:
        try:
            return child.communicate(timeout=None if stop is None else LOOK_EVERY)
        except subprocess.TimeoutExpired:
            if stop is not None and stop():
                child.kill()  # its last checkpoint is whole
                child.communicate()
                return None, None
