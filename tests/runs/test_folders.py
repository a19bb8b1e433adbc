"""Which folder a run may be written to: nobody's files are lost."""

import pytest
import yaml

from seqkit.runs import RunConfig, train
from seqkit.runs.folders import folder_to_start

CONFIG = RunConfig.build("japanese_vowels", "s4d")


def test_a_new_an_empty_and_a_half_started_folder_are_taken(tmp_path):
    assert folder_to_start(tmp_path / "a" / "b", CONFIG).path == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    assert folder_to_start(tmp_path, CONFIG).path == tmp_path
    (tmp_path / ".part-0123.yaml").touch()
    assert folder_to_start(tmp_path, CONFIG).path == tmp_path


def test_numbers_go_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "japanese_vowels-s4d-001").mkdir(parents=True)
    assert folder_to_start(None, CONFIG).path.name == "japanese_vowels-s4d-002"


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_are_neither_mixed_with_nor_replaced(tmp_path, overwrite):
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files; a run needs a folder of its own"):
        folder_to_start(tmp_path, CONFIG, overwrite=overwrite)
    with pytest.raises(FileExistsError, match=r"metrics.csv is a file, so no run can be written"):
        folder_to_start(tmp_path / "metrics.csv", CONFIG, overwrite=overwrite)
    with pytest.raises(FileExistsError, match=r"metrics.csv is a file, so no run can be written"):
        folder_to_start(tmp_path / "metrics.csv" / "run", CONFIG, overwrite=overwrite)


def test_a_configuration_that_no_run_wrote_is_not_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("training: {epochs: 3}\n")
    with pytest.raises(FileExistsError, match=r"not overwritten, since .*config.yaml lacks format"):
        folder_to_start(tmp_path, CONFIG, overwrite=True)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG.to_dict()))
    with pytest.raises(FileExistsError, match=r"holds a run already; .*--overwrite, overwrite=True"):
        folder_to_start(tmp_path, CONFIG)
    assert folder_to_start(tmp_path, CONFIG, overwrite=True).exists


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"order": 7}, "`order` must be even"),
        ({"dt_min": 2, "dt_max": 1}, "`dt_min` must not exceed dt_max"),
        ({"precision": "16-mixed"}, "needs a CUDA device; use precision=bf16-mixed or 32"),
    ],
)
def test_a_mistake_leaves_the_run_that_would_be_overwritten(tmp_path, small_run, waves_file, settings, words):
    before = {path: path.stat().st_mtime_ns for path in small_run.path.rglob("*")}
    with pytest.raises(ValueError, match=words):
        train(str(waves_file), "s4d", out=small_run.path, overwrite=True, device="cpu", progress=False, **settings)
    assert {path: path.stat().st_mtime_ns for path in small_run.path.rglob("*")} == before
    with pytest.raises(ValueError, match=words):
        train(str(waves_file), "s4d", out=tmp_path / "new", device="cpu", progress=False, **settings)
    assert not (tmp_path / "new").exists()


def test_overwriting_keeps_what_no_run_wrote(tmp_path, waves_file):
    settings = {"epochs": 1, "d_model": 8, "n_layers": 1, "order": 8, "device": "cpu", "progress": False}
    train(str(waves_file), "s4d", out=tmp_path / "run", **settings)
    (tmp_path / "run" / "answers.csv").write_text("mine")
    again = train(str(waves_file), "s4d", out=tmp_path / "run", overwrite=True, **{**settings, "epochs": 2})
    assert again.summary["epochs"] == 2
    assert (tmp_path / "run" / "answers.csv").read_text() == "mine"
