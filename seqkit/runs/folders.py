"""Which folder a run is written to; nobody else's files are replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

from seqkit.runs.config import RunConfig
from seqkit.tasks.run_folder import RunFolder

__all__ = ["clear", "config_of", "folder_to_resume", "folder_to_start"]


def folder_to_start(out: str | Path | None, config: RunConfig, *, overwrite: bool = False) -> RunFolder:
    """Folder for a new run; nothing is written or removed yet.

    Args:
        out: The folder; `runs/DATA-MODEL-NUMBER`, with the first free number, if None.
        config: Names data and model.
        overwrite: Whether an earlier run may lie there.

    Raises:
        FileExistsError: the folder is a file, holds a run already, or holds files that no run wrote.

    Example:
        >>> folder_to_start(None, RunConfig.build("mnist", "lssl")).path.as_posix()
        'runs/mnist-lssl-001'
    """
    if out is None:
        return RunFolder(_numbered(config))
    folder = RunFolder(out)
    nearest = next(place for place in (folder.path, *folder.path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise FileExistsError(f"{nearest} is a file, so no run can be written to {folder.path}; name another folder")
    if nearest != folder.path or not any(_others(folder.path)):
        return folder
    if not folder.exists:
        raise FileExistsError(f"{folder.path} holds other files; a run needs a folder of its own, so name a new one")
    if not overwrite:
        raise FileExistsError(
            f"{folder.path} holds a run already; resume it (--resume, resume=True), write over it (--overwrite, "
            "overwrite=True), or choose another folder"
        )
    try:
        RunConfig.from_file(folder.config)
    except ValueError as error:
        raise FileExistsError(f"{folder.path} is not overwritten, since {error}; name another folder") from error
    return folder


def folder_to_resume(out: str | Path | None) -> RunFolder:
    """Folder of the run to continue: the one named, or the one started last under `runs`.

    Raises:
        FileNotFoundError: there is no run.

    Example:
        >>> folder_to_resume("nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: nowhere holds no run to resume (no config.yaml); start it without resuming
    """
    if out is None:
        runs = [RunFolder(path.parent) for path in Path("runs").glob("*/config.yaml")]
        if not runs:
            raise FileNotFoundError("there is no run to resume under runs/; name its folder")
        return max(runs, key=lambda run: run.config.stat().st_mtime)
    folder = RunFolder(out)
    if not folder.exists:
        raise FileNotFoundError(f"{folder.path} holds no run to resume (no config.yaml); start it without resuming")
    return folder


def config_of(folder: RunFolder) -> RunConfig:
    """Configuration of a finished run, which says how files are read for it.

    Raises:
        FileNotFoundError: a model that was saved by itself, without one.

    Example:
        >>> config_of(RunFolder("runs/vowels")).model.name  # doctest: +SKIP
        'lssl'
    """
    if not folder.config.is_file():
        raise FileNotFoundError(
            f"{folder.path} holds a model without a config.yaml, which says how files are read for it; give the "
            f"folder of a run, or a tensor (B, L, C) to seqkit.load({str(folder.path)!r}).predict"
        )
    return RunConfig.from_file(folder.config)


def clear(folder: RunFolder) -> None:
    """Takes away an earlier run's files, so that none of them is mistaken for a new run's; others stay.

    Example:
        >>> import tempfile
        >>> folder = RunFolder(tempfile.mkdtemp())
        >>> folder.write_summary({})
        >>> _ = (folder.path / "notes.txt").write_text("mine")
        >>> clear(folder)
        >>> [path.name for path in folder.path.iterdir()]
        ['notes.txt']
    """
    if (folder.path / "distill.json").is_file():
        # These folders are a distillation's own: what teachers said, and the students beside its own.
        for part in ("targets", "seen", "labels", "plain"):
            shutil.rmtree(folder.path / part, ignore_errors=True)
        for name in ("choice.json", "distill.json"):
            (folder.path / name).unlink(missing_ok=True)
    names = ["model.json", "model.safetensors", "curves.png", "confusion.png", "predictions.png"]
    # The summary goes first: without it nothing takes the rest for a finished run.
    for path in (folder.summary, folder.metrics, folder.checkpoint, *(folder.path / name for name in names)):
        path.unlink(missing_ok=True)


def _numbered(config: RunConfig) -> Path:
    data = Path(config.data.path).stem if config.data.path else config.data.name
    number = 1
    while (path := Path("runs") / f"{data}-{config.model.name}-{number:03d}").exists():
        number += 1
    return path


def _others(folder: Path) -> list[Path]:
    """What lies in a folder, but for what a killed run left half written."""
    return [path for path in folder.iterdir() if not path.name.startswith(".part-")]
