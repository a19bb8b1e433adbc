"""Pages that the site takes from elsewhere in the repository: README, results, recipes, examples, and the API's names.

Links stay as they are written, relative to the file that a reader of the repository sees; here they are pointed at the
page of the site that shows the same file.
"""

from __future__ import annotations

import ast
import logging
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

LOG = logging.getLogger("mkdocs.hooks.pages")  # a warning here fails a strict build
ROOT = Path(__file__).resolve().parents[2]
TAKEN = (
    "README.md",
    "RESULTS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "recipes/README.md",
    "examples/README.md",
    "examples/pictures/*.png",
    "benchmarks/**/*.md",
    "benchmarks/**/*.png",
)
CODE = ("examples/*.py", "benchmarks/*.py", "recipes/*.yaml")
SHOWN_AS_TEXT = (".csv", ".jsonl", ".json", ".toml", ".txt", "LICENSE")
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Adds what lies outside docs/, each script as a page with its code, and a page for each package's names."""
    for pattern in TAKEN:
        for path in sorted(ROOT.glob(pattern)):
            add(files, config, path.relative_to(ROOT).as_posix(), path=path)
    scripts = sorted(path for pattern in CODE for path in ROOT.glob(pattern))
    for path in scripts:
        add(files, config, page_of(path.relative_to(ROOT).as_posix()), text=code_page(path))
    packages = public_packages()
    for package in packages:
        add(files, config, f"api/{package}.md", text=f"# {package}\n\n::: {package}\n")
    names = "\n".join(f"- [`{package}`](api/{package}.md): {first_sentence(package)}" for package in packages)
    add(
        files,
        config,
        "api.md",
        text=f"# API\n\nEvery public name, by the package that it is imported from.\n\n{names}\n",
    )
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Points links at the site's pages."""
    source = in_repository(page.file.src_uri)
    if source is None:
        return markdown
    here = posixpath.dirname(source)

    def point(match: re.Match[str]) -> str:
        target = match.group(2)
        if "://" in target or target.startswith(("mailto:", "/")):
            return match.group(0)
        file = posixpath.normpath(posixpath.join(here, target))
        found = shown_at(file, files)
        if found is None:
            LOG.warning("%s links to %s, which is no file of the repository", source, target)
            return match.group(0)
        return match.group(1) + posixpath.relpath(found, posixpath.dirname(page.file.src_uri) or ".") + match.group(3)

    return LINK.sub(point, markdown)


def add(files: Files, config: Any, uri: str, *, path: Path | None = None, text: str | None = None) -> None:
    """Adds one page or picture."""
    content = {"content": text} if path is None else {"abs_src_path": str(path)}
    files.append(File.generated(config, uri, **content))


def in_repository(uri: str) -> str | None:
    """The file that a page shows; None for those that are made here."""
    folders = ("benchmarks/", "examples/", "recipes/")
    if uri.startswith(("README.md", "RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md", *folders)):
        return None if uri.endswith((".py.md", ".yaml.md")) else uri
    if uri.startswith("api"):
        return None
    return f"docs/{uri}"


def shown_at(file: str, files: Files) -> str | None:
    """Where the site shows a file or folder of the repository."""
    path = ROOT / file
    if path.is_dir():
        file = "index.md" if file == "docs" else f"{file}/README.md"
    uri = file.removeprefix("docs/")
    for candidate in (uri, page_of(file)):
        if files.get_file_from_path(candidate) is not None:
            return candidate
    if path.is_file() and file.endswith((*SHOWN_AS_TEXT, ".py", "Makefile")):
        return "README.md"  # files of the repository that have no page of their own
    return None


def page_of(file: str) -> str:
    """The page of a script."""
    return f"{file}.md"


def code_page(path: Path) -> str:
    """A script under its first sentence."""
    text = path.read_text(encoding="utf-8")
    return f"# {path.name}\n\n```{'python' if path.suffix == '.py' else path.suffix[1:]}\n{text}```\n"


def public_packages() -> list[str]:
    """Packages with public names, found by reading them: nothing is imported."""
    found = []
    folders = (Path(folder) for folder, _, _ in os.walk(ROOT / "seqkit", followlinks=True))
    for init in sorted(folder / "__init__.py" for folder in folders if (folder / "__init__.py").is_file()):
        names = [
            node
            for node in ast.parse(init.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        ]
        if names and ast.literal_eval(names[0].value):
            found.append(".".join(init.parent.relative_to(ROOT).parts))
    return found


def first_sentence(package: str) -> str:
    """What a package says of itself."""
    init = ROOT.joinpath(*package.split(".")) / "__init__.py"
    words = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    return " ".join(words.split("\n\n")[0].split())
