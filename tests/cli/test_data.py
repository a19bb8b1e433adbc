"""`seqkit data list|info|prepare|show` and `--offline`: what they print, draw, refuse, and that nothing is fetched."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqkit.cli.main import main
from seqkit.datasets import prepared, transfer
from seqkit.datasets.series import SeriesSet
from seqkit.runs import series_picture, show

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command in an empty folder with an empty data root and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path / "root"))

    def refuse(*words: object, **named: object) -> None:
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr(transfer.urllib.request, "urlopen", refuse)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
        else:
            status = 0
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A table of twelve series of three classes, 50 Hz, one value missing, with names that are no plain words."""
    lines = ["series,time,$x_1,_hidden,target"]
    for i in range(12):
        for k in range(30):
            gap = "" if (i, k) == (0, 7) else f"{np.sin(i + k / 5):.4f}"
            lines.append(f"s{i},{k / 50:.2f},{gap},{i},${'abc'[i % 3]}$")
    (tmp_path / "letters.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "letters.csv"


def answer(result: tuple[int, str, str]) -> dict:
    status, out, err = result
    assert (status, err) == (0, "")
    return json.loads(out.splitlines()[-1])


def test_info_says_licence_citation_origin_and_what_is_there(run: Run, tmp_path: Path) -> None:
    facts = answer(run("data", "info", "mnist", "--json"))
    assert facts["on_disk"] == {"files": 0, "bytes": 0}
    assert {"licence", "citation", "origin", "files"} <= set(facts)
    folder = tmp_path / "root" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(bytes(1_500_000))
    (folder / "train-labels-idx1-ubyte.gz.part").write_bytes(bytes(7))
    assert answer(run("data", "info", "mnist", "--json"))["on_disk"] == {"files": 1, "bytes": 1_500_000}
    _, out, _ = run("data", "info", "mnist")
    assert "1 file, 1.5 MB" in out
    _, out, _ = run("data", "info", "character_trajectories")
    assert "`seqkit data prepare character_trajectories` fetches it" in out


def test_every_set_says_its_licence_and_citation(run: Run) -> None:
    described = answer(run("data", "list", "--json"))
    assert {"mnist", "japanese_vowels"} <= set(described)
    for name, facts in described.items():
        for key in ("title", "licence", "citation", "origin"):
            assert facts.get(key), f"{name} does not say its {key}"
            assert "\n" not in facts[key]


def test_options_are_given_as_to_training(run: Run) -> None:
    for words in ("permutation=random:3", "data.permutation=random:3"):
        _, out, _ = run("data", "info", "mnist", words)
        assert "permuted (random:3)" in out
    assert run("data", "prepare", "japanese_vowels")[0] == 0


def test_prepare_lays_a_large_set_down(
    run: Run, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("data", "prepare", letters) == (0, f"{letters} is ready\n", "")
    monkeypatch.setattr(prepared, "LARGE", 1)
    status, out, _ = run("data", "prepare", letters)
    folder = Path(out.strip().removeprefix(f"{letters} is ready, prepared in "))
    assert status == 0
    assert (folder / "samples.f32").stat().st_size == 4 * 12 * 30 * 2
    assert folder.is_relative_to(tmp_path / "root")


def test_show_draws_some_of_each_class(run: Run, letters: Path, tmp_path: Path) -> None:
    told = answer(run("data", "show", letters, "--json", "--split", "all", "--per-class", "2"))
    assert told["file"] == "letters.series.png"
    assert told["n_series"] == 12
    assert told["shown"] == {"$a$": ["s0", "s9"], "$b$": ["s1", "s10"], "$c$": ["s2", "s11"]}
    assert (tmp_path / "letters.series.png").read_bytes()[1:4] == b"PNG"
    status, out, _ = run("data", "show", letters, "test=0.25", "--split", "test")  # its own picture is written over
    assert (status, out) == (0, "letters.series.png: 3 of 3 series (test)\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["info", "mnist", "permutaton=none"], "did you mean permutation?"),
        (["info", "mnist", "epochs=3"], "has no key 'epochs'"),
        (["info", "mnist", "permutation=sideways"], "permutation"),
        (["info", "mnist", "permutation"], "key=value"),
        (["prepare", "mnist", "--offline"], "nothing is fetched offline"),
        (["prepare", "mnist", "batch_size=3"], "has no key 'batch_size'"),
        (["show", "mnist", "--offline"], "nothing is fetched offline"),
        (["show", "minst"], "did you mean mnist?"),
        (["show", "letters.csv", "--split", "tests"], "did you mean test?"),
        (["show", "letters.csv", "--per-class", "0"], "`per_class` must be a whole number of at least 1, got 0"),
        (["show", "letters.csv", "--out", "a.jpg"], "must end in .png"),
        (["show", "letters.csv", "--out", "other.png"], "was not drawn by seqkit data show"),
        (["show", "letters.csv", "validation=2"], "`validation`"),
    ],
)
def test_mistakes_end_in_a_sentence(words: list[str], said: str, run: Run, letters: Path, tmp_path: Path) -> None:
    (tmp_path / "other.png").write_bytes(b"another picture")
    status, _, err = run("data", *words)
    assert status == 2
    assert said in err
    assert err.startswith("seqkit: ")
    assert err.count("\n") == 1
    assert (tmp_path / "other.png").read_bytes() == b"another picture"
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part"]


@pytest.mark.parametrize("command", [["train"], ["train", "--dry-run"]])
def test_training_offline_fetches_nothing(command: list[str], run: Run, tmp_path: Path) -> None:
    status, _, err = run(*command, "--data", "mnist", "--offline")
    assert (status, err.count("\n")) == (2, 1)
    assert "nothing is fetched offline" in err
    assert list(tmp_path.iterdir()) == []


def drawn(series: SeriesSet, n: int = 2) -> dict[str, list[int]]:
    return show._choose(series, n)[0]


def test_regression_shows_small_middle_and_large_targets() -> None:
    values = [np.ones((3, 1))] * 11
    target = np.random.default_rng(0).permutation(np.arange(11.0))
    order = np.argsort(target).tolist()
    assert drawn(SeriesSet(values, target)) == {"smallest": order[:2], "middle": order[4:6], "largest": order[-2:]}
    for n in range(1, 8):  # nothing twice, however few there are
        places = [i for each in drawn(SeriesSet(values[:n], target[:n]), 5).values() for i in each]
        assert len(places) == len(set(places)) == (n if n < 3 else 3 * (n // 3))


def test_classes_are_in_the_order_of_their_numbers() -> None:
    labels = [str(i) for i in (10, 9, 2, 10)]
    assert list(drawn(SeriesSet([np.ones((2, 1))] * 4, labels))) == ["2", "9", "10"]


def test_gaps_stay_gaps_and_peaks_stay_peaks() -> None:
    values = np.sin(np.arange(100_000) / 5000)
    values[30_000:40_000] = np.nan
    values[77_777] = 9.0
    times, thinned = series_picture._thin(np.arange(100_000) / 100.0, values)
    assert len(thinned) <= series_picture.POINTS + 100
    assert np.nanmax(thinned) == 9.0
    assert np.isnan(thinned[(times > 301) & (times < 399)]).all()
    assert not np.isnan(thinned[(times < 299) | (times > 401)]).any()
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize("labels", [False, True])
def test_targets_per_sample_are_drawn_below(labels: bool, tmp_path: Path) -> None:
    values = [np.random.default_rng(i).normal(size=(40 + i, 2)) for i in range(4)]
    target = [(one[:, 0] > 0).astype(str) if labels else one[:, :1] for one in values]
    series = SeriesSet(values, target, timestamps=[np.cumsum(np.abs(one[:, 0]) + 0.1) for one in values])
    rows = [[show._panel(series, i, words, 1.0) for i in places] for words, places in drawn(series).items()]
    figure = series_picture.draw_series(rows, channels=["a", "b"], unit="s", title="t")
    assert len(figure.axes) == 4
    assert [axes.get_ylabel() for axes in figure.axes] == ["", "", "target", "target"]
    np.testing.assert_array_equal(figure.axes[0].get_lines()[1].get_ydata(), values[0][:, 1].astype(np.float32))
    np.testing.assert_array_equal(figure.axes[0].get_lines()[1].get_xdata(), series.timestamps[0])
    figure.savefig(tmp_path / "a.png")


def test_the_axis_has_a_fitting_unit() -> None:
    values = [np.ones((100, 1))]
    for rate, unit in ((None, "samples"), (8000.0, "s"), (0.2, "min"), (1 / 600, "h"), (1 / 86_400, "days")):
        assert show._unit(SeriesSet(values, sample_rate=rate), [0])[0] == unit
    dates = SeriesSet(values, timestamps=[1.7e9 + 60.0 * np.arange(100)])
    assert show._times(dates, 0)[0] == 0.0
