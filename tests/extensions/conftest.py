"""Names that a test registers and modules that it imports are gone when it ends."""

import sys

import pytest


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder of one's own; Python's path and its modules are as before at the end."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("seqkit.extensions.code._GIVEN", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def names(monkeypatch):
    """The registries, which are as before at the end."""
    from seqkit.models.config import PRESETS
    from seqkit.nn.mixer import _MIXERS
    from seqkit.structured.registry import _STRUCTURES

    for registry in (_MIXERS, _STRUCTURES):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr("seqkit.extensions.origins._CLAIMS", {})
    before = dict(PRESETS)
    yield
    PRESETS.clear()
    PRESETS.update(before)
