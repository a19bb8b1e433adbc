"""The check of the documentation finds what is wrong with a page, and where."""

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield
    for name in ("pages", "commands", "python_blocks"):
        sys.modules.pop(name, None)


PAGE = """# A page

<!-- first
given = 2
-->

```python
twice = 2 * given
```

<!-- not run: needs a printer -->

```python
printer.print(twice)
```

<!-- needs no_such_set: a set of the reader's -->
```python
raise SystemExit
```

```python
print("before")
assert twice == 4
twice / 0
```
"""


def test_blocks_run_in_order_and_a_failure_names_its_line(tmp_path, monkeypatch):
    from python_blocks import run_page

    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text(PAGE)
    outcome = run_page(tmp_path / "page.md")
    assert outcome.n_run == 1
    reasons = [sentence.split(": ")[1] for sentence in outcome.skipped]
    assert reasons == ["needs a printer", f"needs no_such_set, and SEQKIT_DATA has none ({tmp_path})"]
    (failure,) = outcome.failed
    assert failure.startswith("page.md, block 4 at line 23: line 25: `twice / 0`: ZeroDivisionError")
    assert failure.endswith("before")
    Path("page.md").write_text(PAGE.replace("/ 0", "/ 1"))
    assert run_page(tmp_path / "page.md").failed == []
    Path("page.md").write_text(PAGE.replace("twice / 0", "twice /"))
    assert "line 25: invalid syntax" in run_page(tmp_path / "page.md").failed[0]


def test_commands_are_found_in_blocks_pipes_and_sentences(tmp_path):
    from pages import commands

    page = tmp_path / "page.md"
    page.write_text(
        "Use `seqkit models`, or\n`make demo`; `seqkit` alone is none.\n\n```\n"
        "$ tail -f 'new file.csv' | seqkit stream runs/a > out.csv   # forever\nnote: it's an answer\n```\n\n"
        "```bash\nX=1 seqkit train \\\n    epochs=2 && seqkit doctor\n```\n\n```python\nseqkit = train\n```\n"
    )
    found = {(command.words, command.line) for command in commands(page)}
    assert found == {
        (("seqkit", "models"), 1), (("make", "demo"), 2), (("tail", "-f", "new file.csv"), 5),
        (("seqkit", "stream", "runs/a"), 5), (("seqkit", "train", "epochs=2"), 11), (("seqkit", "doctor"), 11),
    }  # fmt: skip


WRONG = {
    "seqkit trian": "No such command",
    "seqkit train --epoch 3": "No such option",
    "seqkit train --data no_such_set": "no_such_set",
    "seqkit train --data digits epoch=3": "epoch",
    "seqkit train --data digits --model s5": "s5",
    "seqkit train --config recipes/no_such_recipe.yaml": "no_such_recipe",
    "seqkit predict runs/walks": "Missing",
    "seqkit compare --data digits --models s4d,s5": "s5",
    "seqkit tune --data digits --model s4d --time 30m depths=1,2": "depths",
    "seqkit distill --teacher lsssl --student s4d": "lsssl",
    "seqkit search --data digits --model tcn kernel=3": "kernel",
    "seqkit data show mnist permute=random:1": "permute",
    "python benchmarks/no_such_script.py": "there is no",
    "make tests": "no target",
}
RIGHT = (
    *("seqkit train --data walks.csv epochs=3", "seqkit train --out runs/a --resume", "seqkit data info digits"),
    *("seqkit train --config runs/a/config.yaml", "seqkit compare --data digits --models s4d,gru --budget 2m"),
    *("seqkit tune --data digits --model s4d --time 30m", "seqkit distill --teacher runs/a --student s4d"),
    *("seqkit serve runs/walks", "seqkit stream runs/walks --every 5", "torchrun -m seqkit train epochs=1", "ls -l"),
)


def test_wrong_commands_are_refused_and_right_ones_are_not():
    from commands import problem, stopped_at_work
    from pages import Command

    with stopped_at_work():
        for words, complaint in WRONG.items():
            assert complaint in problem(Command(tuple(words.split()), 1)), words
        for words in RIGHT:
            assert problem(Command(tuple(words.split()), 1)) == "", words


def test_a_sentence_may_leave_out_what_a_block_may_not():
    from commands import problem, stopped_at_work
    from pages import Command

    with stopped_at_work():
        for words in (
            "seqkit predict",
            "seqkit evaluate RUN --subsample K",
            "seqkit COMMAND --help",
            "seqkit train --config FILE",
        ):
            assert problem(Command(tuple(words.split()), 1, in_a_sentence=True)) == "", words
        assert problem(Command(("seqkit", "predict", "RUN", "--outt"), 1, in_a_sentence=True))
