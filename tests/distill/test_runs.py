"""Whole distillations of series: what a run folder holds, what is resumed, and who saw what."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from seqkit.datasets import SeriesSet
from seqkit.datasets.windows import Windows
from seqkit.distill import FoldStore
from seqkit.models import load_model
from seqkit.runs import RunConfig, predict, train, train_distilled
from seqkit.runs import distill_steps as module
from seqkit.runs.data import build_data_module
from seqkit.runs.distill_choice import read_trials, write_trials
from seqkit.runs.distill_data import series_folds, truth_of
from seqkit.runs.distill_teacher import PanelTeacher, RunTeacher, as_panel, check_run
from seqkit.runs.folders import clear
from seqkit.runs.holding import held
from seqkit.streaming import Stream
from seqkit.tasks.run_folder import RunFolder

SMALL = {"epochs": 2, "d_model": 4, "n_layers": 1, "order": 4, "device": "cpu", "batch_size": 16}
THEIRS = {"teacher.epochs": 2, "teacher.d_model": 4, "teacher.n_layers": 1}


def distilled(table, out, *, data="classes", teacher="gru", **changes):
    options = {"folds": 2, "compare": False, "c": 0.1, "progress": False, **SMALL, **changes}
    theirs = {} if changes.get("resume") else THEIRS if teacher == "gru" else {}
    return train_distilled(str(table / f"{data}.csv"), teacher, "s4d", out=out, **options, **theirs)


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    """One run with everything: chosen weight and students to compare with."""
    return distilled(table, tmp_path_factory.mktemp("runs") / "run", compare=True, c="auto")


def test_a_run_reports_teacher_student_labels_and_plain(whole):
    report = whole.summary["distillation"]
    assert report["method"] == "both"
    assert {"accuracy", "loss"} <= set(report["student"]) == set(report["plain"]) == set(report["labels only"])
    assert report["student"] == whole.metrics
    assert report["overfit"] == pytest.approx(report["teacher"]["seen"] - report["teacher"]["unseen"])
    tried = json.loads((whole.path / "choice.json").read_text())
    assert {float(c) for c in tried} >= {0.0, 0.1, math.inf}
    assert len({len(losses) for losses in tried.values()}) == 1


def test_the_folder_is_one_that_everything_reads(whole, table):
    rows = predict(whole.path, table / "classes.csv")
    assert len(rows) == 40
    stream = Stream(load_model(whole.path))
    answer = None
    for value in ([0.1, 0.2], [0.3, 0.4]):
        answer = stream.push(torch.tensor(value)) if hasattr(stream, "push") else stream.step(torch.tensor(value))
    assert answer is not None


def test_teachers_saw_nothing_of_what_they_labelled(whole):
    said = FoldStore(whole.path / "targets").load()
    assert said.folds.n_folds == 2
    assert not said.in_sample
    for k, seen in enumerate(said.folds.train):
        assert not set(seen) & set(said.folds.members(k))
    assert FoldStore(whole.path / "seen").load().in_sample
    assert np.allclose(said.values.sum(1), 1, atol=1e-5)


def weights(result):
    return {name: value.clone() for name, value in load_model(result.path).state_dict().items()}


@pytest.mark.parametrize("stop", ["second fold", "student"])
def test_a_killed_run_goes_on_to_the_same_weights(table, tmp_path, monkeypatch, stop):
    unbroken = distilled(table, tmp_path / "whole")
    fits, fit, carry_out = [], RunTeacher.fit, module.carry_out

    def counted(self, X, y):
        if stop == "second fold" and len(fits) == 1:
            raise KeyboardInterrupt
        fits.append(len(X))
        return fit(self, X, y)

    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunTeacher, "fit", counted)
        if stop == "student":
            patch.setattr(module, "carry_out", broken)
        with pytest.raises(KeyboardInterrupt, match="part"):
            distilled(table, tmp_path / "part")
    done = len(fits)
    monkeypatch.setattr(RunTeacher, "fit", lambda self, X, y: (fits.append(len(X)), fit(self, X, y))[1])
    again = train_distilled(out=tmp_path / "part", resume=True, progress=False)
    assert (done, len(fits)) == ((1, 2) if stop == "second fold" else (2, 2))
    assert module.carry_out is carry_out
    first, second = weights(unbroken), weights(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert train_distilled(out=tmp_path / "part", resume=True, progress=False).metrics == again.metrics


def test_a_run_that_saw_these_series_teaches_as_it_is_in_sample(table, tmp_path):
    teacher = train(str(table / "classes.csv"), "gru", out=tmp_path / "teacher", progress=False,
                    epochs=2, d_model=4, n_layers=1, device="cpu")  # fmt: skip
    found = distilled(table, tmp_path / "student", teacher=[str(teacher.path)], method="plain")
    said = FoldStore(found.path / "seen").load()
    config = RunConfig.from_file(teacher.path / "config.yaml")
    data = build_data_module(config)
    model = load_model(teacher.path)
    for i in (0, 5):
        wanted = model.predict(torch.from_numpy(data.sets["train"].values[i])[None])[0].numpy()
        order = [model.info.classes.index(label) for label in said.classes]
        assert np.allclose(said.values[i], wanted[order], atol=1e-5)
    out = distilled(table, tmp_path / "other", teacher=[str(teacher.path)], method="crossfit")
    assert not np.allclose(FoldStore(out.path / "targets").load().values, said.values)


def test_values_are_distilled_too(table, tmp_path):
    found = distilled(table, tmp_path / "run", data="values", c="auto")
    said = FoldStore(found.path / "targets").load()
    assert said.v is not None
    assert set(np.unique(said.folds.fold)) == {0, 1}
    assert "rmse" in found.summary["distillation"]["student"]
    assert found.summary["distillation"]["teacher"]["measure"] == "mean squared error"


class Prior:
    """A classifier of panels that knows how often each label comes, written as people write their own."""

    def fit(self, X, y):
        assert isinstance(X, list)  # series of unequal length
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.shares, (len(X), 1))


def test_estimators_and_ensembles_teach(table, tmp_path):
    found = distilled(table, tmp_path / "run", teacher=[Prior(), "gru"])
    said = FoldStore(found.path / "targets").load()
    assert said.values.shape[1] == 2
    (found.path / "summary.json").unlink()
    with pytest.raises(ValueError, match="the estimators that teach must be given again to resume"):
        train_distilled(out=found.path, resume=True, progress=False)
    again = train_distilled(teacher=[Prior()], out=found.path, resume=True, progress=False)
    assert again.metrics == found.metrics


@pytest.mark.slow
def test_estimators_of_sktime_teach(table, tmp_path):
    from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier
    from sktime.transformations.panel.padder import PaddingTransformer

    teacher = PaddingTransformer(pad_length=64) * KNeighborsTimeSeriesClassifier(1)  # series differ in length
    found = distilled(table, tmp_path / "run", teacher=teacher, method="crossfit")
    assert found.summary["distillation"]["teacher"]["seen"] == 1


def test_labels_only_is_a_method_of_its_own(table, tmp_path):
    found = distilled(table, tmp_path / "run", method="labels")
    assert "teacher" not in found.summary["distillation"]
    assert not (found.path / "targets").exists()


def test_windows_are_cut_into_blocks_with_an_embargo():
    base = [np.arange(200.0)[:, None]]
    start = np.arange(180)
    rows = Windows(base, np.zeros(180, int), start, 12, horizon=3, places=(0,))
    series = SeriesSet(rows, np.zeros((180, 3)))
    folds = series_folds(series, 4)
    for k, seen in enumerate(folds.train):
        gap = np.abs(start[seen][:, None] - start[folds.members(k)][None]).min()
        assert gap >= 15


def test_groups_stay_whole():
    series = SeriesSet([np.zeros((2, 1))] * 12, list("ab") * 6, names=[f"s{i}" for i in range(12)])
    groups = {f"s{i}": f"g{i // 3}" for i in range(12)}
    folds = series_folds(series, 4, groups=groups)
    assert all(len({groups[f"s{i}"] for i in folds.members(k)}) == 1 for k in range(4))
    with pytest.raises(ValueError, match="`groups` must name the group of every training series, got none for 's11'"):
        series_folds(series, 4, groups={name: group for name, group in groups.items() if name != "s11"})


def test_panels_are_arrays_or_tables():
    even = SeriesSet([np.arange(6.0).reshape(3, 2)] * 2)
    assert as_panel(even)[0].tolist() == [[0, 2, 4], [1, 3, 5]]
    uneven = as_panel(SeriesSet([np.zeros((3, 2)), np.ones((2, 2))]))
    assert [table.shape for table in uneven] == [(3, 2), (2, 2)]
    assert PanelTeacher(object).get_params() == {}


def test_targets_per_sample_are_refused():
    series = SeriesSet([np.zeros((3, 1))] * 2, [np.zeros(3), np.ones(3)])
    from seqkit.datasets.targets import info_of

    with pytest.raises(ValueError, match="has a target per sample, and distillation takes one per series"):
        truth_of(series, info_of("toy", {"all": series}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "corrected"}, "takes corrections from a teacher that saw the labels"),
        ({"folds": 1}, "`folds` must be at least 2"),
        ({"c": "most"}, "`c` must be a number, 0 or above, or auto, got 'most'"),
        ({"teacher": "lsll"}, "did you mean"),
        ({"teacher": object()}, "`teacher` must be a model, a run or an estimator with fit, got object"),
        ({"teacher": ()}, "`teacher` must name a model, a run or an estimator, got none"),
        ({"loss": "kl"}, "`loss` must be one of"),
        ({"temperature": 2.0, "steps": "all"}, "`steps` must be last"),
        ({"folds": 200}, "`n_folds` must be at most the number of samples"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(table, tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        distilled(table, tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_a_folder_is_overwritten_only_when_asked_for(whole, table, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole.path, copy)
    with pytest.raises(FileExistsError, match="holds a run already"):
        distilled(table, copy, folds=3)
    with pytest.raises(ValueError, match="holds a distillation; resume it with `seqkit distill --resume`"):
        train(out=copy, resume=True, progress=False)
    found = distilled(table, copy, folds=3, method="crossfit", overwrite=True)
    assert FoldStore(copy / "targets").load().folds.n_folds == 3
    assert not (copy / "choice.json").exists()
    assert found.summary["distillation"]["c"] == 0
    (copy / "summary.json").unlink()
    (copy / "distill.json").write_text("{")
    with pytest.raises(ValueError, match=r"distill\.json is damaged"):
        train_distilled(out=copy, resume=True, progress=False)


def test_a_folder_that_another_process_writes_is_refused_and_left_alone(whole, table, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in whole.path.rglob("*")}
    with held(whole.path), pytest.raises(FileExistsError, match="another process is writing to"):
        distilled(table, whole.path, compare=True, c="auto", overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in whole.path.rglob("*")} == before
    begun = tmp_path / "begun"
    shutil.copytree(whole.path, begun)
    (begun / "summary.json").unlink()
    with held(begun), pytest.raises(FileExistsError, match="another process is writing to"):
        train_distilled(out=begun, resume=True, progress=False)
    assert not (begun / "summary.json").exists()
    with held(tmp_path / "new"), pytest.raises(FileExistsError, match="another process"):
        distilled(table, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_resumed_run_keeps_its_settings_and_says_so(whole):
    for change, words in (
        ({"folds": 3}, "a resumed distillation keeps its own `folds`, 2, got 3; leave it out"),
        ({"method": "plain"}, "a resumed distillation keeps its own `method`, 'both', got 'plain'"),
        ({"overwrite": True}, "`overwrite` and `resume` exclude each other"),
    ):
        with pytest.raises(ValueError, match=words):
            train_distilled(out=whole.path, resume=True, progress=False, **change)
    assert train_distilled(out=whole.path, resume=True, progress=False, folds=2).metrics == whole.metrics


def test_trials_that_are_damaged_are_refused(tmp_path):
    file = tmp_path / "choice.json"
    for text, words in (("{", "is damaged"), ('{"0.1": 3}', "is damaged"), ('{"0.1": [1.0]}', "each of 2 series")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_trials(file, 2)
    write_trials(file, {"0.1": [1.0, 2.0], "inf": [0.5, 0.25]})
    assert read_trials(file, 2) == {"0.1": [1.0, 2.0], "inf": [0.5, 0.25]}


def test_estimators_without_what_the_data_need_are_refused_before_anything_is_written(table, tmp_path):
    from sklearn.linear_model import LinearRegression
    from sklearn.svm import LinearSVC

    for data, teacher, words in (
        ("classes", LinearSVC(), "must have fit and predict_proba to teach classes, got LinearSVC"),
        ("values", LinearSVC(), "must predict values for a regression, got the classifier LinearSVC"),
        ("classes", [Prior(), LinearRegression()], "to teach classes, got LinearRegression"),
    ):
        with pytest.raises(ValueError, match=words):
            distilled(table, tmp_path / "run", data=data, teacher=teacher)
    assert not (tmp_path / "run").exists()


def test_a_run_of_other_data_than_it_was_is_no_teacher(whole):
    info = load_model(whole.path).info
    for other, words in (
        (replace(info, n_channels=3, channels=()), r"other channels \(2\) than the student's \(3\); train it anew"),
        (replace(info, classes=("a", "b")), "other classes"),
    ):
        with pytest.raises(ValueError, match=words):
            check_run(str(whole.path), other)
    check_run(str(whole.path), info)
    with pytest.raises(FileNotFoundError, match="nowhere holds no finished run any more"):
        check_run("nowhere", info)


def test_a_training_over_a_distillation_leaves_nothing_of_it(whole, tmp_path):
    copy = RunFolder(shutil.copytree(whole.path, tmp_path / "copy"))
    (copy.path / "notes.txt").write_text("mine")
    clear(copy)
    assert {path.name for path in copy.path.iterdir()} <= {"notes.txt", "config.yaml", "checkpoints"}
