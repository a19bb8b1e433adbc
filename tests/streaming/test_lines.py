"""Lines of text into streams and back: what is read, what is refused and how, and what it does to streams."""

import json
import math
import os

import numpy as np
import pytest

from seqkit import S4D, DataInfo, ModelConfig, SequenceModel, StreamPool
from seqkit.streaming.csv_lines import CsvLines
from seqkit.streaming.line_pool import LinePool
from seqkit.streaming.lines import Fields, JsonLines, Sample
from seqkit.streaming.pipe import LineReader, Schedule, run_pipe

INFO = DataInfo("toy", "classification", n_channels=2, classes=("rest", "run"), sample_rate=10.0, channels=("x", "y"))
PRESETS = {"s4d": {"order": 4}, "gru": {}, "hippo_legs": {"order": 4}}


def model(name="s4d", info=INFO):
    sizes = {"d_model": 4, "n_layers": 1} if name != "hippo_legs" else {"d_model": 4}
    return SequenceModel.from_config(ModelConfig.preset(name, **sizes, **PRESETS[name]), info, seed=0)


def opened(name="s4d", info=INFO, **options):
    return LinePool(StreamPool(model(name, info)), channels=info.channels, targets=info.targets, **options)


def line(values, stream=None, time=None):
    given = {"values": values}
    return json.dumps(given | ({} if stream is None else {"stream": stream}) | ({} if time is None else {"time": time}))


def answers(lines, given):
    """Answers to lines that all wait at once, decoded."""
    given = [one.encode() if isinstance(one, str) else one for one in given]
    return [json.loads(one) for one in b"".join(lines.take(given)).splitlines()]


def samples(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2)).round(4).tolist()


@pytest.mark.parametrize("name", PRESETS)
def test_answers_are_what_the_model_gives_for_the_series_so_far(name):
    import torch

    series = samples(7)
    got = answers(opened(name), [line(one) for one in series])
    whole = model(name).eval()
    for k, one in enumerate(got, 1):
        shares = whole.predict(torch.tensor([series[:k]]))[0]
        assert [*one] == ["prediction", "probabilities"]
        assert one["prediction"] == INFO.classes[int(shares.argmax())]
        assert list(one["probabilities"]) == list(INFO.classes)
        assert np.allclose(list(one["probabilities"].values()), shares, atol=2e-6)


def test_many_streams_that_wait_are_answered_in_order_and_as_each_alone():
    series = {name: samples(5, seed) for seed, name in enumerate(["a", 7, "7", "ü\n", None])}
    given = [line(series[name][k], name) for k in range(5) for name in series]
    together = answers(opened(), given)
    assert [one.get("stream") for one in together] == list(series) * 5
    for k, name in enumerate(series):
        alone = answers(opened(), [line(one, name) for one in series[name]])
        assert together[k :: len(series)] == alone


def test_values_are_in_the_units_of_the_target():
    info = DataInfo("toy", "regression", n_channels=2, n_targets=2)
    lines = opened(info=info)
    got = answers(lines, [line([1, 2])])[0]
    assert got == {"prediction": lines.pool.output("").tolist()}
    one = answers(opened(info=DataInfo("toy", "regression", n_channels=2)), [line([1, 2])])[0]
    assert isinstance(one["prediction"], float)


def test_a_block_is_answered_once_and_equals_its_samples():
    series = samples(6)
    single = answers(opened(), [line(one, "a", k / 10) for k, one in enumerate(series)])
    given = [line(series[:4], "a", [0, 0.1, 0.2, 0.3]), line(series[4], "a", 0.4), line(series[5:], "a", [0.5])]
    got = answers(opened(), given)
    assert len(got) == 3
    for one, like in zip(got, (single[3], single[4], single[5]), strict=True):
        assert one["probabilities"] == pytest.approx(like["probabilities"], abs=2e-6)


def test_missing_values_are_null_and_nan():
    got = answers(opened(), ['{"values": [null, 1.5]}']), answers(opened(), ['{"values": [NaN, 1.5]}'])
    stream = StreamPool(model())
    stream.push(["a"], [[math.nan, 1.5]])
    assert got[0] == got[1]
    assert list(got[0][0]["probabilities"].values()) == pytest.approx(stream.predict_proba("a"), abs=1e-6)


def test_times_are_seconds_dates_or_unix_times():
    series = samples(3)
    ways = [
        [1_700_000_000, 1_700_000_000.25, 1_700_000_001],
        ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.25Z", "2023-11-14T23:13:21+01:00"],
        ["2023-11-14 22:13:20", "2023-11-14 22:13:20.250", "2023-11-14 22:13:21"],
        [1_700_000_000_000, 1_700_000_000_250, 1_700_000_001_000],
    ]
    told = [answers(opened(), [line(one, None, at) for one, at in zip(series, way, strict=True)]) for way in ways]
    even = answers(opened(), [line(one) for one in series])
    assert told[0] == told[1] == told[2] == told[3]
    assert told[0][0] == even[0]
    assert told[0][2] != even[2]


BAD = {
    "wrong channel count": ('{"values": [1]}', "`values` must hold 2 numbers, one for each channel, got 1"),
    "no channel": ('{"values": []}', "must hold 2 numbers, one for each channel, got 0"),
    "one number": ('{"values": 1}', "must hold 2 numbers"),
    "block of wrong width": ('{"values": [[1, 2], [1]]}', "must hold 2 numbers, one for each channel, got 1"),
    "block with a number": ('{"values": [[1, 2], 3]}', "must be all lists"),
    "truth": ('{"values": [1, true]}', "must be numbers, or null where one is missing, got true"),
    "text": ('{"values": [1, "2"]}', 'must be numbers, or null where one is missing, got "2"'),
    "text for all": ('{"values": "12"}', 'must be a list of numbers, one for each channel, got "12"'),
    "null for all": ('{"values": null}', "must be a list of numbers"),
    "infinite": ('{"values": [1, Infinity]}', "must be finite and at most 3.4e+38, got inf"),
    "beyond a float": ('{"values": [1, 1e400]}', "must be finite and at most 3.4e+38, got inf"),
    "beyond the dtype": ('{"values": [1, -1e39]}', "must be finite and at most 3.4e+38, got -1e+39"),
    "a huge whole number": ('{"values": [1, 1%s]}' % ("0" * 400), "must be finite"),
    "a number of too many digits": ('{"values": [1, 1%s]}' % ("0" * 5000), "no JSON that can be read"),
    "too deep": ("[" * 100_000, "no JSON that can be read"),
    "malformed": ('{"values": [1, 2}', "this is no JSON: Expecting ',' delimiter at character 17"),
    "half a line": ('{"val', "this is no JSON"),
    "empty": ("", "the line is empty"),
    "blank": (" \t", "the line is empty"),
    "no object": ("[1, 2]", "the line must be an object"),
    "no values": ('{"stream": "a"}', "has no `values`"),
    "unknown key": ('{"values": [1, 2], "tme": 1}', "the line has no key 'tme'; did you mean time?"),
    "stream of truth": ('{"values": [1, 2], "stream": true}', "`stream` must be a text or a whole number, got true"),
    "stream with a fraction": ('{"values": [1, 2], "stream": 1.5}', "`stream` must be a text or a whole number"),
    "empty stream": ('{"values": [1, 2], "stream": ""}', "`stream` must be a text or a whole number"),
    "half a letter": ('{"values": [1, 2], "stream": "\\ud800"}', "holds half of a character"),
    "no date": ('{"values": [1, 2], "time": "noon"}', "`time` must be seconds or a date such as 2026-03-01T12:00:00"),
    "time of truth": ('{"values": [1, 2], "time": true}', "`time` must be seconds or a date"),
    "infinite time": ('{"values": [1, 2], "time": 1e999}', "`time` must be seconds or a date"),
    "times of a sample": ('{"values": [1, 2], "time": [1]}', "`time` must be seconds or a date"),
    "time of a block": ('{"values": [[1, 2]], "time": 1}', "must be a list of 1 times"),
    "times of a longer block": (
        '{"values": [[1, 2]], "time": [1, 2]}',
        "must be a list of 1 times, one for each sample",
    ),
    "block out of order": ('{"values": [[1, 2], [3, 4]], "time": [2, 1]}', "`time` must rise from sample to sample"),
    "not UTF-8": (b'{"values": [1, 2], "stream": "\xff"}', "the line is not UTF-8: byte 31 is 0xff"),
    "UTF-16": ('{"values": [1, 2]}'.encode("utf-16-le"), "this is no JSON"),
    "too long": (None, "the line is too long"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_named_and_changes_nothing(case):
    bad, words = BAD[case]
    bad = bad.encode() if isinstance(bad, str) else bad
    good = [line(one, "a").encode() for one in samples(3)]
    got = answers(opened(), [*good[:2], bad, good[2]])
    assert [*got[2]] == ["line", "error"]
    assert got[2]["line"] == 3
    assert words in got[2]["error"]
    assert len(got[2]["error"]) < 200
    assert [got[0], got[1], got[3]] == answers(opened(), good)


def test_any_bytes_are_answered_by_a_line_each():
    rng = np.random.default_rng(0)
    seeds = [line([1, None], "a", 1), line([[1, 2], [3, 4]], 7, [1, 2]), line([0.5, 1e3])]
    given = []
    for _ in range(3000):
        text = bytearray(seeds[rng.integers(3)].encode())
        for _ in range(rng.integers(4)):
            text[rng.integers(len(text))] = rng.choice([*b'{}[]",:0123456789eE.-ntf', rng.integers(256)])
        given.append(bytes(text).replace(b"\n", b" "))
    lines = opened(streams=5, form="json")
    got = answers(lines, given)
    assert len(got) == lines.lines == lines.written == 3000
    wrong = [one for one in got if "error" in one]
    assert 500 < len(wrong) < 2900
    assert all(given[one["line"] - 1] not in map(str.encode, seeds[2:]) for one in wrong)
    assert len(lines.pool) <= 5


def test_times_out_of_order_or_missing_leave_the_stream_as_it_was():
    series = samples(3)
    good = [line(series[0], "a", 1), line(series[1], "b"), line(series[2], "a", 2)]
    late = line([9, 9], "a", 1), line([9, 9], "a"), line([9, 9], "b", 3)
    got = answers(opened(), [*good[:2], *late, good[2]])
    assert got[2]["error"] == "`time` must rise from sample to sample of a stream, got 1.0 after 1.0"
    for one in got[3:5]:
        assert one["error"].startswith("either all samples of a stream have a time or none")
    assert [got[0], got[1], got[5]] == answers(opened(), good)


def test_models_without_a_notion_of_time_or_gaps_say_so():
    assert "no notion of time" in answers(opened("gru"), [line([1, 2], None, 1)])[0]["error"]
    mixer = LinePool(StreamPool(S4D(2, order=4)))
    assert "no notion of missing values" in answers(mixer, [line([1, None])])[0]["error"]
    assert len(mixer.pool) == 0


def test_a_stream_that_overflows_begins_anew_and_no_other_does():
    lines = LinePool(StreamPool(S4D(1, order=4)))
    lines.pool.engine.mixer.D.data.fill_(1e30)
    got = answers(lines, [line([1], "a"), line([1], "b"), line([1e14], "a"), line([1], "a"), line([1], "b")])
    assert "NaN or an infinite value" in got[2]["error"]
    assert got[3] == got[0]
    assert lines.pool.count("a") == 1
    assert lines.pool.count("b") == 2


def test_what_an_engine_refuses_is_said_of_its_line_alone(monkeypatch):
    lines = LinePool(StreamPool(S4D(1, order=4)))
    push = lines.pool.push

    def refuse(streams, x, times=None):
        if any(row[0] == 13 for row in x):
            raise ValueError("13 is unlucky")
        return push(streams, x, times)

    monkeypatch.setattr(lines.pool, "push", refuse)
    got = answers(lines, [line([1], "a"), line([13], "b"), line([2], "c")])
    assert got[1] == {"line": 2, "error": "13 is unlucky"}
    assert got[2]["stream"] == "c"
    assert set(lines.pool) == set(lines._recent) == {"a", "c"}


def test_every_answers_each_nth_sample_of_a_stream_and_each_bad_line():
    series = samples(9)
    given = [line(one, name) for one in series for name in "ab"]
    full = answers(opened(), given)
    some = answers(opened(every=4), [*given[:3], "{", *given[3:]])
    assert some == [{"line": 4, "error": some[0]["error"]}, *full[6:8], *full[14:16]]
    block = answers(opened(every=4), [line(series[:3]), line(series[3:6]), line(series[6])])
    assert len(block) == 1


def test_streams_beyond_the_bound_are_forgotten_by_their_last_sample():
    gone = []
    lines = opened(streams=2, on_forget=gone.append)
    series = samples(8)
    names = ["a", "b", "a", "c", "a", "b", "b", None]
    together = answers(lines, [line(one, name) for one, name in zip(series, names, strict=True)])
    assert gone == ["b", "c", "a"]
    assert len(lines.pool) == 2
    assert together[4]["probabilities"] == answers(opened(), [line(series[k]) for k in (0, 2, 4)])[-1]["probabilities"]
    assert together[5]["probabilities"] == answers(opened(), [line(series[5])])[0]["probabilities"]  # b anew
    singly, alone = [], opened(streams=2)
    for one, name in zip(series, names, strict=True):
        singly += answers(alone, [line(one, name)])
    assert singly == together


def test_a_bad_first_line_of_a_stream_forgets_no_other():
    lines = opened("gru", streams=1)
    answers(lines, [line([1, 2], "a"), line([1, 2], "b", 3.0), line([1], "c")])
    assert lines.pool.ids() == ["a"]


def test_snapshot_goes_on_with_the_same_answers(tmp_path):
    given = [line(one, name) for one in samples(6) for name in ("a", 1)]
    whole = answers(opened(every=2, streams=2), [*given[:5], "{", *given[5:]])
    first = opened(every=2, streams=2)
    before = answers(first, [*given[:5], "{"])
    first.save(tmp_path / "s")
    assert not first.changed
    second = opened(every=2, streams=2)
    assert second.restore(tmp_path / "s", resume_input=True) == (6, len(before))
    assert before + answers(second, [*given[:5], "{", *given[5:]]) == whole
    assert (second.lines, second.written) == (13, len(whole))
    third = opened(every=2, streams=2)
    third.restore(tmp_path / "s")
    got = answers(third, given[5:])
    assert before + got == whole
    assert third.lines == 7
    smaller = opened(streams=1)
    smaller.restore(tmp_path / "s")
    assert smaller.pool.ids() == ["a"]  # a's sample was the last


def test_snapshot_of_another_model_or_kind_is_refused(tmp_path):
    lines = opened()
    answers(lines, [line([1, 2])])
    lines.save(tmp_path / "s")
    with pytest.raises(ValueError, match="another model"):
        opened("gru").restore(tmp_path / "s")
    lines.pool.save(tmp_path / "pool")
    with pytest.raises(ValueError, match="no count of lines"):
        opened().restore(tmp_path / "pool")
    short = opened()
    short.restore(tmp_path / "s", resume_input=True)
    with pytest.raises(ValueError, match="ended after 0 lines, and the snapshot was made after 1"):
        short.finish()


TABLE = "stream,time,y,x\na,0,2,1\nb,0,,1.5\na,0.1,4,-3e-1\n"


def test_csv_is_answered_in_csv():
    got = b"".join(opened().take(TABLE.encode().splitlines())).decode().splitlines()
    like = answers(opened(), [line([1, 2], "a", 0), line([1.5, None], "b", 0), line([-0.3, 4], "a", 0.1)])
    assert got[0] == "stream,prediction,probability rest,probability run,error"
    for row, one in zip(got[1:], like, strict=True):
        shares = [str(share) for share in one["probabilities"].values()]
        assert row.split(",") == [one["stream"], one["prediction"], *shares, ""]


def test_the_header_may_lack_stream_and_time_and_come_with_a_mark_and_targets():
    got = b"".join(opened().take([b"\xef\xbb\xbfx,y,target", b"1,2,walk"])).decode().splitlines()
    assert got[0] == "prediction,probability rest,probability run,error"
    named = b"".join(opened().take([b"series,x,y", b'"a, ""b""",1,2'])).decode().splitlines()
    assert named[0].startswith("series,prediction,")
    assert named[1].startswith('"a, ""b""",r')
    assert answers(opened(), [b"\xef\xbb\xbf" + line([1, 2]).encode()])[0]["prediction"]


def test_values_have_a_column_each():
    info = DataInfo("toy", "regression", n_channels=1, n_targets=2, targets=("x+1", "x+2"))
    got = b"".join(opened(info=info).take([b"x", b"1", b"oops"])).decode().splitlines()
    assert got[0] == "prediction x+1,prediction x+2,error"
    assert len(got[1].split(",")) == 3
    assert got[2] == ',,"line 3: `values` must be numbers, or empty where one is missing, got ""oops"""'


BAD_ROWS = {
    "a,1,2": "must have 4 cells, as the header, got 3",
    "": "the line is empty",
    ",1,1,2": "no name of its stream",
    "a,,1,2": "no time",
    "a,then,1,2": "`time` must be seconds or a date",
    "a,1,1_0,2": "must be numbers",
    "a,1,inf,2": "must be finite",
    "a,1,1e40,2": "must be finite",
    'a,1,"1': "no row of CSV",
    "a,0.1,1,2": "`time` must rise",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row_is_named_in_its_column(row):
    given = [*TABLE.splitlines(), row, "a,0.2,1,1"]
    got = b"".join(opened().take([one.encode() for one in given])).decode().splitlines()
    assert len(got) == 6
    assert got[4].startswith(",,,,")
    assert "line 5: " in got[4]
    assert BAD_ROWS[row] in got[4]
    fewer = [one.encode() for one in given if one != row]
    assert [*got[:4], got[5]] == b"".join(opened().take(fewer)).decode().splitlines()


@pytest.mark.parametrize("mark", ["", "?", "NA", "n/a", "NaN", "null", "None"])
def test_marks_of_missing_values_are_those_of_tables(mark):
    assert math.isnan(CsvLines("x", Fields(1, 1e38)).sample(mark or '""').rows[0][0])


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("x", "lacks the channel 'y'"),
        ("x,y,x", 'the column "x" twice'),
        ("stream,series,x,y", "both `stream` and `series`"),
        ("1.5,2.5", "lacks the channel 'x'"),
        (b"x,\xff", "not UTF-8"),
        (None, "too long"),
    ],
)
def test_a_header_that_does_not_fit_ends_the_work(header, words):
    header = header.encode() if isinstance(header, str) else header
    with pytest.raises(ValueError, match=words):
        list(opened(form="csv").take([header]))


def test_the_table_of_a_training_is_read_by_a_model_without_a_notion_of_time():
    rows = ["series,time,x,y,target", "a,0.5,1,2,walk", "a,0.5,3,4,walk"]
    with pytest.warns(UserWarning, match="gru.* has no notion of time, so the column `time` is not read"):
        got = b"".join(opened("gru").take([row.encode() for row in rows])).decode().splitlines()
    plain = opened("gru").take([b"series,x,y", b"a,1,2", b"a,3,4"])
    assert got == b"".join(plain).decode().splitlines()
    assert all(row.endswith(",") for row in got[1:])  # no error


def test_columns_are_what_the_training_called_them():
    columns = {"patient": "stream", "timestamp": "time", "ward": "unread"}
    fields = Fields(2, 1e38, channels=("x", "series"))  # a channel may have the name that is usual for something else
    form = CsvLines("ward,series,Timestamp,patient,x", fields, columns)
    assert form.sample("a,1,0.5,anna,2") == Sample("anna", [[2.0, 1.0]], [0.5], False)
    with pytest.raises(ValueError, match="both `patient` and `stream` for the stream"):
        CsvLines("patient,stream,x,series", fields, columns)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_cells_are_apart_as_in_tables_to_train_on(sign):
    form = CsvLines(sign.join(["series", "time", "x", "y"]), Fields(2, 1e38, channels=("x", "y")))
    assert form.sample(sign.join(["a", "0,5", "1,5", "2.5"])) == Sample("a", [[1.5, 2.5]], [0.5], False)
    assert form.sample(sign.join(['"a, b"', "1", "", "-1"])).stream == "a, b"
    with pytest.raises(ValueError, match="must be numbers"):
        form.sample(sign.join(["a", "2", "1,000.5", "1"]))


def test_columns_that_are_no_channels_are_left_unread_with_a_note():
    with pytest.warns(UserWarning, match='no such channel: "note", "z"'):
        form = CsvLines("x,note,y,z", Fields(2, 1e38, channels=("x", "y")))
    assert form.sample("1,warm,2,3").rows == [[1.0, 2.0]]


def test_channels_without_names_are_taken_in_their_order():
    form = CsvLines("b,a", Fields(2, 1e38))
    assert form.sample("1,2").rows == [[1.0, 2.0]]
    with pytest.raises(ValueError, match="must name 2 channels beside stream and time, got 1"):
        CsvLines("stream,time,b", Fields(2, 1e38))


@pytest.mark.parametrize("first", ["", "[1]", "{", ' {"values": [1, 2]}'])
def test_what_looks_like_json_is_taken_as_json(first):
    assert set(answers(opened(), [first])[0]) & {"error", "prediction"}


def test_a_format_that_is_asked_for_is_not_guessed():
    assert "no JSON" in answers(opened(form="json"), ["x,y"])[0]["error"]
    with pytest.raises(ValueError, match="`format` must be one of auto, json, csv"):
        opened(form="xml")


def test_lines_are_read_as_they_come_and_too_long_ones_dropped():
    source, sink = os.pipe()
    reader = LineReader(source, limit=10)
    for given, lines in (
        (b"ab", []),
        (b"c\r\nd\n\nef", [b"abc", b"d", b""]),
        (b"g" * 8, []),
        (b"\n", [b"ef" + b"g" * 8]),
        (b"x" * 11, []),
        (b"x" * 30, []),
        (b"x\n" + b"y" * 12 + b"\nz", [None, None]),
    ):
        os.write(sink, given)
        assert reader.read() == lines
    os.close(sink)
    assert reader.read() == [b"z"]
    assert reader.ended
    os.close(source)


def test_reading_does_not_wait_where_nothing_is_there():
    source, sink = os.pipe()
    os.set_blocking(source, False)
    assert LineReader(source).read() == []
    os.close(source)
    os.close(sink)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "s", "10m", "nans", "infs", "0s", ""])
def test_a_schedule_is_lines_or_seconds(text):
    with pytest.raises(ValueError, match="must be a number of lines such as 500, or of seconds as 10s"):
        Schedule.of(text)


def piped(lines, data, tmp_path, **options):
    """What comes out of a pipe, and how it ended."""
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink:
        end = run_pipe(lines, source.fileno(), sink.fileno(), **options)
    return (tmp_path / "out").read_bytes(), end


def test_pipe_saves_by_the_schedule_and_at_the_end(tmp_path, monkeypatch):
    lines, saved = opened(), []
    save = lines.save
    monkeypatch.setattr(lines, "save", lambda path: (saved.append((lines.lines, lines.written)), save(path)))
    data = "".join(line(one) + "\n" for one in samples(10)).encode()
    out, end = piped(lines, data[:-1], tmp_path, snapshot=tmp_path / "s", schedule=Schedule(lines=4))
    assert end is None
    assert len(out.splitlines()) == 10
    assert saved == [(4, 4), (8, 8), (10, 10)]
    assert piped(opened(), b"", tmp_path, snapshot=tmp_path / "none") == (b"", None)
    assert not (tmp_path / "none").exists()


def test_pipe_names_lines_that_are_too_long(tmp_path):
    data = line([1, 2]) + "\n" + "x" * 5000 + "\n" + line([3, 4]) + "\n"
    out, _ = piped(opened(), data.encode(), tmp_path, limit=1000)
    got = [json.loads(one) for one in out.splitlines()]
    assert got[1] == {"line": 2, "error": got[1]["error"]}
    assert "too long" in got[1]["error"]
    assert got[2]["prediction"]


def test_json_form_writes_what_json_knows():
    form = JsonLines(Fields(1, 1e38, values=("0",)))
    with pytest.raises(ValueError, match="not JSON compliant"):
        form.answer(None, math.nan, [])
    assert form.answer("ü", 1.5, []) == '{"stream": "ü", "prediction": 1.5}\n'
