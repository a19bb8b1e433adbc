"""The commands of docs/start.md run for real, in their order, and what follows from them is there."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_stranger_gets_a_model_a_prediction_file_and_a_stream(repository, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from pages import blocks

    found = blocks((repository / "docs" / "start.md").read_text())
    script = next(block.text for block in found if block.language == "python")
    (tmp_path / "make_tables.py").write_text(script)
    shell = [block.text for block in found if block.language == "bash" and "make venv" not in block.text]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MPLBACKEND": "Agg"}

    def run(text):
        arguments = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, (text, done.stderr[-2000:])
        return done.stdout

    (serve,) = (text for text in shell if text.startswith("seqkit serve"))
    before, after = shell[: shell.index(serve)], shell[shell.index(serve) + 1 :]
    printed = [run(text) for text in before]
    rows = [line.split(",") for line in (tmp_path / "answers.csv").read_text().splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        [f"person-{i}", label] for i, label in enumerate(("walk", "walk", "run", "run"))
    ]
    streamed = [line.split(",")[:2] for line in printed[-1].splitlines()[1:]]
    assert dict(streamed) == {row[0]: row[1] for row in rows}
    server = subprocess.Popen(serve.split(), cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for("http://127.0.0.1:8000/readyz", server)
        answers = [json.loads(line) for text in after for line in run(text).replace("}{", "}\n{").splitlines()]
        assert [answer["count"] for answer in answers] == [1, 3]
    finally:
        server.terminate()
        assert server.wait(60) == 0


def wait_for(address, server):
    end = time.monotonic() + 300
    while time.monotonic() < end and server.poll() is None:
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not start")
