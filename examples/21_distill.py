"""A small streaming model, taught by a larger one that never saw the labels of what it says.

A fifth of the training labels of spoken vowels is made wrong. A teacher that saw a label has partly learned it by
heart; one that did not says what is likely. The student learns from its answer after every sample, so
it answers early too.

    python examples/21_distill.py [FOLDER]

Expect the teacher that saw the labels to agree with more of them, wrong ones included, and students that differ by a
few percent: one seed does not say which is best, docs/distillation.md does. FOLDER (runs/examples) gets
21_distill.png: how often each student is right after so many samples.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from seqkit.datasets import SeriesSet, loader
from seqkit.distill import CrossFitTeacher, in_sample_fold, prefix_scores
from seqkit.figures import new_figure, save_figure
from seqkit.runs.config import RunConfig
from seqkit.runs.data import build_data_module
from seqkit.runs.distill_data import goals_of, series_folds, truth_of
from seqkit.runs.distill_task import DistillTask
from seqkit.runs.distill_teacher import RunTeacher, fit_model
from seqkit.runs.steps import fit_step_sizes

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
plain = {"keep": "last", "patience": None, "label_smoothing": 0.0, "input_noise": 0.0, "device": "cpu", "order": 8}
config = RunConfig.build("japanese_vowels", "s4d", settings={**plain, "d_model": 8, "n_layers": 1, "epochs": 15})
large = RunConfig.build("japanese_vowels", "gru", settings={**{k: v for k, v in plain.items() if k != "order"},
                        "d_model": 32, "n_layers": 1, "dropout": 0.0, "epochs": 12})  # fmt: skip
module = build_data_module(config)
config, info = fit_step_sizes(config, module), module.info
right, random = module.sets["train"], np.random.default_rng(0)
labels = [str(random.choice(info.classes)) if random.random() < 0.2 else str(one) for one in right.target]
train = SeriesSet(right.values, labels, sample_rate=right.sample_rate, origin="vowels, some labels wrong")

truth, goals = truth_of(train, info), {}
goals["labels alone"] = torch.from_numpy(np.stack([truth, truth, np.ones_like(truth)], axis=1))
for name, folds in (("teacher that saw them", in_sample_fold(len(train))), ("out of fold", series_folds(train, 3))):
    said = CrossFitTeacher(RunTeacher(large, info, None), folds).targets(train, np.array(labels))
    goals[name] = goals_of(said, truth, info)
    print(f"{name}: agrees with {said.unseen[0]:.1%} of the labels, wrong ones included")

figure = new_figure(6, 4)
axes = figure.subplots()
for name, goal in goals.items():
    task = partial(DistillTask, c=0.1 if name == "out of fold" else 0.0)
    student = fit_model(config, train, info, None, seed=0, goals=goal.float(), make_task=task)
    batch = next(iter(loader(module.sets["test"], info, batch_size=len(module.sets["test"]))))
    with torch.no_grad():
        scores, inside = prefix_scores(student, batch)
    right_after = ((scores.argmax(-1) == batch.target[:, None]) & inside).sum(0) / inside.sum(0)
    ends = scores[torch.arange(len(scores)), batch.lengths - 1].argmax(1)
    print(f"student of {name}: {(ends == batch.target).double().mean():.1%} at the end of a series")
    axes.plot(range(1, 13), right_after[:12], marker="o", label=name)
axes.set(
    title="Students of wrong labels and of two teachers",
    xlabel="samples heard",
    ylabel="share of test series that are named right",
)
axes.grid(alpha=0.3)
axes.legend()
save_figure(figure, folder / "21_distill.png")
print(f"picture: {folder / '21_distill.png'}; the student has {student.n_parameters} parameters")
