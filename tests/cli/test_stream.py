"""`seqkit stream` as a program in a pipe: parity with `seqkit predict`, signals, kills, and how it ends."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch

from seqkit.cli.main import main
from seqkit.streaming import read_snapshot

COMMAND = [sys.executable, "-m", "seqkit", "stream"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Series of two channels, rows of all of them in turn, as they would come in."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(20):
        pace = 0.3 + 0.5 * (i % 2)
        for k in range(int(rng.integers(10, 20))):
            x, y = np.sin(pace * k) + 0.1 * rng.standard_normal(), rng.standard_normal()
            rows.append((k, f"s{i},{k / 50},{x:.5f},{y:.5f},{'slow' if i % 2 == 0 else 'fast'}"))
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    rows.sort(key=lambda row: row[0])
    path.write_text("\n".join(["series,time,x,y,target", *(row for _, row in rows)]) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    from seqkit.runs import train

    settings = {"epochs": 2, "d_model": 8, "n_layers": 1, "order": 8, "device": "cpu"}
    return train(str(table), "s4d", out=tmp_path_factory.mktemp("runs") / "run", progress=False, **settings).path


@pytest.fixture
def stream(monkeypatch, capfd):
    """Runs the command in this process on a file as standard input; returns its status and what it printed."""
    kept, threads = os.dup(0), torch.get_num_threads()

    def call(file, *words):
        with open(file, "rb") as given:
            os.dup2(given.fileno(), 0)
        monkeypatch.setattr(sys, "argv", ["seqkit", "stream", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out = capfd.readouterr()
        return end.value.code or 0, out.out, out.err

    yield call
    os.dup2(kept, 0)
    os.close(kept)
    torch.set_num_threads(threads)


def start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE):
    return subprocess.Popen([*COMMAND, *map(str, words)], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)


def as_json(table):
    with table.open() as file:
        for row in csv.DictReader(file):
            values = [float(row["x"]), float(row["y"])]
            yield json.dumps({"stream": row["series"], "values": values, "time": float(row["time"])}) + "\n"


def lines_file(path, n, streams=3):
    """Lines of JSON without times, some of them bad."""
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        for k in range(n):
            values = rng.normal(size=2).round(3).tolist()
            file.write("{oops\n" if k % 97 == 5 else json.dumps({"stream": k * k % streams, "values": values}) + "\n")
    return path


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_last_answers_are_those_of_predict(stream, finished, table, tmp_path, kind):
    from seqkit.runs import predict

    like = {row["series"]: row for row in predict(finished, table)}
    given = table
    if kind == "json":
        given = tmp_path / "in.jsonl"
        given.write_text("".join(as_json(table)))
    status, out, err = stream(given, finished)
    assert (status, err) == (0, "")
    got = {}
    if kind == "csv":
        assert out.startswith("series,prediction,probability fast,probability slow,error\n")
        got = {row["series"]: row for row in csv.DictReader(out.splitlines())}
    else:
        for answer in map(json.loads, out.splitlines()):
            shares = {f"probability {label}": share for label, share in answer["probabilities"].items()}
            got[answer["stream"]] = {"prediction": answer["prediction"], **shares}
    assert len(out.splitlines()) == len(given.read_text().splitlines())
    assert got.keys() == like.keys()
    for name, row in like.items():
        assert got[name]["prediction"] == row["prediction"]
        for label in ("probability fast", "probability slow"):
            assert float(got[name][label]) == pytest.approx(row[label], abs=1e-4)


def test_options_reach_the_streams(stream, finished, tmp_path):
    given = lines_file(tmp_path / "in", 40)
    plain = stream(given, finished)[1].splitlines()
    twice = stream(given, finished, "--sample-rate", 25)[1].splitlines()
    double = stream(given, finished, "--dtype", "float64", "--backend", "torch", "--device", "cpu")[1].splitlines()
    assert plain[0] != twice[0]
    for one, other in zip(map(json.loads, plain), map(json.loads, double), strict=True):
        assert one.keys() == other.keys()
        if "error" not in one:
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    some = stream(given, finished, "--every", 5)[1].splitlines()
    assert len(some) == 1 + 8 - 1  # one bad line, and every fifth of 14 and 25 samples
    assert set(some) <= set(plain)
    status, out, err = stream(given, finished, "--streams", 1)
    assert (status, len(out.splitlines())) == (0, 40)
    assert "note: there are more than 1 streams, so stream 0 was forgotten (1 so far)" in err
    assert len(err.splitlines()) <= 6


MISTAKES = [
    (["nowhere"], "holds no model.json"),
    (["RUN", "--format", "xml"], "`format` must be one of auto, json, csv"),
    (["RUN", "--every", "0"], "`every` must be a whole number of at least 1"),
    (["RUN", "--streams", "0"], "`streams` must be a whole number of at least 1"),
    (["RUN", "--snapshot-every", "often"], "`snapshot-every` must be a number of lines"),
    (["RUN", "--resume-input"], "--resume-input needs --snapshot FILE"),
    (["RUN", "--backend", "tpu"], "`backend` must be one of"),
    (["RUN", "--dtype", "float16"], "`dtype` must be one of float32, float64"),
    (["RUN", "--device", "tpu"], "`device` must be one of cpu, cuda"),
    (["RUN", "--sample-rate", "0"], "`sample_rate` must be a finite number above 0"),
    (["RUN", "--snapshot", "."], "is a folder; name a file"),
    (["RUN", "--snapshot", "text"], "damaged"),
    (["text"], "neither the folder of a run nor a file"),
    (["RUN", "--format", "csv"], "lacks the channel"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), MISTAKES, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_a_mistake_ends_with_one_sentence_and_status_2(stream, finished, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no snapshot")
    given = lines_file(tmp_path / "in", 3)
    status, out, err = stream(given, *(finished if word == "RUN" else word for word in words))
    assert (status, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.filterwarnings("always:not read")
@pytest.mark.parametrize("gaps", ["keep", "ignore"])
def test_the_table_of_a_training_is_read_as_it_was_read_there(stream, tmp_path, gaps):
    from seqkit.runs import predict, train

    rng = np.random.default_rng(0)
    rows = [
        f"{i},{7 * k + k * k % 5},{rng.normal():.3f},{'wet' if k % 2 else 'dry'},{'ab'[i % 2]}"
        for i in range(8)
        for k in range(9)
    ]
    table = tmp_path / "wards.csv"
    table.write_text("\n".join(["patient,Timestamp,x,floor,diagnosis", *rows]) + "\n")
    data = {"data.id": "patient", "data.target": "diagnosis", "data.gaps": gaps}
    sizes = {"epochs": 1, "d_model": 4, "n_layers": 1, "order": 4, "device": "cpu"}
    run = train(str(table), "s4d", out=tmp_path / "run", progress=False, **data, **sizes).path
    status, out, err = stream(table, run)
    assert (status, err) == (0, 'note: not read, as the model has no such channel: "floor"\n')
    last = {row["patient"]: float(row["probability a"]) for row in csv.DictReader(out.splitlines())}
    assert last == pytest.approx({row["series"]: row["probability a"] for row in predict(run, table)}, abs=2e-6)


def test_snapshot_goes_on_with_further_input(stream, finished, tmp_path):
    given = lines_file(tmp_path / "in", 60).read_text().splitlines(keepends=True)
    whole = stream(tmp_path / "in", finished)[1]
    (tmp_path / "one").write_text("".join(given[:25]))
    (tmp_path / "two").write_text("".join(given[25:]))
    kept = tmp_path / "states.safetensors"
    status, first, err = stream(tmp_path / "one", finished, "--snapshot", kept)
    assert (status, err) == (0, "")
    _, second, err = stream(tmp_path / "two", finished, "--snapshot", kept)
    assert err == f"note: {kept} holds 2 streams after 25 lines\n"
    told = [json.loads(one) | {"line": None} for one in (first + second).splitlines()]
    assert told == [json.loads(one) | {"line": None} for one in whole.splitlines()]
    status, out, err = stream(tmp_path / "one", finished, "--snapshot", kept, "--resume-input")
    assert (status, out) == (2, "")
    assert "ended after 25 lines, and the snapshot was made after 35" in err


def test_csv_goes_on_without_a_second_header(stream, finished, table, tmp_path):
    whole = stream(table, finished)[1].splitlines()
    rows = table.read_text().splitlines(keepends=True)
    (tmp_path / "part").write_text("".join(rows[:100]))
    kept = tmp_path / "s"
    first = stream(tmp_path / "part", finished, "--snapshot", kept)[1].splitlines()
    second = stream(table, finished, "--snapshot", kept, "--resume-input")[1].splitlines()
    assert first + second == whole


@pytest.mark.parametrize("every", [1, 3])
def test_kill_in_the_middle_then_resume_equals_an_undisturbed_run(stream, finished, tmp_path, every):
    given, kept = lines_file(tmp_path / "in", 4_000), tmp_path / "states"
    options = [finished, "--every", every, "--snapshot", kept, "--snapshot-every", "50"]
    with given.open("rb") as source, (tmp_path / "one").open("wb") as sink:
        process = start(*options, stdout=sink)
        process.stdin.writelines(source.readlines()[:2_000])
        process.stdin.flush()  # and stays open, so that the process cannot end before it is killed
        while (tmp_path / "one").stat().st_size < 40_000 // every:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    taken, answered = read_snapshot(kept)["beside/lines"].tolist()
    assert 0 < taken < 4_000
    status, out, err = stream(given, *options, "--resume-input")
    assert status == 0
    assert f"after {taken} lines, which are skipped; the first {answered} lines of earlier answers stand" in err
    first = (tmp_path / "one").read_text().splitlines()
    assert len(first) >= answered
    assert first[:answered] + out.splitlines() == stream(given, finished, "--every", every)[1].splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_the_snapshot_and_the_rest_follows(stream, finished, tmp_path, number):
    given = lines_file(tmp_path / "in", 40).read_text().splitlines(keepends=True)
    kept = tmp_path / "states"
    process = start(finished, "--snapshot", kept)
    process.stdin.write("".join(given[:20]).encode())
    process.stdin.flush()
    first = [process.stdout.readline().decode() for _ in range(20)]  # answered while the input is still open
    process.send_signal(number)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert rest == b""
    assert err.decode() == f"note: {kept} holds 2 streams after 20 lines\n"
    _, second, _ = stream(tmp_path / "in", finished, "--snapshot", kept, "--resume-input")
    assert "".join(first) + second == stream(tmp_path / "in", finished)[1]


def test_an_idle_stream_is_saved_by_the_clock(finished, tmp_path):
    kept = tmp_path / "states"
    process = start(finished, "--snapshot", kept, "--snapshot-every", "0.2s")
    process.stdin.write(b'{"values": [1, 2]}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["prediction"]
    deadline = time.monotonic() + 30
    while read_snapshot(kept)["beside/lines"].tolist() != [1, 1]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()


def test_a_reader_that_leaves_ends_it_quietly(finished, tmp_path):
    with lines_file(tmp_path / "in", 5000).open("rb") as source:
        process = start(finished, stdin=source)
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(timeout=60), err) == (141, b"")
        process.stderr.close()


def fill(process):
    """Gives a process all that it takes while nobody reads its answers; returns the number of lines."""
    one = b'{"values": [0.25, -0.5]}\n'
    process.stdin.write(one)
    process.stdin.flush()
    assert b"prediction" in (process.stdout.readline() or process.stderr.read())  # it has started
    some = one * 100  # fits into a pipe whole or not at all
    os.set_blocking(process.stdin.fileno(), False)
    times, last = 0, time.monotonic()
    while time.monotonic() - last < 2:
        try:
            os.write(process.stdin.fileno(), some)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            times, last = times + 1, time.monotonic()
        assert times * len(some) < 2 << 20, "far more was taken than two pipes and one chunk hold"
    assert times > 10
    return 100 * times


def test_input_is_not_taken_faster_than_answers_are_read(finished):
    process = start(finished)
    given = fill(process)
    process.stdin.close()
    answers = process.stdout.read().splitlines()
    assert process.wait() == 0
    assert len(answers) == given
    assert all(b'"prediction"' in answer for answer in answers)
    process.stdout.close()
    process.stderr.close()


def test_a_second_signal_does_not_wait_for_a_reader(finished, tmp_path):
    kept = tmp_path / "states"
    process = start(finished, "--snapshot", kept, "--snapshot-every", "100000")
    fill(process)
    process.send_signal(signal.SIGTERM)
    time.sleep(2)  # two signals that come before the first is noticed would be one
    assert process.poll() is None  # it waits until the answers at hand are read
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert process.stderr.read().decode() == f"note: ended by a second signal; {kept} is as it was before the first\n"
    assert read_snapshot(kept)["beside/lines"].tolist() == [0, 0]
    for file in (process.stdin, process.stdout, process.stderr):
        file.close()


def test_a_forecasting_run_says_what_its_stream_reads(stream, tmp_path):
    from seqkit.runs import train

    (tmp_path / "prices.csv").write_text("price\n" + "".join(f"{np.sin(k / 3):.4f}\n" for k in range(400)))
    settings = {"epochs": 1, "d_model": 4, "n_layers": 1, "order": 4, "device": "cpu", "data.horizon": 2}
    run = train(str(tmp_path / "prices.csv"), "s4d", out=tmp_path / "run", progress=False, **settings).path
    status, out, err = stream(tmp_path / "prices.csv", run)
    assert status == 0
    assert out.startswith("prediction price+1,prediction price+2,error\n")
    assert err.startswith("note: this run forecasts from windows")


def test_an_estimator_is_loaded_only_when_trusted(stream, tmp_path):
    pytest.importorskip("sktime")
    from seqkit import HiPPOFeaturesClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 2, 20)), np.array([3, 4] * 6)
    fitted = HiPPOFeaturesClassifier(n_filters=30, random_state=0).fit(X, y)
    fitted.save(str(tmp_path / "fitted"))
    (tmp_path / "in").write_text("".join(json.dumps({"values": one.tolist()}) + "\n" for one in X[0].T))
    status, out, err = stream(tmp_path / "in", tmp_path / "fitted.zip")
    assert (status, out) == (2, "")
    assert "add --trust if it is your own" in err
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("notes.txt", "no estimator")
    status, _, err = stream(tmp_path / "in", tmp_path / "other.zip", "--trust")
    assert status == 2
    assert "not a file that an estimator's save() wrote" in err
    status, out, _ = stream(tmp_path / "in", tmp_path / "fitted.zip", "--trust")
    assert status == 0
    last = json.loads(out.splitlines()[-1])
    assert last["prediction"] == fitted.predict(X[:1])[0]
    assert list(last["probabilities"].values()) == pytest.approx(fitted.predict_proba(X[:1])[0], abs=1e-4)
