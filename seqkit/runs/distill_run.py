"""One distillation from configuration to run folder: teachers, the choice of c, students and the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from seqkit.distill import C_GRID, CrossFitTeacher, Folds, OutOfFoldTargets, in_sample_fold, smallest_within_one_error
from seqkit.distill.estimators import check_estimators
from seqkit.models import SequenceModel
from seqkit.models.config import get_preset
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module, describe_data, keep_windows
from seqkit.runs.distill_choice import losses_of, read_trials, write_trials
from seqkit.runs.distill_config import DistillConfig
from seqkit.runs.distill_data import TaughtDataModule, goals_of, series_folds, series_ids, truth_of
from seqkit.runs.distill_task import DistillTask
from seqkit.runs.distill_teacher import PanelTeacher, RunTeacher, check_run, fit_model
from seqkit.runs.folders import clear, folder_to_resume, folder_to_start
from seqkit.runs.inference import measure, pick_device, run_model
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.steps import fit_step_sizes
from seqkit.runs.training import build_model, carry_out, say
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
        FileExistsError: `out` holds something else.
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
    work = _Work(resolved, plan, module, folder, console, objects)
    say(console, describe_data(module))
    if not resume:  # only now, when everything that can be refused has been looked at
        clear(folder)
        plan.write(folder.path)
        folder.write_config(resolved.to_dict())
    try:
        return work.carry_out()
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


class _Work:
    """The steps of one distillation; each is taken up where it was left."""

    def __init__(
        self,
        config: RunConfig,
        plan: DistillConfig,
        module: TaughtDataModule,
        folder: RunFolder,
        console: Console | None,
        objects: Sequence[Any],
    ) -> None:
        self.config, self.plan, self.module = config, plan, module
        self.folder, self.console = folder, console
        self.info, self.train = module.info, module.sets["train"]
        self.truth = truth_of(self.train, self.info)
        self.folds = series_folds(self.train, plan.folds, seed=config.seed, groups=plan.groups)
        self.labels = np.array(self.train.target) if self.info.classes else self.truth
        self.objects = list(objects)
        wanted = [one["estimator"] for one in plan.teachers if "estimator" in one]
        if [repr(PanelTeacher(one)) for one in objects] != wanted:
            raise ValueError(f"the estimators that teach must be given again to resume, {', '.join(wanted)}")
        if self.objects and plan.method != "labels":
            check_estimators(self.objects, "classification" if self.info.classes else "regression")
        for one in plan.teachers:
            if "run" in one:
                check_run(one["run"], self.info, config.data.frame)
        if plan.corrects and plan.c == "auto" and len(module.sets["val"]) < 2:
            raise ValueError(
                f"`c` must be a number where the validation part holds {len(module.sets['val'])} series, got 'auto'; "
                "give c, or a larger share for validation"
            )
        self.task = partial(DistillTask, loss=plan.loss, temperature=plan.temperature, steps=plan.steps)
        self.model = build_model(config, module)
        probe = self.task(self.model)  # settings that do not fit the model are refused before hours of teaching
        # Labels alone learn by their own loss, from the same answers.
        self.label_task = partial(DistillTask, steps="all" if probe.every_step else "last")

    def carry_out(self) -> TrainResult:
        """Teachers, the choice of c, comparisons, student and report."""
        plan, goals, said, c = self.plan, _labels_only(self.truth), None, 0.0
        if plan.method != "labels":
            said = self.said(in_sample=plan.in_sample)
            goals = goals_of(said, self.truth, self.info)
        if plan.corrects:
            c = self.choose(goals) if plan.c == "auto" else float(plan.c)
        beside: dict[str, dict[str, float]] = {}
        if plan.compare and plan.method != "labels":
            beside["labels only"] = self.student("labels", _labels_only(self.truth))
            if plan.method != "plain":
                told = said if plan.in_sample and said is not None else self.said(in_sample=True)
                beside["plain"] = self.student("plain", goals_of(told, self.truth, self.info))
        self.module.teach(goals)
        say(self.console, f"student ({plan.method}" + (f", c = {c:g})" if plan.corrects else ")"))
        return carry_out(
            self.config,
            self.model,
            self.module,
            self.folder,
            self.console,
            make_task=self.label_task if plan.method == "labels" else partial(self.task, c=c),
            more=lambda model: {"distillation": self.report(model, said, c, beside)},
        )

    def said(self, *, in_sample: bool) -> OutOfFoldTargets:
        """What teachers say of the training part, out of fold or in sample; folds that are kept stay as they are."""
        folds: Folds = in_sample_fold(len(self.train)) if in_sample else self.folds
        teachers: list[Any] = []
        objects = iter(self.objects)
        for one in self.plan.teachers:
            if "estimator" in one:
                teachers.append(PanelTeacher(next(objects)))
            else:
                teachers.append(self.teacher(one, in_sample=in_sample))
        taught = CrossFitTeacher(
            teachers, folds, n_members=self.plan.members, seed=self.config.seed,
            task="classification" if self.info.classes else "regression",
        )  # fmt: skip
        return taught.targets(
            self.train,
            self.labels,
            ids=series_ids(self.train),
            folder=self.folder.path / ("seen" if in_sample else "targets"),
            progress=partial(self.fold, in_sample=in_sample),
        )

    def fold(self, k: int, n: int, *, in_sample: bool) -> None:
        """Says how far the teachers are."""
        if k < n:
            say(self.console, "teacher of all series" if in_sample else f"teacher of fold {k + 1}/{n}")

    def teacher(self, told: dict[str, Any], *, in_sample: bool) -> RunTeacher:
        """A teacher of a configuration or a run; a run that saw these very series is taken as it is, in sample."""
        trained = None
        if "run" in told:
            path = Path(told["run"])
            config = RunConfig.from_file(RunFolder(path).config)
            cut = [
                (one.data.validation, one.data.test, one.data.train_series, one.data.frame, one.data.options, one.seed)
                for one in (config, self.config)
            ]
            trained = path if in_sample and cut[0] == cut[1] else None
        else:
            config = fit_step_sizes(keep_windows(RunConfig.from_dict(told), self.module), self.module)
        return RunTeacher(config, self.info, self.module.sets.get("val"), trained)

    def student(self, name: str, goals: Tensor) -> dict[str, float]:
        """Metrics of a student to compare with, which is a run of its own inside the folder."""
        folder = RunFolder(self.folder.path / name)
        if not folder.is_finished:
            say(self.console, "student of labels alone" if name == "labels" else "student of a teacher that saw them")
            if not folder.exists:
                folder.write_config(self.config.to_dict())
            self.module.teach(goals)
            model = build_model(self.config, self.module)
            make_task = self.label_task if name == "labels" else self.task
            carry_out(self.config, model, self.module, folder, self.console, make_task=make_task)
        return read_result(folder).metrics

    def choose(self, goals: Tensor) -> float:
        """The weight of the correction, by the validation part's labels; each trial is kept as soon as it is there."""
        file, tried = self.folder.path / "choice.json", dict[str, list[float]]()
        if file.is_file():
            tried = read_trials(file, len(self.module.sets["val"]))
        for c in C_GRID:
            if repr(c) in tried:
                continue
            say(self.console, f"student with c = {c:g}")
            model = fit_model(
                self.config, self.train, self.info, self.module.sets["val"], seed=self.config.seed, goals=goals,
                make_task=partial(self.task, c=c),
            )  # fmt: skip
            tried[repr(c)] = losses_of(model, self.module.sets["val"], self.config)
            write_trials(file, tried)
        return smallest_within_one_error(np.array([tried[repr(c)] for c in C_GRID]))

    def report(
        self, model: SequenceModel, said: OutOfFoldTargets | None, c: float, beside: dict[str, dict[str, float]]
    ) -> dict[str, Any]:
        """Teacher, student, labels alone and plain beside each other, on the held-out part, as plain values."""
        part = "test" if "test" in self.module.sets else "val"
        outputs = run_model(model, self.module.loader(self.module.sets[part]), device=self.config.training.device)
        out: dict[str, Any] = {
            "method": self.plan.method,
            "folds": 1 if self.plan.in_sample else self.plan.folds,
            "c": "infinity" if c == math.inf else c,
            "split": part,
            "student": measure(outputs, self.info),
            "n_parameters": model.n_parameters,
            **beside,
        }
        if said is not None:
            out["teacher"] = {"seen": float(np.mean(said.seen)), "unseen": float(np.mean(said.unseen))}
            out["teacher"]["measure"] = "accuracy" if self.info.classes else "mean squared error"
            out["overfit"] = said.overfit()
        return out


def _labels_only(truth: np.ndarray[Any, Any]) -> Tensor:
    """Goals of a student without a teacher: the truth in the teacher's place, with the variance that nothing needs."""
    return torch.from_numpy(np.stack([truth, truth, np.ones_like(truth)], axis=1))
