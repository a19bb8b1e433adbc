"""What a memory recalls, and the lines of its picture."""

import math
import sys

import numpy as np
import pytest
import torch

from seqkit.hippo import HiPPOMemory, LegT, draw_memory, recall
from seqkit.hippo.pictures import SHOWN, _thin


def wave(length=600):
    return torch.sin(torch.linspace(0, 25, length, dtype=torch.float64)) + 0.5


def test_recall_is_the_least_squares_polynomial_for_exact_legs():
    u = wave()
    found = recall(HiPPOMemory(12, rule="exact"), u)
    x = np.linspace(-1, 1, 2 * len(u) + 1)[1::2]
    fitted = np.polynomial.legendre.legval(x, np.polynomial.legendre.legfit(x, u.numpy(), 11))
    error = np.sqrt(np.mean((fitted - u.numpy()) ** 2))
    # The sum over samples that legfit minimises and the integral that the memory does differ by the step squared.
    assert found.error == pytest.approx(error, rel=1e-3)
    assert found.error >= error
    assert found.relative_error == pytest.approx(found.error / float(u.std(correction=0)))
    assert np.abs(found.remembered.numpy() - fitted).max() < 0.02 * np.abs(u.numpy()).max()


def test_a_higher_order_recalls_more():
    errors = [recall(HiPPOMemory(order), wave()).relative_error for order in (2, 8, 16, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 < 0.9 < errors[0]


@pytest.mark.parametrize(
    ("measure", "window", "reach"), [("legt", 90.0, 90), ("fourier", 90.0, 90), ("lagt", 30.0, 150)]
)
def test_a_window_is_recalled_and_no_more(measure, window, reach):
    u = wave()
    found = recall(HiPPOMemory(16, measure, window=window), u)
    known = found.remembered.isfinite()
    assert int(known.sum()) == reach
    assert bool(known[-reach:].all())
    torch.testing.assert_close(found.signal, u, rtol=0, atol=0)


def test_what_lies_before_a_window_does_not_count():
    u, other = wave(), wave()
    other[:200] += 100.0  # more than four windows back
    one, two = (recall(HiPPOMemory(16, "legt", window=90.0), signal) for signal in (u, other))
    assert two.error == pytest.approx(one.error, rel=1e-3)
    assert recall(HiPPOMemory(16), other).error > 10 * recall(HiPPOMemory(16), u).error


def test_errors_count_time_and_not_samples():
    """Where the series is sampled more densely it counts no more."""
    even = torch.arange(1, 401, dtype=torch.float64) / 40
    dense = torch.cat([even[:200], 5 + torch.arange(1, 2001, dtype=torch.float64) / 400])
    one, two = (recall(HiPPOMemory(6, rule="exact"), torch.sin(2 * t), timestamps=t) for t in (even, dense))
    assert one.elapsed == two.elapsed == 10
    assert two.error == pytest.approx(one.error, rel=0.02)
    assert two.times[0] == one.times[0] == 0.0125


def test_lagt_counts_errors_as_it_counts_the_past():
    u = wave()
    found = recall(HiPPOMemory(8, "lagt", window=40.0), u)
    known = found.remembered.isfinite()
    lags = 600 - found.times[known]
    weights = torch.exp(-lags / 40)
    squared = (found.remembered - u)[known] ** 2
    assert found.error == pytest.approx(float(((weights * squared).sum() / weights.sum()).sqrt()))


def test_a_constant_has_no_relative_error():
    found = recall(HiPPOMemory(4), torch.full((50,), 0.1))
    assert found.error < 1e-12
    assert math.isnan(found.relative_error)
    assert "the signal is constant" in draw_memory([found]).axes[0].get_title(loc="left")


@pytest.mark.parametrize(
    ("memory", "u", "words"),
    [
        (HiPPOMemory(4), torch.zeros(1, 9), r"`u` must have shape \(L\)"),
        (HiPPOMemory(4), torch.zeros(0), "`u` must hold at least one sample"),
        (HiPPOMemory(4), torch.tensor([1.0, torch.nan]), "`u` has 1 NaN"),
        (HiPPOMemory(4, "legt", window=0.3), torch.ones(9), "`window` must reach back to the middle of the last"),
    ],
)
def test_bad_series_are_refused(memory, u, words):
    with pytest.raises(ValueError, match=words):
        recall(memory, u)


def test_the_picture_holds_the_series_what_is_recalled_and_the_weights():
    u = wave()
    recalls = [recall(HiPPOMemory(order), u, rate=0.01) for order in (4, 16)]
    figure = draw_memory(recalls, unit="s", title="a wave", label="volt")
    *panels, weights = figure.axes
    assert figure.get_suptitle() == "a wave"
    assert [axes.get_title(loc="left").split(":")[0] for axes in panels] == ["legs, order 4", "legs, order 16"]
    for axes, one in zip(panels, recalls, strict=True):
        signal, remembered = axes.get_lines()
        np.testing.assert_array_equal(signal.get_ydata(), u.numpy())
        np.testing.assert_array_equal(remembered.get_ydata(), one.remembered.numpy())
        np.testing.assert_allclose(remembered.get_xdata(), 0.01 * (np.arange(600) + 0.5))
        assert axes.get_ylabel() == "volt"
        low, high = axes.get_ylim()
        assert low < float(u.min())
        assert high > float(u.max())
    for line, now in zip(weights.get_lines(), (1.5, 3.0, 4.5, 6.0), strict=True):
        assert line.get_xdata()[-1] == pytest.approx(now)
        np.testing.assert_allclose(line.get_ydata()[:-1], 1 / now)
        assert line.get_ydata()[-1] == 0
    assert weights.get_ylabel() == "weight, 1/s"
    assert weights.get_xlabel() == "time, s"
    assert weights.get_xlim() == (0, pytest.approx(6))
    words = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert words == ["signal", "what the memory reads back at the end"]


def test_memories_of_several_measures_have_a_panel_of_weights_each():
    memories = [HiPPOMemory(8, rule="exact"), HiPPOMemory(8), HiPPOMemory(8, LegT(100.0)), HiPPOMemory(16, LegT(100.0))]
    memories.append(HiPPOMemory(8, "lagt", window=20.0, discretization="bilinear"))
    figure = draw_memory([recall(memory, wave()) for memory in memories])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    heads = [title.split(": error")[0] for title in titles]
    assert heads == [
        "legs, order 8, exact rule",
        "legs, order 8",
        "legt, order 8, window 100 samples",
        "legt, order 16, window 100 samples",
        "lagt, order 8, window 20 samples, bilinear",
        "legs: weight of the past at four moments",
        "legt: weight of the past at four moments",
        "lagt: weight of the past at four moments",
    ]
    assert len(figure.axes[0].patches) == 0
    (shade,) = figure.axes[2].patches  # what lies before the window
    assert shade.get_x() + shade.get_width() == pytest.approx(500.5)


def test_of_a_long_series_four_reaches_are_shown():
    u = wave(5000)
    figure = draw_memory([recall(HiPPOMemory(8, LegT(window)), u) for window in (10.0, 50.0)])
    assert figure.axes[-1].get_xlim() == (4800, 5000)
    signal, _ = figure.axes[0].get_lines()
    np.testing.assert_array_equal(signal.get_ydata(), u[4800:].numpy())
    assert [line.get_xdata()[-1] for line in figure.axes[-1].get_lines()] == [4850, 4900, 4950, 5000]


def test_the_limits_show_the_signal_where_a_polynomial_swings_out():
    u = torch.zeros(400, dtype=torch.float64)
    u[-3:] = 1.0
    found = recall(HiPPOMemory(64, "lagt", window=2.0), u)
    axes = draw_memory([found]).axes[0]
    assert axes.get_ylim() == pytest.approx((-0.25, 1.25))


def test_a_long_line_keeps_its_extremes():
    values = torch.sin(torch.arange(100_000) / 7.0)
    values[54_321] = 9.0
    values[77_777] = -9.0
    times, kept = _thin(torch.arange(100_000.0), values)
    assert len(kept) <= SHOWN
    assert 9.0 in kept
    assert -9.0 in kept
    assert (np.diff(times) >= 0).all()
    same = _thin(torch.arange(float(SHOWN)), values[:SHOWN])
    np.testing.assert_array_equal(same[1], values[:SHOWN])


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="`recalls` must hold"):
        draw_memory([])


def test_without_matplotlib_the_sentence_names_the_command(monkeypatch):
    found = recall(HiPPOMemory(4), wave())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ImportError, match=r"needs matplotlib, which is not installed; run: pip install 'seqkit\[plot\]'"
    ):
        draw_memory([found])
