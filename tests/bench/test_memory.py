"""Peak memory, in a process of its own."""

import dataclasses
import math

import pytest
import torch

from seqkit.bench import bench_memory
from seqkit.bench.case import Form, Setting, Task
from seqkit.bench.cases import CASES
from seqkit.bench.memory import MemoryRow, Point, measure_point, memory_points
from seqkit.bench.pictures import draw_memory
from seqkit.bench.probe import peak_of
from seqkit.bench.runner import Cell

MIB = 1 << 20


def taking(mib):
    """A form that takes so much, gives it back, and returns next to nothing."""

    def prepare(inputs, setting):
        def call():
            torch.ones(mib * MIB // 4 if setting["L"] > 12 else 4)
            return torch.ones(1)

        return Task(call, ())

    return Form("taking", "a test", prepare)


@pytest.mark.parametrize("mib", [40, 200])
def test_a_peak_is_what_was_taken_though_given_back(mib):
    case = dataclasses.replace(CASES["krylov"], forms=(taking(mib),))
    found = peak_of(Cell(case, Setting({"H": 2, "N": 4, "L": 64}), False), "taking", "cpu")
    # The system counts pages by processor and adds them up late, so the last MiB are open.
    assert mib - 8 < found["peak"] / MIB < mib + 8


def test_a_point_is_measured_in_another_process():
    case = CASES["vandermonde"]
    setting = Setting({"H": 4, "N": 64, "L": 65536})
    ours, peer = (
        measure_point(Point(case, setting, True, case.form(name)), "cpu", 1) for name in ("cpu", case.against)
    )
    assert (ours.note, peer.note) == ("", "")
    assert peer.mib > 100  # the exponentials alone are 64 MiB
    assert ours.mib < peer.mib / 5


def test_a_process_that_fails_leaves_a_note():
    case = dataclasses.replace(CASES["krylov"], name="no such case")
    row = measure_point(Point(case, case.grid.tiny[0], False, case.form("cpu")), "cpu", 1)
    assert "`operator` must be one of" in row.note
    assert math.isnan(row.mib)


def test_points_are_the_own_choice_and_its_peers():
    points = memory_points([CASES["krylov"]], "cpu")
    assert {(point.form.name, point.backward) for point in points} == {
        *(("cpu", False), ("cpu", True), ("power doubling", False), ("power doubling", True))
    }
    assert max(point.setting["L"] for point in points) == 1048576


def test_a_run_writes_its_files_and_goes_on(monkeypatch, tmp_path):
    asked = []

    def measure(point, device, threads):
        asked.append(point.key)
        if len(asked) == 6:
            raise KeyboardInterrupt
        length = point.setting["L"]
        return MemoryRow(
            point.case.name, point.setting.label, length, "fwd", point.form.name, point.form.own, 1.0 * length, 0.1, ""
        )

    monkeypatch.setattr("seqkit.bench.curves.measure_point", measure)
    result = bench_memory(["krylov"], sizes="tiny", out=tmp_path)
    assert not result.finished
    again = bench_memory(["krylov"], sizes="tiny", out=tmp_path)
    assert again.finished
    assert "power doubling" in (tmp_path / "memory.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.csv", "memory.json", "memory.md", "memory.png"]


def test_a_picture_needs_a_peak(tmp_path):
    with pytest.raises(ValueError, match="at least one measured peak"):
        draw_memory([], tmp_path / "x.png", "nothing")
