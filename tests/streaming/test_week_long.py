"""A long stream: memory stays flat, and float32 stays near float64. Ten million samples are in the benchmark."""

import importlib.util
import sys

import pytest


@pytest.fixture(scope="module")
def benchmark(repository):
    spec = importlib.util.spec_from_file_location("seqkit_week_long", repository / "benchmarks" / "week_long.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s4d, 2 layers, mean", "lssl, 2 layers, mean", "hippo_rnn, aged", "HiPPOMemory lagt"])
def test_float32_does_not_drift_and_memory_is_flat(benchmark, name):
    (case,) = (case for case in benchmark.CASES if case.name == name)
    row = benchmark.run(case, 500_000)
    assert max(row["output"], row["worst"], row["state"]) < 1e-3
    assert row["growth"] < 30
    assert row["bytes"] < 4096
