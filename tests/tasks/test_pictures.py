"""Pictures of a run are written, are PNGs, and show what they were given."""

import subprocess
import sys

import numpy as np
import pytest

from seqkit.tasks.pictures import draw_confusion, draw_curves, draw_predictions


def pixels(path):
    image = pytest.importorskip("matplotlib.image").imread(path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert image.shape[0] > 200
    assert image.std() > 0  # not an empty sheet
    return image


def test_curves(tmp_path):
    rows = [{"epoch": e, "train_loss": 1 / (e + 1), "lr_matrices": 0.1, "seconds": 2.0} for e in range(3)]
    draw_curves(rows, tmp_path / "one.png")
    for row in rows[1:]:
        row["val_accuracy"] = 0.5  # known from the second epoch on
    draw_curves(rows, tmp_path / "two.png")
    one, two = pixels(tmp_path / "one.png"), pixels(tmp_path / "two.png")
    assert two.shape[1] == 2 * one.shape[1]
    draw_curves([{"epoch": 0, "val_accuracy": 0.5}], tmp_path / "three.png")
    pixels(tmp_path / "three.png")
    for empty in ([], [{"epoch": 0, "seconds": 1.0, "lr_matrices": 0.1}]):
        with pytest.raises(ValueError, match="`rows` must hold at least one metric"):
            draw_curves(empty, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("classes", [("no", "yes"), tuple(f"class {i}" for i in range(60))])
def test_confusion(tmp_path, classes):
    counts = np.diag(np.arange(len(classes)))
    draw_confusion(counts, classes, tmp_path / "right.png", "right")
    draw_confusion(counts[::-1], classes, tmp_path / "wrong.png", "right")
    assert not np.array_equal(pixels(tmp_path / "right.png"), pixels(tmp_path / "wrong.png"))


@pytest.mark.parametrize("n_targets", [1, 3])
def test_predictions(tmp_path, n_targets):
    true = np.random.default_rng(0).standard_normal((20, n_targets))
    draw_predictions(true, true + 0.1, tmp_path / "near.png", "toy")
    draw_predictions(true, -true, tmp_path / "far.png", "toy")
    assert not np.array_equal(pixels(tmp_path / "near.png"), pixels(tmp_path / "far.png"))


def test_global_state_of_matplotlib_is_left_alone(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from seqkit.tasks.pictures import draw_curves\n"
        "draw_curves([{'epoch': 0, 'train_loss': 1.0}], Path(sys.argv[1]))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"needs matplotlib, .*pip install 'seqkit\[plot\]'"):
        draw_curves([{"epoch": 0, "train_loss": 1.0}], tmp_path / "a.png")
