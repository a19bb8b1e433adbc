"""Settings of the process, tried in processes of their own."""

import subprocess
import sys

import pytest
import torch

from seqkit.tune import tune_cpu


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")


def test_says_and_does_what_it_says():
    done, threads, small, before = run(
        "import torch\n"
        "tiny = torch.full((8,), 1e-30) \n"
        "before = float((tiny * 1e-10).sum())\n"
        "from seqkit.tune import tune_cpu\n"
        "done = tune_cpu(threads=1)\n"
        "print(done)\n"
        "print(torch.get_num_threads())\n"
        "print(float((tiny * 1e-10).sum()))\n"
        "print(before)"
    )[:4]
    assert "torch uses 1 thread(s)" in done
    assert threads == "1"
    assert float(before) > 0
    assert (float(small) == 0) == ("denormal numbers are flushed to 0" in done)


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc is tuned on Linux only")
def test_large_blocks_are_kept():
    # A block of 64 MiB that the process keeps costs no page faults when it is asked for again. The first few times
    # the heap still grows, because aligned blocks do not quite fit where the last one lay.
    code = (
        "import resource, torch\n"
        "torch.set_num_threads(1)\n"
        "{}\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    torch.zeros(2**24)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "warm = [faults() for _ in range(10)]\n"
        "print(sum(faults() for _ in range(5)))"
    )
    untuned = int(run(code.format(""))[0])
    if untuned == 0:
        pytest.skip("this system does not count page faults")
    tuned = int(run(code.format("import seqkit; done = seqkit.tune_cpu()"))[0])
    assert tuned < untuned / 10


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_wrong_threads_are_refused_before_anything_is_done(threads):
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="`threads` must be a whole number of at least 1, got"):
        tune_cpu(threads=threads)
    assert torch.get_num_threads() == before


def test_import_changes_nothing():
    code = (
        "import torch\n"
        "before = torch.get_num_threads()\n"
        "import seqkit, seqkit.tune\n"
        "print(torch.get_num_threads() == before, float((torch.full((8,), 1e-30) * 1e-10).sum()) > 0)"
    )
    assert run(code)[0] == "True True"
