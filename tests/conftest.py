"""What every test gets: one thread, its own random numbers, and real data where SEQKIT_DATA says it lies."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    # Several test processes share the cores, and processes that a test starts inherit the environment.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    if not torch.cuda.is_available():  # Triton reads this when a kernel is defined; later would be too late
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and none is here"))


@pytest.fixture(autouse=True)
def seed() -> Iterator[int]:
    """Starts each test from one seed and puts the process's random state back, so tests do not depend on order."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - other libraries use it
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    yield 0
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    torch.set_rng_state(before[2])


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root folder of the clone."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data sets; a test that asks for it is skipped where SEQKIT_DATA is unset."""
    folder = os.environ.get("SEQKIT_DATA")
    if not folder:
        pytest.skip("needs real data: set SEQKIT_DATA to the folder that holds it")
    root = Path(folder)
    if not root.is_dir():
        pytest.fail(f"SEQKIT_DATA is {folder!r}, which is not a folder")
    return root
