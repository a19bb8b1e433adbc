"""Twins of the published files for the readers' tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def twins() -> ModuleType:
    path = Path(__file__).parent.parent / "fake" / "twins.py"
    spec = importlib.util.spec_from_file_location("seqkit_test_twins", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sounds() -> ModuleType:
    """Twins of sets of sound files."""
    path = Path(__file__).parent.parent / "fake" / "sounds.py"
    spec = importlib.util.spec_from_file_location("seqkit_test_sounds", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """Twins of BIDMC's recordings and windows."""
    path = Path(__file__).parent.parent / "fake" / "recordings.py"
    spec = importlib.util.spec_from_file_location("seqkit_test_recordings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
