"""Every Triton kernel compiles for a Hopper GPU and fits its shared memory and registers, also without such a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHARED = 227 * 1024  # bytes a program may use on compute capability 9.0
# Operators whose registers may spill: so many instructions in loops, or any number. A few before a loop cost nothing.
ALLOWED = {"attention": 0, "attention, all options": 20, "attention, wide heads": None}
SLOW = ("attention, all options", "attention, wide heads")
SCRIPT = Path(__file__).parent / "hopper.py"


def operators() -> list[object]:
    names = [line.split('"')[1] for line in SCRIPT.read_text().splitlines() if line.startswith('CALLS["')]
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.fixture(scope="module")
def compiled(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What the script says of the operators that are asked about: by one process, as its imports take longest."""
    pytest.importorskip("triton")
    mine = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-P", str(SCRIPT), *(item.callspec.params["operator"] for item in mine)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("operator", operators())
def test_kernels_compile_for_hopper(operator: str, compiled: list[dict[str, Any]]) -> None:
    kernels = [kernel for kernel in compiled if kernel["operator"] == operator]
    assert not (errors := [kernel["error"][-3000:] for kernel in kernels if "error" in kernel]), errors[0]
    assert len(kernels) >= 1
    for kernel in kernels:
        assert kernel["shared"] <= SHARED, kernel
        if operator not in ALLOWED:
            assert kernel["stack"] == 0, kernel  # a stack means that registers spill
        elif ALLOWED[operator] is not None:
            assert kernel["spills"] <= ALLOWED[operator], kernel
