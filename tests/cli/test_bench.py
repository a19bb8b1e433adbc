"""`seqkit bench` as a person types it."""

import json
import signal
import subprocess
import sys

import pytest

from seqkit.cli.main import main


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", "bench", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


TINY = ["vandermonde", "--sizes", "tiny", "--repeats", 1]


def test_a_table_files_and_progress(monkeypatch, capfd, tmp_path):
    status, out, err = run(monkeypatch, capfd, *TINY, "--out", tmp_path / "b")
    assert status == 0
    assert "materialised exp + einsum" in out
    assert "bench.png" in out
    assert "1/4 vandermonde H=2 N=4 L=9 float32 fwd" in err
    assert "note: not installed: " in err
    for name in ("bench.csv", "bench.md", "bench.png"):
        assert (tmp_path / "b" / name).stat().st_size > 100


def test_json_is_the_last_line(monkeypatch, capfd):
    status, out, _ = run(monkeypatch, capfd, *TINY, "--json", "--tuned", "--backend", "cpu", "--threads", 1)
    found = json.loads(out.strip().splitlines()[-1])
    assert status == 0
    assert found["finished"] is True
    assert found["machine"]["tuned"] is True
    assert {row["form"] for row in found["rows"]} == {"cpu", "materialised exp + einsum"}
    assert found["roofs"]["float32"]["products"] > 0
    assert all(row["ms"] > 0 for row in found["rows"])


def test_memory(monkeypatch, capfd, tmp_path):
    from seqkit.bench.memory import MemoryRow

    def measure(point, device, threads):
        assert (device, threads) == ("cpu", 1)
        return MemoryRow(*point.key[:2], point.setting["L"], *point.key[2:], point.form.own, 3.0, 1.0, "")

    monkeypatch.setattr("seqkit.bench.curves.measure_point", measure)
    status, out, err = run(monkeypatch, capfd, "krylov", "--memory", "--out", tmp_path)
    assert status == 0
    assert "power doubling" in out
    assert "16/16 memory of krylov H=4 N=64 L=1048576 fwd+bwd power doubling" in err
    assert (tmp_path / "memory.csv").read_text().count("\n") == 17


MISTAKES = [
    (["vandermond"], "did you mean vandermonde"),
    (["krylov", "--sizes", "big"], "`sizes` must be one of tiny, quick, full"),
    (["krylov", "--backend", "gpu"], "`backend` must be one of auto, reference, cpu, triton"),
    (["krylov", "--device", "tpu"], "`device` must be one of cpu, cuda"),
    (["krylov", "--repeats", 0], "`repeats` must be a whole number"),
    (["krylov", "--threads", 0], "`threads` must be a whole number"),
    (["krylov", "--memory", "--tuned"], "--memory takes neither"),
    (["krylov", "--memory", "--threads", 0], "`threads` must be a whole number"),
    (["krylov", "--sizes", "tiny", "--out", "file.txt"], "file.txt is a file"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), MISTAKES, ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else ""
)
def test_a_mistake_ends_with_one_sentence_and_status_2(monkeypatch, capfd, tmp_path, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    status, _, err = run(monkeypatch, capfd, *words)
    assert status == 2
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    words = ["bench", "krylov", "--sizes", "full", "--repeats", "500", "--out", str(tmp_path / "b")]
    process = subprocess.Popen(
        [sys.executable, "-m", "seqkit", *words],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    while "float32 fwd" not in (line := process.stderr.readline()):
        assert line, "it ended before it could be interrupted"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate()
    assert process.returncode == 130
    assert "0 rows kept in" in rest
    assert "the same command goes on" in rest
    assert "Traceback" not in rest
