"""Students: what the theory says of teachers that overfit, underfit or err at random, on data made for it."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_hastie_10_2
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from seqkit.distill import (
    C_GRID,
    CorrectedTarget,
    CrossFitTeacher,
    Folds,
    FoldStore,
    distill,
    in_sample_fold,
    k_folds,
    smallest_within_one_error,
    time_folds,
)
from seqkit.distill.held_out import without_fold


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_gamma_one_on_the_identity_link_gives_the_student_of_the_labels():
    X, y = load_iris(return_X_y=True)
    for student in (RandomForestRegressor(3), RandomForestClassifier(3)):
        labels = distill(GaussianNB(), student, X, y, method="labels")
        full = distill(GaussianNB(), student, X, y, method="both", c=math.inf)
        assert np.array_equal(labels.predict_proba(X), full.predict_proba(X))


def linear_logit(n, seed):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 4))
    f = X @ np.array([0.8, -0.6, 0.5, 0.0])
    return X, f, (random.random(n) < sigmoid(f)).astype(float), random


def error_of_student(X, f, targets):
    """Squared error on the logit of a linear student by least squares."""
    design = np.c_[np.ones(len(X)), X]
    return float(((design @ np.linalg.lstsq(design, targets, rcond=None)[0] - f) ** 2).mean())


def sweep(bias, noise, grid, n=2000, n_draws=20):
    """Mean error by c for a teacher whose logit is off by a bias that a student can express, and by noise."""
    out = np.zeros(len(grid))
    for seed in range(n_draws):
        X, f, y, random = linear_logit(n, seed)
        p = sigmoid(f + bias * X[:, 3] + noise * random.normal(size=len(f)))[:, None]
        for i, c in enumerate(grid):
            out[i] += error_of_student(X, f, CorrectedTarget("logit", "fast", c=c)(p, y[:, None])[:, 0])
    return out / n_draws


def test_the_best_weight_is_none_for_random_errors_all_for_large_ones_and_between_for_small_ones():
    grid = (0.0, 0.02, 0.1, 1.0, math.inf)
    assert sweep(0.0, 0.5, grid).argmin() == 0
    assert sweep(0.5, 0.0, grid, n_draws=5).argmin() >= len(grid) - 2
    assert 0 < sweep(0.12, 0.0, grid).argmin() < len(grid) - 1


def test_correction_of_a_teacher_that_remembers_its_labels_does_harm():
    X, f, y, _ = linear_logit(1000, 1)
    said = CrossFitTeacher(RandomForestClassifier(40), in_sample_fold(1000)).targets(X, y)
    p, label = said.values[:, 1:].astype(float), y[:, None]
    none = error_of_student(X, f, CorrectedTarget("logit", clip=0.05)(p, label)[:, 0])
    full = error_of_student(X, f, CorrectedTarget("logit", "orthogonal", clip=0.05)(p, label)[:, 0])
    out = CrossFitTeacher(RandomForestClassifier(40), 5).targets(X, y).values[:, 1:].astype(float)
    cross = error_of_student(X, f, CorrectedTarget("logit", "orthogonal", clip=0.05)(out, label)[:, 0])
    assert full > 4 * none
    assert cross < full / 2


def test_correcting_what_a_teacher_saw_needs_force():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="takes corrections from a teacher that saw the labels"):
        distill(GaussianNB(), DecisionTreeRegressor(), X, y, method="corrected")
    assert distill(GaussianNB(), DecisionTreeRegressor(), X, y, method="corrected", c=0.1, force=True).c == 0.1


def test_what_a_teacher_says_of_whole_series_is_on_the_mean_what_is_known_after_a_part_and_its_logit_is_not():
    random, mu, n_steps = np.random.default_rng(0), 0.3, 10
    y = random.choice([-1.0, 1.0], size=200_000)
    sums = np.cumsum(mu * y[:, None] + random.normal(size=(len(y), n_steps)), axis=1)
    end = 2 * mu * sums[:, -1]
    for t in (1, 4, 8):
        known, told = 2 * mu * sums[:, t - 1], 2 * mu**2 * (n_steps - t)
        p = sigmoid(known)
        for low in (0.2, 0.4, 0.6):
            at = (p > low) & (p < low + 0.05)
            gap = sigmoid(end[at]) - p[at]
            assert abs(gap.mean()) < 4 * gap.std() / math.sqrt(at.sum())
        slope = np.polyfit(told * (2 * p - 1), end - known, 1)[0]
        assert slope == pytest.approx(1, abs=0.02)


def windows(n, seed, lookback=24, horizon=12):
    random, x = np.random.default_rng(seed), np.zeros(n)
    for i in range(1, n):
        x[i] = 0.97 * x[i - 1] + random.normal() * math.sqrt(1 - 0.97**2)
    starts = np.arange(n - lookback - horizon)
    return np.stack([x[s : s + lookback] for s in starts]), x[starts + lookback + horizon - 1], starts


def test_purged_blocks_measure_a_teacher_as_new_series_do_and_shuffled_windows_flatter_it():
    found = {"shuffled": [], "purged": [], "new": []}
    for seed in range(8):
        X, y, starts = windows(1200, seed)
        for name, folds in (
            ("shuffled", k_folds(len(y), 5)),
            ("purged", time_folds(starts, 5, lookback=24, horizon=12)),
        ):
            said = CrossFitTeacher(KNeighborsRegressor(3), folds).targets(X, y)
            found[name].append(np.mean((said.values[:, 0] - y) ** 2))
        X_new, y_new, _ = windows(1200, 100 + seed)
        found["new"].append(np.mean((KNeighborsRegressor(3).fit(X, y).predict(X_new) - y_new) ** 2))
    shuffled, purged, new = (np.mean(found[name]) for name in ("shuffled", "purged", "new"))
    assert abs(purged / new - 1) < 0.15
    assert shuffled < 0.7 * purged


def test_a_corrected_student_beats_the_teacher_that_underfits():
    X, y = load_digits(return_X_y=True)
    X, y, X_test, y_test = X[:1200], y[:1200] % 2, X[1200:], y[1200:] % 2
    teacher = RandomForestClassifier(30, max_depth=3, random_state=0)
    told = roc_auc_score(y_test, teacher.fit(X, y).predict_proba(X_test)[:, 1])
    student = RandomForestRegressor(10)
    both, alone = (
        roc_auc_score(y_test, distill(teacher, student, X, y, method=m, c=0.3).predict_proba(X_test)[:, 1])
        for m in ("both", "crossfit")
    )
    assert both > told + 0.005
    assert both > alone + 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trees"), [("hastie", 1), ("hastie", 3), ("diabetes", 1)])
def test_a_student_of_teachers_that_did_not_see_the_labels_is_no_worse_than_of_one_that_did(name, trees):
    gains = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        if name == "hastie":
            X, y = make_hastie_10_2(3000, random_state=seed)
            noisy = np.where(random.random(3000) < 0.15, -y, y)
            cut, teacher, student = 2000, RandomForestClassifier(50), RandomForestRegressor(trees)
        else:
            X, y = load_diabetes(return_X_y=True)
            order = random.permutation(len(y))
            X, y = X[order], (y[order] - y.mean()) / y.std()
            noisy, cut, teacher, student = y, 300, RandomForestRegressor(50), DecisionTreeRegressor(max_leaf_nodes=12)
        score = {}
        for method in ("plain", "crossfit"):
            found = distill(teacher, student, X[:cut], noisy[:cut], method=method, seed=seed)
            if name == "hastie":
                score[method] = roc_auc_score(y[cut:], found.predict_proba(X[cut:])[:, 1])
            else:
                score[method] = -float(((found.predict(X[cut:])[:, 0] - y[cut:]) ** 2).mean())
        gains.append(score["crossfit"] - score["plain"])
    assert np.mean(gains) > -np.std(gains, ddof=1) / math.sqrt(len(gains))


def test_renumbering_folds_and_repeating_samples_change_nothing():
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 3))
    y = X @ np.ones(3) + random.normal(size=60)
    folds = k_folds(60, 3)
    base = distill(LinearRegression(), LinearRegression(), X, y, folds=folds, c=0.2)
    order = np.array([2, 0, 1])
    other = Folds(order[folds.fold], tuple(folds.train[int(k)] for k in np.argsort(order)))
    renumbered = distill(LinearRegression(), LinearRegression(), X, y, folds=other, c=0.2)
    assert np.allclose(renumbered.student.coef_, base.student.coef_, rtol=1e-6)
    fold = np.repeat(folds.fold, 2)
    twice = Folds(fold, tuple(np.flatnonzero(fold != k) for k in range(3)))
    doubled = distill(
        LinearRegression(), LinearRegression(), np.repeat(X, 2, axis=0), np.repeat(y, 2), folds=twice, c=0.2
    )
    assert np.allclose(doubled.student.coef_, base.student.coef_, rtol=1e-6)


def test_renumbering_classes_permutes_probabilities():
    X, y = load_iris(return_X_y=True)
    folds, names = k_folds(150, 3, labels=y), np.array(["b", "c", "a"])
    one = distill(GaussianNB(), LinearRegression(), X, y, folds=folds, c=0.1)
    two = distill(GaussianNB(), LinearRegression(), X, names[y], folds=folds, c=0.1)
    assert np.allclose(one.predict_proba(X)[:, [2, 0, 1]], two.predict_proba(X), atol=1e-6)


def test_the_weight_is_chosen_by_labels_and_small_where_the_teacher_is_good():
    X, _, y, _ = linear_logit(500, 3)

    class Oracle:
        def fit(self, X, y):
            self.classes_ = [0.0, 1.0]
            return self

        def predict_proba(self, X):
            p = sigmoid(X @ np.array([0.8, -0.6, 0.5, 0.0]))
            return np.c_[1 - p, p]

    class Contrary(Oracle):
        def predict_proba(self, X):
            return super().predict_proba(X)[:, ::-1]

    good = distill(Oracle(), DecisionTreeRegressor(min_samples_leaf=10), X, y)
    bad = distill(Contrary(), DecisionTreeRegressor(min_samples_leaf=10), X, y, held_out=5)
    assert good.c == 0
    assert bad.c >= 0.1
    assert set(bad.tried) == set(C_GRID)


def test_the_weight_is_chosen_by_labels_that_no_teacher_of_the_trial_saw(tmp_path):
    X, _, y, random = linear_logit(500, 2)
    teacher, student = DecisionTreeClassifier(), RandomForestRegressor(10, min_samples_leaf=20)
    found = distill(teacher, student, X, y, held_out=5, folder=tmp_path)
    plan, trial = FoldStore(tmp_path).load(), FoldStore(tmp_path / "without-001").load()
    held = plan.folds.members(1)
    for k, seen in enumerate(trial.folds.train):
        assert not set(seen) & (set(held) | set(trial.folds.members(k)))
    assert np.isnan(trial.values[held]).all()
    assert trial.taught.sum() == 500 - len(held)
    # A tree remembers its labels and carries them to the neighbours: by the fold teachers themselves c = 0 looks best.
    unseen = random.normal(size=(2000, 4))
    p = sigmoid(unseen @ np.array([0.8, -0.6, 0.5, 0.0]))
    none = distill(teacher, student, X, y, method="crossfit")
    errors = [float(((one.predict_proba(unseen)[:, 1] - p) ** 2).mean()) for one in (found, none)]
    assert found.c > 0
    assert errors[0] < 0.9 * errors[1]


def test_of_blocks_in_time_a_trial_keeps_its_embargo():
    folds = time_folds(range(60), 4, lookback=3, horizon=2)
    inner = without_fold(folds, 1)
    held = folds.members(1)
    for k, seen in enumerate(inner.train):
        for others in (held, inner.members(k)):
            assert np.abs(seen[:, None] - others[None]).min() >= 5
    assert not set(np.flatnonzero(inner.fold >= 0)) & set(range(held.min() - 4, held.max() + 5))


def test_the_smallest_weight_within_one_error():
    random = np.random.default_rng(0)
    common = random.normal(size=400) ** 2  # what all find hard does not count
    losses = np.stack([common + gap + 0.01 * random.normal(size=400) for gap in (0.1, 0.0002, 0.0, 0.05)])
    assert smallest_within_one_error(losses, (0.0, 0.1, 0.3, 1.0)) == 0.1
    with pytest.raises(ValueError, match=r"`losses` must have shape \(4, n\)"):
        smallest_within_one_error(losses[:3], (0.0, 0.1, 0.3, 1.0))
    with pytest.raises(ValueError, match="`losses` must be finite"):
        smallest_within_one_error(losses * np.nan, (0.0, 0.1, 0.3, 1.0))


def test_a_pipeline_learns_by_its_last_step():
    """The weights of samples reach the tree: it learns the same as the tree alone, which is blind to scale."""
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "a", "b")
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    scaled = make_pipeline(FunctionTransformer(), tree)
    found, alone = (
        distill(GaussianNB(), one, X, y, c=0.3, folds=3) for one in (scaled, DecisionTreeClassifier(max_depth=2))
    )
    np.testing.assert_allclose(found.predict_proba(X), alone.predict_proba(X), atol=1e-9)
    with pytest.raises(ValueError, match="`student` must take `sample_weight` in fit"):
        distill(GaussianNB(), make_pipeline(FunctionTransformer(), KNeighborsClassifier()), X, y)


def test_classifiers_learn_soft_targets_by_weights_and_refuse_what_is_no_probability():
    X, y = load_iris(return_X_y=True)
    found = distill(GaussianNB(), DecisionTreeClassifier(max_depth=2), X, y, method="crossfit")
    assert (found.predict(X) == y.astype(str)).mean() > 0.9
    with pytest.raises(ValueError, match="a student that classifies needs targets that are probabilities"):
        distill(
            GaussianNB(var_smoothing=1.0), DecisionTreeClassifier(), X, y, target=CorrectedTarget(gamma="fast"), c=0.1
        )


@pytest.mark.parametrize("link", ["log", "logit"])
def test_students_on_other_links_give_probabilities(link):
    X, y = load_iris(return_X_y=True)
    for labels in (y, y % 2):
        found = distill(GaussianNB(), RandomForestRegressor(5), X, labels, target=CorrectedTarget(link, "fast"), c=0.01)
        p = found.predict_proba(X)
        assert np.allclose(p.sum(axis=1), 1)
        assert (found.predict(X) == labels.astype(str)).mean() > 0.9


def test_a_sample_without_a_teacher_gets_its_label_where_the_link_takes_one():
    X, y = np.arange(40.0)[:, None], (np.arange(40) % 3 > 0).astype(int)
    folds = time_folds(range(40), 4, lookback=1, horizon=1, forward_only=True)
    found = distill(DecisionTreeClassifier(), DecisionTreeRegressor(), X, y, folds=folds, method="crossfit")
    assert np.allclose(found.predict_proba(X[:10])[:, 1], y[:10])
    with pytest.raises(ValueError, match="10 samples have no teacher and get their labels, which the log link cannot"):
        distill(DecisionTreeClassifier(), DecisionTreeRegressor(), X, y, folds=folds, method="crossfit",
                target=CorrectedTarget("log"))  # fmt: skip


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="`method` must be one of labels, plain, crossfit, corrected, both"):
        distill(GaussianNB(), DecisionTreeRegressor(), np.zeros((4, 1)), [0, 1, 0, 1], method="cross")
    with pytest.raises(ValueError, match="`target` must correct for method both"):
        distill(GaussianNB(), DecisionTreeRegressor(), *load_iris(return_X_y=True), target=CorrectedTarget())
