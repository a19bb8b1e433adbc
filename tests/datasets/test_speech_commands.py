"""Speech Commands: its lists, the cut of the papers, no speaker in two parts, MFCC, and the archive as it comes."""

from __future__ import annotations

import builtins
import hashlib
import pickle
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.io.wavfile
import scipy.signal

from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets import speech_commands as module
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.speech_commands import SC10, WORDS, SpeechCommands
from seqkit.datasets.speech_mfcc import Mfcc
from seqkit.datasets.stratified import stratified_cut


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, sounds: ModuleType) -> Path:
    """A twin of version 0.02 with 25 speakers of ten words."""
    root = tmp_path_factory.mktemp("speech")
    sounds.write_commands(root)
    return root


def speakers(series: SeriesSet) -> set[str]:
    return {name.split("/")[1].split("_nohash_")[0] for name in series.names}


def sizes(parts: dict[str, SeriesSet]) -> dict[str, int]:
    return {part: len(series) for part, series in parts.items()}


def test_parts_are_those_of_the_lists(root: Path, sounds: ModuleType) -> None:
    parts = SpeechCommands(root=root).load()
    files = sounds.command_files()
    listed = {
        "val": set(files["validation_list.txt"].decode().split()),
        "test": set(files["testing_list.txt"].decode().split()),
    }
    listed["train"] = {name for name in files if "_nohash_" in name} - listed["val"] - listed["test"]
    assert {part: {f"{name}.wav" for name in series.names} for part, series in parts.items()} == listed
    for series in parts.values():
        assert series.target == [name.split("/")[0] for name in series.names]
        i = len(series) - 1
        rate, stored = scipy.io.wavfile.read(
            root / "SpeechCommands" / "speech_commands_v0.02" / f"{series.names[i]}.wav"
        )
        assert (rate, series.sample_rate) == (16000, 16000.0)
        assert np.array_equal(series.values[i][:, 0], stored / np.float32(2**15))
    assert len({int(n) for series in parts.values() for n in series.lengths}) > 3  # none is padded or cut


def test_no_speaker_is_in_two_parts(root: Path) -> None:
    data = SeriesDataModule(SpeechCommands(root=root))
    data.setup()
    heard = [speakers(series) for series in data.sets.values()]
    assert all(heard)
    assert sum(map(len, heard)) == len(set.union(*heard)) == 25
    samples = np.concatenate(list(data.sets["train"].values)).astype(np.float64)
    mean, std = data.statistics()
    np.testing.assert_allclose((float(mean), float(std)), (samples.mean(), samples.std()), rtol=1e-4, atol=1e-6)


def test_words_keep_their_order_as_class_numbers(root: Path) -> None:
    for words, expected in (("sc10", SC10), ("stop,go,yes", ("stop", "go", "yes"))):
        source = SpeechCommands(words=words, root=root)
        data = SeriesDataModule(source, batch_size=8)
        data.setup()
        assert source.info().classes == data.info.classes == expected
        batch = next(iter(data.test_dataloader()))
        assert [expected[k] for k in batch.target.tolist()] == data.sets["test"].target[:8]
    assert SpeechCommands(words="all", version="0.01").info().classes == tuple(sorted(WORDS["0.01"]))
    assert (len(WORDS["0.01"]), len(WORDS["0.02"])) == (30, 35)


def test_the_papers_cut_is_that_of_scikit_learn(root: Path) -> None:
    cut = pytest.importorskip("sklearn.model_selection").train_test_split
    folder = root / "SpeechCommands" / "speech_commands_v0.02"
    names, labels = [], []
    for k, word in enumerate(SC10):
        for path in sorted((folder / word).iterdir()):
            if len(scipy.io.wavfile.read(path)[1]) == 16000:
                names.append(f"{word}/{path.stem}")
                labels.append(k)
    train, rest, _, left = cut(names, labels, train_size=0.7, random_state=0, stratify=labels)
    val, test = cut(rest, train_size=0.5, random_state=1, stratify=left)
    parts = SpeechCommands(split="paper", root=root).load()
    assert {part: series.names for part, series in parts.items()} == {"train": train, "val": val, "test": test}
    assert all((series.lengths == 16000).all() for series in parts.values())


def test_the_papers_parts_have_the_published_sizes() -> None:
    counts = np.full(10, 3497) + (np.arange(10) < 5)  # 34975 clips in all
    labels = np.repeat(np.arange(10), counts)
    train, rest = stratified_cut(labels, int(0.7 * len(labels)), seed=0)
    val, test = stratified_cut(labels[rest], int(0.5 * len(rest)), seed=1)
    assert (len(train), len(val), len(test)) == (24482, 5246, 5247)


def test_cuts_by_class_are_those_of_scikit_learn() -> None:
    cut = pytest.importorskip("sklearn.model_selection").train_test_split
    random = np.random.default_rng(0)
    for seed in range(20):
        labels = np.concatenate([random.integers(0, seed % 9 + 2, 150 + seed), np.repeat(np.arange(seed % 9 + 2), 2)])
        first, second = cut(np.arange(len(labels)), train_size=0.6, random_state=seed, stratify=labels)
        mine = stratified_cut(labels, len(first), seed)
        assert np.array_equal(mine[0], first)
        assert np.array_equal(mine[1], second)
    with pytest.raises(ValueError, match="two members at least"):
        stratified_cut(["a", "b", "b"], 1, seed=0)
    with pytest.raises(ValueError, match="parts of 1 and 3 series are too small to hold 2 classes"):
        stratified_cut(["a", "a", "b", "b"], 1, seed=0)


def test_half_the_rate_is_every_second_sample(root: Path) -> None:
    test = SpeechCommands(root=root).load()["test"]
    half = test.subsample(2)
    assert half.sample_rate == 8000.0
    assert np.array_equal(half.values[3], test.values[3][::2])


def mel_by_hand(samples: np.ndarray) -> np.ndarray:
    """MFCC from their definition: HTK's mel scale, triangles in Hz, log(power + 1e-6), orthonormal DCT."""
    window = scipy.signal.get_window("hann", 200)
    padded = np.pad(samples.astype(np.float64), 100, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 200)[::100]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66) / 2595) - 1)
    bins = np.linspace(0, 8000, 101)[:, None]
    up, down = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    bands = power @ np.maximum(0, np.minimum(up, down))
    return scipy.fft.dct(np.log(bands + 1e-6), norm="ortho")[:, :20]


def test_mfcc_are_those_of_their_definition(root: Path) -> None:
    pytest.importorskip("torchaudio")
    raw = SpeechCommands(root=root).load()["val"]
    series = SpeechCommands(features="mfcc", root=root).load()["val"]
    assert (series.n_channels, series.sample_rate, series.names) == (20, 160.0, raw.names)
    assert series.lengths.tolist() == [1 + n // 100 for n in raw.lengths]
    for i in (0, len(raw) - 1):
        np.testing.assert_allclose(series.values[i], mel_by_hand(raw.values[i][:, 0]), rtol=1e-3, atol=2e-2)
    assert Mfcc()(np.zeros((101, 1), dtype=np.float32)).shape == (2, 20)
    again = pickle.loads(pickle.dumps(series))
    assert np.array_equal(again.values[0], series.values[0])
    data = SeriesDataModule(SpeechCommands(features="mfcc", root=root))
    data.setup()
    assert (data.info.sample_rate, data.info.max_length, data.info.n_channels) == (160.0, 161, 20)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio"), r"pip install 'seqkit\[audio\]'"),
        (OSError("undefined symbol: x"), r"undefined symbol: x.*torch 2\.11\.0 with torchaudio 2\.11\.0 works"),
        (RuntimeError("wrong CUDA"), r"wrong CUDA.*torch 2\.11\.0 with torchaudio 2\.11\.0 works"),
    ],
)
def test_without_a_torchaudio_that_imports_it_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    before = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "torchaudio":
            raise error
        return before(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert SpeechCommands(features="mfcc", root=root).info().max_length == 161
    with pytest.raises(ImportError, match=words):
        SpeechCommands(features="mfcc", root=root).load()
    assert len(SpeechCommands(root=root).load()["train"]) > 0


def test_mfcc_are_of_one_channel_at_16_khz(tmp_path: Path) -> None:
    pytest.importorskip("torchaudio")
    source = SpeechCommands(features="mfcc", root=tmp_path)
    for name, rate, samples, words in (
        ("a.wav", 8000, np.zeros(500, dtype=np.int16), r"a\.wav has 1 channels at 8000 Hz.*one at 16000 Hz"),
        ("b.wav", 16000, np.zeros((500, 2), dtype=np.int16), r"b\.wav has 2 channels"),
        ("c.wav", 16000, np.zeros(100, dtype=np.int16), r"c\.wav has 100 samples, these features need 101"),
    ):
        scipy.io.wavfile.write(tmp_path / name, rate, samples)
        with pytest.raises(ValueError, match=words):
            source.read(tmp_path / name)


def test_options_are_checked() -> None:
    for options, words in (
        ({"split": "random"}, "`split` must be one of lists, paper"),
        ({"features": "mel"}, "`features` must be one of raw, mfcc"),
        ({"version": 3}, "`version` must be one of 0.01, 0.02, got '3'"),
        ({"words": "yes"}, "`words` must be sc10, all, or two different words or more .*, got 'yes'"),
        ({"words": True}, "`words` must be sc10, all, .* got True; such as yes,no"),
        ({"words": "yes,no,yes"}, "two different words or more"),
        ({"words": "yes,noo"}, r"got 'noo', which version 0\.02 lacks; did you mean no\?"),
        ({"words": "yes,learn", "version": "0.01"}, "got 'learn', which version 0.01 lacks"),
    ):
        with pytest.raises(ValueError, match=words):
            get_source("speech_commands", **options)
    assert get_source("speech_commands", version=0.01).version == "0.01"
    assert get_source("speech_commands", version="v0.02").version == "0.02"


def test_what_is_missing_or_damaged_is_named(tmp_path: Path, sounds: ModuleType) -> None:
    folder = sounds.write_commands(tmp_path, n_samples=200, speakers=20)
    source = SpeechCommands(root=tmp_path)
    source.prepare(offline=True)
    with pytest.raises(
        FileNotFoundError, match=r"0\.01 are not under .*version 0\.02 is there; choose it by version=0\.02"
    ):
        SpeechCommands(version="0.01", root=tmp_path).load()
    with pytest.raises(ValueError, match="has 0 clips of 16000 samples, too few"):
        SpeechCommands(split="paper", root=tmp_path).load()
    clip = next((folder / "up").iterdir())
    whole = clip.read_bytes()
    for content in (b"", whole[:-50], b"<html>"):
        clip.write_bytes(content)
        with pytest.raises(ValueError, match=rf"up/{clip.name} is damaged or not a WAV file"):
            source.load()
    clip.write_bytes(whole)
    for name in ("validation_list.txt", "testing_list.txt"):
        good = (folder / name).read_bytes()
        for content in (b"", b"\xff\xfe\x00", b"yes\nno\n", good[:-3]):
            (folder / name).write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name} is damaged: it must name a clip in each line"):
                source.load()
        (folder / name).write_bytes(good)
    tests = (folder / "testing_list.txt").read_bytes()
    val = (folder / "validation_list.txt").read_bytes()
    (folder / "testing_list.txt").write_bytes(tests + val)
    with pytest.raises(ValueError, match="stands on both lists"):
        source.load()
    (folder / "testing_list.txt").write_bytes(b"up/0_nohash_0.wav\n")
    with pytest.raises(ValueError, match="has no clips of these words for the test part"):
        source.load()
    (folder / "testing_list.txt").write_bytes(tests)
    (folder / "validation_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no validation_list\.txt"):
        source.load()
    (folder / "validation_list.txt").write_bytes(val)
    for path in (folder / "stop").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="holds no clips of the word 'stop'"):
        source.load()


def test_other_files_and_folders(root: Path, tmp_path: Path) -> None:
    source = SpeechCommands(root=root)
    clip = next((root / "SpeechCommands" / "speech_commands_v0.02" / "left").iterdir())
    assert source.read(clip).target == ["left"]
    assert sizes({"test": source.read(root, "test")}) == sizes({"test": source.load()["test"]})
    for place in ("own/left/one.wav", "own/go/two.wav", "own/noise/three.wav", "plain/four.wav"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(clip.read_bytes())
    assert (source.read(tmp_path / "own").target, source.read(tmp_path / "plain").target) == (["left", "go"], None)
    assert source.read(tmp_path / "plain" / "four.wav").target is None
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="nothing has no WAV files"):
        source.read(tmp_path / "nothing")


def packed(path: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    archive = sounds.write_tar(path, sounds.command_files(n_samples=200, speakers=20), "./")
    return seal(archive, monkeypatch)


def seal(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    known = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    monkeypatch.setattr(module, "SHA256", {"0.01": known, "0.02": known})
    return archive


def test_the_archive_is_unpacked_as_it_comes(
    tmp_path: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "SpeechCommands"
    packed(folder / "speech_commands_v0.01.tar.gz", sounds, monkeypatch)
    source = SpeechCommands(version="0.01", root=tmp_path)
    source.prepare(offline=True)
    assert [path.name for path in folder.iterdir()] == ["speech_commands_v0.01"]
    assert sum(sizes(source.load()).values()) == 200


def test_a_wrong_checksum_or_a_damaged_archive_leaves_nothing(
    tmp_path: Path, sounds: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = packed(tmp_path / "served" / "speech_commands_v0.02.tar.gz", sounds, monkeypatch)
    address = f"{served.parent.as_uri()}/{{}}.tar.gz"
    monkeypatch.setattr(module, "URL", address)
    monkeypatch.setattr(module, "MIRROR", address)
    whole = served.read_bytes()
    source = SpeechCommands(root=tmp_path / "root")
    served.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileNotFoundError, match=r"checksum .* does not match the known hash"):
        source.prepare()
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []
    seal(served, monkeypatch)
    with pytest.raises(ValueError, match=r"speech_commands_v0\.02\.tar\.gz"):
        source.prepare()
    assert [path.name for path in (tmp_path / "root" / "SpeechCommands").iterdir()] == [served.name]


def test_the_real_sample_has_its_parts(data_root: Path, sounds: ModuleType) -> None:
    folder = data_root / "SpeechCommands" / "speech_commands_v0.01"
    if not folder.is_dir():
        pytest.skip("needs Speech Commands 0.01 under SEQKIT_DATA")
    parts = SpeechCommands(words="all", version="0.01", root=data_root).load()
    heard = [speakers(series) for series in parts.values()]
    assert sum(map(len, heard)) == len(set.union(*heard))
    for part, series in parts.items():
        assert {sounds.part_of_speaker(speaker) for speaker in speakers(series)} == {part}
    names = Counter(name for series in parts.values() for name in series.names)
    assert set(names.values()) == {1}
    assert len(names) == len(list(folder.glob("[a-z]*/*_nohash_*.wav")))
    rate, stored = scipy.io.wavfile.read(folder / f"{parts['test'].names[0]}.wav")
    assert rate == 16000
    assert np.array_equal(parts["test"].values[0][:, 0] * 2**15, stored)
