"""What cannot teach or learn is refused in one sentence, before anything is fitted."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from seqkit.distill import CorrectedTarget, CrossFitTeacher, distill, group_folds

X = np.random.default_rng(0).standard_normal((40, 3))
LABELS, VALUES = np.where(X[:, 0] > 0, "a", "b"), X[:, 0]
TREE, VALUE_TREE = DecisionTreeClassifier(), DecisionTreeRegressor()


class Says:
    """Gives what it is told, of classes that it is told."""

    def __init__(self, classes=("a", "b"), p=(0.5, 0.5), rows=None):
        self.classes, self.p, self.rows = classes, p, rows

    def fit(self, X, y):
        self.classes_ = self.classes
        return self

    def predict_proba(self, X):
        return np.tile(self.p, (len(X) if self.rows is None else self.rows, 1))


class Pairs(LinearRegression):
    """Predicts two values where one was learned."""

    def predict(self, X):
        return np.zeros((len(X), 2))


@pytest.mark.parametrize(
    ("teacher", "y", "words"),
    [
        (LinearSVC(), LABELS, "`estimator` must have fit and predict_proba to teach classes, got LinearSVC; wrap it"),
        (LinearSVC(), LABELS == "a", "`estimator` must have fit and predict_proba to teach classes, got LinearSVC"),
        ([TREE, VALUE_TREE], LABELS, "`estimator` must be classifiers only or regressors only"),
        (DecisionTreeClassifier, LABELS, "`estimator` must be an object, got the class DecisionTreeClassifier"),
        (None, LABELS, r"`estimator` must have fit and predict_proba \(or predict, for values\), got NoneType"),
        (LinearRegression(), LABELS, "`y` must be numbers for estimators that predict values, got "),
        (LinearRegression(), np.full(40, np.nan), "`y` must be finite, got NaN or infinite values"),
        (TREE, np.stack([LABELS, LABELS], axis=1), r"`y` must have shape \(n,\), one label for each sample"),
        (TREE, np.where(LABELS == "a", None, LABELS), "`y` must hold a label for each sample, got None for sample"),
        (TREE, np.where(LABELS == "a", np.nan, 1.0), "`y` must hold a label for each sample, got nan for sample"),
        (TREE, np.where(LABELS == "a", 1, LABELS.astype(object)), "`y` must hold labels of one kind, got int and str"),
        (TREE, None, "`y` must hold a target for each of 40 samples, got None"),
        (LogisticRegression(), np.full(40, "a"), "`y` must hold two classes or more for a teacher to learn, got 'a'"),
        (Says(classes=("x", "y")), LABELS, r"Says knows the class 'x', which is none of the labels \(a, b\)"),
        (Says(p=(0.8, 0.8)), LABELS, "Says must give probabilities of 0 or above that sum to 1, got a smallest of 0.8"),
        (Says(p=(1.5, -0.5)), LABELS, "Says must give probabilities of 0 or above that sum to 1"),
        (Says(rows=1), LABELS, r"Says must give each of 32 samples a finite probability .* got shape \(1, 2\)"),
        (Pairs(), VALUES, r"Pairs must predict 1 value for each of 32 samples, got shape \(32, 2\)"),
    ],
)
def test_teachers(teacher, y, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        CrossFitTeacher(teacher, 5).targets(X, y, folder=tmp_path)
    assert not list(tmp_path.glob("fold-*"))


def test_teachers_of_another_task():
    with pytest.raises(ValueError, match="must predict values for a regression, got the classifier LogisticRegression"):
        CrossFitTeacher(LogisticRegression(), 5, task="regression")
    with pytest.raises(ValueError, match="must have fit and predict_proba to teach classes, got DecisionTreeRegressor"):
        CrossFitTeacher(VALUE_TREE, 5, task="classification")


def test_a_fold_outside_of_which_there_is_one_class_only():
    folds = group_folds(LABELS, 2)
    with pytest.raises(ValueError, match=r"got '[ab]' alone outside fold 0 of 2; give other folds"):
        CrossFitTeacher(TREE, folds).targets(X, LABELS)


class Unasked(DecisionTreeClassifier):
    """A teacher that must not come to be fitted."""

    def fit(self, X, y):
        raise AssertionError


@pytest.mark.parametrize(
    ("student", "options", "words"),
    [
        ("s4d", {}, "`student` must be an estimator with fit and predict, got str"),
        (DecisionTreeRegressor, {}, "`student` must be an estimator with fit and predict, got DecisionTreeRegressor"),
        (KNeighborsClassifier(), {}, "`student` must take `sample_weight` in fit to learn from probabilities"),
        (LinearSVC(), {}, "`student` must have predict_proba as a classifier, got LinearSVC"),
        (TREE, {"target": CorrectedTarget("log", "fast")}, "`target` must have the identity link for a student that"),
        (VALUE_TREE, {"folds": 2}, "`c` must be a number where there are fewer than three folds, got 'auto' with 2"),
        (VALUE_TREE, {"folds": group_folds(range(40), 2)}, "got 'auto' with 2; choosing it holds a fold out"),
    ],
)
def test_students(student, options, words):
    with pytest.raises(ValueError, match=words):
        distill(Unasked(), student, X, LABELS, **options)


def test_a_classifier_learns_no_values():
    with pytest.raises(ValueError, match="`student` must predict values as its teachers do, got the classifier"):
        distill(VALUE_TREE, TREE, X, VALUES)


def test_fewer_targets_than_samples_and_a_file_for_a_folder(tmp_path):
    with pytest.raises(ValueError, match="`y` must hold a target for each of 40 samples, got 39"):
        distill(TREE, VALUE_TREE, X, LABELS[1:], method="labels")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="file is a file, and targets need a folder of their own"):
        CrossFitTeacher(TREE, 5).targets(X, LABELS, folder=tmp_path / "file")
