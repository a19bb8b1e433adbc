"""What a distillation was asked for, and the run folder that it is written to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from seqkit.models.config import get_preset
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module, describe_data, keep_windows
from seqkit.runs.distill_config import DistillConfig
from seqkit.runs.distill_data import TaughtDataModule
from seqkit.runs.distill_steps import Distillation
from seqkit.runs.distill_teacher import PanelTeacher
from seqkit.runs.folders import clear, folder_to_resume, folder_to_start
from seqkit.runs.holding import held
from seqkit.runs.inference import pick_device
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.steps import fit_step_sizes
from seqkit.runs.training import say
from seqkit.tasks.run_folder import RunFolder

__all__ = ["train_distilled"]


def train_distilled(
    data: str | Path | None = None,
    teacher: Any = (),
    student: str | None = None,
    *,
    method: str = "both",
    folds: int = 5,
    members: int = 1,
    c: float | str = "auto",
    loss: str = "cross_entropy",
    temperature: float = 1.0,
    steps: str = "auto",
    compare: bool = True,
    force: bool = False,
    groups: Mapping[str, str] | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    offline: bool = False,
    progress: bool = True,
    **settings: Any,
) -> TrainResult:
    """Trains a student on what teachers say of series that they did not see: the same as `seqkit distill`.

    The training part is cut into folds; teachers are trained outside each and label it; the student learns from all of
    it. Every step is kept in the run folder, so a killed run goes on with the next fold or epoch.

    Args:
        data: Registered name, or path of your own data.
        teacher: Name of a preset, folder of a finished run on the same data (trained anew outside each fold), an
            estimator of sktime's, or a list of these: an ensemble.
        student: Name of a preset.
        method: "both", "crossfit", "plain", "corrected" (only with `force`) or "labels".
        folds: Number of folds: by class, by group, or for windows blocks of time with an embargo.
        members: Copies of each teacher for each fold.
        c: Weight of the correction; "auto" tries `C_GRID` and takes the smallest within one standard error of the best
            on the validation part's labels.
        loss: "cross_entropy", "brier" or "logits"; see `DistillTask`.
        temperature: T of the cross-entropy.
        steps: Which answers of the student learn: "auto", "all" or "last".
        compare: Whether students of labels alone and of a teacher that saw all labels are trained beside it.
        force: Allow corrections with a teacher that saw the labels.
        groups: Group of each training series by its name; a group is never on both sides.
        config: YAML file of the student's run.
        out: Run folder; `runs/DATA-MODEL-NUMBER` if None.
        resume: Continue the distillation in `out`; estimators as teachers must be given again, and nothing else.
        overwrite: Start anew in a folder that holds a run.
        offline: Fetch nothing.
        progress: Whether to show progress on standard error.
        settings: Settings of the student's run by key; those of the teachers' as `{"teacher.epochs": 5}`.

    Returns:
        The student's finished run; `summary["distillation"]` is the report.

    Raises:
        FileNotFoundError: no such data or run.
        FileExistsError: `out` holds something else, or another process writes to it.
        ValueError: wrong settings, or data without one target per series.

    Cost:
        A training for each fold, teacher and member, one of the student, and with "auto" one for each c; with `compare`
        two more students and one more teacher.

    Example:
        >>> from seqkit.runs import train_distilled
        >>> run = train_distilled("japanese_vowels", "lssl", "s4d", d_model=16)  # doctest: +SKIP
        >>> run.summary["distillation"]["student"]["accuracy"]  # doctest: +SKIP
        0.96
    """
    console = Console(stderr=True) if progress else None
    given = list(teacher) if isinstance(teacher, (list, tuple)) else [teacher]
    objects = [one for one in given if not isinstance(one, (str, Path))]
    if resume:
        if data is not None or student is not None or config is not None or settings or len(objects) != len(given):
            raise ValueError("a resumed distillation keeps its own configuration; give nothing but its folder")
        if overwrite:
            raise ValueError("`overwrite` and `resume` exclude each other; choose whether to start anew or to go on")
        folder = folder_to_resume(out)
        plan, resolved = DistillConfig.read(folder.path), RunConfig.from_file(folder.config)
        plan.check_unchanged(
            {"method": method, "folds": folds, "members": members, "c": c, "loss": loss, "temperature": temperature,
             "steps": steps, "compare": compare, "force": force, "groups": groups}
        )  # fmt: skip
        if folder.is_finished:
            say(console, f"{folder.path} is finished, so there is nothing to resume")
            return read_result(folder)
    else:
        theirs = {
            key.removeprefix("teacher."): settings.pop(key) for key in list(settings) if key.startswith("teacher.")
        }
        resolved = RunConfig.build(data, student, settings=settings, file=config)
        if resolved.data.validation == 0:
            raise ValueError(
                "`validation` must be above 0 for a distillation, which chooses by it, got 0; leave it out"
            )
        told = tuple(_described(one, resolved, theirs) for one in given)
        plan = DistillConfig(
            *(told, method, folds, members, c, loss, temperature, steps),
            compare=compare, force=force, groups=groups,
        )  # fmt: skip
        folder = folder_to_start(out, resolved, overwrite=overwrite)
    pick_device(resolved.training.device, resolved.training.precision)
    module = build_data_module(resolved, offline=offline, kind=TaughtDataModule)
    assert isinstance(module, TaughtDataModule)  # the kind that was asked for
    resolved = fit_step_sizes(keep_windows(resolved, module), module)
    work = Distillation(resolved, plan, module, console, objects)
    say(console, describe_data(module))
    with held(folder.path, free=not (resume or overwrite), numbered=not resume and out is None) as place:
        folder = RunFolder(place)
        if not resume:  # only now, when everything that can be refused has been looked at
            clear(folder)
            plan.write(folder.path)
            folder.write_config(resolved.to_dict())
        try:
            return work.carry_out(folder)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(str(folder.path)) from stop


def _described(teacher: Any, student: RunConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher as plain values."""
    if not isinstance(teacher, (str, Path)):
        if not (hasattr(teacher, "fit") and (hasattr(teacher, "predict_proba") or hasattr(teacher, "predict"))):
            raise ValueError(f"`teacher` must be a model, a run or an estimator with fit, got {type(teacher).__name__}")
        return {"estimator": repr(PanelTeacher(teacher))}
    folder = RunFolder(teacher)
    if folder.exists:
        if settings:
            raise ValueError("a run as teacher keeps its own settings; leave out those that begin with teacher.")
        if not folder.is_finished:
            raise ValueError(f"{folder.path} is not finished, so it cannot teach; resume it first")
        config = RunConfig.from_file(folder.config)
        mine, theirs = ((one.data.name, one.data.path, one.data.options) for one in (student, config))
        # Windows of a finished run are written down, those of a new one are not yet.
        if mine[:2] != theirs[:2] or any(theirs[2].get(key) != value for key, value in mine[2].items()):
            what = config.data.path or config.data.name
            raise ValueError(
                f"{folder.path} was trained on {what}, and a teacher needs the student's data; train another"
            )
        return {"run": str(folder.path.resolve())}
    if isinstance(teacher, Path) or "/" in teacher:
        raise FileNotFoundError(
            f"{teacher} holds no run (no config.yaml); name the folder of a finished one, or a model"
        )
    get_preset(str(teacher), "teacher")
    shared = {f"data.{key}": value for key, value in student.data.options.items()}
    where = student.data.path or student.data.name
    keep = {"data.validation": student.data.validation, "data.test": student.data.test}
    built = RunConfig.build(where, str(teacher), settings={"seed": student.seed, **keep, **shared, **settings})
    return built.to_dict()
