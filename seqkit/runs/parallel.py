"""One training by several processes, from configuration to run folder."""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch.distributed as dist
from rich.console import Console

from seqkit.datasets.module import SeriesDataModule
from seqkit.distributed import World, is_rank, join, start_ranks
from seqkit.extensions import import_options
from seqkit.files import write_whole
from seqkit.models import SequenceModel
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module, describe_data, keep_windows
from seqkit.runs.folders import clear, folder_to_resume, folder_to_start
from seqkit.runs.holding import held
from seqkit.runs.inference import pick_device
from seqkit.runs.parallel_config import ParallelConfig
from seqkit.runs.pipelined import PipelinedTraining
from seqkit.runs.replicated import train_replicated
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.settings import IMPORTS
from seqkit.runs.steps import fit_step_sizes
from seqkit.runs.training import build_model, finish, say
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.run_folder import RunFolder

__all__ = ["FILE", "train_parallel"]

FILE = "parallel.json"
"""File of a run folder that says how the training is spread."""


def train_parallel(
    config: RunConfig | None = None,
    parallel: ParallelConfig | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    offline: bool = False,
    progress: bool = True,
) -> TrainResult:
    """Trains a model by several processes and writes a run folder: the same as `seqkit train --parallel`.

    Called in a process that is no rank, it checks the settings and starts the ranks on this machine; called by each of
    the ranks that torchrun started, it is one of them. Rank 0 writes the folder, with one set of weights.

    Args:
        config: The run; None with `resume`.
        parallel: How it is spread; None with `resume`.
        out: Run folder; `runs/DATA-MODEL` with a number if None.
        resume: Continue the run in `out` from its last checkpoint, as it was configured.
        overwrite: Start anew in a folder that holds a run.
        offline: Fetch nothing.
        progress: Whether to show progress on standard error.

    Returns:
        The finished run.

    Raises:
        ValueError: settings that do not fit.
        FileNotFoundError: no such data or run.
        FileExistsError: `out` holds a run already.
        ConnectionError: a rank failed; what it said stands in the error output.

    Example:
        >>> config = RunConfig.build("japanese_vowels", "s4d", settings={"n_layers": 2})
        >>> train_parallel(config, ParallelConfig.parse("pipeline=2", "fw=4,bw=8"))  # doctest: +SKIP
    """
    if is_rank():
        return _as_rank(config, parallel, out, resume, overwrite, offline, progress)
    console = Console(stderr=True) if progress else None
    folder, config, parallel = _resolve(config, parallel, out, resume, overwrite)
    if folder.is_finished and resume:
        say(console, f"{folder.path} is finished, so there is nothing to resume")
        return read_result(folder)
    config, _, _ = _prepared(config, parallel, offline)
    imports = import_options(config.to_dict().get(IMPORTS, []))
    request = {
        "config": None if resume else config.to_dict(),
        "parallel": None if resume else parallel.to_dict(),
        "out": str(folder.path),
        "imports": imports[1::2],
        **{"resume": resume, "overwrite": overwrite, "offline": offline, "progress": progress},
    }
    try:
        status = start_ranks([sys.executable, "-m", "seqkit.runs.ranks", json.dumps(request)], parallel.n_ranks)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(folder.path)) from stop
    if status:
        raise ConnectionError(
            f"the {parallel.n_ranks} ranks ended before the training did (status {status}), for the reason above; mend "
            f"it and continue with `seqkit train --resume --out {' '.join([str(folder.path), *imports])}`"
        )
    return read_result(folder)


def _as_rank(
    config: RunConfig | None,
    parallel: ParallelConfig | None,
    out: str | Path | None,
    resume: bool,
    overwrite: bool,
    offline: bool,
    progress: bool,
) -> TrainResult:
    """The whole of it on one rank."""
    began = time.monotonic()
    wanted = parallel if parallel is not None else _read(folder_to_resume(out))
    world = join(timeout=wanted.timeout)
    console = Console(stderr=True) if progress and world.rank == 0 else None
    with ExitStack() as stack:
        with world.watch.during("preparing the run"):
            if world.size != wanted.n_ranks:
                raise ValueError(
                    f"`parallel` must ask for as many ranks as there are, {world.size}, got {wanted.n_ranks}"
                )
            agreed: list[Any] = [None]
            if world.rank == 0:  # alone, so that data are fetched once and one folder is chosen
                folder, chosen, wanted = _resolve(config, parallel, out, resume, overwrite)
                chosen, module, model = _prepared(chosen, wanted, offline)
                if not folder.is_finished or not resume:
                    say(console, describe_data(module))
                if not (resume and folder.is_finished):
                    stack.enter_context(held(folder.path, free=not (resume or overwrite)))
                if not resume:
                    _begin(folder, chosen, wanted)
                agreed = [{"out": str(folder.path), "config": chosen.to_dict(), "parallel": wanted.to_dict()}]
            dist.broadcast_object_list(agreed)
            folder, wanted = RunFolder(agreed[0]["out"]), ParallelConfig(**agreed[0]["parallel"])
            chosen = RunConfig.from_dict(agreed[0]["config"])
            if world.rank > 0:
                chosen, module, model = _prepared(chosen, wanted, offline)
        if not folder.is_finished:
            _train(chosen, wanted, model, module, world, folder, console, began)
    return read_result(folder)


def _train(
    config: RunConfig,
    parallel: ParallelConfig,
    model: SequenceModel,
    module: SeriesDataModule,
    world: World,
    folder: RunFolder,
    console: Console | None,
    began: float,
) -> None:
    line = ProgressLine(console)
    if parallel.pipeline > 1:
        # A second model of its own: the stages are moved and trained in place.
        training = PipelinedTraining(config, parallel, model, module, world, folder, line)
        training.run()
        weights, history, sent = training.weights(), training.history, training.sent()
    else:
        weights, history, sent = train_replicated(config, parallel, model, module, world, folder, line)
    if world.rank == 0:
        assert weights is not None  # rank 0 has them all
        model = build_model(config, module)
        model.load_state_dict(weights)
    with world.watch.during("the end of the training"):
        dist.barrier()
    dist.destroy_process_group()  # what follows is for rank 0 alone and may take longer than the others wait
    if world.rank == 0:
        finish(config, model, module, folder, history, time.monotonic() - began, lambda _: {"parallel": sent})
    else:
        while not folder.is_finished:  # so that all ranks return a finished run
            time.sleep(0.1)


def _resolve(
    config: RunConfig | None,
    parallel: ParallelConfig | None,
    out: str | Path | None,
    resume: bool,
    overwrite: bool,
) -> tuple[RunFolder, RunConfig, ParallelConfig]:
    """Folder and settings of a new run, or of the one to continue."""
    if resume:
        if config is not None or parallel is not None:
            raise ValueError("a resumed run keeps its own configuration; give nothing but its folder")
        folder = folder_to_resume(out)
        return folder, RunConfig.from_file(folder.config), _read(folder)
    if config is None or parallel is None:
        raise ValueError("`config` and `parallel` must be given for a new run")
    return folder_to_start(out, config, overwrite=overwrite), config, parallel


def _prepared(
    config: RunConfig, parallel: ParallelConfig, offline: bool
) -> tuple[RunConfig, SeriesDataModule, SequenceModel]:
    """Data and fresh model, after everything that can be refused has been looked at."""
    pick_device(config.training.device, config.training.precision)
    module = build_data_module(config, offline=offline)
    config = fit_step_sizes(keep_windows(config, module), module)
    parallel.check(config, module.info)
    return config, module, build_model(config, module)


def _begin(folder: RunFolder, config: RunConfig, parallel: ParallelConfig) -> None:
    """Takes away an earlier run and writes down the new one's settings."""
    clear(folder)
    (folder.checkpoint.parent / "latest").unlink(missing_ok=True)
    for path in folder.checkpoint.parent.glob("step-*"):
        shutil.rmtree(path, ignore_errors=True)
    text = json.dumps(parallel.to_dict(), indent=2) + "\n"
    write_whole(folder.path / FILE, lambda path: path.write_text(text, encoding="utf-8"))
    folder.write_config(config.to_dict())


def _read(folder: RunFolder) -> ParallelConfig:
    path = folder.path / FILE
    if not path.is_file():
        raise ValueError(f"{folder.path} holds a training of one process; resume it with `seqkit train --resume`")
    try:
        return ParallelConfig(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged; restore it or start the run anew") from error
