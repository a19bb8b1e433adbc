"""Choosing a path: the argument wins over the variable, and a wrong name is refused with the right ones."""

import importlib

import pytest
import torch

from seqkit.kernels.backend import check_dtypes, choose_backend, full_precision
from seqkit.kernels.krylov import krylov
from seqkit.kernels.long_conv import long_conv


def test_variable_forces_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend("auto", torch.zeros(1)) == "cpu"
    monkeypatch.setenv("SEQKIT_BACKEND", "reference")
    assert choose_backend("auto", torch.zeros(1)) == "reference"
    assert choose_backend("cpu", torch.zeros(1)) == "cpu"


def test_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQKIT_BACKEND", "refrence")
    with pytest.raises(ValueError, match=r"`SEQKIT_BACKEND` must be one of .*did you mean reference\?"):
        choose_backend("auto", torch.zeros(1))


def test_variable_reaches_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        importlib.import_module("seqkit.kernels.krylov"),
        "krylov_reference",
        lambda A, B, C, length: calls.append(length),
    )
    monkeypatch.setenv("SEQKIT_BACKEND", "reference")
    krylov(torch.eye(2), torch.ones(2), torch.ones(1, 2), 5)
    assert calls == [5]


def test_half_precision_is_lifted_only_under_autocast() -> None:
    half = torch.ones(1, 1, 4, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"`k` must be float32 or float64, got torch\.bfloat16"):
        long_conv(half.float(), half[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert full_precision(half).dtype == torch.float32
        torch.testing.assert_close(long_conv(half.float(), half[0]), torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))


def test_devices_must_agree() -> None:
    with pytest.raises(ValueError, match="`k` must be on cpu like `u`, got meta"):
        check_dtypes({"u": torch.zeros(1), "k": torch.zeros(1, device="meta")}, {})
