"""Spoken digits: both splits, no speaker or recording in two parts, names, and the archive as it comes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io.wavfile

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets import spoken_digits as module
from seqkit.datasets.spoken_digits import SpokenDigits


def speakers(series: object) -> set[str]:
    return {name.split("_")[1] for name in series.names}


def test_recordings_are_cut_by_the_rule_of_the_set(tmp_path: Path, sounds: ModuleType) -> None:
    sounds.write_digits(tmp_path, recordings=7)
    parts = SpokenDigits(root=tmp_path).load()
    assert {part: len(series) for part, series in parts.items()} == {"train": 100, "test": 250}
    assert {int(name.split("_")[2]) for name in parts["test"].names} == {0, 1, 2, 3, 4}
    assert {int(name.split("_")[2]) for name in parts["train"].names} == {5, 6}
    for series in parts.values():
        assert series.sample_rate == 8000.0
        for i in (0, 49, 77):
            name = series.names[i]
            assert series.target[i] == name[0]
            rate, stored = scipy.io.wavfile.read(tmp_path / "fsdd" / "recordings" / f"{name}.wav")
            assert rate == 8000
            assert np.array_equal(series.values[i][:, 0], stored / np.float32(2**15))


def test_speakers_are_held_out_whole(tmp_path: Path, sounds: ModuleType) -> None:
    sounds.write_digits(tmp_path, recordings=2)
    for options, expected in (
        ({}, ({"theo"}, {"yweweler"})),
        ({"val_speakers": "george", "test_speakers": "theo, jackson"}, ({"george"}, {"theo", "jackson"})),
    ):
        source = SpokenDigits(split="speaker", root=tmp_path, **options)
        data = SeriesDataModule(source)
        data.setup()
        val, test = (speakers(data.sets[part]) for part in ("val", "test"))
        assert (val, test) == expected
        assert speakers(data.sets["train"]) == set(sounds.SPEAKERS) - val - test
        assert {part: len(series) for part, series in data.sets.items()} == {
            part: n * 20 // 500 for part, n in source.describe()["series"].items()
        }


def test_no_recording_is_in_two_parts(tmp_path: Path, sounds: ModuleType) -> None:
    sounds.write_digits(tmp_path)
    data = SeriesDataModule(SpokenDigits(root=tmp_path))
    data.setup()
    content = {
        part: {hashlib.sha256(one.tobytes()).digest() for one in series.values} for part, series in data.sets.items()
    }
    assert sum(len(found) for found in content.values()) == len(set.union(*content.values())) == 500
    mean, std = data.statistics()
    samples = np.concatenate(list(data.sets["train"].values)).astype(np.float64)
    np.testing.assert_allclose((float(mean), float(std)), (samples.mean(), samples.std()), rtol=1e-4, atol=1e-6)


def test_options_are_checked(tmp_path: Path, sounds: ModuleType) -> None:
    for options, words in (
        ({"split": "word"}, "`split` must be one of recording, speaker, got 'word'"),
        ({"test_speakers": "theo"}, "must go with split=speaker"),
        ({"split": "speaker", "val_speakers": "yweweler"}, "must not share a speaker, got yweweler"),
        ({"split": "speaker", "val_speakers": "theo,"}, "`val_speakers` must be different names separated by commas"),
        ({"split": "speaker", "test_speakers": "jackson,jackson"}, "`test_speakers` must be different names"),
    ):
        with pytest.raises(ValueError, match=words):
            get_source("spoken_digits", **options)
    sounds.write_digits(tmp_path, recordings=1)
    with pytest.raises(ValueError, match=r"has no recordings by 'jakson'; did you mean jackson\?"):
        SpokenDigits(split="speaker", test_speakers="jakson", root=tmp_path).load()
    with pytest.raises(ValueError, match="has no recordings for the train part"):
        SpokenDigits(root=tmp_path).load()


def test_other_files_and_folders(tmp_path: Path, sounds: ModuleType) -> None:
    folder = sounds.write_digits(tmp_path, recordings=6)
    source = SpokenDigits(root=tmp_path)
    assert source.read(folder / "3_theo_1.wav").target == ["3"]
    assert len(source.read(tmp_path, "test")) == 250
    own = tmp_path / "own"
    own.mkdir()
    for name in ("hello.wav", "again.WAV", "._again.wav"):
        (own / name).write_bytes((folder / "3_theo_1.wav").read_bytes())
    series = source.read(own)
    assert (series.names, series.target) == (["again", "hello"], None)
    with pytest.raises(ValueError, match="has no parts, so it has no part 'test'"):
        source.read(own, "test")
    (tmp_path / "own2").mkdir()
    with pytest.raises(ValueError, match="own2 has no WAV files"):
        source.read(tmp_path / "own2")
    (folder / "three.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"three\.wav is not named like 7_theo_12\.wav"):
        source.load()
    (folder / "three.wav").unlink()
    (folder / "3_theo_1.wav").write_bytes((folder / "3_theo_1.wav").read_bytes()[:70])
    with pytest.raises(ValueError, match=r"3_theo_1\.wav is damaged or not a WAV file .*cut off"):
        source.load()


def packed(root: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str = "") -> Path:
    files = {f"recordings/{one}": content for one, content in sounds.digit_files(6).items()}
    files |= {"README.md": b"# FSDD\n", "metadata.py": b"metadata = {}\n", "utils/trimmer.py": b""}
    name = name or f"free-spoken-digit-dataset-{module.VERSION}.tar.gz"
    archive = sounds.write_tar(root / name, files, f"free-spoken-digit-dataset-{module.VERSION}/")
    monkeypatch.setattr(module, "SHA256", f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
    return archive


def test_the_archive_is_unpacked_as_it_comes(
    tmp_path: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path / "fsdd", sounds, monkeypatch)
    source = SpokenDigits(root=tmp_path)
    source.prepare(offline=True)
    assert [path.name for path in (tmp_path / "fsdd").iterdir()] == ["recordings"]
    assert {part: len(series) for part, series in source.load().items()} == {"train": 50, "test": 250}
    source.prepare(offline=True)


def test_a_download_with_the_wrong_checksum_leaves_nothing(
    tmp_path: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = packed(tmp_path / "served", sounds, monkeypatch, "v.tar.gz")
    monkeypatch.setattr(module, "URLS", (served.as_uri(),))
    whole = served.read_bytes()
    source = SpokenDigits(root=tmp_path / "root")
    for content in (whole[:-100], whole + b"x"):
        served.write_bytes(content)
        with pytest.raises(FileNotFoundError, match=r"checksum .* does not match the known hash"):
            source.prepare()
        assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []
    served.write_bytes(whole)
    source.prepare()
    assert len(source.load()["test"]) == 250


def test_a_damaged_archive_is_named(tmp_path: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "fsdd", sounds, monkeypatch)
    archive.write_bytes(archive.read_bytes()[:2000])
    monkeypatch.setattr(module, "SHA256", f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
    with pytest.raises(ValueError, match=archive.name):
        SpokenDigits(root=tmp_path).prepare(offline=True)
    assert [path.name for path in (tmp_path / "fsdd").iterdir()] == [archive.name]
    with pytest.raises(FileNotFoundError, match="run `seqkit data prepare spoken_digits`"):
        SpokenDigits(root=tmp_path).load()


def test_the_real_set_has_its_sizes(data_root: Path) -> None:
    folder = data_root / "fsdd" / "recordings"
    if not folder.is_dir():
        pytest.skip("needs spoken digits under SEQKIT_DATA")
    source = SpokenDigits(root=data_root)
    parts = source.load()
    if speakers(parts["train"]) != {"george", "jackson", "nicolas", "theo", "yweweler"}:
        pytest.skip("another version")
    assert {part: len(series) for part, series in parts.items()} == source.describe()["series"]
    lengths = np.concatenate([series.lengths for series in parts.values()])
    assert (lengths.min(), lengths.max(), round(lengths.mean())) == (1148, 18262, 3281)
    for series in parts.values():
        assert {label: series.target.count(label) for label in set(series.target)} == dict.fromkeys(
            source.info().classes, len(series) // 10
        )
    test = parts["test"]
    _, stored = scipy.io.wavfile.read(folder / f"{test.names[7]}.wav")
    assert np.array_equal(test.values[7][:, 0] * 2**15, stored)
