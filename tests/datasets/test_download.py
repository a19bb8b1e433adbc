"""Fetching: mirrors, checksums, nothing half done, and what is said without a network."""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path
from types import ModuleType

import pooch
import pytest

from seqkit.datasets import get_source, mnist
from seqkit.datasets.download import fetch
from seqkit.datasets.source import data_root as where


class Network:
    """Stands for pooch's downloader: serves what it has, refuses the rest."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        self.asked.append(url)
        if url not in self.files:
            raise OSError(f"no route to {url}")
        Path(output_file).write_bytes(self.files[url])


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    net = Network({})
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: net)
    return net


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def test_the_next_mirror_is_tried(network: Network, tmp_path: Path) -> None:
    network.files = {"https://a/f": b"wrong", "https://c/f": b"right"}
    urls = ["https://a/f", "https://b/f", "https://c/f"]
    fetch(urls, tmp_path / "deep" / "f", md5(b"right"), offline=False, what="the files")
    assert (tmp_path / "deep" / "f").read_bytes() == b"right"
    assert network.asked == urls
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["f"]


def test_without_network_the_manual_steps_are_said(network: Network, tmp_path: Path) -> None:
    for name in ("mnist", "character_trajectories"):
        source = get_source(name, root=tmp_path / name)
        with pytest.raises(FileNotFoundError) as caught:
            source.prepare()
        words = str(caught.value)
        assert "no route to https://" in words
        assert f"put it in {tmp_path / name}" in words
        assert "SEQKIT_DATA" in words
        assert "\n" not in words
        assert not [file for file in (tmp_path / name).rglob("*") if file.is_file()]
    assert sum("ossci-datasets" in url for url in network.asked) == 1
    assert sum("cvdf-datasets" in url for url in network.asked) == 1


def test_a_wrong_file_is_not_kept(network: Network, tmp_path: Path) -> None:
    network.files = {"https://a/f": b"wrong"}
    with pytest.raises(FileNotFoundError, match="does not match the known hash"):
        fetch(["https://a/f"], tmp_path / "f", md5(b"right"), offline=False, what="the files")
    assert list(tmp_path.iterdir()) == []


def test_offline_asks_nobody(network: Network, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing is fetched offline"):
        get_source("mnist", root=tmp_path).prepare(offline=True)
    assert network.asked == []


def test_files_that_are_there_are_not_fetched(network: Network, tmp_path: Path, twins: ModuleType) -> None:
    twins.write_mnist(tmp_path)
    get_source("mnist", root=tmp_path).prepare()
    assert network.asked == []


def test_a_download_is_ready_to_load(
    network: Network, tmp_path: Path, twins: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = twins.write_mnist(tmp_path / "made")
    served = {name: gzip.compress(gzip.decompress((made / f"{name}.gz").read_bytes())) for name in mnist.FILES}
    monkeypatch.setattr(mnist, "FILES", {name: md5(data) for name, data in served.items()})
    network.files = {f"{mnist.MIRRORS[1]}{name}.gz": data for name, data in served.items()}
    source = get_source("permuted_mnist", root=tmp_path / "root")
    source.prepare()
    assert {part: len(series) for part, series in source.load().items()} == {"train": 60, "test": 20}


def test_pooch_is_only_needed_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"needs pooch, which is not installed; run: pip install 'seqkit\[data\]'"):
        fetch(["https://a/f"], tmp_path / "f", md5(b""), offline=False, what="the files")


def test_the_root_is_argument_then_environment_then_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEQKIT_DATA", "/from/environment")
    assert where("/given") == Path("/given")
    assert where() == Path("/from/environment")
    monkeypatch.delenv("SEQKIT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert where() == tmp_path / "seqkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert where() == tmp_path / ".cache" / "seqkit"
