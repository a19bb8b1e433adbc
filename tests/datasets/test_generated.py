"""Sets made from a seed: what they hold by an independent reading, the same everywhere, and no way around the task."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

import seqkit
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.contours import draw_contours
from seqkit.datasets.draws import Draws
from seqkit.datasets.pathfinder import LINE, Pathfinder
from seqkit.runs.config import RunConfig

SMALL: dict[str, dict[str, Any]] = {
    "adding": {"length": 21, "size": 12, "test_size": 5},
    "copying": {"length": 25, "tokens": 5, "size": 12, "test_size": 5},
    "delayed_recall": {"length": 40, "noise": 0.25, "size": 12, "test_size": 5},
    "pathfinder": {"size": 12, "test_size": 5},
}
# Of the bytes and targets of the sets above. Other numbers here mean that published results are of other data.
SUMS = {
    "adding": "5fe15d4b7c3c5ae4",
    "copying": "3a8d4d13275917de",
    "delayed_recall": "be81a9b829b76268",
    "pathfinder": "200f8af5b1e1a306",
}


def made(name: str, **options: Any) -> dict[str, Any]:
    return get_source(name, **{**SMALL[name], **options}).load()


def digest(parts: dict[str, Any]) -> str:
    total = hashlib.sha256()
    for part, series in sorted(parts.items()):
        total.update(part.encode())
        for values, target in zip(series.values, series.target, strict=True):
            total.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
            total.update(str(target if isinstance(target, str) else np.asarray(target).tolist()).encode())
    return total.hexdigest()[:16]


@pytest.mark.parametrize("name", SMALL)
def test_series_are_those_of_every_other_machine(name: str) -> None:
    assert digest(made(name)) == SUMS[name]
    assert digest(made(name, data_seed=1)) != SUMS[name]


@pytest.mark.parametrize("name", SMALL)
def test_a_larger_set_begins_with_the_smaller(name: str) -> None:
    small, large = made(name), made(name, size=20)
    for i in range(12):
        assert np.array_equal(small["train"].values[i], large["train"].values[i])
        assert np.array_equal(small["train"].target[i], large["train"].target[i])
    assert all(np.array_equal(a, b) for a, b in zip(small["test"].values, large["test"].values, strict=True))
    assert not np.array_equal(small["train"].values[0], small["test"].values[0])
    again = pickle.loads(pickle.dumps(small["train"].values))
    assert np.array_equal(again[3], small["train"].values[3])


@pytest.mark.parametrize("selective", [True, False])
def test_copying_repeats_what_was_shown(selective: bool) -> None:
    series = made("copying", selective=selective)["train"]
    starts = []
    for values, target in zip(series.values, series.target, strict=True):
        rows, symbols = np.nonzero(values[:, :8])
        assert values.sum() == 6  # five symbols and "now"
        assert np.flatnonzero(values[:, 8]).tolist() == [19]
        assert rows.max() < 19
        assert target[20:].tolist() == [str(symbol + 1) for symbol in symbols]
        assert set(target[:20]) == {"0"}
        starts.append(rows.tolist())
    assert (len({tuple(rows) for rows in starts}) > 8) == selective
    assert (starts[0] == [0, 1, 2, 3, 4]) == (not selective)


def test_adding_sums_a_number_of_each_half() -> None:
    series = made("adding", size=300)["train"]
    places = []
    for values, target in zip(series.values, series.target, strict=True):
        marked = np.flatnonzero(values[:, 1])
        assert (len(marked), marked[0] < 10, marked[1] >= 10) == (2, True, True)
        assert target[0] == values[marked, 0].sum()
        assert values[:, 0].min() >= 0
        assert values[:, 0].max() < 1
        places.append(marked)
    assert np.ptp(places, axis=0).tolist() == [9, 10]
    assert np.std(series.target) == pytest.approx(6**-0.5, rel=0.1)


def test_recall_asks_for_a_symbol_of_the_start() -> None:
    series = made("delayed_recall", size=200)["train"]
    asked = []
    for values, target in zip(series.values, series.target, strict=True):
        place = int(values[-1, 8:].argmax())
        assert target == str(values[place, :8].argmax() + 1)
        assert values[:4].sum() == 4
        assert values[-1].sum() == 1
        assert not values[:-1, 8:].any()
        assert 0.2 < np.abs(values[4:-1, :8]).max() <= 0.25
        asked.append(place)
    assert np.bincount(asked).min() > 30
    assert not get_source("delayed_recall", length=64000, size=1).load()["train"].values[0][4:-1].any()


def test_a_symbol_that_is_held_stands_for_so_many_samples() -> None:
    series, once = (made("delayed_recall", size=20, held=held)["train"] for held in (3, 1))
    for values, target, single, expected in zip(series.values, series.target, once.values, once.target, strict=True):
        assert target == expected
        assert np.array_equal(values[:12, :8], single[:4, :8].repeat(3, axis=0))
        assert np.array_equal(values[-1], single[-1])
        assert np.count_nonzero(values[12:-1, :8]) > 200


def linear_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on the last third of ridge regressions, one for each class, fitted to the rest."""
    n = 2 * len(labels) // 3
    x = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    weights = np.linalg.solve(x[:n].T @ x[:n] + np.eye(x.shape[1]), x[:n].T @ np.eye(labels.max() + 1)[labels[:n]])
    return float(((x[n:] @ weights).argmax(1) == labels[n:]).mean())


def test_delays_solve_copying_only_from_the_start() -> None:
    found = {}
    for selective in (False, True):
        series = made("copying", selective=selective, size=1500)["train"]
        samples = np.stack([values.ravel() for values in series.values])
        found[selective] = linear_accuracy(samples, np.array([int(target[-2]) - 1 for target in series.target]))
    assert found[False] == 1.0
    assert found[True] < 0.5


def test_what_is_seen_on_average_does_not_solve_recall() -> None:
    series = made("delayed_recall", size=3000)["train"]
    means = np.stack([values.mean(0) for values in series.values]) * 40
    found = linear_accuracy(means, np.array([int(label) - 1 for label in series.target]))
    assert 0.25 < found < 0.4  # a symbol that was shown, whatever the place, is right in more than a quarter


def linked(points: np.ndarray, reach: float) -> np.ndarray:
    """Number of the piece that each point belongs to, where points within reach are of one piece."""
    near = np.square(points[:, None] - points[None]).sum(-1) <= reach**2
    return connected_components(near, directed=False)[1]


def test_only_the_curves_of_a_side_join_its_points() -> None:
    for place in range(60):
        drawing = draw_contours(Draws(3, 0, place), 4)
        piece = linked(np.concatenate([drawing.corners, drawing.dashes]), 3.35)[:4]
        assert all(piece[a] == piece[b] for a, b in drawing.joined)
        assert all(piece[a] != piece[b] for a, b in drawing.open)
        assert {*drawing.joined, *drawing.open} == {(0, 1), (1, 2), (2, 3), (3, 0)}


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    source, n = Pathfinder(), 1200
    labels = np.array([label == "joined" for label in source.targets("train", n) or []])
    return np.stack([source.image("train", place) for place in range(n)]), labels


def dots_of(image: np.ndarray) -> np.ndarray:
    marks, n = ndimage.label(image > LINE)
    assert n == 2
    return np.array(ndimage.center_of_mass(image > LINE, marks, [1, 2]))


def test_the_picture_shows_what_the_label_says(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    found = []
    for image in pictures[0][:200]:
        points = np.argwhere(image > 0)
        piece = linked(points.astype(float), 3.1)
        ends = [piece[np.square(points - dot).sum(1).argmin()] for dot in dots_of(image)]
        found.append(ends[0] == ends[1])
    assert np.mean(np.array(found) == pictures[1][:200]) > 0.95


def test_statistics_say_nothing_of_the_label(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = pictures
    dots = np.stack([dots_of(image) for image in images])
    apart = np.sqrt(np.square(dots[:, 0] - dots[:, 1]).sum(-1))
    pieces = [ndimage.label(image, np.ones((3, 3)))[1] for image in images]
    flat = images.reshape(len(images), -1).astype(float)
    numbers = [flat.sum(1), (flat > 0).sum(1), flat.std(1), apart, pieces, *dots.mean(1).T]
    known = np.stack([np.asarray(one, dtype=float) for one in numbers], axis=1)
    difference = known[labels].mean(0) - known[~labels].mean(0)
    spread = known.std(0) * np.sqrt(1 / labels.sum() + 1 / (~labels).sum())
    assert np.abs(difference / spread).max() < 4
    assert abs(labels.mean() - 0.5) < 0.06
    squares = (known - known.mean(0)) / known.std(0)
    products = (squares[:, :, None] * squares[:, None]).reshape(len(known), -1)
    for features in (flat / 255, np.concatenate([squares, products], axis=1)):
        assert abs(ridge(features, labels, 700) - 0.5) < 0.09, features.shape  # 4 deviations of 500 fair coins


def ridge(features: np.ndarray, labels: np.ndarray, n: int) -> float:
    """Accuracy on the rest of a ridge regression fitted to the first n."""
    x = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    gram = x[:n].T @ x[:n] + 30 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[:n].T @ (2.0 * labels[:n] - 1))
    return float(((x[n:] @ weights > 0) == labels[n:]).mean())


def test_pathfinder_options() -> None:
    plain, turned = made("pathfinder"), made("pathfinder", permutation="bit_reversal")
    assert np.array_equal(turned["train"].values[0][1], plain["train"].values[0][512])
    assert turned["train"].target == plain["train"].target
    ink = [np.mean([one.sum() for one in made("pathfinder", distractors=n)["train"].values]) for n in (0, 2, 6)]
    assert ink[0] < ink[1] < ink[2]
    source = Pathfinder(permutation="bit_reversal", size=1)
    assert np.array_equal(source.samples("train", 0), turned["train"].values[0])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("copying", {"length": 32}, "`length` must be at least 33, to show 16 symbols"),
        ("copying", {"tokens": 0}, "`tokens` must be a whole number"),
        ("copying", {"selective": 1}, "`selective` must be true or false"),
        ("adding", {"length": 1}, "`length` must be at least 2"),
        ("adding", {"size": 0}, "`size` must be a whole number"),
        ("adding", {"data_seed": -1}, "`data_seed` must be a whole number from 0"),
        ("delayed_recall", {"length": 4}, "`length` must be more than `shown`, 4"),
        ("delayed_recall", {"length": 40, "held": 10}, "`length` must be more than `shown` times `held`, 40"),
        ("delayed_recall", {"held": 0}, "`held` must be a whole number"),
        ("delayed_recall", {"symbols": 1}, "`symbols` must be at least 2"),
        ("delayed_recall", {"noise": -1.0}, "`noise` must"),
        ("pathfinder", {"distractors": -1}, "`distractors` must be a whole number"),
        ("pathfinder", {"permutation": "rows"}, "`permutation` must be none"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_source(name, **options)


def test_a_file_of_such_series_is_read(tmp_path: Path) -> None:
    source = get_source("delayed_recall", **SMALL["delayed_recall"])
    test = source.load()["test"]
    path = tmp_path / "more.npz"
    np.savez(path, X=np.stack(list(test.values)), y=np.array(test.target))
    read = source.read(path)
    assert np.array_equal(np.stack(list(read.values)), np.stack(list(test.values)))
    assert [str(label) for label in read.target] == test.target
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        source.read(tmp_path / "nowhere.npz")


def test_nothing_is_laid_down() -> None:
    with pytest.raises(OSError, match="cannot be prepared"):
        SeriesDataModule(get_source("adding", **SMALL["adding"]), prepared=True).setup()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("ignore:.*(does not have many workers|logging interval).*")
def test_a_run_trains_on_it_by_its_options(name: str, tmp_path: Path) -> None:
    options = {f"data.{key}": value for key, value in {**SMALL[name], "size": 40}.items()}
    sizes = {"d_model": 4, "n_layers": 1, "order": 4, "epochs": 1}
    run = seqkit.train(name, "s4d", out=tmp_path / "run", progress=False, device="cpu", **options, **sizes)
    assert run.split == "test"
    assert np.isfinite(list(run.metrics.values())).all()
    assert run.model.info.max_length == (1024 if name == "pathfinder" else SMALL[name]["length"])
    both = RunConfig.build(name, settings={"seed": 5, "data_seed": 7})
    assert (both.seed, both.data.options) == (5, {"data_seed": 7})
