"""Cross-fitted teachers: what they saw, what is kept of them, and a killed run that goes on."""

import json

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

from seqkit.datasets import SeriesSet
from seqkit.distill import CrossFitTeacher, FoldStore, average_probabilities, in_sample_fold, k_folds, time_folds


@pytest.fixture
def noisy():
    random = np.random.default_rng(0)
    X = random.normal(size=(80, 3))
    return X, np.array(["no", "yes"])[(X[:, 0] + random.normal(size=80) > 0).astype(int)]


class KilledError(Exception):
    """What ends a run in these tests."""


class Counting(DecisionTreeClassifier):
    """Counts fits, and breaks off at the one that is asked for."""

    fits = 0
    stop = -1

    def fit(self, X, y):
        if type(self).fits == type(self).stop:
            raise KilledError
        type(self).fits += 1
        return super().fit(X, y)


@pytest.fixture
def counting():
    Counting.fits, Counting.stop = 0, -1
    return Counting()


@pytest.mark.parametrize("teacher", [KNeighborsClassifier(1), DecisionTreeClassifier()])
def test_a_teacher_that_remembers_is_perfect_in_sample_and_not_out_of_fold(teacher, noisy):
    X, y = noisy
    inside = CrossFitTeacher(teacher, in_sample_fold(80)).targets(X, y)
    outside = CrossFitTeacher(teacher, 5).targets(X, y)
    assert np.mean(np.array(inside.classes)[inside.values.argmax(1)] == y) == 1
    assert np.mean(np.array(outside.classes)[outside.values.argmax(1)] == y) < 0.9
    assert inside.overfit() == 0
    assert outside.overfit() > 0.1
    assert outside.seen == (1.0,) * 5


def test_values_are_those_of_a_teacher_fitted_by_hand(noisy):
    X, y = noisy
    folds = k_folds(80, 4, labels=y)
    said = CrossFitTeacher(LogisticRegression(), folds).targets(X, y)
    for k in range(4):
        mine = folds.members(k)
        other = np.setdiff1d(np.arange(80), mine)
        wanted = LogisticRegression().fit(X[other], y[other]).predict_proba(X[mine])
        assert np.array_equal(said.values[mine], wanted.astype(np.float32))


def test_an_ensemble_averages_probabilities_and_not_logits(noisy):
    X, y = noisy
    members = [LogisticRegression(C=c).fit(X, y) for c in (0.01, 100.0)]
    p = np.stack([one.predict_proba(X) for one in members])
    mean = average_probabilities(members, X, ["no", "yes"])
    assert np.allclose(mean, p.mean(axis=0), atol=1e-15)
    assert np.allclose(mean.sum(axis=1), 1)
    logits = np.exp(np.log(p).mean(axis=0))
    assert np.abs(mean - logits / logits.sum(axis=1, keepdims=True)).max() > 0.01
    said = CrossFitTeacher([LogisticRegression(), DecisionTreeClassifier()], 4, n_members=2).targets(X, y)
    assert np.allclose(said.values.sum(axis=1), 1, atol=1e-6)


def test_members_differ_and_a_seed_gives_the_same_ones_again(noisy):
    X, y = noisy
    forest = RandomForestClassifier(3)
    one, same, other = (CrossFitTeacher(forest, 3, seed=s).targets(X, y).values for s in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    teacher = CrossFitTeacher(forest, 3, n_members=2)
    teacher.targets(X, y)
    first, second = teacher.teachers_[0]
    assert first.random_state != second.random_state


def test_a_class_that_a_fold_never_saw_gets_probability_zero():
    X, y = np.arange(9.0)[:, None], np.array(list("aaaabbbbc"))
    said = CrossFitTeacher(DecisionTreeClassifier(), 3).targets(X, y)
    assert said.values[8, 2] == 0
    assert np.allclose(said.values.sum(axis=1), 1)


def test_a_regressions_variance_comes_from_the_other_folds():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 2)), random.normal(size=60)
    said = CrossFitTeacher(RandomForestRegressor(5), 3).targets(X, y)
    for k in range(3):
        others = said.folds.fold != k
        wanted = np.mean((y[others] - said.values[others, 0].astype(float)) ** 2)
        assert np.allclose(said.v[said.folds.members(k)], wanted, rtol=1e-5)
    assert 0 < said.overfit() < 1
    assert CrossFitTeacher(KNeighborsRegressor(1), 3).targets(X, y).overfit() == 1


def test_the_first_block_of_forward_folds_has_no_teacher():
    X, y = np.arange(40.0)[:, None], np.arange(40) % 2
    folds = time_folds(range(40), 4, lookback=1, horizon=1, forward_only=True)
    said = CrossFitTeacher(DecisionTreeClassifier(), folds).targets(X, y)
    assert np.array_equal(np.isnan(said.values[:, 0]), np.arange(40) < 10)
    assert np.array_equal(said.taught, np.arange(40) >= 10)


def test_what_is_stored_comes_back_bit_for_bit(noisy, tmp_path):
    X, y = noisy
    for name, teacher, target in (("c", DecisionTreeClassifier(), y), ("r", RandomForestRegressor(3), X[:, 0])):
        said = CrossFitTeacher(teacher, 4).targets(X, target, folder=tmp_path / name)
        read = FoldStore(tmp_path / name).load()
        assert np.array_equal(read.values, said.values)
        assert np.array_equal(read.folds.fold, said.folds.fold)
        assert all(np.array_equal(a, b) for a, b in zip(read.folds.train, said.folds.train, strict=True))
        assert (read.ids, read.classes, read.seen, read.unseen) == (said.ids, said.classes, said.seen, said.unseen)
        assert (read.v is None) == (name == "c")
        assert read.v is None or np.array_equal(read.v, said.v)
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert names == {"plan.json", *(f"fold-{k:03d}.safetensors" for k in range(4))}


def test_a_killed_run_goes_on_with_the_fold_it_broke_off_at(noisy, tmp_path, counting):
    X, y = noisy
    whole = CrossFitTeacher(counting, 5).targets(X, y)
    Counting.fits, Counting.stop = 0, 3
    with pytest.raises(KilledError):
        CrossFitTeacher(counting, 5).targets(X, y, folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="lacks fold 3 of 5"):
        FoldStore(tmp_path).load()
    Counting.fits, Counting.stop = 0, -1
    again = CrossFitTeacher(counting, 5).targets(X, y, folder=tmp_path)
    assert Counting.fits == 2
    assert np.array_equal(again.values, whole.values)


def test_targets_of_something_else_are_refused(noisy, tmp_path):
    X, y = noisy
    CrossFitTeacher(DecisionTreeClassifier(), 4).targets(X, y, folder=tmp_path)
    for teacher, folds, x, labels, ids, words in (
        (DecisionTreeClassifier(), 3, X, y, None, "other folds"),
        (DecisionTreeClassifier(max_depth=2), 4, X, y, None, "other data or another teacher"),
        (DecisionTreeClassifier(), 4, X + 1e-9, y, None, "other data or another teacher"),
        (DecisionTreeClassifier(), 4, X, np.where(y == "no", "yes", "no"), None, "other"),
        (DecisionTreeClassifier(), 4, X[:79], y[:79], None, "other samples"),
        (DecisionTreeClassifier(), 4, X, y, range(80, 160), "other samples"),
    ):
        with pytest.raises(ValueError, match=f"holds targets of {words}"):
            CrossFitTeacher(teacher, folds).targets(x, labels, ids=ids, folder=tmp_path)


@pytest.mark.parametrize("how", ["flip", "cut", "swap", "plan"])
def test_damaged_files_are_refused_in_a_sentence(noisy, tmp_path, how):
    X, y = noisy
    CrossFitTeacher(DecisionTreeClassifier(), 4).targets(X, y, folder=tmp_path)
    one, two, plan = tmp_path / "fold-001.safetensors", tmp_path / "fold-002.safetensors", tmp_path / "plan.json"
    raw = bytearray(one.read_bytes())
    if how == "flip":
        raw[-3] ^= 1
        one.write_bytes(raw)
    elif how == "cut":
        one.write_bytes(raw[:-20])
    elif how == "swap":
        one.write_bytes(two.read_bytes())
    else:
        values = json.loads(plan.read_text())
        values["fold"][0] = (values["fold"][0] + 1) % 4
        plan.write_text(json.dumps(values))
    words = {"swap": "belongs to other targets", "plan": "plan.json is damaged"}.get(how, "fold-001.* is damaged")
    for again in (
        lambda: FoldStore(tmp_path).load(),
        lambda: CrossFitTeacher(DecisionTreeClassifier(), 4).targets(X, y, folder=tmp_path),
    ):
        with pytest.raises(ValueError, match=words):
            again()


def test_a_series_set_is_a_sample_a_series():
    random = np.random.default_rng(0)
    rows = [random.normal(size=(length, 1)) for length in (5, 7, 6, 5, 9, 8)]
    series = SeriesSet(rows, list("ababab"))

    class Mean:
        def fit(self, X, y):
            assert isinstance(X, SeriesSet)
            self.classes_ = sorted(set(y))
            return self

        def predict_proba(self, X):
            assert isinstance(X, SeriesSet)
            return np.full((len(X), 2), 0.5)

    said = CrossFitTeacher(Mean(), 3).targets(series, series.target)
    assert said.values.tolist() == [[0.5, 0.5]] * 6


def test_unlabelled_samples_get_the_mean_of_all_folds(noisy):
    X, y = noisy
    teacher = CrossFitTeacher(LogisticRegression(), 3)
    teacher.targets(X, y)
    wanted = np.mean([members[0].predict_proba(X[:5] + 1) for members in teacher.teachers_], axis=0)
    assert np.allclose(teacher.predict(X[:5] + 1), wanted)
    with pytest.raises(ValueError, match="call `targets` without a folder first"):
        CrossFitTeacher(LogisticRegression(), 3).predict(X)


def test_teachers_that_are_none_are_refused(noisy):
    X, y = noisy

    class Broken:
        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), np.nan)

    with pytest.raises(ValueError, match="`estimator` must have fit and predict_proba"):
        CrossFitTeacher(object())
    with pytest.raises(ValueError, match=r"probability for each of its 2 classes, got .* with NaN or infinite values"):
        CrossFitTeacher(Broken(), 3).targets(X, y)
    with pytest.raises(ValueError, match="`y` must hold a target for each of 80 samples, got 70"):
        CrossFitTeacher(LogisticRegression(), 3).targets(X, y[:70])
