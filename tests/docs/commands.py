"""Tries the commands that pages print: each goes to the real command line and is stopped where it would begin to work.

So options, names of data sets, models and settings, and files of the repository are looked at as in use, and nothing is
trained, fetched or served. Commands that only list something run to their end.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pages import Command

ROOT = Path(__file__).resolve().parents[2]
# Where the work of a command begins: everything before has looked at what the user gave.
STARTS_WORK = (
    *("seqkit.runs.training.train", "seqkit.runs.parallel.train_parallel", "seqkit.runs.estimate.estimate"),
    *("seqkit.runs.comparison.comparing._open", "seqkit.runs.tuning.tuning.build_data_module"),
    *("seqkit.runs.distill_run.folder_to_start", "seqkit.runs.distill_run.folder_to_resume"),
    *("seqkit.runs.searching.folder_to_start", "seqkit.runs.searching.folder_to_resume"),
    *("seqkit.runs.folders.folder_to_resume", "seqkit.runs.evaluation.evaluate", "seqkit.runs.prediction.predict"),
    *("seqkit.runs.memory.show_memory", "seqkit.streaming.export.export_model"),
    *("seqkit.cli.stream._opened", "seqkit.cli.serve.loaded", "seqkit.bench.bench", "seqkit.bench.bench_memory"),
)
PLACEHOLDERS = {
    **{"RUN": "runs/walks", "NAME": "japanese_vowels", "DATA": "japanese_vowels", "PATH": "walks.csv"},
    **{"INPUT": "new.csv", "MODEL": "s4d", "K": "2", "HZ": "50", "FILE": "states", "FOLDER": "folder"},
}
DATA_FILES = (".csv", ".parquet", ".npz", ".ts", ".wav", ".jsonl")
# What `--import` finds: names and options as on the page that shows the file; every command has a new folder.
OWN_FILES = {
    "bells.py": """
from seqkit.models import register_model
from seqkit.nn import GRU, mixer_names, register_mixer

if "bells" not in mixer_names():

    @register_mixer("bells")
    class Bells(GRU):
        def __init__(self, d_model, slowest=50.0):
            super().__init__(d_model)

    register_model("bells", mixer="bells")
""",
    "tides.py": """
from seqkit.datasets import register_source, source_names
from seqkit.datasets.adding import Adding

if "tides" not in source_names():

    @register_source("tides")
    class Tides(Adding):
        def __init__(self, *, days=30):
            super().__init__(size=days)
""",
}


class StartsWork(Exception):  # noqa: N818 - the good end of a trial
    """A command has looked at its arguments and would begin to work."""


def starts(*_: Any, **__: Any) -> Any:
    """Stands where a command begins to work."""
    raise StartsWork


def problems(found: list[Command], place: str) -> list[str]:
    """One sentence for each command that does not work as it is written."""
    sentences = []
    with stopped_at_work():
        for command in found:
            complaint = problem(command)
            if complaint:
                sentences.append(f"{place}, line {command.line}: `{' '.join(command.words)}`: {complaint}")
    return sentences


def problem(command: Command) -> str:
    """What is wrong with a command; empty where nothing is, or where it is none of ours."""
    words = list(command.words)
    if words[0].split("/")[-1] in ("python", "torchrun") and "-m" in words:
        words = words[words.index("-m") + 1 :]
    if words[0] == "seqkit":
        if "COMMAND" in words:
            return ""
        return seqkit_problem(words[1:], command.in_a_sentence)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"the Makefile has no target {unknown[0]}" if unknown else ""
    if words[0].split("/")[-1] == "python" and words[1:] and words[1].startswith(("benchmarks/", "examples/", "docs/")):
        return script_problem(words[1], words[2:])
    return ""


def script_problem(script: str, words: list[str]) -> str:
    """Scripts must be there and know the options that they are given."""
    path = ROOT / script
    if not path.is_file():
        return f"there is no {script}"
    text = path.read_text(encoding="utf-8")
    unknown = [word for word in words if word.startswith("--") and f'"{word.split("=")[0]}"' not in text]
    return f"{script} knows no {unknown[0]}" if unknown else ""


def seqkit_problem(words: list[str], in_a_sentence: bool) -> str:
    """Gives words to the command line in a folder with stand-ins for the reader's files."""
    import typer

    from seqkit.cli.main import app

    if in_a_sentence:
        words = [stand_in(word, before) for before, word in zip(["", *words], words, strict=False)]
    with stand_ins(words), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            typer.main.get_command(app).main(words, prog_name="seqkit", standalone_mode=False)
        except StartsWork:
            return ""
        except Exception as error:
            return "" if in_a_sentence and unfinished(error) else f"{type(error).__name__}: {error}"
    return ""


def unfinished(error: Exception) -> bool:
    """Whether a command of a sentence only lacks what a whole command has."""
    name, words = type(error).__name__, str(error)  # by name, as Typer may bring a click of its own
    lacks = ("requires an argument", "a search needs an end", "must name a model, a run or an estimator, got none")
    return name in ("MissingParameter", "NoArgsIsHelpError") or any(part in words for part in lacks)


def stand_in(word: str, before: str = "") -> str:
    """A word of a sentence with its placeholder filled in: RUN, FILE.png, key=VALUE."""
    if before == "--config" and word.isupper():
        return "runs/walks/config.yaml"
    return re.sub(r"(?<![A-Za-z_.-])[A-Z]+(?![A-Za-z_-])", lambda m: PLACEHOLDERS.get(m.group(), m.group()), word)


@contextlib.contextmanager
def stand_ins(words: list[str]) -> Iterator[None]:
    """A temporary working folder with the repository's folders, and a file where a command reads the reader's."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in ("recipes", "examples", "benchmarks"):
            if (ROOT / name).is_dir():
                os.symlink(ROOT / name, name)
        for word in words:
            path = Path(word)
            if path.parts[:1] in (("recipes",), ("examples",), ("benchmarks",)) or path.is_absolute():
                continue
            if path.name in OWN_FILES:
                path.write_text(OWN_FILES[path.name], encoding="utf-8")
            elif path.suffix in DATA_FILES and "=" not in word:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            elif path.suffix == ".yaml" and path.parts[0] in ("runs", "tuning"):  # what a run or a search has written
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("data: {name: japanese_vowels}\n", encoding="utf-8")
        yield


@contextlib.contextmanager
def stopped_at_work() -> Iterator[None]:
    """Puts `starts` wherever a command would begin to work."""
    with contextlib.ExitStack() as stack:
        for name in STARTS_WORK:
            stack.enter_context(mock.patch(name, starts))
        for name, wrapper in WRAPPED.items():
            stack.enter_context(mock.patch(name, wrapper(_named(name))))
        yield


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def then_starts(original: Callable[..., Any]) -> Callable[..., Any]:
    """Looks at the arguments as the function does, of which the work begins right after."""

    def look(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        raise StartsWork

    return look


def described(original: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the folder of a run as a teacher although there is none; other teachers are looked at as always."""

    def describe(teacher: Any, student: Any, settings: Any) -> Any:
        return {"run": teacher} if str(teacher).startswith("runs/") else original(teacher, student, settings)

    return describe


WRAPPED = {
    "seqkit.cli.data._source": then_starts,
    "seqkit.runs.show.build_source": then_starts,
    "seqkit.runs.distill_run._described": described,
}
