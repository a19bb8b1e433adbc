"""BIDMC's recordings: both layouts of the files, windows and their targets, cuts by person and in time."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from seqkit.datasets import SeriesDataModule, SeriesSet, bidmc_raw, get_source
from seqkit.datasets.bidmc_raw import BIDMCRaw

SHORT = {"window": 4, "stride": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, fakes: ModuleType) -> Path:
    """Eight recordings of 40 seconds."""
    root = tmp_path_factory.mktemp("recordings")
    fakes.write_recordings(root / "BIDMC", 8)
    return root


def people(series: SeriesSet) -> set[str]:
    return {name.rpartition("-")[0] for name in series.names}


def spans(series: SeriesSet, seconds: float) -> list[tuple[float, float]]:
    starts = sorted(float(name.rpartition("-")[2].removesuffix("s")) for name in series.names)
    return [(start, start + seconds) for start in starts]


def test_windows_hold_the_signals_and_the_mean_of_their_seconds(root: Path, fakes: ModuleType) -> None:
    series = BIDMCRaw(**SHORT, channels="II,PLETH").read(root / "BIDMC" / "bidmc_03_Signals.csv")
    assert len(series) == 19  # starts at 0, 2, ..., 36
    assert series.names[:2] == ["bidmc_03-0s", "bidmc_03-2s"]
    assert (series.channels, series.sample_rate) == (("II", "PLETH"), 125)
    signals, numbers = fakes.signals(40, 3), fakes.numerics(40, 3)
    for k, (one, target) in enumerate(zip(series.values, series.target, strict=True)):
        wanted = signals[k * 250 : k * 250 + 500][:, [4, 1]]
        np.testing.assert_allclose(one, wanted, rtol=1e-6, atol=6e-6)
        assert target[0] == pytest.approx(numbers[2 * k + 1 : 2 * k + 5, 0].mean())


@pytest.mark.parametrize(("target", "column"), [("HR", 0), ("PULSE", 1), ("RR", 2), ("SpO2", 3)])
def test_each_number_of_the_monitor_can_be_the_target(target: str, column: int, root: Path, fakes: ModuleType) -> None:
    series = BIDMCRaw(target=target, **SHORT).read(root / "BIDMC" / "bidmc_02_Signals.csv")
    assert series.kind == "regression"
    assert series.target[0, 0] == pytest.approx(fakes.numerics(40, 2)[1:5, column].mean())


def test_breathing_is_a_target_per_sample(root: Path, fakes: ModuleType) -> None:
    source = BIDMCRaw(target="RESP", **SHORT, root=root)
    series = source.read(root / "BIDMC" / "bidmc_02_Signals.csv")
    assert series.kind == source.info().task == source.describe()["task"] == "sequence"
    assert series.channels == ("PLETH", "II")
    np.testing.assert_allclose(series.target[3][:, 0], fakes.signals(40, 2)[750:1250, 0], rtol=1e-6, atol=6e-6)


def test_a_republished_file_reads_the_same(tmp_path: Path, fakes: ModuleType) -> None:
    source = BIDMCRaw(target="RESP", **SHORT)
    one = source.read(fakes.write_signals(tmp_path / "a", 1))
    two = source.read(fakes.write_signals(tmp_path / "b", 1, republished=True))
    assert (tmp_path / "b" / "bidmc_01_Signals.csv").read_text().startswith("Sampling Freq,Time [s], RESP")
    assert one.names == two.names
    assert all(np.array_equal(a, b) for a, b in zip(one.values, two.values, strict=True))


@pytest.mark.parametrize("missing", ["", "0", "NaN", "nan"])
def test_windows_with_a_second_without_a_number_are_left_out(missing: str, tmp_path: Path, fakes: ModuleType) -> None:
    path = fakes.write_signals(tmp_path, 1)
    fakes.write_numerics(tmp_path, 1, missing={7: missing})
    names = BIDMCRaw(**SHORT).read(path).names
    kept = [start for start in range(0, 37, 2) if not start < 7 <= start + 4]
    assert names == [f"bidmc_01-{start}s" for start in kept]
    fakes.write_numerics(tmp_path, 1, seconds=20)  # the numbers end before the signals
    assert BIDMCRaw(**SHORT).read(path).names == [f"bidmc_01-{start}s" for start in range(0, 17, 2)]
    fakes.write_numerics(tmp_path, 1, missing=dict.fromkeys(range(41), missing))
    with pytest.raises(ValueError, match=r"gives no window of 4 s with a target; give a shorter `window` or another"):
        BIDMCRaw(**SHORT).read(path)


def test_missing_samples_are_kept_as_missing(tmp_path: Path, fakes: ModuleType) -> None:
    path = fakes.write_signals(tmp_path, 1)
    lines = path.read_text().splitlines()
    for k in (11, 12):  # samples 10 and 11
        lines[k] = ",".join([*lines[k].split(",")[:2], "", "NaN" if k == 12 else " ", *lines[k].split(",")[4:]])
    path.write_text("\n".join(lines) + "\n")
    first = BIDMCRaw(**SHORT, channels="II,PLETH").read(path).values[0]
    assert np.argwhere(np.isnan(first)).tolist() == [[10, 1], [11, 1]]
    assert len(BIDMCRaw(**SHORT, target="RESP", channels="II").read(path)) == 19
    lines[11] = lines[11].replace(lines[11].split(",")[1], "", 1)  # a target that is missing
    path.write_text("\n".join(lines) + "\n")
    assert BIDMCRaw(**SHORT, target="RESP", channels="II").read(path).names[0] == "bidmc_01-2s"


def test_nobody_is_in_two_parts(root: Path) -> None:
    parts = BIDMCRaw(**SHORT, root=root).load()
    who = {part: people(series) for part, series in parts.items()}
    assert {part: len(names) for part, names in who.items()} == {"train": 5, "val": 1, "test": 2}
    assert len(set.union(*who.values())) == 8
    assert {part: series.names for part, series in BIDMCRaw(**SHORT, root=root).load().items()} == {
        part: series.names for part, series in parts.items()
    }


@pytest.mark.parametrize("target", ["HR", "RESP"])
def test_cut_in_time_no_sample_is_in_two_parts(target: str, root: Path) -> None:
    parts = BIDMCRaw(target=target, **SHORT, split="time", root=root).load()
    for person in people(parts["train"]):
        own = {
            part: spans(series.select(i for i, name in enumerate(series.names) if name.startswith(person)), 4)
            for part, series in parts.items()
        }
        assert own["train"][-1][1] <= 0.7 * 40
        assert own["val"][0][0] >= 0.7 * 40 + 2
        assert own["val"][-1][1] <= 0.85 * 40
        assert own["test"][0][0] >= 0.85 * 40 + 2
        assert own["test"][-1][1] <= 40


def test_statistics_are_of_the_training_part_alone(root: Path) -> None:
    module = SeriesDataModule(BIDMCRaw(**SHORT, root=root))
    module.setup()
    train = np.concatenate(list(BIDMCRaw(**SHORT, root=root).load()["train"].values)).astype(np.float64)
    mean, std = module.statistics()
    np.testing.assert_allclose(mean, train.mean(0), rtol=1e-4)
    np.testing.assert_allclose(std, train.std(0), rtol=1e-4)
    mean, _ = module.target_statistics()
    assert mean == pytest.approx(module.sets["train"].target.mean(), rel=1e-5)


def test_few_recordings_are_cut_in_time_when_asked(tmp_path: Path, fakes: ModuleType) -> None:
    fakes.write_recordings(tmp_path / "BIDMC", 3)
    with pytest.raises(ValueError, match=r"`split` must be time for .*BIDMC, got 'patient': .* 4 .*, and it has 3"):
        BIDMCRaw(**SHORT, root=tmp_path).load()
    assert {part: len(people(s)) for part, s in BIDMCRaw(**SHORT, split="time", root=tmp_path).load().items()} == {
        "train": 3,
        "val": 3,
        "test": 3,
    }
    with pytest.raises(ValueError, match=r"the val part of .* gives no window of 8 s"):
        BIDMCRaw(window=8, split="time", root=tmp_path).load()


def test_a_file_without_numbers_can_be_predicted(tmp_path: Path, fakes: ModuleType) -> None:
    series = BIDMCRaw(**SHORT).read(fakes.write_signals(tmp_path, 5))
    assert (len(series), series.target) == (19, None)
    with pytest.raises(ValueError, match=r"has no part 'test'|has no parts"):
        BIDMCRaw(**SHORT).read(tmp_path / "bidmc_05_Signals.csv", "test")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[:-20], r"line 5002 of .* has \d fields, the header 6|could not convert"),
        (lambda text: text.replace("\n", "\nx,", 3), "line 2 of .*"),
        (
            lambda text: text.replace("\n4,0.", "\n4,half", 1),
            r"line \d+ of .* could not convert string to float: '.*half",
        ),
        (lambda text: "\n".join(text.split("\n")[:900] + text.split("\n")[901:]), "rows are missing"),
        (lambda text: text.replace(" PLETH", " PPG"), "has no column 'PLETH'; its columns are Time .s., RESP, PPG"),
        (lambda text: text.replace("Time [s]", "Seconds"), "has no column 'Time .s.'"),
        (lambda text: text.split("\n")[0] + "\n", "has no rows below its header"),
        (lambda text: "", "has no column .*its columns are none"),
    ],
)
def test_damaged_files_are_named(damage: object, words: str, tmp_path: Path, fakes: ModuleType) -> None:
    path = fakes.write_signals(tmp_path, 1)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=words) as error:
        BIDMCRaw(target="RESP", **SHORT).read(path)
    assert str(path) in str(error.value)


def test_files_that_are_not_text_are_named(tmp_path: Path, fakes: ModuleType) -> None:
    path = fakes.write_signals(tmp_path, 1)
    whole = path.read_bytes()
    for content in (b"\xff\xfe\x00\x01", whole[:40_000] + b"\xff\xfe" + whole[40_000:], whole[:40_000] + b"\x00" * 50):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bidmc_01_Signals.csv"):
            BIDMCRaw(target="RESP", **SHORT).read(path)
    path = fakes.write_signals(tmp_path, 1)
    fakes.write_numerics(tmp_path, 1).write_text("Time [s], HR\n0,60\n0,60\n1,60\n")
    with pytest.raises(ValueError, match=r"the times of .*bidmc_01_Numerics.csv must increase"):
        BIDMCRaw(**SHORT).read(path)
    with pytest.raises(ValueError, match=r"Numerics.csv has no column 'SpO2'"):
        BIDMCRaw(target="SpO2", **SHORT).read(path)


@pytest.fixture
def published(tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fakes.publish(tmp_path / "published", 4, seconds=20)
    monkeypatch.setattr(bidmc_raw, "ADDRESSES", ((tmp_path / "gone").as_uri() + "/", folder.as_uri() + "/"))
    return folder


def test_recordings_are_fetched_with_their_checksums(published: Path, tmp_path: Path) -> None:
    source = BIDMCRaw(**SHORT, root=tmp_path / "root")
    with pytest.raises(FileNotFoundError, match=r"the files of bidmc_raw are not there .*offline"):
        source.prepare(offline=True)
    assert not (tmp_path / "root").exists()
    source.prepare()
    folder = tmp_path / "root" / "BIDMC"
    numbered = [f"bidmc_0{n}_{kind}.csv" for n in range(1, 5) for kind in ("Numerics", "Signals")]
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS.txt", *numbered]
    assert {part: len(people(series)) for part, series in source.load().items()} == {"train": 2, "val": 1, "test": 1}
    (folder / "bidmc_03_Numerics.csv").unlink()  # as if the download had been stopped
    with pytest.raises(FileNotFoundError, match=r"bidmc_03_Numerics.csv"):
        source.prepare(offline=True)
    source.prepare()
    assert (folder / "bidmc_03_Numerics.csv").is_file()


def test_a_wrong_checksum_leaves_nothing_and_is_said(published: Path, tmp_path: Path) -> None:
    path = published / "bidmc_csv" / "bidmc_02_Signals.csv"
    path.write_bytes(path.read_bytes()[:-1] + b"9")
    source = BIDMCRaw(**SHORT, root=tmp_path / "root")
    with pytest.raises(FileNotFoundError, match="does not match the known hash"):
        source.prepare()
    assert not list((tmp_path / "root" / "BIDMC").glob("bidmc_02_Signals*"))


def test_a_list_of_checksums_is_one(published: Path, tmp_path: Path) -> None:
    (published / "SHA256SUMS.txt").write_text("<html>no such page</html>")
    with pytest.raises(ValueError, match=r"SHA256SUMS.txt lists no files bidmc_csv/.*remove it and prepare again"):
        BIDMCRaw(root=tmp_path / "root").prepare()
    (published / "SHA256SUMS.txt").write_text(f"{'0' * 64} ../../bidmc_01_Signals.csv\n")
    (tmp_path / "root" / "BIDMC" / "SHA256SUMS.txt").unlink()
    with pytest.raises(ValueError, match="lists no files"):
        BIDMCRaw(root=tmp_path / "root").prepare()


def test_recordings_put_there_by_hand_are_ready(tmp_path: Path, fakes: ModuleType) -> None:
    fakes.write_signals(tmp_path / "BIDMC", 1)
    BIDMCRaw(target="RESP", root=tmp_path).prepare(offline=True)
    with pytest.raises(
        FileNotFoundError, match=r"/bidmc_csv/ elsewhere.*without bidmc_01_Numerics.csv only target=RESP, split=time"
    ):
        BIDMCRaw(root=tmp_path).prepare(offline=True)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*bidmc_01_Numerics.csv, which has the HR"):
        BIDMCRaw(split="time", root=tmp_path).load()
    fakes.write_numerics(tmp_path / "BIDMC", 1)
    BIDMCRaw(root=tmp_path).prepare(offline=True)
    with pytest.raises(FileNotFoundError, match="run `seqkit data prepare bidmc_raw`"):
        BIDMCRaw(root=tmp_path / "nowhere").load()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "resp"}, "`target` must be one of HR, PULSE, RR, SpO2, RESP, got 'resp'; did you mean RESP"),
        ({"split": "subject"}, "`split` must be one of patient, time"),
        ({"channels": "PLETH,ECG"}, "`channels` must be one of RESP, PLETH, V, AVR, II, got 'ECG'"),
        ({"channels": "II,II"}, "`channels` must name each signal once"),
        ({"target": "RESP", "channels": ["RESP"]}, "`channels` must not hold the target RESP"),
        ({"window": 0}, "`window` must be a finite number above 0"),
        ({"stride": 0.001}, "`stride` must be one sample of 0.008 s at least"),
        ({"stride": "8"}, "`stride` must be a finite number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_source("bidmc_raw", **options)


def test_the_real_recording_has_its_sizes(data_root: Path) -> None:
    path = data_root / "BIDMC" / "bidmc_01_Signals.csv"
    if not path.is_file():
        pytest.skip("needs a recording of BIDMC under SEQKIT_DATA")
    series = BIDMCRaw(target="RESP", split="time", root=data_root).load()
    assert {part: len(one) for part, one in series.items()} == {"train": 39, "val": 4, "test": 4}
    table = np.genfromtxt(path, delimiter=",", skip_header=1, max_rows=5000)
    assert np.array_equal(series["train"].values[1], table[1000:5000, [3, 6]].astype(np.float32))
    assert np.array_equal(series["train"].target[1][:, 0], table[1000:5000, 2].astype(np.float32))
