"""Mel filter banks, dense and as one butterfly of a power spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.checks import check_not_negative, check_positive, check_positive_int
from seqkit.structured.butterflies.steps import between_reversed, run_sums
from seqkit.structured.butterflies.transforms import bit_reversal, cooley_tukey, scale_input

__all__ = ["cosine_rows", "mel_blocks", "mel_butterfly", "mel_filters"]


def mel_filters(n_filters: int, n: int, sample_rate: float, f_min: float = 0.0, f_max: float | None = None) -> Tensor:
    """Triangles over frequency, evenly spaced on the mel scale 2595 log10(1 + f / 700 Hz).

    Args:
        n_filters: Number of triangles; each starts at the peak of the one before it and ends at that of the next.
        n: Size of the Fourier transform, even.
        sample_rate: Samples per second (Hz).
        f_min: Frequency at which the first triangle starts (Hz).
        f_max: Frequency at which the last one ends (Hz); half of `sample_rate` if None.

    Returns:
        Weights of the frequencies 0 .. n/2, (n_filters, n/2 + 1), float64. A triangle between two neighbouring
        frequencies has none.

    Raises:
        ValueError: a number of filters below 1, or frequencies that do not lie in order between 0 and half of
            `sample_rate`.

    Source: Davis and Mermelstein 1980, with the formula of the HTK book, as `torchaudio.functional.melscale_fbanks`.

    Example:
        >>> mel_filters(2, 8, 8000.0).argmax(1).tolist()  # the frequencies nearest to the peaks, in steps of 1000 Hz
        [1, 2]
    """
    check_positive_int("n_filters", n_filters)
    check_positive("sample_rate", sample_rate)
    check_not_negative("f_min", f_min)
    top = sample_rate / 2 if f_max is None else f_max
    if not f_min < top <= sample_rate / 2:
        raise ValueError(
            f"`f_min` must lie below `f_max`, and that at most at half of `sample_rate`, got {f_min}, {f_max} and "
            f"{sample_rate}; leave f_max out for half of it"
        )
    low, high = (2595 * math.log10(1 + f / 700) for f in (f_min, top))
    mel = torch.linspace(low, high, n_filters + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = torch.linspace(0, sample_rate / 2, n // 2 + 1, dtype=torch.float64)
    rise = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rise, fall).clamp(min=0)


def mel_butterfly(filters: Tensor) -> tuple[Tensor, Tensor]:
    """A mel filter bank as one butterfly of the power at all n frequencies of a real signal.

    A real signal has the power of frequency k a second time at n - k. Every second filter has no frequency in common
    with the others of its half, so that the first, third, .. take the lower copy and the rest the upper one; then each
    column has one weight, and the filters are sums over runs of neighbours.

    Args:
        filters: Weights of the frequencies 0 .. n/2, (n_filters, n/2 + 1), as of `mel_filters`; n a power of two.

    Returns:
        Factors (log2 n, n/2, 2, 2) for increasing strides, and the row of the product that holds each filter,
        (n_filters,).

    Example:
        >>> factors, rows = mel_butterfly(mel_filters(5, 32, 8000.0))
        >>> factors.shape, rows.tolist()
        (torch.Size([5, 16, 2, 2]), [0, 4, 1, 3, 2])
    """
    n = 2 * (filters.shape[1] - 1)
    weights, owner = filters.new_zeros(n), torch.full((n,), -1)
    for i, row in enumerate(filters):
        columns = row.nonzero().flatten()
        # 0 and n/2 have no second copy, and a filter that starts at 0 Hz or ends at the highest has no weight there.
        columns, values = (columns, row[columns]) if i % 2 == 0 else (n - columns, row[columns])
        weights[columns], owner[columns] = values, i
    order: list[int] = []
    runs = torch.zeros(n, dtype=torch.long)
    for column, i in enumerate(owner.tolist()):
        if i >= 0 and (not order or order[-1] != i):
            order.append(i)
        runs[column] = max(len(order) - 1, 0)
    # Filters without a frequency take rows that no column travels to.
    order += [i for i in range(len(filters)) if i not in order]
    return run_sums(runs, weights), torch.tensor(order).argsort()


def mel_blocks(filters: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The windowed Fourier transform and a mel filter bank as one block of decreasing strides each.

    The transposed butterfly of Cooley and Tukey gives the Fourier transform in bit-reversed order, and the filters
    take their powers in that order.

    Args:
        filters: Weights of the frequencies 0 .. n/2, (n_filters, n/2 + 1), as of `mel_filters`; n a power of two.
        window: Weights of the samples of a frame, at most n.

    Returns:
        Complex factors of the first, (log2 n, n/2, 2, 2), real ones of the second, and the row of their product that
        holds each filter, (n_filters,).

    Example:
        >>> _, _, rows = mel_blocks(mel_filters(2, 8, 8000.0), torch.ones(8))
        >>> rows.tolist()
        [0, 4]
    """
    n = 2 * (filters.shape[1] - 1)
    weights = torch.nn.functional.pad(window, (0, n - len(window)))
    bank, rows = mel_butterfly(filters)
    return scale_input(cooley_tukey(n).mT, weights), between_reversed(bank), bit_reversal(n)[rows]


def cosine_rows(n_rows: int, n: int) -> Tensor:
    """The first rows of the orthonormal cosine transform of type II, (n_rows, n), float64.

    Example:
        >>> cosine_rows(1, 4)
        tensor([[0.5000, 0.5000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    k, j = torch.arange(n_rows, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    rows: Tensor = (2 / n) ** 0.5 * (math.pi * k * (2 * j + 1) / (2 * n)).cos()
    rows[:1] /= 2**0.5
    return rows
