"""The steps of a distillation: teachers, the choice of c, students and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from seqkit.runs.config import RunConfig
from seqkit.runs.data import keep_windows
from seqkit.runs.distill_choice import losses_of, read_trials, write_trials
from seqkit.runs.distill_config import DistillConfig
from seqkit.runs.distill_data import TaughtDataModule, goals_of, series_folds, series_ids, truth_of
from seqkit.runs.distill_task import DistillTask
from seqkit.runs.distill_teacher import PanelTeacher, RunTeacher, check_run, fit_model
from seqkit.runs.inference import measure, run_model
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.steps import fit_step_sizes
from seqkit.runs.training import build_model, carry_out, say
from seqkit.tasks.run_folder import RunFolder

__all__ = ["Distillation"]


class Distillation:
    """One distillation, whose steps are each taken up where they were left.

    Args:
        config: The student's run.
        plan: How it is taught.
        module: Data of both.
        console: Where progress is shown; None for nowhere.
        objects: Estimators that teach, in the order of the plan's.

    Raises:
        ValueError: teachers, data and settings that do not fit each other.
        FileNotFoundError: a run that teaches is gone.

    Example:
        >>> Distillation(config, plan, module, None, []).carry_out(RunFolder("runs/taught"))  # doctest: +SKIP
    """

    def __init__(
        self,
        config: RunConfig,
        plan: DistillConfig,
        module: TaughtDataModule,
        console: Console | None,
        objects: Sequence[Any],
    ) -> None:
        self.config, self.plan, self.module, self.console = config, plan, module, console
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

    def carry_out(self, folder: RunFolder) -> TrainResult:
        """Teachers, the choice of c, comparisons, student and report."""
        plan, goals, said, c = self.plan, _labels_only(self.truth), None, 0.0
        if plan.method != "labels":
            said = self.said(folder, in_sample=plan.in_sample)
            goals = goals_of(said, self.truth, self.info)
        if plan.corrects:
            c = self.choose(folder, goals) if plan.c == "auto" else float(plan.c)
        beside: dict[str, dict[str, float]] = {}
        if plan.compare and plan.method != "labels":
            beside["labels only"] = self.student(folder, "labels", _labels_only(self.truth))
            if plan.method != "plain":
                told = said if plan.in_sample and said is not None else self.said(folder, in_sample=True)
                beside["plain"] = self.student(folder, "plain", goals_of(told, self.truth, self.info))
        self.module.teach(goals)
        say(self.console, f"student ({plan.method}" + (f", c = {c:g})" if plan.corrects else ")"))
        return carry_out(
            self.config,
            self.model,
            self.module,
            folder,
            self.console,
            make_task=self.label_task if plan.method == "labels" else partial(self.task, c=c),
            more=lambda model: {"distillation": self.report(model, said, c, beside)},
        )

    def said(self, folder: RunFolder, *, in_sample: bool) -> OutOfFoldTargets:
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
            folder=folder.path / ("seen" if in_sample else "targets"),
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

    def student(self, run: RunFolder, name: str, goals: Tensor) -> dict[str, float]:
        """Metrics of a student to compare with, which is a run of its own inside the folder."""
        folder = RunFolder(run.path / name)
        if not folder.is_finished:
            say(self.console, "student of labels alone" if name == "labels" else "student of a teacher that saw them")
            if not folder.exists:
                folder.write_config(self.config.to_dict())
            self.module.teach(goals)
            model = build_model(self.config, self.module)
            make_task = self.label_task if name == "labels" else self.task
            carry_out(self.config, model, self.module, folder, self.console, make_task=make_task)
        return read_result(folder).metrics

    def choose(self, folder: RunFolder, goals: Tensor) -> float:
        """The weight of the correction, by the validation part's labels; each trial is kept as soon as it is there."""
        file, tried = folder.path / "choice.json", dict[str, list[float]]()
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
