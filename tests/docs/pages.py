"""What a page of the documentation asks its reader to run: blocks of Python, and commands in blocks and in sentences.

A block runs unless a comment on the line before it says otherwise. Readers of the page see none of these comments:

    <!-- not run: REASON -->          the block that follows is skipped
    <!-- needs NAME: REASON -->       it is skipped where SEQKIT_DATA has no NAME
    <!-- first                        Python that runs before the next block: what the page takes as given
    model = ...
    -->
"""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

SHELL = ("", "bash", "sh", "console", "shell")
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\s*$")
MARK = re.compile(r"^\s*<!-- (?P<kind>not run|needs (?P<data>[\w./-]+)): (?P<reason>.+) -->\s*$")
IN_A_SENTENCE = re.compile(
    r"(?<!`)`((?:python -m )?seqkit [^`]+|make [a-z-]+|python (?:benchmarks|examples)/[^`]+)`(?!`)"
)
SEPARATORS, REDIRECTIONS = set("|;&()"), set("<>")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line of the page where the text begins, and whether it runs."""

    language: str
    text: str
    line: int
    skip: str = ""
    needs: str = ""


@dataclass(frozen=True)
class Command:
    """Words of one command and the line it stands on; one in a sentence may be unfinished or hold placeholders."""

    words: tuple[str, ...]
    line: int
    in_a_sentence: bool = False


def blocks(text: str) -> list[Block]:
    """All blocks of a page in order, those that only prepare among them (language "first")."""
    found: list[Block] = []
    lines = text.splitlines()
    at, skip, needs = 0, "", ""
    while at < len(lines):
        opening, mark = FENCE.match(lines[at]), MARK.match(lines[at])
        if mark is not None:
            skip, needs = ("", mark["data"]) if mark["data"] else (mark["reason"], "")
        elif lines[at].strip() == "<!-- first":
            end = _until(lines, at + 1, "-->")
            found.append(Block("first", "\n".join(lines[at + 1 : end]), at + 2))
            at = end
        elif opening is not None:
            end = _until(lines, at + 1, "```")
            code = textwrap.dedent("\n".join(lines[at + 1 : end]))
            found.append(Block(opening["language"], code, at + 2, skip, needs))
            at, skip, needs = end, "", ""
        elif lines[at].strip():
            skip, needs = "", ""
        at += 1
    return found


def _until(lines: list[str], at: int, end: str) -> int:
    for line in range(at, len(lines)):
        if lines[line].strip() == end:
            return line
    raise ValueError(f"what begins on line {at} has no end: {end}")


def python_blocks(path: Path) -> list[Block]:
    """The blocks of a page that are Python, and what comes before them."""
    return [block for block in blocks(path.read_text(encoding="utf-8")) if block.language in ("python", "first")]


def commands(path: Path) -> list[Command]:
    """The commands of a page, of a script's docstring and comments, or of a recipe's comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        shown = [line.lstrip().removeprefix("#").strip() for line in text.splitlines()]
        indented = [at for at, line in enumerate(shown) if line.startswith(("seqkit ", "python -m seqkit "))]
        return [one for at in indented for one in _on_line(shown[at], at + 1)] + _in_sentences(text)
    fenced = [one for block in blocks(text) if block.language in SHELL for one in in_block(block)]
    return fenced + _in_sentences(_without_blocks(text))


def in_block(block: Block) -> list[Command]:
    """The commands of a block: the lines after `$`, or all lines where none has one."""
    if block.skip:
        return []
    lines = list(enumerate(block.text.splitlines(), start=block.line))
    if any(line.startswith("$ ") for _, line in lines):
        lines = [(number, line[2:]) for number, line in lines if line.startswith("$ ")]
    found: list[Command] = []
    held = ""
    for number, line in lines:
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1] + " "
            continue
        found += _on_line(held + line, number)
        held = ""
    return found


def _on_line(line: str, number: int) -> list[Command]:
    """The commands of a line of shell, those of a pipe one by one, without redirections and what is set before them."""
    try:
        words = list(_words(line))
    except ValueError:  # an apostrophe in what a command prints, for one: no line of shell
        return []
    parts: list[list[str]] = [[]]
    skip = False
    for word in words:
        if skip or set(word) <= REDIRECTIONS:
            skip = not skip
        elif set(word) <= SEPARATORS:
            parts.append([])
        elif parts[-1] or not re.match(r"[A-Z_]+=", word):
            parts[-1].append(word)
    return [Command(tuple(part), number) for part in parts if part]


def _words(line: str) -> shlex.shlex:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return lexer


def _in_sentences(text: str) -> list[Command]:
    found = []
    for match in IN_A_SENTENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found += [
            Command(one.words, line, in_a_sentence=True) for one in _on_line(" ".join(match.group(1).split()), line)
        ]
    return found


def _without_blocks(text: str) -> str:
    """The page with its blocks blanked, so that lines keep their numbers."""
    lines = text.splitlines()
    for block in blocks(text):
        for at in range(block.line - 1, block.line - 1 + len(block.text.splitlines())):
            lines[at] = ""
    return "\n".join(lines)
