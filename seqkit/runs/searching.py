"""A search over operations from configuration to run folder, beside the same training without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from seqkit.datasets.module import SeriesDataModule
from seqkit.files import write_whole
from seqkit.models import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module, describe_data, keep_windows
from seqkit.runs.folders import clear, folder_to_resume, folder_to_start
from seqkit.runs.holding import held
from seqkit.runs.inference import pick_device
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.steps import fit_step_sizes
from seqkit.runs.training import build_model, carry_out, say, train
from seqkit.search import SearchConfig
from seqkit.structured.xd import describe_operation, draw_operations, operation_layers, patch_convolutions
from seqkit.tasks.operation_schedule import OperationSchedule
from seqkit.tasks.run_folder import RunFolder

__all__ = ["SearchResult", "search", "split_settings"]

SEARCH, PLAIN, PICTURE = "search.yaml", "unsearched", "operations.png"
SHORT = ("depth", "operation_learning_rate", "warmup_epochs")  # settings of the search that need no `search.` before


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Args:
        searched: The run with operations.
        unsearched: The run of the network that it started from, with the same data, seed and number of epochs.
        operations: What was found, by layer: a name where it is a known operation, and its distances.

    Example:
        >>> runs = [TrainResult(Path(name), {"accuracy": 0.9}, "test", {}) for name in ("a", "b")]
        >>> SearchResult(*runs, operations={}).unsearched.metrics["accuracy"]
        0.9
    """

    searched: TrainResult
    unsearched: TrainResult
    operations: dict[str, str] = field(repr=False)

    @property
    def path(self) -> Path:
        """Folder of the search."""
        return self.searched.path


def search(
    data: str | Path | None = None,
    model: str | None = None,
    *,
    config: str | Path | RunConfig | None = None,
    search: SearchConfig | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    offline: bool = False,
    progress: bool = True,
    **settings: Any,
) -> SearchResult:
    """Trains a convolution network, then once more with its convolutions searched over: the same as `seqkit search`.

    First the network is trained as it is, in the folder `unsearched`. Then, from the same starting weights and for the
    same epochs, with an operation K diag(L w) M in place of each convolution, weights and operations on the same loss.

    Args:
        data: Registered name ("japanese_vowels" if None), or path of your own data.
        model: Name of a preset with convolutions; "tcn" if None.
        config: YAML file, or a whole `RunConfig`.
        search: How operations are put in and trained; the defaults of `SearchConfig` if None.
        out: Run folder; `runs/DATA-MODEL` with a number if None.
        resume: Continue the search in `out` from its last checkpoint, with its own configuration.
        overwrite: Start anew in a folder that holds a run.
        offline: Fetch nothing.
        progress: Whether to show progress on standard error.
        settings: Values by last part of their key, such as `epochs=5` or `kernel_size=7`.

    Returns:
        Both runs and the operations found.

    Raises:
        FileNotFoundError: no such data, configuration or run.
        FileExistsError: `out` is a file, or holds a run already, or files that no run wrote.
        ValueError: wrong settings, a warm-up as long as the run, unusable data, or a model without convolutions.

    Source: Roberts et al. 2021, XD-operations (arXiv:2103.15798). Differs: weights and operations are two groups of one
        AdamW, the operations without decay, which is two optimizers of Adam on the same loss.

    Example:
        >>> found = search("digits", epochs=10, out="runs/search")  # doctest: +SKIP
        >>> found.searched.metrics["accuracy"] > found.unsearched.metrics["accuracy"]  # doctest: +SKIP
        True
    """
    console = Console(stderr=True) if progress else None
    if resume:
        if data is not None or model is not None or config is not None or search is not None or settings:
            raise ValueError("a resumed search keeps its own configuration; give nothing but its folder")
        folder = folder_to_resume(out)
        resolved, chosen = RunConfig.from_file(folder.config), read_search(folder)
        if folder.is_finished:
            say(console, f"{folder.path} is finished, so there is nothing to resume")
            return result_of(folder)
    else:
        if isinstance(config, RunConfig):
            if data is not None or model is not None or settings:
                raise ValueError("a whole RunConfig leaves nothing to set; give either it or single settings")
            resolved = config
        else:
            named = model or (None if config is not None else "tcn")
            resolved = RunConfig.build(data, named, settings=settings, file=config)
        chosen = search or SearchConfig()
        if chosen.warmup_epochs >= resolved.training.epochs:
            raise ValueError(
                f"`warmup_epochs` must be below the {resolved.training.epochs} epochs of the run, got "
                f"{chosen.warmup_epochs}, with which nothing is searched; lower it, or raise epochs"
            )
        folder = folder_to_start(out, resolved, overwrite=overwrite)
    pick_device(resolved.training.device, resolved.training.precision)
    module = build_data_module(resolved, offline=offline)
    resolved = fit_step_sizes(keep_windows(resolved, module), module)
    fresh = build_model(resolved, module)
    report = patch_convolutions(fresh, sample_of(module), depth=chosen.depth, causal=chosen.causal)
    say(console, describe_data(module))
    with held(folder.path, free=not (resume or overwrite), numbered=not resume and out is None) as place:
        folder = RunFolder(place)
        if not resume:
            start(folder, resolved, chosen)
        plain = unsearched(folder, resolved, console, offline=offline, progress=progress)
        say(console, f"searching over {report}")
        return SearchResult(
            carry_out(
                resolved,
                fresh,
                module,
                folder,
                console,
                operation_learning_rate=chosen.operation_learning_rate,
                also=[OperationSchedule(chosen.warmup_epochs)],
                more=lambda trained: found_in(trained, folder, chosen, plain),
            ),
            plain,
            result_of(folder).operations,
        )


def split_settings(settings: Mapping[str, Any]) -> tuple[SearchConfig, dict[str, Any]]:
    """Parts settings of the search, such as `search.depth` or `depth`, from those of the run.

    Raises:
        ValueError: an unknown key of the search, or a value that cannot be.

    Example:
        >>> split_settings({"search.depth": 1, "epochs": 3})[1]
        {'epochs': 3}
    """
    own = {key: value for key, value in settings.items() if key.startswith("search.") or key in SHORT}
    chosen = {key.removeprefix("search."): value for key, value in own.items()}
    return SearchConfig.from_dict(chosen), {key: value for key, value in settings.items() if key not in own}


def start(folder: RunFolder, config: RunConfig, search: SearchConfig) -> None:
    """Takes an earlier run's files away and writes both configurations."""
    clear(folder)
    for path in (folder.path / SEARCH, folder.path / PICTURE):
        path.unlink(missing_ok=True)
    inside = RunFolder(folder.path / PLAIN)
    if inside.exists:
        clear(inside)
        inside.config.unlink()
    text = yaml.safe_dump(search.to_dict(), sort_keys=False)
    write_whole(folder.path / SEARCH, lambda path: path.write_text(text, encoding="utf-8"))
    folder.write_config(config.to_dict())


def read_search(folder: RunFolder) -> SearchConfig:
    """Settings of the search in a folder.

    Raises:
        FileNotFoundError: its run is none of a search.
        ValueError: the file is damaged.
    """
    path = folder.path / SEARCH
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder.path} holds no {SEARCH}, so its run is no search; resume it by `seqkit train`"
        )
    try:
        return SearchConfig.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({str(error).splitlines()[0]}); restore it or start anew") from error


def sample_of(module: SeriesDataModule) -> torch.Tensor:
    """One series of noise as long as the longest of any part, (1, L, C)."""
    longest = max(int(max(part.lengths)) for part in module.sets.values())
    noise = torch.Generator().manual_seed(0)
    return torch.randn(1, longest, module.info.n_channels, generator=noise)


def unsearched(
    folder: RunFolder, config: RunConfig, console: Console | None, *, offline: bool, progress: bool
) -> TrainResult:
    """The run without operations: read if it is finished, resumed if it was begun."""
    inside = RunFolder(folder.path / PLAIN)
    if inside.is_finished:
        return read_result(inside)
    say(console, f"the network without a search, in {inside.path}")
    try:
        if inside.exists:
            return train(out=inside.path, resume=True, offline=offline, progress=progress)
        return train(config=config, out=inside.path, offline=offline, progress=progress)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(folder.path)) from stop


def found_in(model: SequenceModel, folder: RunFolder, search: SearchConfig, plain: TrainResult) -> dict[str, Any]:
    """What the summary of a search says beside that of a run; draws the operations."""
    layers = operation_layers(model)
    described = {name: describe_operation(layer) for name, layer in layers.items()}
    try:
        draw_operations(layers, folder.path / PICTURE)
        pictures = [PICTURE]
    except ImportError:
        pictures = []
    operations = {
        name: {
            "said": str(one),
            "name": one.axes[0].name,
            "moved": one.axes[0].moved,
            "members": one.axes[0].members,
        }
        for name, one in described.items()
    }
    return {
        "search": search.to_dict(),
        "unsearched": {"results": plain.summary["results"], "seconds": plain.summary["seconds"]},
        "operations": operations,
        "operation_pictures": pictures,
    }


def result_of(folder: RunFolder) -> SearchResult:
    """Result of a finished search, as its folder has it.

    Raises:
        FileNotFoundError: the search is not finished.
        ValueError: a summary is damaged.
    """
    searched = read_result(folder)
    if "operations" not in searched.summary:
        raise ValueError(f"{folder.summary} is damaged (it lacks operations); remove it and resume the search")
    said = {name: one["said"] for name, one in searched.summary["operations"].items()}
    return SearchResult(searched, read_result(RunFolder(folder.path / PLAIN)), said)
