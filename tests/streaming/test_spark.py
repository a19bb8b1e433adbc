"""Spark for real: a query that is killed and goes on, bad rows, forgetting, and predictions for tables of series."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from seqkit import S4D, DataInfo, HiPPOMemory, ModelConfig, Stream
from seqkit.datasets.batching import loader
from seqkit.datasets.series import SeriesSet
from seqkit.models import SequenceModel, save_model
from seqkit.runs.inference import run_model
from seqkit.streaming import ModelEngine
from seqkit.streaming.samples import in_seconds

pytest.importorskip("pyspark", reason="needs pyspark: pip install 'seqkit[spark]'")
pytest.importorskip("pandas", reason="needs pandas: pip install 'seqkit[spark]'")

import pandas as pd

from seqkit.streaming.spark import STATE_STORE, local_session, predict_table, stream_table
from seqkit.streaming.spark.carried import carry, engine_of
from seqkit.streaming.spark.columns import NONE
from seqkit.streaming.spark.rows import Row, check_row, in_order
from seqkit.streaming.spark.session import _check_java

QUERY = Path(__file__).with_name("spark_query.py")
_spec = importlib.util.spec_from_file_location("seqkit_spark_query", QUERY)
spark_query = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(spark_query)

START = datetime(2026, 1, 1)
SENSORS = ("a", "b", "c", "d", "e")

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")


def made_model(name: str = "s4d", **info) -> SequenceModel:
    about = {"n_channels": 2, "classes": ("rest", "run"), "sample_rate": 100.0, **info}
    sizes = {"d_model": 8, "n_layers": 2} | ({"order": 8} if name == "s4d" else {})
    task = about.pop("task", "classification")
    return SequenceModel.from_config(ModelConfig.preset(name, **sizes), DataInfo("made", task, **about), seed=0)


@pytest.fixture(scope="module")
def spark():
    if shutil.which("java") is None:
        pytest.skip("needs Java 17 or newer, and there is none on the path")
    session = local_session(2)
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


# Without a session


def test_rows_are_put_in_order_whatever_order_they_come_in() -> None:
    table = pd.DataFrame({"values": [[3.0], [1.0], None, [2.0]], "time": [4.0, math.nan, 4.0, 1.0]})
    assert [row.seconds for row in in_order(table, dates=False)][:3] == [1.0, 4.0, 4.0]
    assert in_order(table, dates=False)[1].values is None  # of equal times the one with the lesser values
    assert math.isnan(in_order(table, dates=False)[3].seconds)
    turned = in_order(table[::-1], dates=False)
    assert [str(row) for row in turned] == [str(row) for row in in_order(table, dates=False)]
    placed = pd.DataFrame({"values": [[3.0], [1.0]], "time": [NONE, 2_500_000], "sequence": [2, 1]})
    first, second = in_order(placed, dates=True)
    assert (first.sequence, first.seconds, first.stamp) == (1, 2.5, 2_500_000)
    assert math.isnan(second.seconds)


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        (Row(np.zeros(2), 1.0, 1.0, 7), None, "name of the stream"),
        (Row(None, 1.0, 1.0, 7), "a", "got null"),
        (Row(np.zeros(3), 1.0, 1.0, 7), "a", "must hold 2 numbers, one for each channel, got 3"),
        (Row(np.array([1.0, math.inf]), 1.0, 1.0, 7), "a", "finite"),
        (Row(np.zeros(2), 1.0, 1.0, NONE), "a", "`sequence` is missing"),
        (Row(np.zeros(2), 1.0, 1.0, 5), "a", "got 5 after 6"),
        (Row(np.zeros(2), math.nan, math.nan, 7), "a", "`time` is missing"),
        (Row(np.zeros(2), 0.5, 0.5, 7), "a", "got 0.5 after 0.5"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(row: Row, key: str | None, words: str) -> None:
    stream = Stream(S4D(2, order=4))
    stream.push([0.0, 0.0], 0.5)
    check_row(Row(np.zeros(2), 1.0, 1.0, 7), "a", stream, 6)
    with pytest.raises(ValueError, match=words) as caught:
        check_row(row, key, stream, 6)
    assert "\n" not in str(caught.value)


def test_dates_are_the_same_seconds_in_a_table_as_in_a_stream() -> None:
    dates = np.datetime64("2026-01-01", "us") + 7_001 * np.arange(100)
    table = pd.DataFrame({"values": [[1.0]] * 100, "time": dates.astype(np.int64)})
    seconds = [row.seconds for row in in_order(table, dates=True)]
    assert (
        seconds == [in_seconds(one) for one in dates] == [one.item().replace(tzinfo=UTC).timestamp() for one in dates]
    )


def test_a_model_is_made_ready_once_in_a_process() -> None:
    model = made_model()
    first, second = carry(model, backend="torch"), carry(model, backend="torch")
    assert engine_of(first) is engine_of(second)
    assert engine_of(carry(made_model("gru"), backend="torch")) is not engine_of(first)
    with pytest.raises(TypeError, match="cannot be sent to Spark's workers"):
        carry(sys._getframe())


def test_java_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(RuntimeError, match="install Java 17 or newer"):
        local_session()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(RuntimeError, match="holds no bin/java"):
        _check_java()
    with pytest.raises(ValueError, match="`cores`"):
        local_session(0)


def test_the_extra_is_named_where_pyspark_is_missing() -> None:
    code = (
        "import sys, importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pyspark' else find(name, *a)\n"
        "try:\n    import seqkit.streaming.spark\nexcept ImportError as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "needs pyspark" in told
    assert "seqkit[spark]" in told


# A query that is killed


def write_rows(folder: Path, files: int = 6, each: int = 50) -> list[dict]:
    """Samples of five sensors over several files, shuffled within each, with bad rows among them."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    numbers = dict.fromkeys(SENSORS, 0)
    everything = []
    for k in range(files):
        rows = []
        for _ in range(each):
            sensor = SENSORS[draw.integers(len(SENSORS))]
            numbers[sensor] += 1
            at = START + timedelta(milliseconds=7 * numbers[sensor] + int(draw.integers(5)))
            values = draw.normal(size=2).tolist()
            if draw.random() < 0.1:
                values[0] = None
            rows.append({"sensor": sensor, "at": at.isoformat(), "number": numbers[sensor], "values": values})
        late = (START + timedelta(days=1)).isoformat()
        rows.append({"sensor": "a", "at": late, "number": 1, "values": [1.0, 2.0]})  # a second row of this place
        rows.append({"sensor": "b", "at": None, "number": 1000 * (k + 1), "values": [1.0, 2.0]})
        rows.append({"sensor": "c", "at": START.isoformat(), "number": None, "values": [1.0]})
        shuffled = [rows[i] for i in draw.permutation(len(rows))]
        (folder / f"{k:02d}.json").write_text("".join(json.dumps(row) + "\n" for row in shuffled))
        os.utime(folder / f"{k:02d}.json", (1e9 + k, 1e9 + k))  # Spark takes the oldest first
        everything += rows
    return everything


def pushed(model: SequenceModel, rows: list[dict]) -> dict[tuple[str, int], list[float]]:
    """What `Stream.push` answers, sample by sample."""
    streams: dict[str, Stream] = {}
    found = {}
    for row in rows:
        key = row["sensor"], row["number"]
        if row["at"] is None or row["number"] is None or key in found:
            continue
        stream = streams.setdefault(row["sensor"], Stream(model, backend="torch"))
        values = [math.nan if one is None else one for one in row["values"]]
        found[key] = stream.push(values, datetime.fromisoformat(row["at"]).timestamp()).tolist()
    return found


def numbered(folder: Path) -> int:
    """Micro-batches that a log of Spark's knows."""
    return len(list(folder.glob("[0-9]*")))


def kill_after(command: list[str], checkpoint: Path, batches: int) -> int:
    """Starts a query and kills it, its Java and all, in a micro-batch after some; returns how many it has finished."""
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as program:
        while not batches <= numbered(checkpoint / "commits") < numbered(checkpoint / "offsets"):
            assert program.poll() is None, "the query ended before it could be killed"
            time.sleep(0.02)
        os.killpg(program.pid, signal.SIGKILL)
    return numbered(checkpoint / "commits")


@pytest.mark.slow
def test_a_query_that_is_killed_goes_on_and_answers_as_one_left_alone(spark, tmp_path: Path) -> None:
    model = made_model()
    save_model(model, tmp_path / "run")
    rows = write_rows(tmp_path / "input")
    names = [str(tmp_path / name) for name in ("run", "input", "killed", "killed-checkpoint")]
    command = [sys.executable, str(QUERY), *names, "1"]
    finished = kill_after(command, tmp_path / "killed-checkpoint", 3)
    assert 3 <= finished < 6
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert numbered(tmp_path / "killed-checkpoint" / "commits") == 6

    # Left alone, and cut into other micro-batches.
    paths = [tmp_path / name for name in ("input", "alone", "alone-checkpoint")]
    spark_query.run_query(spark, str(tmp_path / "run"), *paths, 3)
    schema = "sensor string, at timestamp, number long, count long, prediction string, probabilities array<double>"
    tables = {
        name: spark.read.schema(f"{schema}, error string").json(str(tmp_path / name)).collect()
        for name in ("killed", "alone")
    }
    shown = ("sensor", "number", "at", "count", "prediction", "probabilities")
    good = {
        name: sorted(tuple(row[column] for column in shown) for row in table if not row.error)
        for name, table in tables.items()
    }
    assert good["killed"] == good["alone"]  # each once, and the same to the last bit
    expected = pushed(model, rows)
    assert len(good["killed"]) == len(expected) == 300
    for sensor, number, _, count, prediction, probabilities in good["killed"]:
        assert count == number
        assert probabilities == expected[sensor, number]
        assert prediction == ("rest", "run")[int(np.argmax(probabilities))]
    errors = {name: sorted(row.error for row in table if row.error) for name, table in tables.items()}
    assert len(errors["killed"]) == len(errors["alone"]) == 18
    assert sum("`sequence` must rise" in words for words in errors["killed"]) == 6
    assert sum("`time` is missing" in words for words in errors["killed"]) == 6
    assert sum("got 1" in words and "`values`" in words for words in errors["killed"]) == 6


# Tables at rest


def samples(spark, n: int = 12):
    """One sensor's samples in reverse, with its place, seconds, dates without a zone, and columns."""
    x = np.random.default_rng(1).normal(size=(n, 2))
    rows = [(7, k, k / 100, START + timedelta(milliseconds=13 * k), *x[k].tolist()) for k in reversed(range(n))]
    return x, spark.createDataFrame(rows, "id int, place short, seconds double, at timestamp_ntz, x double, y double")


@pytest.mark.slow
def test_answers_by_number_and_the_newest_of_a_batch(spark) -> None:
    model = made_model()
    x, table = samples(spark)
    stream = Stream(model, backend="torch", sample_rate=50.0)
    expected = [stream.push(one).tolist() for one in x]
    options = {"stream": "id", "values": ["x", "y"], "sequence": "place", "backend": "torch", "sample_rate": 50.0}
    fifth = stream_table(table, model, every=5, **options)
    assert fifth.dtypes[:2] == [("id", "int"), ("place", "smallint")]
    found = [(row.id, row.place, row["count"], row.probabilities) for row in fifth.collect()]
    assert found == [(7, 4, 5, expected[4]), (7, 9, 10, expected[9])]
    [newest] = stream_table(table, model, every="batch", **options).collect()
    assert (newest.place, newest["count"], newest.probabilities, newest.error) == (11, 12, expected[11], None)
    assert stream_table(table, model, every=50, **options).collect() == []


@pytest.mark.slow
def test_times_are_seconds_or_dates_and_come_back_as_they_were(spark) -> None:
    model = made_model(classes=(), task="regression")
    x, table = samples(spark)
    for name, time_of in (("seconds", lambda k: k / 100), ("at", lambda k: 1767225600 + 0.013 * k)):
        stream = Stream(model, backend="torch")
        expected = [stream.push(one, time_of(k)) for k, one in enumerate(x)]
        answers = stream_table(table, model, stream="id", values=["x", "y"], time=name, backend="torch")
        assert answers.schema[name].dataType == table.schema[name].dataType
        found = answers.collect()
        assert [row[name] for row in found] == sorted(row[name] for row in table.collect())
        np.testing.assert_allclose([row.prediction for row in found], np.ravel(expected), rtol=1e-6)


@pytest.mark.slow
def test_what_is_no_model_and_labels_of_other_types(spark) -> None:
    x, table = samples(spark, 4)
    options = {"stream": "id", "sequence": "place"}
    memory = stream_table(table, HiPPOMemory(3), values="x", **options).collect()
    stream = Stream(HiPPOMemory(3))
    assert [row.prediction for row in memory] == [stream.push(one).tolist() for one in x[:, 0]]
    layer = S4D(2, order=4)
    stream = Stream(layer)
    rows = stream_table(table, layer, values=["x", "y"], **options).collect()
    assert [row.prediction for row in rows] == [stream.push(one).tolist() for one in x]
    numbered = ModelEngine(made_model(), classes=np.array([10, 20]))
    answers = stream_table(table, numbered, values=["x", "y"], **options)
    assert dict(answers.dtypes)["prediction"] == "bigint"
    assert {row.prediction for row in answers.collect()} <= {10, 20}


def answered(out: Path) -> list[dict]:
    """Rows of a sink of JSON files, by number."""
    lines = [line for part in out.glob("*.json") for line in part.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda row: row["number"])


@pytest.mark.slow
def test_an_idle_stream_is_forgotten(spark, tmp_path: Path) -> None:
    counts = {}
    for ttl in (1.0, 3600.0):
        place = tmp_path / f"input{ttl}"
        place.mkdir()
        out = tmp_path / f"out{ttl}"
        table = spark.readStream.schema("stream string, number long, values array<float>").json(str(place))
        made = stream_table(table, made_model(), sequence="number", ttl=ttl, backend="torch")
        writer = made.writeStream.option("checkpointLocation", str(tmp_path / f"checkpoint{ttl}"))
        query = writer.trigger(processingTime="0.2 seconds").format("json").start(str(out))
        for k in range(2):
            (tmp_path / "whole").write_text(json.dumps({"stream": "a", "number": k, "values": [1.0, 2.0]}) + "\n")
            (tmp_path / "whole").rename(place / f"{k}.json")
            until = time.monotonic() + 120
            while len(answered(out)) <= k:  # with a ttl there is always one more micro-batch, so nothing else tells
                assert query.isActive
                assert time.monotonic() < until
                time.sleep(0.2)
            time.sleep(1.5)
        query.stop()
        counts[ttl] = [row["count"] for row in answered(out)]
    assert counts == {1.0: [1, 1], 3600.0: [1, 2]}


@pytest.mark.slow
def test_what_cannot_be_planned_is_refused_in_a_sentence(spark) -> None:
    model = made_model()
    _, table = samples(spark, 2)
    good = {"stream": "id", "values": ["x", "y"], "sequence": "place"}
    bad = {
        "did you mean place": {"sequence": "plac"},
        "column of texts or whole numbers": {"stream": "x"},
        "column of whole numbers or dates": {"sequence": "x"},
        "must name 2 columns": {"values": "x"},
        "`values` must name a column of numbers": {"values": ["x", "at"]},
        "`values` must name a column of arrays of numbers": {"values": "at"},
        "one of `time` and `sequence`": {"sequence": None},
        "whole number of at least 1, or": {"every": "all"},
        "`every` must be a whole number": {"every": 0},
        "`ttl` must be": {"ttl": 0},
        "`sample_rate` must be": {"sample_rate": -1.0},
        "must be different columns": {"time": "id"},
    }
    for words, change in bad.items():
        with pytest.raises(ValueError, match=words) as caught:
            stream_table(table, model, **{**good, **change})
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no notion of time; give the column 'at' as `sequence`"):
        stream_table(table, made_model("gru"), **good, time="at")
    with pytest.raises(ValueError, match="which the answers have too"):
        stream_table(table.withColumnRenamed("place", "count"), model, **{**good, "sequence": "count"})
    [(key, store)] = STATE_STORE.items()
    spark.conf.set(key, "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider")
    try:
        with pytest.raises(ValueError, match="streams need RocksDB; set"):
            stream_table(table, model, **good)
    finally:
        spark.conf.set(key, store)
    with pytest.raises(TypeError, match="a stream needs a model"):
        stream_table(table, 3, **good)
    with pytest.raises(TypeError, match="run folder or a SequenceModel"):
        predict_table(table, S4D(2))
    for words, change in {
        "did you mean x|choose one of": {"values": "z"},
        "must name 2 columns": {"values": ["x"]},
        "column of arrays of numbers": {"values": ["x", "y"]},
        "`layout` must be one of": {"values": "a", "layout": "rows"},
        "must hold 2 channels": {"values": "a"},
        "leave one of them out": {"values": "b", "time": "a", "sample_rate": 50.0},
    }.items():
        arrays = table.selectExpr("*", "array(x) as a", "array(array(x, y)) as b")
        with pytest.raises(ValueError, match=words) as caught:
            predict_table(arrays, model, **change)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no notion of the sampling step; leave `sample_rate` out"):
        predict_table(arrays, made_model("gru"), values="b", sample_rate=50.0)


# Whole series


def padded(series: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tensors = [torch.tensor(one, dtype=torch.float32) for one in series]
    values = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    observed = torch.nn.utils.rnn.pad_sequence([~one.isnan() for one in tensors], batch_first=True)
    return values.nan_to_num(0.0), torch.tensor([len(one) for one in series]), observed


@pytest.mark.slow
def test_predictions_of_a_table_are_those_of_the_model(spark) -> None:
    model = made_model()
    draw = np.random.default_rng(2)
    series = [draw.normal(size=(int(draw.integers(3, 30)), 2)) for _ in range(20)]
    series[3][1, 0] = math.nan
    rows = [
        (f"person {k}" if k else None, START, {"k": k}, [[None if v != v else v for v in row] for row in one.tolist()])
        for k, one in enumerate(series)
    ]
    bad = [None, [], [[1.0, 2.0], [1.0]], [[1.0], [2.0]], [[1.0, math.inf]], [[1.0, 2.0], None], [[1e39, 0.0]]]
    rows += [(f"bad {k}", None, None, one) for k, one in enumerate(bad)]
    table = spark.createDataFrame(rows, "name string, at timestamp, about map<string,int>, v array<array<double>>")
    answers = predict_table(table.coalesce(1), model, values="v", batch_size=64)
    assert answers.columns == ["name", "at", "about", "prediction", "probabilities", "error"]
    found = answers.collect()
    assert [(row.name, row["at"], row.about) for row in found] == [row[:3] for row in rows]
    values, lengths, observed = padded(series)
    with torch.no_grad():
        expected = model.predict(values, lengths, observed=observed).numpy()
    np.testing.assert_array_equal(np.array([row.probabilities for row in found[:20]], np.float32), expected)
    assert [row.prediction for row in found[:20]] == [("rest", "run")[k] for k in expected.argmax(axis=1)]
    batches = loader(SeriesSet(series), model.info, batch_size=7, with_target=False)
    scores = run_model(model, batches, device="cpu").scores.softmax(dim=-1)  # what `seqkit predict` computes
    np.testing.assert_allclose([row.probabilities for row in found[:20]], scores, atol=1e-6)
    assert all(row.error is None for row in found[:20])
    words = ["missing (null)", "empty", "1 to 2 numbers", "2 numbers", "infinite", "null in place", "infinite"]
    for row, expected_words in zip(found[20:], words, strict=True):
        assert expected_words in row.error, row
        assert row.prediction is row.probabilities is None
    # However it is written, and however it is cut into partitions and batches.
    channels = [(k, one[:, 0].tolist(), one[:, 1].tolist(), one.T.tolist()) for k, one in enumerate(series)]
    table = spark.createDataFrame(channels, "k int, x array<double>, y array<double>, v array<array<double>>")
    for options in ({"values": ["x", "y"]}, {"values": "v", "layout": "channels"}):
        some = {row.k: row.probabilities for row in predict_table(table, model, batch_size=3, **options).collect()}
        np.testing.assert_allclose([some[k] for k in range(20)], expected, atol=1e-6)


@pytest.mark.slow
def test_predictions_with_times_and_for_each_sample(spark) -> None:
    draw = np.random.default_rng(3)
    series = [draw.normal(size=(n, 1)) for n in (4, 9)]
    times = [np.cumsum(draw.uniform(0.5, 2.0, size=n)) / 100 for n in (4, 9)]
    rows = [
        (k, one[:, 0].tolist(), taken.tolist(), [START + timedelta(seconds=float(t)) for t in taken])
        for k, (one, taken) in enumerate(zip(series, times, strict=True))
    ]
    rows.append((2, [1.0, 2.0], [2.0, 1.0], [START, None]))
    table = spark.createDataFrame(rows, "k int, v array<float>, t array<double>, at array<timestamp>").coalesce(1)
    model = made_model(n_channels=1, classes=(), task="sequence")
    values, lengths, _ = padded(series)
    since = torch.zeros(2, 9)
    for k, taken in enumerate(times):
        since[k] = torch.tensor(np.pad(taken - taken[0], (0, 9 - len(taken)), mode="edge"))
    with torch.no_grad():
        expected = model.predict(values, lengths, timestamps=since)[..., 0].numpy()
    for name in ("t", "at"):
        found = predict_table(table, model, values="v", time=name).collect()
        for k in range(2):
            np.testing.assert_allclose(found[k].prediction, expected[k, : len(series[k])], rtol=1e-4, atol=1e-6)
        assert found[2].prediction is None
        assert "rise" in found[2].error
    many = made_model(n_channels=1, classes=(), task="regression", n_targets=3)
    with torch.no_grad():
        expected = many.predict(values, lengths, sample_rate=50.0).numpy()
    found = predict_table(table, many, values="v", sample_rate=50.0, batch_size=2).collect()
    np.testing.assert_allclose([row.prediction for row in found[:2]], expected, rtol=1e-6)
