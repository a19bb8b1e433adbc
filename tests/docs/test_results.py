"""RESULTS.md is kept by hand: what it names is there, and every figure of ours says where it comes from."""

import re
from pathlib import Path

import pytest

FROM_ELSEWHERE = ("the same", "that script", "then `")


@pytest.fixture(scope="module")
def results(repository: Path) -> str:
    return (repository / "RESULTS.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Rows of the tables without their heads: experiment, published, ours, hardware, time, command."""
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in cells if row[0] != "experiment" and set("".join(row)) != {"-"}]


def unnamed(text: str) -> list[str]:
    """Experiments with a figure of ours and neither a command nor a page."""
    found = []
    for row in rows(text):
        told = "](" in row[-1] or "`python " in row[-1] or any(words in row[-1] for words in FROM_ELSEWHERE)
        if not row[2].startswith("not run here") and not told:
            found.append(row[0])
    return found


def missing(text: str, root: Path) -> list[str]:
    """Pages, recipes and scripts that are named and not there."""
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    scripts = set(re.findall(r"python ((?:benchmarks|examples)/[\w./-]+\.py)", text))
    return sorted(name for name in links | scripts if not (root / name).is_file())


def test_rows_have_all_their_cells(results: str) -> None:
    assert len(rows(results)) > 50
    assert [row[0] for row in rows(results) if len(row) != 6] == []


def test_pages_recipes_and_scripts_are_there(results: str, repository: Path) -> None:
    assert missing(results, repository) == []
    assert missing("[page](nothing.md), `python benchmarks/nothing.py --seeds 3`", repository) == [
        "benchmarks/nothing.py",
        "nothing.md",
    ]


def test_figures_of_ours_say_where_they_come_from(results: str) -> None:
    assert unnamed(results) == []
    assert unnamed("| letters | 99 | 98 | core | 1 s | |\n| speech | 99 | not run here | | | |") == ["letters"]


def test_every_page_of_measurements_is_named_somewhere(repository: Path) -> None:
    pages = [repository / "README.md", repository / "RESULTS.md", repository / "benchmarks" / "README.md"]
    read = "".join(page.read_text(encoding="utf-8") for page in [*pages, *(repository / "docs").glob("*.md")])
    folder = repository / "benchmarks" / "results"
    kept = [page.relative_to(folder).as_posix() for page in folder.rglob("*.md")]
    assert [name for name in sorted(kept) if f"results/{name}" not in read] == []
