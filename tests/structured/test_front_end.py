"""The front end of K-matrices: MFCC at its start, padding, streams, gradients, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from torch import Tensor

from seqkit.kernels.butterfly import butterfly
from seqkit.ssm import S4D
from seqkit.structured import KaleidoscopeFrontEnd
from seqkit.structured.butterflies import bit_reversal
from seqkit.structured.butterflies.mel import mel_butterfly, mel_filters
from seqkit.structured.butterflies.steps import between_reversed, run_sums

RATE = 8000
WIDE = {"dtype": torch.float64}


def sound(n_series: int = 2, n_samples: int = 500, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return 0.1 * torch.randn(n_series, n_samples, **WIDE)


def error(got: Tensor, want: Tensor | np.ndarray) -> float:
    got, want = got.detach(), torch.as_tensor(want).detach().to(got.dtype)
    return float((got - want).square().mean().sqrt() / want.square().mean().sqrt())


def mel_bank(n_filters: int, n: int, low: float, high: float) -> np.ndarray:
    """Triangles, interpolated between their three corners."""
    corners = 700 * (
        10 ** (np.linspace(*(2595 * math.log10(1 + f / 700) for f in (low, high)), n_filters + 2) / 2595) - 1
    )
    frequencies = np.arange(n // 2 + 1) * RATE / n
    return np.stack([np.interp(frequencies, corners[i : i + 3], [0, 1, 0]) for i in range(n_filters)])


def published(x: np.ndarray, frame: int, hop: int, bank: np.ndarray, floor: float = 1e-6) -> np.ndarray:
    """Logarithms of mel energies of one sound by numpy's Fourier transform."""
    frames = np.stack([x[at : at + frame] for at in range(0, len(x) - frame + 1, hop)])
    spectrum = np.fft.rfft(frames * scipy.signal.get_window("hann", frame), 2 * (bank.shape[1] - 1))
    return np.log(np.abs(spectrum) ** 2 @ bank.T + floor)


@pytest.mark.parametrize(
    ("frame", "hop", "n_filters", "low", "high", "width"),
    [
        (64, 32, 10, 0.0, 4000.0, 1),
        (50, 20, 7, 200.0, 3000.0, 1),
        (32, 40, 30, 0.0, 4000.0, 1),
        (16, 8, 4, 0.0, 4e3, 2),
    ],
)
def test_starts_as_the_logarithms_of_mel_energies(
    frame: int, hop: int, n_filters: int, low: float, high: float, width: int
) -> None:
    x, n = sound(), 1 << (frame - 1).bit_length()
    front_end = KaleidoscopeFrontEnd(
        frame, hop, n_filters, sample_rate=RATE, f_min=low, f_max=high, width=width, floor=1e-5, **WIDE
    )
    want = [published(one.numpy(), frame, hop, mel_bank(n_filters, n, low, high), 1e-5) for one in x]
    assert error(front_end(x), np.stack(want)) < 1e-11
    assert error(front_end(x[..., None]), np.stack(want)) < 1e-11


def test_starts_as_cepstral_coefficients() -> None:
    x = sound()
    front_end = KaleidoscopeFrontEnd(64, 24, 8, n_filters=20, sample_rate=RATE, **WIDE)
    logs = np.stack([published(one.numpy(), 64, 24, mel_bank(20, 64, 0.0, 4000.0)) for one in x])
    assert error(front_end(x), scipy.fft.dct(logs, norm="ortho")[..., :8]) < 1e-11


def test_agrees_with_torchaudio() -> None:
    transforms = pytest.importorskip("torchaudio.transforms")
    sizes = {"n_fft": 256, "hop_length": 100, "n_mels": 40, "center": False}
    made = transforms.MFCC(RATE, 13, log_mels=True, melkwargs=sizes).double()
    front_end = KaleidoscopeFrontEnd(256, 100, 13, n_filters=40, sample_rate=RATE, **WIDE)
    x = sound(2, 1000)
    assert error(front_end(x), made(x).mT) < 1e-5  # its filters are in float32


def test_dense_views_are_the_transform_and_the_filters() -> None:
    front_end = KaleidoscopeFrontEnd(30, 10, 6, sample_rate=RATE, **WIDE)
    spectrum, filters = front_end.dense()
    order = bit_reversal(32)
    window = np.diag(scipy.signal.get_window("hann", 30))
    want = np.fft.fft(window, 32, axis=0)
    assert error(torch.view_as_real(spectrum[order]), torch.view_as_real(torch.as_tensor(want))) < 1e-14
    # Each filter is on one of the two copies of a frequency's power.
    both = filters[:, order]
    assert (
        error(both[:, :17] + torch.nn.functional.pad(both[:, 17:].flip(1), (1, 1)), mel_bank(6, 32, 0.0, 4e3)) < 1e-13
    )


def test_filters_between_two_frequencies_are_empty() -> None:
    bank = mel_filters(30, 32, RATE)
    assert error(bank, mel_bank(30, 32, 0.0, 4000.0)) < 1e-12
    assert not bank.sum(1).all()
    factors, rows = mel_butterfly(bank)
    power = torch.rand(17, **WIDE)
    whole = torch.cat([power, power[1:-1].flip(0)])
    assert error(butterfly(whole, factors[None], "increasing")[rows], bank @ power) < 1e-14


@pytest.mark.parametrize("n", [2, 8, 64])
def test_sums_over_runs(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    for _ in range(5):
        runs = torch.cat([torch.zeros(1, dtype=torch.long), torch.randint(2, (n - 1,), generator=generator).cumsum(0)])
        weights, x = torch.randn(n, generator=generator, **WIDE), torch.randn(3, n, generator=generator, **WIDE)
        factors = run_sums(runs, weights)
        want = torch.zeros(3, n, **WIDE).index_add(1, runs, x * weights)
        assert error(butterfly(x, factors[None], "increasing"), want) < 1e-14
        order = bit_reversal(n)
        assert error(butterfly(x[:, order], between_reversed(factors)[None], "decreasing"), want[:, order]) < 1e-14


@pytest.mark.parametrize(
    "options", [{"start": "random"}, {"start": "random", "real": True}, {"start": "random", "n_filters": 6, "width": 2}]
)
def test_random_starts_are_k_matrices(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    front_end = KaleidoscopeFrontEnd(12, 5, 4, **options, **WIDE)
    spectrum, filters = front_end.dense()
    assert spectrum.is_complex() == (not options.get("real", False))
    # As long as the Fourier transform, and rotations of energies.
    assert error((spectrum.mH @ spectrum).real, 16 * torch.eye(12)) < 1e-13
    assert error(filters @ filters.mT, torch.eye(front_end.n_filters)) < 1e-13
    x = sound(1, 22)
    energies = (x[0].unfold(0, 12, 5).to(spectrum.dtype) @ spectrum.mT).abs().square() @ filters.mT
    want = (energies.abs() + 1e-6).log()
    if "n_filters" in options:
        want = torch.as_tensor(scipy.fft.dct(want.detach().numpy(), norm="ortho")[:, :4])
    assert error(front_end(x)[0], want) < 1e-13
    n_factors = (3 if "real" not in options else 2) * 2 * int(options.get("width", 1)) * 4 * 8 * 4  # type: ignore[call-overload]
    assert sum(one.numel() for one in front_end.parameters()) == n_factors + (24 if "n_filters" in options else 0)


def test_what_lies_past_the_end_changes_nothing() -> None:
    front_end = KaleidoscopeFrontEnd(16, 8, 5, n_filters=6, sample_rate=RATE, **WIDE)
    x, lengths = sound(3, 70), torch.tensor([70, 16, 39])
    y = front_end(x, lengths)
    assert front_end.output_lengths(lengths).tolist() == [7, 1, 3]
    grads = torch.autograd.grad(y.square().sum(), list(front_end.parameters()))
    spoilt = x.clone()
    spoilt[1, 16:], spoilt[2, 39:] = torch.nan, torch.inf
    again = front_end(spoilt, lengths)
    assert torch.equal(again, y)
    assert all(map(torch.equal, torch.autograd.grad(again.square().sum(), list(front_end.parameters())), grads))
    for i, n in enumerate(lengths.tolist()):
        own = front_end(x[i : i + 1, :n])
        assert error(y[i : i + 1, : own.shape[1]], own) < 1e-13
        assert not y[i, own.shape[1] :].any()
    assert front_end(x[:, :40], torch.tensor([31, 16, 39])).shape == (3, 3, 5)


@pytest.mark.parametrize(
    "options", [{"sample_rate": RATE}, {"start": "random"}, {"start": "random", "real": True}], ids=str
)
def test_gradients(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    front_end = KaleidoscopeFrontEnd(8, 4, 3, n_filters=3, floor=0.1, **options, **WIDE)
    with torch.no_grad():
        for parameter in front_end.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    names, values = zip(*front_end.named_parameters(), strict=True)

    def call(x: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(front_end, dict(zip(names, given, strict=True)), (x,))

    x = (3 * sound(1, 12)).requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)


def test_every_factor_learns_from_the_mel_start() -> None:
    front_end = KaleidoscopeFrontEnd(32, 16, 6, n_filters=8, sample_rate=RATE, **WIDE)
    front_end(sound()).square().sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in front_end.parameters())
    # Nearly all factors that are 0 at the start can leave it: the pipeline is no place where learning cannot begin.
    assert front_end.spectrum.grad is not None
    assert front_end.filters.grad is not None
    assert front_end.spectrum.grad[0, 0].ne(0).double().mean() > 0.9
    assert front_end.filters.grad[0, 0].ne(0).double().mean() > 0.2


@pytest.mark.parametrize("hop", [5, 8, 11])
def test_streams_give_what_the_whole_gives(hop: int) -> None:
    front_end = KaleidoscopeFrontEnd(8, hop, 3, start="random", **WIDE)
    x = sound(2, 61)
    want = front_end(x)
    for sizes in ([1] * 61, [7] * 8 + [5], [0, 61], [40, 21]):
        state, found = front_end.initial_state(2), []
        for block in x.split(sizes, 1):
            y, state = front_end.scan(block, state)
            found.append(y)
        assert error(torch.cat(found, 1), want) < 1e-13
        assert state.samples.shape == (2, 8)


def test_streams_before_a_mixer() -> None:
    torch.manual_seed(0)
    front_end = KaleidoscopeFrontEnd(16, 8, 4, sample_rate=RATE, **WIDE)
    mixer, x = S4D(4, order=4).double(), sound(2, 100)
    lengths = torch.tensor([100, 57])
    want = mixer(front_end(x, lengths), lengths=front_end.output_lengths(lengths))
    state, memory, found = front_end.initial_state(2), mixer.initial_state(2), []
    for block in x.split(3, 1):
        frames, state = front_end.scan(block, state)
        for frame in frames.unbind(1):
            y, memory = mixer.step(frame, memory)
            found.append(y)
    assert error(torch.stack(found, 1)[0], want[0]) < 1e-9
    assert error(torch.stack(found, 1)[1, :6], want[1, :6]) < 1e-9


def test_calibration() -> None:
    front_end = KaleidoscopeFrontEnd(16, 8, 5, sample_rate=RATE, **WIDE)
    x, lengths = sound(3, 90), torch.tensor([90, 16, 50])
    for _ in range(2):  # it does not build on what it found before
        front_end.calibrate(x, lengths)
        y = front_end(x, lengths)
        rows = torch.cat([y[i, :n] for i, n in enumerate(front_end.output_lengths(lengths))])
        assert rows.mean(0).abs().max() < 1e-12
        assert error(rows.std(0, correction=0), torch.ones(5)) < 1e-12
    front_end.calibrate(x)
    assert front_end(x).mean((0, 1)).abs().max() < 1e-12
    front_end.calibrate(torch.zeros(1, 32, **WIDE))  # what never changes is only moved
    assert torch.equal(front_end.std, torch.ones(5))
    assert front_end(torch.zeros(1, 32, **WIDE)).abs().max() < 1e-12


def test_saving_and_converting() -> None:
    torch.manual_seed(0)
    front_end, x = KaleidoscopeFrontEnd(16, 8, 5, n_filters=7, sample_rate=RATE), sound()
    front_end.calibrate(x.float())
    narrow = front_end(x.float())
    other = KaleidoscopeFrontEnd(16, 8, 5, n_filters=7, start="random")
    other.load_state_dict(front_end.state_dict())
    assert torch.equal(other(x.float()), narrow)
    for wide in (other.double(), front_end.to(torch.float64)):
        assert error(wide(x), narrow.double()) < 1e-5
    assert "16, 8, 5, n_filters=7, start='mel'" in repr(front_end)
    with pytest.raises(ValueError, match=r"must be in float32 or float64, got torch\.float16"):
        front_end.half()(x.half())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frame": 0}, "`frame` must be a whole number of at least 1, got 0"),
        ({"hop": 0}, "`hop` must be a whole number of at least 1, got 0"),
        ({"n_coefficients": 17}, "`n_filters` must lie between `n_coefficients` and the padded frame of 16 numbers"),
        ({"n_filters": 3}, "`n_filters` must lie between `n_coefficients` and the padded frame of 16 numbers, got 3"),
        ({"start": "zero"}, "`start` must be one of mel, random, got 'zero'"),
        ({"sample_rate": None}, "`sample_rate` must be given with start='mel', got None"),
        (
            {"f_max": 5000.0},
            "`f_min` must lie below `f_max`, and that at most at half of `sample_rate`, got 0.0, 5000.0",
        ),
        ({"f_min": -1.0}, "`f_min` must be a finite number, 0 or above, got -1.0"),
        ({"real": True}, "`real` must be False with start='mel'"),
        ({"start": "random"}, "`sample_rate`, `f_min` and `f_max` must be left out with start='random'"),
        ({"width": 0}, "`width` must be a whole number of at least 1, got 0"),
        ({"floor": 0.0}, "`floor` must be a finite number above 0, got 0.0"),
        ({"dtype": torch.complex64}, "`dtype` must be torch.float32 or torch.float64, got torch.complex64"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    given = {"frame": 16, "hop": 8, "n_coefficients": 4, "sample_rate": RATE}
    with pytest.raises(ValueError, match=words):
        KaleidoscopeFrontEnd(**{**given, **options})  # type: ignore[arg-type]


def test_bad_sounds_are_named() -> None:
    front_end = KaleidoscopeFrontEnd(8, 4, 3, start="random")
    state, x = front_end.initial_state(2), torch.zeros(2, 20)
    for call, words in [
        (lambda: front_end(torch.zeros(20)), r"`sound` must have shape \(B, L\), got \(20,\); or \(B, L, 1\)"),
        (lambda: front_end(torch.zeros(1, 20, 2)), r"`sound` must have shape \(B, L\), got \(1, 20, 2\)"),
        (lambda: front_end(x.double()), "`sound` must have the dtype torch.float32, got torch.float64"),
        (lambda: front_end(x.fill_(torch.nan)), "`sound` has 40 NaN or infinite values"),
        (
            lambda: front_end(torch.zeros(2, 7)),
            "series of at least one frame, 8 samples, got 7 in series 0; pad it with zeros",
        ),
        (lambda: front_end(torch.zeros(2, 9), torch.tensor([8, 5])), "got 5 in series 1"),
        (lambda: front_end(torch.zeros(0, 9)), r"`sound` must hold at least one series, got shape \(0, 9\)"),
        (lambda: front_end(torch.zeros(2, 9), torch.tensor([10, 9])), "10; the batch holds 9 samples a series"),
        (lambda: front_end.scan(torch.zeros(3, 9), state), r"`state.samples` must have shape \(3, 8\), got \(2, 8\)"),
        (lambda: front_end.scan(x, state), "`sound` has 40 NaN or infinite values"),
        (
            lambda: front_end.scan(torch.zeros(2, 9), state._replace(waiting=torch.tensor([3, 8]))),
            r"`state.waiting` must be the same for all streams, got \[3, 8\]",
        ),
        (lambda: front_end.initial_state(0), "`batch_size` must be a whole number of at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
