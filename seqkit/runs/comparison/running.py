"""Trainings in processes of their own, that Ctrl-C reaches once and that go on where they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from seqkit.tasks.run_folder import RunFolder

__all__ = ["run_training"]

INTERRUPTED = 130


def run_training(config: Path, folder: RunFolder, *, offline: bool, quiet: bool) -> str | None:
    """Trains, or goes on with, one run.

    Args:
        config: Whole configuration as YAML.
        folder: Where the run lies.
        offline: Fetch nothing.
        quiet: Show no progress.

    Returns:
        None when it is finished, or why it failed.

    Raises:
        KeyboardInterrupt: the user stopped it; what it had is kept.
    """
    command = [sys.executable, "-m", "seqkit.runs.comparison.child", str(config), str(folder.path)]
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
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True, env=surroundings
    )
    try:
        said, unsaid = child.communicate()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        child.communicate()
        raise
    if child.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode == -signal.SIGKILL:
        return "the system ended it: out of memory"
    if child.returncode:
        last = (unsaid or "").strip().splitlines()
        return f"it ended with status {child.returncode}" + (f": {last[-1][:200]}" if last else "")
    error: str | None = json.loads(said.splitlines()[-1]).get("error")
    return error
