"""What a run says of the code that it needs is only ever a sentence: nothing of it is imported."""

import pytest

from seqkit.extensions import ExtensionWarning, Origin, import_options, origins, require


def lookup(*names):
    def look(name):
        if name not in names:
            raise ValueError(name)

    return look


def test_nothing_is_imported_and_the_option_is_named(tmp_path):
    path = tmp_path / "my mixers.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    record = {"file": str(path), "sha256": "0" * 64, "registers": ["mixer bells", "model bells"]}
    with pytest.raises(ValueError, match="which no run imports by itself") as error:
        require([record], "runs/b", {"mixer": lookup(), "model": lookup("bells")})
    assert str(error.value).startswith("runs/b uses mixer bells of ")
    assert f"add --import '{path}' if you trust it" in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"file": "gone/b.py"}, "of gone/b.py, .* is not there; ask its author for it, and add --import with its path"),
        ({"module": "lab.layers"}, "of lab.layers, .* add --import lab.layers if you trust it"),
        ({"package": "lab", "version": "1.2"}, "of the package lab 1.2, which is not installed or failed to load"),
    ],
)
def test_words_for_each_kind(record, words):
    with pytest.raises(ValueError, match=words):
        require([{**record, "registers": ["mixer b"]}], "runs/b", {"mixer": lookup()})
    require([{**record, "registers": ["mixer b"]}], "runs/b", {"mixer": lookup("b")})


def test_a_kind_of_name_that_is_not_known_here_is_missing():
    with pytest.raises(ValueError, match="uses codec b"):
        require([{"file": "b.py", "registers": ["codec b"]}], "runs/b", {"mixer": lookup("b")})


@pytest.mark.parametrize(
    "records",
    [
        5, "file", ["file"], [{}], [{"file": "b.py"}], [{"file": 3, "registers": []}],
        [{"file": "b.py", "registers": 3}], [{"file": "b.py\nall is well", "registers": ["mixer b"]}],
        [{"file": "b.py", "registers": ["mixer \x1b[2J"]}],
    ],
)  # fmt: skip
def test_damaged_records(records):
    with pytest.raises(ValueError, match="what runs/b says of its imports is damaged") as error:
        require(records, "runs/b", {"mixer": lookup("b")})
    assert len(str(error.value).splitlines()) == 1


def test_another_version_of_the_file_is_a_warning(monkeypatch):
    record = {"file": "old/b.py", "sha256": "1" * 64, "registers": ["mixer b"]}
    monkeypatch.setattr(origins, "_CLAIMS", {("mixer", "b"): Origin("file", "new/b.py", "1" * 64)})
    require([record], "runs/b", {"mixer": lookup("b")})
    monkeypatch.setattr(origins, "_CLAIMS", {("mixer", "b"): Origin("file", "new/b.py", "2" * 64)})
    with pytest.warns(ExtensionWarning, match=r"runs/b was made with another version of b\.py"):
        require([record], "runs/b", {"mixer": lookup("b")})


def test_options_for_other_processes(monkeypatch):
    given = {"/a.py": Origin("file", "/a.py", "0"), "lab": Origin("module", "lab")}
    monkeypatch.setattr("seqkit.extensions.code._GIVEN", given)
    records = [{"file": "/a.py"}, {"file": "/b c.py"}, {"package": "lab"}]
    assert import_options(records) == ["--import", "/a.py", "--import", "lab", "--import", "/b c.py"]
