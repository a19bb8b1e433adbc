"""A table with gaps, as a person has one: trained on, measured on and predicted for from the command line."""

import csv
import json
import sys

import numpy as np
import pytest

from seqkit.cli.main import main

SMALL = ["epochs=2", "d_model=8", "n_layers=1", "device=cpu"]


def run(monkeypatch, capfd, *words):
    """Runs the command in this process; returns its status and what it printed."""
    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capfd.readouterr()
    return end.value.code or 0, out.out, out.err


def table(path, *, gaps, target=True, n=40):
    random = np.random.default_rng(n)
    lines = ["series,time,x,y" + ",target" * target]
    for i in range(n):
        for k in range(int(random.integers(10, 20))):
            cells = [f"{np.sin((0.3 + 0.5 * (i % 2)) * k):.5f}", f"{random.standard_normal():.5f}"]
            if k:  # something is there in each series
                cells = [("", "NA")[c] if random.random() < gaps else cell for c, cell in enumerate(cells)]
            lines.append(",".join([f"s{i}", f"{k / 50}", *cells, *["slow" if i % 2 == 0 else "fast"] * target]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("model", ["s4d", "gru", "hippo_legs"])
def test_a_table_with_gaps_trains_and_predicts(monkeypatch, capfd, tmp_path, model):
    data, out = table(tmp_path / "mine.csv", gaps=0.3), tmp_path / "run"
    status, _, err = run(monkeypatch, capfd, "train", "--data", data, "--model", model, *SMALL, "--out", out)
    assert status == 0, err
    assert "50 Hz; 2" in err
    assert "% of the training values are missing" in err
    described = json.loads((out / "model.json").read_text())
    assert described["info"]["missing"] is True
    status, printed, err = run(monkeypatch, capfd, "evaluate", out, "--json")
    assert status == 0, err
    assert json.loads(printed)["metrics"] == json.loads((out / "summary.json").read_text())["metrics"]
    for gaps in (0.0, 0.6, None):
        new = table(tmp_path / "new.csv", gaps=gaps or 0.0, target=False, n=5)
        if gaps is None:  # a channel that this recording lacks
            header, *lines = new.read_text().splitlines()
            new.write_text("\n".join([header, *(line.rpartition(",")[0] + "," for line in lines)]) + "\n")
        status, _, err = run(monkeypatch, capfd, "predict", out, new, "-o", tmp_path / "answers.csv")
        assert (status, "missing" in err) == (0, False), err
        with (tmp_path / "answers.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 5
        assert all(0 <= float(row["probability slow"]) <= 1 for row in rows)


def test_a_model_that_saw_no_gap_holds_and_says_so(monkeypatch, capfd, tmp_path):
    data, out = table(tmp_path / "mine.csv", gaps=0.0), tmp_path / "run"
    status, _, err = run(monkeypatch, capfd, "train", "--data", data, "--model", "s4d", *SMALL, "--out", out)
    assert status == 0, err
    assert "missing" not in err
    gappy = table(tmp_path / "gappy.csv", gaps=0.4, n=6)
    status, _, err = run(monkeypatch, capfd, "predict", out, gappy, "-o", tmp_path / "gappy.json")
    assert status == 0, err
    assert "values are missing, as none was in training; the last observed one of each channel is held" in err
    status, printed, err = run(monkeypatch, capfd, "evaluate", out, "--data", gappy, "--json")
    assert status == 0, err
    assert any("values are missing" in note for note in json.loads(printed)["notes"])
    # The same file with each gap filled by hand.
    lines = gappy.read_text().splitlines()
    filled, last = [lines[0]], {}
    for line in lines[1:]:
        name, time, x, y, target = line.split(",")
        x, y = (last[name, c] if cell in ("", "NA") else cell for c, cell in (("x", x), ("y", y)))
        last[name, "x"], last[name, "y"] = x, y
        filled.append(",".join([name, time, x, y, target]))
    (tmp_path / "filled.csv").write_text("\n".join(filled) + "\n")
    status, _, err = run(monkeypatch, capfd, "predict", out, tmp_path / "filled.csv", "-o", tmp_path / "filled.json")
    assert (status, "missing" in err) == (0, False), err
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("gappy.json", "filled.json"))
    assert [row["series"] for row in one] == [row["series"] for row in two]
    for a, b in zip(one, two, strict=True):
        assert a["probability slow"] == pytest.approx(b["probability slow"], abs=1e-5)


def test_what_cannot_be_used_is_one_sentence(monkeypatch, capfd, tmp_path):
    data = table(tmp_path / "mine.csv", gaps=0.0)
    lines = data.read_text().splitlines()
    void = [lines[0], *(",".join([*line.split(",")[:3], "", line.split(",")[4]]) for line in lines[1:])]
    data.write_text("\n".join(void) + "\n")
    status, _, err = run(monkeypatch, capfd, "train", "--data", data, *SMALL, "--out", tmp_path / "run")
    assert (status, "column 'y' of" in err, "is empty" in err) == (2, True, True)
    assert not (tmp_path / "run").exists()
    np.savez(tmp_path / "mine.npz", X=np.full((8, 5, 2), [1.0, np.nan]), y=list("abababab"))
    status, _, err = run(
        monkeypatch, capfd, "train", "--data", tmp_path / "mine.npz", *SMALL, "--out", tmp_path / "run"
    )
    assert (status, "channel 1 of" in err, "is missing in every training series" in err) == (2, True, True)
    alone = [
        lines[0],
        *(line if not line.startswith("s3,") else f"s3,{line.split(',')[1]},,?,fast" for line in lines[1:]),
    ]
    data.write_text("\n".join(alone) + "\n")
    status, _, err = run(monkeypatch, capfd, "train", "--data", data, *SMALL, "--out", tmp_path / "run")
    assert (status, "series 's3' of" in err, "has no value at all" in err) == (2, True, True)
