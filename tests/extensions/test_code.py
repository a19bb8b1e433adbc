"""A file or module of one's own: imported once, under one name, and its faults are one sentence."""

import sys

import pytest

from seqkit.extensions import import_code, origin_of, records_of


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_imported_once_and_is_the_module_of_its_name(mine, monkeypatch):
    path = write(mine, "own_a.py", "import helper_of_a\nruns = helper_of_a.count()\n")
    write(mine, "helper_of_a.py", "runs = []\ndef count():\n    runs.append(1)\n    return runs\n")
    monkeypatch.chdir(mine)
    first = import_code(path)
    assert first.__name__ == "own_a"
    assert import_code("./own_a.py") is first
    assert import_code("own_a") is first
    assert first.runs == [1]


def test_a_file_that_was_imported_by_its_name_is_not_run_again(mine, monkeypatch):
    path = write(mine, "own_b.py", "token = object()\n")
    monkeypatch.syspath_prepend(str(mine))
    import own_b

    assert import_code(path).token is own_b.token


@pytest.mark.parametrize("name", ["json.py", "24_own.py", "own-c.py"])
def test_a_name_that_is_taken_or_none_becomes_one_of_the_path(mine, name):
    module = import_code(write(mine, name, "size = 5\n"))
    assert module.size == 5
    assert module.__name__.startswith("seqkit_import_")
    assert sys.modules[module.__name__] is module
    import json

    assert hasattr(json, "dumps")


def test_nothing_in_the_folder_stands_in_front_of_a_library(mine):
    write(mine, "torchmetrics.py", "raise RuntimeError\n")
    import_code(write(mine, "own_d.py", ""))
    assert sys.path[-1] == str(mine)


def test_a_module_is_found_in_the_working_folder(mine, monkeypatch):
    write(mine, "own_lab/__init__.py", "")
    write(mine, "own_lab/layers.py", "size = 7\n")
    monkeypatch.chdir(mine)
    assert import_code("own_lab.layers").size == 7


FAULTS = {
    "name": ("import math\n\nx = math.pi + y\n", 3, "NameError: name 'y' is not defined"),
    "syntax": ("import math\ndef f(:\n    pass\n", 2, "SyntaxError: "),
    "end": ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    "missing": (
        "\nimport no_such_package_of_mine\n",
        2,
        "ModuleNotFoundError: No module named 'no_such_package_of_mine'",
    ),
    "inside": ("import json\njson.loads('{')\n", 2, "JSONDecodeError: "),
    "part": (
        "from seqkit.nn import Mixer, register_mixer\n@register_mixer('part')\nclass Part(Mixer):\n    pass\n",
        2,
        "ValueError: a mixer must define forward, initial_state, scan, step, which Part lacks",
    ),
    "taken": (
        "from seqkit.nn import GRU, register_mixer\n@register_mixer('lstm')\nclass Mine(GRU):\n    pass\n",
        2,
        "ValueError: a mixer named 'lstm' is already registered",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("how", ["file", "module"])
def test_a_fault_is_one_sentence_with_file_and_line(mine, monkeypatch, case, how):
    text, line, words = FAULTS[case]
    path = write(mine, f"own_fault_{case}.py", text)
    monkeypatch.chdir(mine)
    with pytest.raises(ImportError) as error:
        import_code(path if how == "file" else path.stem)
    assert f"own_fault_{case}.py, line {line}: {words}" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert error.value.__cause__ is not None
    assert path.stem not in sys.modules


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("nowhere.py", FileNotFoundError, "nowhere.py is not there"),
        ("folder/nowhere", FileNotFoundError, "is not there"),
        (".", ValueError, "`--import` must name a file that ends in .py"),
        ("two words", ValueError, "got 'two words'"),
        ("no_such_module_of_mine", ImportError, "there is no module no_such_module_of_mine"),
        ("json.no_such_module", ImportError, "there is no module json.no_such_module"),
    ],
)
def test_what_cannot_be_imported(mine, monkeypatch, what, kind, words):
    monkeypatch.chdir(mine)
    with pytest.raises(kind, match=words):
        import_code(what)


def test_a_text_file_and_a_folder_are_refused(mine):
    with pytest.raises(ValueError, match="must name a file that ends in"):
        import_code(write(mine, "notes.txt", "size = 1"))
    with pytest.raises(FileNotFoundError, match="is a folder"):
        import_code(mine)


REGISTERS = "from seqkit.nn import GRU, register_mixer\n@register_mixer({name!r})\nclass Own(GRU):\n    pass\n"


def test_names_come_from_what_was_asked_for_however_it_is_spread(mine, names):
    import hashlib

    from seqkit.models import register_model

    write(mine, "own_part.py", REGISTERS.format(name="own_gru"))
    text = "import own_part\nfrom seqkit.models import register_model\nregister_model('own_gru', mixer='own_gru')\n"
    path = write(mine, "own_whole.py", text)
    import_code(path)
    register_model("s4d", mixer="s4d", summary="the same map with a diagonal A: fastest")  # seqkit's own stays its own
    assert origin_of("model", "s4d") is None
    assert records_of([("model", "own_gru"), ("mixer", "own_gru"), ("pool", "mean"), ("model", "s4d")]) == [
        {
            "file": str(path),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "registers": ["model own_gru", "mixer own_gru"],
        }
    ]


def test_a_plain_import_is_remembered_as_the_file_that_it_is(mine, names, monkeypatch):
    path = write(mine, "own_plain.py", REGISTERS.format(name="plain_gru"))
    monkeypatch.syspath_prepend(str(mine))
    import own_plain  # noqa: F401

    assert records_of([("mixer", "plain_gru")])[0]["file"] == str(path)
