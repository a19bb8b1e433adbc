"""The search: Optuna proposes, trainings answer, and all of it lies in a folder that the same call goes on with."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from seqkit.checks import check_positive, check_positive_int, missing_extra
from seqkit.files import write_whole
from seqkit.runs.comparison.budget import parse_duration
from seqkit.runs.comparison.running import STOPPED
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module
from seqkit.runs.holding import held
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.tuning.report import write_report
from seqkit.runs.tuning.space import Range, Space, check_space, usual_space
from seqkit.runs.tuning.trial import Trial, validation_losses
from seqkit.tasks.run_folder import RunFolder

__all__ = ["Tuned", "tune"]

STARTS = 5
"""Trials before the search is guided, and before any is stopped early."""


@dataclass(frozen=True)
class Tuned:
    """A search that was run.

    Args:
        path: Its folder: best.yaml, trials.csv, tuning.png, and each training.
        best: The settings that were best.
        loss: Their validation loss.
        trials: Trainings that were begun, stopped and failed ones among them.
        run: Folder of the best training.

    Example:
        >>> Tuned(Path("tuning/digits-s4d"), {"dropout": 0.2}, 0.31, 20, Path("tuning/digits-s4d/trials/1f")).best
        {'dropout': 0.2}
    """

    path: Path
    best: dict[str, Any]
    loss: float
    trials: int
    run: Path

    @property
    def result(self) -> TrainResult:
        """The best training, with its metrics on the held-out part, which the search never looked at."""
        return read_result(RunFolder(self.run))


def tune(
    data: str | Path | None = None,
    model: str | None = None,
    *,
    space: Space | None = None,
    trials: int | None = None,
    time_limit: str | float | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    offline: bool = False,
    progress: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Tuned:
    """Searches for settings with the least validation loss: the same as `seqkit tune`.

    Trainings run one after the other, each in a process of its own; a tree-structured Parzen estimator proposes their
    settings, and one whose loss lies above the median of the earlier ones at the same epoch is stopped. The test part
    is not looked at. The same call again goes on with the search, also after Ctrl-C.

    Args:
        data: Data set, by name or path; "japanese_vowels" if None.
        model: Name of a preset; the data set's recipe chooses if None.
        space: Ranges and choices by key; None for `usual_space(model)`.
        trials: Trainings in all, those of earlier calls included; None for no limit.
        time_limit: Time of this call, in seconds or as "30m"; None for no limit. One of the two is needed.
        out: Folder; `tuning/DATA-MODEL` if None.
        overwrite: Start anew in a folder that holds another search.
        offline: Fetch nothing.
        progress: Whether to show a line for each training on standard error.
        settings: Fixed values by key.

    Returns:
        The best settings and where they were trained.

    Raises:
        FileExistsError: the folder holds a search for something else, or another process writes to it.
        ImportError: Optuna is not installed.
        KeyboardInterrupt: the user stopped it; its argument is the folder.
        ChildProcessError: no training came to its end; each has said why.
        ValueError: unknown names or keys, an empty space, or neither limit.

    Source: Akiba et al. 2019, Optuna (arXiv:1907.10902).

    Example:
        >>> import seqkit
        >>> found = seqkit.runs.tune("digits", "s4d", time_limit="30m")  # doctest: +SKIP
        >>> found.result.metrics["accuracy"]  # doctest: +SKIP
        0.97
    """
    optuna = _optuna()
    fixed = dict(settings or {})
    base = RunConfig.build(data, model, settings=fixed)
    if base.data.validation == 0:
        raise ValueError("`validation` must be above 0 for a search, which looks at nothing else, got 0; leave it out")
    name, place = base.model.name, Path(base.data.path).stem if base.data.path else base.data.name
    if space is None:  # what is fixed is not searched
        space = {key: one for key, one in usual_space(name).items() if key not in fixed}
    check_space(space, fixed)
    seconds = _limits(trials, time_limit)
    ends = [{**fixed, **{key: _end(one, at) for key, one in space.items()}} for at in (0, -1)]
    least, _ = (RunConfig.build(data, model, settings=end) for end in ends)  # before anything is trained
    build_data_module(least, offline=offline)
    folder = Path("tuning", f"{place}-{name}") if out is None else Path(out)
    request = {"data": str(base.data.path or base.data.name), "model": name, "settings": fixed,
               "space": {key: str(one) for key, one in space.items()}}  # fmt: skip
    with held(folder):
        _open(folder, request, overwrite)
        console = Console(stderr=True) if progress else None
        study = _study(optuna, folder, base.seed)
        _take_up(optuna, study)
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        try:
            while (trials is None or _counted(optuna, study) < trials) and time.monotonic() < deadline:
                asked = study.ask()
                chosen = {key: _suggest(asked, key, one) for key, one in space.items()}
                config = RunConfig.build(data, model, settings={**fixed, **chosen})
                _say(console, f"trial {asked.number + 1}: {_words(chosen)}")
                words = _run(optuna, study, asked, Trial(folder, config, chosen), deadline, offline)
                _say(console, f"  {words}")
                _report(study, folder, picture=False)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(str(folder)) from stop
        finally:
            _report(study, folder, picture=True)
        return _finish(optuna, study, folder, data, model, fixed)


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise missing_extra("optuna", "hpo", "`tune`") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _limits(trials: int | None, time_limit: str | float | None) -> float | None:
    """Seconds of the call, or None; refuses a search without an end."""
    if trials is None and time_limit is None:
        raise ValueError("a search needs an end: give `time_limit`, `trials`, or both")
    if trials is not None:
        check_positive_int("trials", trials)
    if time_limit is None:
        return None
    seconds = parse_duration(time_limit, "time_limit") if isinstance(time_limit, str) else time_limit
    return check_positive("time_limit", seconds)


def _end(one: Any, at: int) -> Any:
    return (one.low, one.high)[at] if isinstance(one, Range) else one.values[at]


def _open(folder: Path, request: dict[str, Any], overwrite: bool) -> None:
    path = folder / "search.json"
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder")
    if folder.is_dir() and not path.is_file() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds files that no search wrote; name another folder")
    if path.is_file() and overwrite:
        shutil.rmtree(folder / "trials", ignore_errors=True)
        (folder / "study.jsonl").unlink(missing_ok=True)
        path.unlink()
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key in request if there.get(key) != request[key]]
        if different:
            raise FileExistsError(
                f"{folder} holds a search with other {different[0]}; name another folder, or add --overwrite"
            )
        return
    text = json.dumps(request, indent=2) + "\n"
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _study(optuna: Any, folder: Path, seed: int) -> Any:
    """The search in a file of its own: a journal, to which a killed process has added whole lines."""
    journal = importlib.import_module("optuna.storages.journal")
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / "study.jsonl")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTS, n_warmup_steps=1)
    study = optuna.create_study(storage=storage, study_name="seqkit", load_if_exists=True, pruner=pruner)
    # A search that goes on must not propose once more what the same seed proposed at its start.
    known = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=seed + 10_007 * known, n_startup_trials=STARTS)
    return study


def _take_up(optuna: Any, study: Any) -> None:
    """Trials that a stopped call left running are asked for again; their checkpoints are found by their settings."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _counted(optuna: Any, study: Any) -> int:
    """Trials that came to an end of their own."""
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    failed = [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get("failed")]
    return len(study.get_trials(deepcopy=False, states=ended)) + len(failed)


def _suggest(trial: Any, key: str, one: Any) -> Any:
    if not isinstance(one, Range):
        return trial.suggest_categorical(key, list(one.values))
    suggest = trial.suggest_int if one.whole else trial.suggest_float
    return suggest(key, one.low, one.high, log=one.by_logarithm)


def _run(optuna: Any, study: Any, asked: Any, trial: Trial, deadline: float, offline: bool) -> str:
    """Trains and tells the study; returns what to say of it."""
    told = 0

    def watch(losses: list[float]) -> bool:
        nonlocal told
        for epoch in range(told, len(losses)):
            asked.report(losses[epoch], epoch)
        told = max(told, len(losses))
        return time.monotonic() > deadline or bool(told and asked.should_prune())

    asked.set_user_attr("run", trial.folder.path.name)
    error = trial.run(watch, offline=offline)
    state = optuna.trial.TrialState
    if error is None:
        loss = min(validation_losses(trial.folder))
        study.tell(asked, loss)
        return f"validation loss {loss:.4g}"
    if error == STOPPED and time.monotonic() > deadline:
        study.tell(asked, state=state.FAIL)
        study.enqueue_trial(dict(trial.chosen))  # the next call goes on with it
        return "out of time"
    if error == STOPPED:
        study.tell(asked, state=state.PRUNED)
        return f"stopped after {told} epochs, behind the others"
    asked.set_user_attr("failed", error)
    study.tell(asked, state=state.FAIL)
    return f"failed: {error}"


def _report(study: Any, folder: Path, *, picture: bool) -> None:
    write_report(folder, [_plain(one) for one in study.get_trials(deepcopy=False)], picture=picture)


def _plain(trial: Any) -> dict[str, Any]:
    """One trial as plain values."""
    return {
        "trial": trial.number + 1,
        "state": "failed" if trial.state.name == "FAIL" else trial.state.name.lower(),
        "loss": trial.value if trial.value is not None and math.isfinite(trial.value) else None,
        "epochs": len(trial.intermediate_values),
        "run": trial.user_attrs.get("run", ""),
        **trial.params,
    }


def _finish(
    optuna: Any, study: Any, folder: Path, data: str | Path | None, model: str | None, fixed: dict[str, Any]
) -> Tuned:
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    done = [trial for trial in done if trial.value is not None and math.isfinite(trial.value)]
    if not done:
        raise ChildProcessError(
            f"no training of the search in {folder} came to its end; give it more time, or fewer epochs a training"
        )
    best = min(done, key=lambda trial: float(trial.value))
    config = RunConfig.build(data, model, settings={**fixed, **best.params})
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    write_whole(folder / "best.yaml", lambda part: part.write_text(text, encoding="utf-8"))
    run = folder / "trials" / best.user_attrs["run"]
    return Tuned(folder, dict(best.params), float(best.value), len(study.get_trials(deepcopy=False)), run)


def _words(chosen: Mapping[str, Any]) -> str:
    shown = ((key, f"{value:.4g}" if isinstance(value, float) else str(value)) for key, value in chosen.items())
    return " ".join(f"{key}={value}" for key, value in shown)


def _say(console: Console | None, words: str) -> None:
    if console is not None:
        console.print(words, highlight=False, markup=False, soft_wrap=True)
