"""Cells, rows, what is left out, and runs that stop and go on."""

import csv
import dataclasses
import math

import pytest
import torch

from seqkit.bench import bench
from seqkit.bench.available import unless_it_fits
from seqkit.bench.case import Form, Task
from seqkit.bench.cases import CASES, find_cases
from seqkit.bench.pictures import draw_ratios
from seqkit.bench.report import left_out, lines
from seqkit.bench.roofs import Roofs
from seqkit.bench.row import Row, compare
from seqkit.bench.runner import Cell, Options, measure_cell, plan

ROOFS = Roofs(1e11, 1e10, 1e10, 1e11)
OPTIONS = Options("tiny", repeats=1)


@pytest.fixture(autouse=True)
def quick_roofs(monkeypatch):
    monkeypatch.setattr("seqkit.bench.benchmark.measure_roofs", lambda device, dtype: ROOFS)


def with_forms(*forms):
    """The case of krylov with other forms."""
    case = CASES["krylov"]
    return Cell(dataclasses.replace(case, forms=tuple(forms)), case.grid.tiny[0], False)


def failing(error, own=False):
    def prepare(inputs, setting):
        def call():
            raise error

        return Task(call, ())

    return Form("broken", "a test", prepare, own=own)


def test_a_row_says_how_a_form_compares():
    rows = {row.form: row for row in measure_cell(plan(find_cases(["vandermonde"]), OPTIONS)[1], OPTIONS, ROOFS)}
    ours, peer = rows["cpu"], rows["materialised exp + einsum"]
    assert (ours.case, ours.sizes, ours.size, ours.pass_) == ("vandermonde", "H=2 N=4 L=9", 9, "fwd+bwd")
    assert (ours.own, ours.auto, peer.own, peer.auto) == (True, True, False, False)
    assert ours.ratio == pytest.approx(peer.ms / ours.ms)
    assert peer.ratio == 1
    assert ours.share == pytest.approx(ours.floor_ms / ours.ms)
    assert 0 < ours.error < 1e-6
    assert ours.low_ms <= ours.ms <= ours.high_ms
    assert not rows["triton"].measured
    assert rows["triton"].note == "Triton kernels are measured on CUDA devices"


def test_a_rate_is_what_is_done_in_a_second():
    rows = measure_cell(plan(find_cases(["legs_update"]), OPTIONS)[0], OPTIONS, ROOFS)
    ours = next(row for row in rows if row.auto)
    assert ours.rate == pytest.approx(2 * 9 / (ours.ms / 1e3))
    assert lines(compare(rows))[0][-1].endswith("steps/s")


def test_a_peer_that_fails_is_left_out_with_its_words():
    (row,) = measure_cell(with_forms(failing(RuntimeError("no such instruction\nmore"))), OPTIONS, ROOFS)
    assert row.note == "it failed: no such instruction"
    assert math.isnan(row.ms)


def test_an_own_backend_that_fails_is_a_fault():
    with pytest.raises(RuntimeError, match="wrong"):
        measure_cell(with_forms(failing(RuntimeError("wrong"), own=True)), OPTIONS, ROOFS)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_is_no_fault(error):
    (row,) = measure_cell(with_forms(failing(error, own=True)), OPTIONS, ROOFS)
    assert row.note == "out of memory"


def test_what_would_not_fit_is_never_called():
    form = dataclasses.replace(failing(AssertionError("called")), refuse=unless_it_fits(lambda *_: 1e18))
    (row,) = measure_cell(with_forms(form), OPTIONS, ROOFS)
    assert row.note.startswith("it would hold")


def test_only_the_backends_asked_for_are_measured():
    result = bench(["krylov"], sizes="tiny", repeats=1, backends=["reference"])
    assert {row.form for row in result.rows} == {"reference", "power doubling"}
    with pytest.raises(ValueError, match="`backend` must be one of auto, reference, cpu, triton, got 'gpu'"):
        bench(["krylov"], sizes="tiny", backends=["gpu"])


def test_a_run_without_any_number_says_why(monkeypatch):
    cell = with_forms(failing(RuntimeError("no")))
    monkeypatch.setitem(CASES, "krylov", cell.case)
    with pytest.raises(ValueError, match="nothing could be measured; broken: it failed: no"):
        bench(["krylov"], sizes="tiny", repeats=1)


def test_wrong_settings_are_refused_before_anything_is_measured(tmp_path):
    for wrong, words in (
        ({"repeats": 0}, "`repeats` must be a whole number of at least 1"),
        ({"threads": 0}, "`threads` must be a whole number of at least 1"),
        ({"sizes": "huge"}, "`sizes` must be one of tiny, quick, full"),
        ({"device": "tpu"}, "`device` must be one of cpu, cuda"),
    ):
        with pytest.raises(ValueError, match=words):
            bench(["krylov"], **{"sizes": "tiny", "out": tmp_path / "none", **wrong})
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match='`device` must be "cpu" here: torch sees no CUDA device'):
        bench(["krylov"], sizes="tiny", device="cuda")


def test_threads_are_those_of_before_afterwards():
    before = torch.get_num_threads()
    result = bench(["krylov"], sizes="tiny", repeats=1, threads=before + 1)
    assert torch.get_num_threads() == before
    assert result.machine["threads"] == before + 1


def stop_after(monkeypatch, count):
    """Lets `count` cells be measured, then interrupts as Ctrl-C does."""
    calls = []

    def measure(cell, options, roofs):
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(cell.key)
        return measure_cell(cell, options, roofs)

    monkeypatch.setattr("seqkit.bench.benchmark.measure_cell", measure)
    return calls


def test_an_interrupted_run_keeps_its_rows_and_goes_on(monkeypatch, tmp_path):
    out = tmp_path / "results"
    first = stop_after(monkeypatch, 3)
    result = bench(["krylov"], sizes="tiny", repeats=1, out=out)
    assert not result.finished
    assert len({row.cell for row in result.rows}) == 3
    assert (out / "bench.md").exists()
    second = stop_after(monkeypatch, 99)
    result = bench(["krylov"], sizes="tiny", repeats=1, out=out)
    assert result.finished
    assert len(second) == 1
    assert not set(first) & set(second)
    with (out / "bench.csv").open() as file:
        kept = [Row.from_dict(values) for values in csv.DictReader(file)]
    assert len(kept) == len(result.rows) == 4 * len(CASES["krylov"].forms)
    third = stop_after(monkeypatch, 99)
    bench(["krylov"], sizes="tiny", repeats=1, out=out)
    assert third == []
    bench(["krylov"], sizes="tiny", repeats=1, out=out, overwrite=True)
    assert len(third) == 4
    assert sorted(path.name for path in out.iterdir()) == ["bench.csv", "bench.json", "bench.md", "bench.png"]


def test_a_page_that_cannot_be_drawn_leaves_the_rows(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("seqkit.bench.benchmark.draw_ratios", fail)
    with pytest.raises(OSError, match="the disk is full"):
        bench(["krylov"], sizes="tiny", repeats=1, out=tmp_path)
    assert (tmp_path / "bench.csv").exists()
    assert not list(tmp_path.glob(".part*"))


def test_measurements_under_other_conditions_are_not_mixed(tmp_path):
    bench(["krylov"], sizes="tiny", repeats=1, out=tmp_path)
    with pytest.raises(ValueError, match="holds measurements with repeats 1, and now it is 2; give another folder"):
        bench(["krylov"], sizes="tiny", repeats=2, out=tmp_path)
    bench(["vandermonde"], sizes="tiny", repeats=1, out=tmp_path)  # another operator joins
    assert "krylov" in (tmp_path / "bench.md").read_text()


def test_a_folder_that_is_a_file_or_holds_another_table_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"`--out` must be a folder, and .*file is a file"):
        bench(["krylov"], sizes="tiny", out=tmp_path / "file")
    bench(["krylov"], sizes="tiny", repeats=1, out=tmp_path / "old")
    (tmp_path / "old/bench.csv").write_text("case,seconds\nkrylov,1\n")
    with pytest.raises(ValueError, match="holds no measurements of this version: there is no column sizes"):
        bench(["krylov"], sizes="tiny", repeats=1, out=tmp_path / "old")


def test_the_page_and_the_picture_show_what_was_measured(tmp_path):
    result = bench(["krylov", "vandermonde"], sizes="tiny", repeats=1, out=tmp_path)
    text = (tmp_path / "bench.md").read_text()
    for words in ("power doubling", "1 thread", "Roofs measured", "not installed: ", "float32", "torch 2."):
        assert words in text
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in result.files] == ["bench.csv", "bench.md", "bench.png"]
    assert left_out(result.rows) == ["triton: Triton kernels are measured on CUDA devices (vandermonde 4x, krylov 4x)"]


def test_a_picture_needs_a_comparison(tmp_path):
    with pytest.raises(ValueError, match="must hold two forms"):
        draw_ratios([], tmp_path / "x.png", "nothing")


def test_without_matplotlib_the_picture_is_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"--no-picture leaves them out\) needs matplotlib.*seqkit\[plot\]"):
        bench(["krylov"], sizes="tiny", out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    result = bench(["krylov"], sizes="tiny", repeats=1, out=tmp_path / "a", picture=False)
    assert [path.name for path in result.files] == ["bench.csv", "bench.md"]
    assert bench(["krylov"], sizes="tiny", repeats=1).files == []
