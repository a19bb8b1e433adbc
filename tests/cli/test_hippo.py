"""`seqkit hippo show` as a person types it."""

import json
import sys

import numpy as np
import pytest
import scipy.io.wavfile

from seqkit.cli.main import main


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", "hippo", "show", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Works in an empty folder with a table of two series, 50 Hz; channel `gap` is `slow` with a value missing."""
    monkeypatch.chdir(tmp_path)
    lines = ["series,time,slow,fast,gap,target"]
    for name, phase in (("a", 0.0), ("b", 1.0)):
        for k in range(200):
            t = k / 50
            slow = f"{np.sin(2 * t + phase):.6f}"
            lines.append(f"{name},{t},{slow},{np.sin(10 * t + phase):.6f},{'' if k == 7 else slow},x")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def facts(monkeypatch, capfd, *words):
    status, out, err = run(monkeypatch, capfd, *words, "--json")
    assert status == 0, err
    return json.loads(out.strip().splitlines()[-1])


def test_a_table_and_a_picture(monkeypatch, capfd, here):
    status, out, err = run(monkeypatch, capfd, "mine.csv", "--order", 4, "--order", 8)
    assert (status, err) == (0, "")
    assert "series a, channel slow: 200 samples, 4 s; legs" in out
    assert out.strip().splitlines()[-1] == "mine.hippo.png"
    assert (here / "mine.hippo.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in here.iterdir()) == ["mine.csv", "mine.hippo.png"]


def test_json_is_the_last_line_and_errors_fall_with_order(monkeypatch, capfd):
    found = facts(monkeypatch, capfd, "mine.csv", "--series", "b", "--channel", "fast", "-o", "new/p.png")
    assert found["file"] == "new/p.png"
    assert (found["series"], found["channel"], found["n_samples"]) == ("b", "fast", 200)
    assert (found["elapsed"], found["unit"], found["measure"], found["window"]) == (4.0, "s", "legs", None)
    assert [one["order"] for one in found["orders"]] == [8, 32, 128]
    assert found["rule"] == "midpoint"
    eight, thirty_two, _ = (one["relative_error"] for one in found["orders"])
    assert thirty_two < 0.1 < eight


@pytest.mark.parametrize(
    ("words", "window", "rule"),
    [
        (["--measure", "legt"], 1.0, "zero_order_hold"),
        (["--measure", "fourier", "--window", 0.5], 0.5, "zero_order_hold"),
        (["--measure", "lagt", "--discretization", "bilinear"], 0.2, "bilinear"),
        (["--measure", "lagt", "--window", 0.3, "--discretization", "backward_euler"], 0.3, "backward_euler"),
        (["--rule", "exact"], None, "exact"),
        (["--rule", "reciprocal"], None, "reciprocal"),
    ],
)
def test_measures_windows_and_rules(monkeypatch, capfd, words, window, rule):
    found = facts(monkeypatch, capfd, "mine.csv", "--order", 8, *words)
    assert found["window"] == (None if window is None else pytest.approx(window))
    assert found["rule"] == rule


def test_an_order_given_twice_is_drawn_once(monkeypatch, capfd):
    found = facts(monkeypatch, capfd, "mine.csv", "--order", 6, "--order", 4, "--order", 6)
    assert [one["order"] for one in found["orders"]] == [6, 4]


def test_a_real_pulse(monkeypatch, capfd, data_root):
    path = data_root / "BIDMC" / "bidmc_01_Signals.csv"
    found = facts(monkeypatch, capfd, path, "--channel", "PLETH", "--sample-rate", 125, "--stop", 10)
    assert found["n_samples"] == 1250
    few, _, many = (one["relative_error"] for one in found["orders"])  # 16 beats: 8 numbers know little but the mean
    assert few > 0.9
    assert many < 0.2


def test_rules_differ(monkeypatch, capfd):
    errors = {
        rule: facts(monkeypatch, capfd, "mine.csv", "--order", 16, "--rule", rule)["orders"][0]["error"]
        for rule in ("exact", "midpoint", "reciprocal")
    }
    assert len(set(errors.values())) == 3
    assert errors["reciprocal"] > 3 * max(errors["exact"], errors["midpoint"])


def test_a_stretch_of_time(monkeypatch, capfd):
    found = facts(monkeypatch, capfd, "mine.csv", "--start", 1, "--stop", 2.5, "--order", 4)
    assert (found["n_samples"], found["elapsed"]) == (75, pytest.approx(1.5))


def test_series_and_channel_by_number(monkeypatch, capfd):
    found = facts(monkeypatch, capfd, "mine.csv", "--series", 1, "--channel", 1, "--order", 4)
    assert (found["series"], found["channel"]) == ("b", "fast")


def test_a_table_of_one_series_without_times(monkeypatch, capfd, here):
    (here / "one.csv").write_text("volt\n" + "\n".join(str(k % 5) for k in range(40)))
    found = facts(monkeypatch, capfd, "one.csv", "--order", 4)
    assert (found["series"], found["elapsed"], found["unit"]) == ("one", 40, "samples")
    found = facts(monkeypatch, capfd, "one.csv", "--order", 4, "--sample-rate", 80)
    assert (found["elapsed"], found["unit"]) == (0.5, "s")


def test_uneven_times(monkeypatch, capfd, here):
    times = np.cumsum([0.1] * 50 + [0.3] * 20)
    (here / "uneven.csv").write_text("when,x\n" + "\n".join(f"{t:.1f},{np.sin(t):.6f}" for t in times))
    found = facts(monkeypatch, capfd, "uneven.csv", "--time", "when", "--order", 16, "--rule", "exact")
    assert found["elapsed"] == pytest.approx(11.0)
    assert found["orders"][0]["relative_error"] < 0.05
    found = facts(monkeypatch, capfd, "uneven.csv", "--time", "when", "--order", 16, "--start", 5, "--stop", 8)
    assert (found["n_samples"], found["elapsed"]) == (10, pytest.approx(3.0))


def test_other_files(monkeypatch, capfd, here):
    x = np.sin(np.arange(300) / 20)
    np.savez(here / "a.npz", X=x[None, :, None], sample_rate=100.0)
    (here / "b.ts").write_text("@univariate true\n@classLabel true p q\n@data\n" + ",".join(map(str, x)) + ":p\n")
    scipy.io.wavfile.write(here / "c.wav", 100, (2**15 * 0.5 * x).astype(np.int16))
    scipy.io.wavfile.write(here / "d.wav", 100, np.stack([x, 2 * x], axis=1).astype(np.float32))
    units = {}
    for name in ("a.npz", "b.ts", "c.wav"):
        found = facts(monkeypatch, capfd, name, "--order", 16)
        units[name] = (found["elapsed"], found["unit"])
        assert found["orders"][0]["relative_error"] == pytest.approx(0.02, abs=0.02), name
    assert units == {"a.npz": (3.0, "s"), "b.ts": (300.0, "samples"), "c.wav": (3.0, "s")}
    left, right = (
        facts(monkeypatch, capfd, "d.wav", "--channel", channel, "--order", 4)["orders"][0]["error"]
        for channel in (0, 1)
    )
    assert right == pytest.approx(2 * left)


def test_a_data_set_by_name(monkeypatch, capfd):
    found = facts(monkeypatch, capfd, "japanese_vowels", "--series", "test-3", "--order", 4)
    assert (found["series"], found["unit"]) == ("test-3", "s")


def test_the_sample_after_a_gap_lasts_for_the_gap(monkeypatch, capfd, here):
    gap, slow = (
        facts(monkeypatch, capfd, "mine.csv", "--channel", name, "--order", 8, "--rule", "exact")
        for name in ("gap", "slow")
    )
    assert (gap["n_samples"], gap["elapsed"]) == (199, pytest.approx(4.0))
    assert gap["orders"][0]["relative_error"] == pytest.approx(slow["orders"][0]["relative_error"], abs=0.002)


def test_a_constant_series(monkeypatch, capfd, here):
    (here / "flat.csv").write_text("x\n" + "1.5\n" * 20)
    found = facts(monkeypatch, capfd, "flat.csv", "--order", 4)
    assert found["orders"][0]["relative_error"] is None
    _, out, _ = run(monkeypatch, capfd, "flat.csv", "--order", 4)
    assert "the series is constant" in out


def test_a_picture_of_ours_is_renewed_and_another_file_is_not(monkeypatch, capfd, here):
    for order in (4, 6):
        assert run(monkeypatch, capfd, "mine.csv", "--order", order, "-o", "p.png")[0] == 0
    (here / "p.png").write_bytes(b"a holiday")
    status, _, err = run(monkeypatch, capfd, "mine.csv", "--order", 4, "-o", "p.png")
    assert status == 2
    assert (
        err == "seqkit: p.png is there and was not drawn by seqkit hippo show; name another file or add --overwrite\n"
    )
    assert (here / "p.png").read_bytes() == b"a holiday"
    assert run(monkeypatch, capfd, "mine.csv", "--order", 4, "-o", "p.png", "--overwrite")[0] == 0
    assert (here / "p.png").read_bytes().startswith(b"\x89PNG")


MISTAKES = [
    (["nowhere.csv"], "there is no file nowhere.csv, nor a data set of that name"),
    (["japanese_vowel"], "did you mean japanese_vowels"),
    (["words.txt"], "words.txt must end in one of"),
    (["bad.npz"], "bad.npz is damaged or not a .npz file"),
    (["bad.wav"], "bad.wav is damaged or not a WAV file"),
    (["empty.csv"], "empty.csv has no rows"),
    (["mine.csv", "--channel", "fats"], "no channel 'fats'; did you mean fast?"),
    (["mine.csv", "--channel", "9"], "no channel '9'; it has 3: slow, fast, gap"),
    (["void.npz"], "channel '0' of series '0' has no value; choose another"),
    (["mine.csv", "--series", "c"], "no series 'c'; choose one of a, b"),
    (["mine.csv", "--time", "tiem"], "no column 'tiem' for times; did you mean time"),
    (["bad.npz", "--time", "t"], "`time` names a column of a CSV or Parquet file"),
    (["mine.csv", "--sample-rate", "80"], "`sample_rate` is 80 Hz, but mine.csv says 50 Hz"),
    (["mine.csv", "--sample-rate", "0"], "`sample_rate` must be a finite number above 0"),
    (["mine.csv", "--order", "0"], "`order` must be a whole number of at least 1, got 0"),
    (["mine.csv", "--measure", "lags"], "`measure` must be one of legs, legt, lagt, fourier"),
    (["mine.csv", "--measure", "fourier", "--order", "7"], "`order` must be even"),
    (["mine.csv", "--window", "3"], "`window` is not for legs"),
    (["mine.csv", "--measure", "legt", "--window", "0"], "`window` must be a finite number above 0"),
    (["mine.csv", "--measure", "legt", "--window", "0.001"], "`window` must reach back"),
    (["mine.csv", "--rule", "exat"], "`rule` must be one of"),
    (["mine.csv", "--measure", "legt", "--rule", "exact"], "`rule` is for legs"),
    (["mine.csv", "--discretization", "bilinear"], "`discretization` is not for legs"),
    (["mine.csv", "--start", "9"], "no sample of series 'a' ends after 9 s; it is 4 s long"),
    (["mine.csv", "--start", "3", "--stop", "2"], "no sample of series 'a' ends between 3 and 2 s"),
    (["mine.csv", "--start", "-1"], "`start` must be a finite number, 0 or above"),
    (["mine.csv", "-o", "p.jpg"], "`out` must end in .png, got p.jpg"),
    (["mine.csv", "-o", "folder.png"], "folder.png is a folder"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_ends_with_one_sentence_and_status_2(monkeypatch, capfd, here, words, sentence):
    (here / "words.txt").write_text("words")
    np.savez(here / "void.npz", X=np.array([[[np.nan, 1.0], [np.nan, 2.0]]]))
    (here / "bad.npz").write_bytes(b"PK\x03\x04 no zip")
    (here / "bad.wav").write_bytes(b"RIFF no sound")
    (here / "empty.csv").write_text("a,b\n")
    (here / "folder.png").mkdir()
    status, _, err = run(monkeypatch, capfd, *words)
    assert status == 2
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert not list(here.glob("*.hippo.png"))


def test_without_matplotlib_the_sentence_names_the_command(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = run(monkeypatch, capfd, "mine.csv")
    assert status == 2
    assert err == "seqkit: Drawing pictures needs matplotlib, which is not installed; run: pip install 'seqkit[plot]'\n"


def test_help_shows_the_command(monkeypatch, capfd):
    status, out, _ = run(monkeypatch, capfd, "--help")
    assert status == 0
    for option in ("--series", "--channel", "--order", "--measure", "--window", "--rule"):
        assert option in out
