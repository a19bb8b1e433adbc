"""One training from configuration to run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console

from seqkit.batch import DataInfo
from seqkit.datasets.module import SeriesDataModule
from seqkit.models import SequenceModel, save_model
from seqkit.nn import ValueHead
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module, describe_data, keep_windows
from seqkit.runs.fitting import fit_task
from seqkit.runs.folders import clear, folder_to_resume, folder_to_start
from seqkit.runs.holding import held
from seqkit.runs.inference import Outputs, confusion, measure, measure_naive, pick_device, run_model, told_rate
from seqkit.runs.peak import peak_memory_mib
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.resume import read_checkpoint
from seqkit.runs.steps import fit_step_sizes
from seqkit.tasks.callbacks import Checkpoint, History, Progress, SeededSteps
from seqkit.tasks.pictures import draw_confusion, draw_curves, draw_predictions
from seqkit.tasks.progress import ProgressLine
from seqkit.tasks.run_folder import RunFolder
from seqkit.tasks.task import SequenceTask
from seqkit.version import __version__

__all__ = ["build_model", "carry_out", "finish", "say", "train"]


def train(
    data: str | Path | None = None,
    model: str | None = None,
    *,
    config: str | Path | RunConfig | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    offline: bool = False,
    progress: bool = True,
    **settings: Any,
) -> TrainResult:
    """Trains a model on a data set and writes a run folder: the same as `seqkit train`.

    Args:
        data: Registered name ("japanese_vowels" if None), or path of your own data.
        model: Name of a preset; the data set's recipe chooses if None.
        config: YAML file, or a whole `RunConfig`.
        out: Run folder; `runs/DATA-MODEL` with a number if None.
        resume: Continue the run in `out` from its last checkpoint, with its own configuration.
        overwrite: Start anew in a folder that holds a run; files that no run writes stay.
        offline: Fetch nothing: data that are not there are an error.
        progress: Whether to show progress on standard error.
        settings: Values by last part of their key, such as `epochs=5` or `order=32`.

    Returns:
        The finished run with its test metrics.

    Raises:
        FileNotFoundError: no such data, configuration or run.
        FileExistsError: `out` is a file, or holds a run already, or files that no run wrote, or another process writes
            to it.
        ValueError: wrong settings or unusable data.

    Example:
        >>> import seqkit
        >>> run = seqkit.train("japanese_vowels", epochs=3, out="runs/vowels")  # doctest: +SKIP
        >>> run.metrics["accuracy"] > 0.9  # doctest: +SKIP
        True
    """
    console = Console(stderr=True) if progress else None
    if resume:
        if data is not None or model is not None or config is not None or settings:
            raise ValueError("a resumed run keeps its own configuration; give nothing but its folder")
        folder = folder_to_resume(out)
        if (folder.path / "search.yaml").is_file():
            raise ValueError(f"{folder.path} holds a search; resume it with `seqkit search --resume`")
        if (folder.path / "distill.json").is_file():
            raise ValueError(f"{folder.path} holds a distillation; resume it with `seqkit distill --resume`")
        resolved = RunConfig.from_file(folder.config)
        if (folder.path / "parallel.json").is_file():
            raise ValueError(f"{folder.path} holds a training of several processes; use `seqkit train --resume`")
        if folder.is_finished:
            result = read_result(folder)
            say(console, f"{folder.path} is finished, so there is nothing to resume")
            return result
    else:
        if isinstance(config, RunConfig):
            if data is not None or model is not None or settings:
                raise ValueError("a whole RunConfig leaves nothing to set; give either it or single settings")
            resolved = config
        else:
            resolved = RunConfig.build(data, model, settings=settings, file=config)
        folder = folder_to_start(out, resolved, overwrite=overwrite)
    pick_device(resolved.training.device, resolved.training.precision)
    module = build_data_module(resolved, offline=offline)
    resolved = fit_step_sizes(keep_windows(resolved, module), module)
    fresh = build_model(resolved, module)
    say(console, describe_data(module))
    with held(folder.path, free=not (resume or overwrite), numbered=not resume and out is None) as place:
        folder = RunFolder(place)
        if not resume:  # only now, when everything that can be refused has been looked at
            clear(folder)
            folder.write_config(resolved.to_dict())
        return carry_out(resolved, fresh, module, folder, console)


def build_model(config: RunConfig, module: SeriesDataModule) -> SequenceModel:
    """Fresh model for prepared data, with the statistics of the training part in it unless they are not wanted.

    Raises:
        ValueError: options that the mixer refuses, or uneven times with a mixer that has no notion of time.
    """
    model = SequenceModel.from_config(config.model, module.info, seed=config.seed)
    if config.data.standardize:
        model.input_norm.set_statistics(*module.statistics())
        if isinstance(model.head, ValueHead):
            model.head.set_statistics(*module.target_statistics())
    if not model.uses_rate and any(series.timestamps is not None for series in module.sets.values()):
        raise ValueError(
            f"the samples of {module.info.name} are not evenly spaced in time, and {config.model.name} has no notion "
            "of the sampling step; resample them or choose a state-space model"
        )
    return model


def say(console: Console | None, words: str) -> None:
    """Prints a line as it is, where anything is shown."""
    if console is not None:
        console.print(words, highlight=False, markup=False, soft_wrap=True)


def carry_out(
    config: RunConfig,
    model: SequenceModel,
    module: SeriesDataModule,
    folder: RunFolder,
    console: Console | None,
    *,
    make_task: Callable[..., SequenceTask] = SequenceTask,
    operation_learning_rate: float | None = None,
    also: Sequence[L.Callback] = (),
    more: Callable[[SequenceModel], dict[str, Any]] | None = None,
) -> TrainResult:
    """Trains a model that is made, from its last checkpoint if there is one, and finishes its folder.

    Args:
        config: The run.
        model: Its model, fresh.
        module: Its data.
        folder: Its folder, with the configuration in it.
        console: Where to show progress; None shows nothing.
        make_task: Makes the task from the model and settings of `SequenceTask`.
        operation_learning_rate: As in `SequenceTask`.
        also: Further callbacks, before those of a run.
        more: Called with the trained model; what it returns is added to the summary.
    """
    began = time.monotonic()
    training = config.training
    task = make_task(
        model,
        learning_rate=training.learning_rate,
        ssm_learning_rate=training.ssm_learning_rate,
        operation_learning_rate=operation_learning_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        label_smoothing=training.label_smoothing,
        input_noise=training.input_noise,
    )
    history = History(training.patience)
    checkpoint = read_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else None
    if checkpoint is not None:
        history.load_state_dict(checkpoint["callbacks"][history.state_key])
    if not history.stopped and len(history.rows) < training.epochs:
        callbacks = [
            *also,
            SeededSteps(config.seed),
            history,
            Checkpoint(
                folder.checkpoint,
                history,
                on_epoch=lambda h: folder.write_metrics(h.rows),
                every=training.checkpoint_steps,
            ),
            Progress(history, ProgressLine(console)),
        ]
        fit_task(
            task,
            epochs=training.epochs,
            callbacks=callbacks,
            datamodule=module,
            device=training.device,
            precision=training.precision,
            gradient_clip=training.gradient_clip,
            root=folder.path,
            resume_from=folder.checkpoint if checkpoint is not None else None,
        )
    elif checkpoint is not None:
        task.load_state_dict(checkpoint["state_dict"])
    if training.keep == "best":
        task.model.load_state_dict(history.best_weights)
    return finish(config, task.model, module, folder, history, time.monotonic() - began, more)


def finish(
    config: RunConfig,
    model: SequenceModel,
    module: SeriesDataModule,
    folder: RunFolder,
    history: History,
    seconds: float,
    more: Callable[[SequenceModel], dict[str, Any]] | None = None,
) -> TrainResult:
    """Measures on every held-out part and writes weights, pictures and, last, the summary.

    Args:
        config: The run.
        model: Its trained model.
        module: Its data.
        folder: Its folder.
        history: Its epochs.
        seconds: What it took since it was started last.
        more: As in `carry_out`.
    """
    model = model.cpu().eval()
    folder.write_metrics(history.rows)  # a run that was killed right after its last checkpoint lacks the last row
    save_model(model, folder.path)
    parts, results = [part for part in ("val", "test") if part in module.sets], {}
    notes: list[str] = []
    for part in parts:
        rate, said = told_rate(model, module.sets[part], sample_rate=None)  # a part may have a rate of its own
        notes += [f"{part}: {note}" for note in said]
        outputs = run_model(model, module.loader(module.sets[part]), sample_rate=rate, device=config.training.device)
        results[part] = measure(outputs, module.info)
    naive = {part: measure_naive(module.sets[part], module.info) for part in parts}
    split = parts[-1]
    pictures = _draw(folder, history, module.info, outputs, f"{module.info.name}, {split} part", results[split])
    summary = {
        "format": 1,
        "run": str(folder.path),
        "data": config.data.path or config.data.name,
        "model": config.model.name,
        "seed": config.seed,
        "split": split,
        "metrics": results[split],
        "results": results,
        "naive": {part: found for part, found in naive.items() if found},
        "n_series": {part: len(values) for part, values in module.sets.items()},
        "n_parameters": model.n_parameters,
        "epochs": len(history.rows),
        "best_epoch": history.best_epoch + 1,
        "seconds": round(sum(row["seconds"] for row in history.rows), 2),
        "seconds_in_all": round(seconds, 2),
        "peak_memory_mib": peak_memory_mib(),
        "pictures": pictures,
        "notes": notes,
        "versions": {"seqkit": __version__, "torch": torch.__version__, "lightning": version("lightning")},
    }
    summary |= {} if more is None else more(model)
    folder.write_summary(summary)
    return read_result(folder)


def _draw(
    folder: RunFolder, history: History, info: DataInfo, outputs: Outputs, title: str, metrics: dict[str, float]
) -> list[str]:
    """Pictures of the run; without matplotlib there are none, which the summary shows."""
    try:
        draw_curves(history.rows, folder.path / "curves.png")
        if info.classes:
            name, title = "confusion.png", f"{title}: accuracy {metrics['accuracy']:.2%}"
            draw_confusion(confusion(outputs, info), info.classes, folder.path / name, title)
        else:
            name, title = "predictions.png", f"{title}: rmse {metrics['rmse']:.4g}"
            assert outputs.target is not None  # it was measured just now
            scores = outputs.scores.numpy()
            true = outputs.target.reshape(scores.shape).numpy()
            draw_predictions(true, scores, folder.path / name, title, info.targets)
    except ImportError:
        return []
    return ["curves.png", name]
