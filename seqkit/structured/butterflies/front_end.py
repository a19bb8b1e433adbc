"""A learnable front end for sound: frames, K-matrix, power, K-matrix, logarithm, in place of MFCC."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_finite, check_lengths, check_positive, check_positive_int, check_shape
from seqkit.structured.butterflies.factors import multiply, padded_size, random_factors, shape_of_factors
from seqkit.structured.butterflies.mel import cosine_rows, mel_blocks, mel_filters

__all__ = ["FrontEndState", "KaleidoscopeFrontEnd"]

STARTS = ("mel", "random")


class FrontEndState(NamedTuple):
    """What streams remember between blocks.

    Args:
        samples: The last `frame` samples, zeros before the first, (B, frame).
        waiting: Samples until the next frame is complete, int64, (B,).
    """

    samples: Tensor
    waiting: Tensor


class KaleidoscopeFrontEnd(nn.Module):
    """Sound to coefficients of frames, with learned K-matrices where MFCC has fixed transforms.

        power = |K_1 x|^2,   energy = |K_2 power|,   c = (C log(energy + floor) - mean) / std

    for each frame x of `frame` samples, every `hop` samples. It starts as the pipeline it replaces, exactly (window,
    Fourier transform, power, mel filter bank, logarithm, cosine transform), or at random, and all of it learns with
    what follows. Frames start at the first sample and end within the series: what is left over at the end is not read.

    Args:
        frame: Samples of a frame; padded with zeros to n, a power of two.
        hop: Samples from one frame to the next.
        n_coefficients: Coefficients of a frame.
        n_filters: Number of energies, at most n; more of them than coefficients, or as many, are taken together by the
            matrix C, which starts as a cosine transform. None for the logarithms of `n_coefficients` energies
            themselves.
        start: "mel" for the pipeline it replaces, "random" for random rotations and no window.
        sample_rate: Samples per second (Hz), which the mel filters need.
        f_min: Lowest frequency of the mel filters (Hz).
        f_max: Highest; half of `sample_rate` if None.
        width: Number of factors B B* of each K-matrix; one of each holds the mel pipeline, the others start as
            identities there.
        real: Whether K_1 is real, half of the numbers; only from a random start, as the Fourier transform is complex.
        floor: What is added to energies, above 0: silence has no logarithm.
        device: Device of the parameters.
        dtype: Floating number type of sound and coefficients; torch's default if None.

    Attributes:
        spectrum: Factors of K_1, laid out as `seqkit.kernels.butterfly` says, complex numbers as pairs: so they follow
            `.to` and `.double` as everything else does.
        filters: Factors of K_2; `rows` says which of its n numbers are the energies.
        cosines: C, (n_coefficients, n_filters), or None.
        mean: What `calibrate` found, (n_coefficients,), a buffer; zeros before.
        std: The same of the deviation; ones before.

    Raises:
        ValueError: a size, start or frequency that cannot be, or a real K_1 for the mel pipeline.

    Source: Dao et al. 2020, Kaleidoscope (arXiv:2012.14966), the experiment on speech; Davis and Mermelstein 1980 for
        MFCC. Differs: one factor B B* of each matrix is enough, as the powers may come in bit-reversed order and the
        filters in the order of `mel_butterfly`; logarithms of absolute values, because a learned filter may have
        negative weights. `cosines` is dense: K-matrices of few dozen numbers are larger.

    Cost: 4 `width` n log2 n complex and as many real parameters; 34 `width` n log2 n operations a frame.

    Example:
        >>> front_end = KaleidoscopeFrontEnd(200, 80, 13, n_filters=40, sample_rate=8000)
        >>> sound, lengths = torch.randn(2, 4000), torch.tensor([4000, 2500])
        >>> front_end(sound, lengths).shape, front_end.output_lengths(lengths).tolist()
        (torch.Size([2, 48, 13]), [48, 29])
    """

    mean: Tensor
    std: Tensor
    rows: Tensor

    def __init__(
        self,
        frame: int,
        hop: int,
        n_coefficients: int,
        *,
        n_filters: int | None = None,
        start: str = "mel",
        sample_rate: float | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        width: int = 1,
        real: bool = False,
        floor: float = 1e-6,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.frame = check_positive_int("frame", frame)
        self.hop = check_positive_int("hop", hop)
        self.n_coefficients = check_positive_int("n_coefficients", n_coefficients)
        self.n_filters = n_coefficients if n_filters is None else check_positive_int("n_filters", n_filters)
        self.start, self.floor = check_choice("start", start, STARTS), check_positive("floor", floor)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {dtype}; squares need the range")
        n = padded_size(frame)
        if not self.n_coefficients <= self.n_filters <= n:
            raise ValueError(
                f"`n_filters` must lie between `n_coefficients` and the padded frame of {n} numbers, got "
                f"{self.n_filters} with n_coefficients={n_coefficients}; take longer frames or fewer of them"
            )
        shape = shape_of_factors(n, n, 2 * check_positive_int("width", width))
        first = torch.empty(shape, device=device, dtype=dtype if real else dtype.to_complex())
        second = torch.empty(shape, device=device, dtype=dtype)
        if start == "mel":
            rows = self.begin_as_mel(first, second, sample_rate, f_min, f_max)
        elif (sample_rate, f_min, f_max) == (None, 0.0, None):
            random_factors(first, n**0.5)  # as long as the Fourier transform
            random_factors(second, 1.0)
            rows = torch.arange(self.n_filters)
        else:
            raise ValueError(
                "`sample_rate`, `f_min` and `f_max` must be left out with start='random', which has no mel filters, "
                f"got {(sample_rate, f_min, f_max)}"
            )
        self.real = real
        self.spectrum = nn.Parameter(first if real else torch.view_as_real(first))
        self.filters = nn.Parameter(second)
        self.cosines: nn.Parameter | None = None
        if n_filters is not None:
            self.cosines = nn.Parameter(cosine_rows(n_coefficients, n_filters).to(device, dtype))
        self.register_buffer("rows", rows.to(device))
        self.register_buffer("mean", torch.zeros(n_coefficients, device=device, dtype=dtype))
        self.register_buffer("std", torch.ones(n_coefficients, device=device, dtype=dtype))

    def begin_as_mel(
        self, first: Tensor, second: Tensor, sample_rate: float | None, f_min: float, f_max: float | None
    ) -> Tensor:
        """Fills the factors with those of the windowed Fourier transform and the mel filters; returns their rows."""
        if not first.is_complex():
            raise ValueError("`real` must be False with start='mel', whose Fourier transform is complex, got True")
        if sample_rate is None:
            raise ValueError("`sample_rate` must be given with start='mel', got None; say the samples per second")
        filters = mel_filters(self.n_filters, 2 * first.shape[3], sample_rate, f_min, f_max)
        window = torch.hann_window(self.frame, periodic=True, dtype=torch.float64)
        *blocks, rows = mel_blocks(filters, window)
        for factors, block in zip((first, second), blocks, strict=True):
            factors.copy_(torch.eye(2))
            factors[0, 0] = block.to(factors)
        return rows

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of series of these lengths in samples, 0 for those shorter than a frame.

        Example:
            >>> KaleidoscopeFrontEnd(4, 2, 2, start="random").output_lengths(torch.tensor([3, 4, 5, 6])).tolist()
            [0, 1, 1, 2]
        """
        return ((lengths - self.frame) // self.hop + 1).clamp(min=0)

    def forward(self, sound: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Maps whole series.

        Args:
            sound: Samples, (B, L) or (B, L, 1).
            lengths: Samples of each series, (B,); what lies past them changes nothing, NaN included.

        Returns:
            Coefficients, (B, F, n_coefficients), F the frames of the longest series; 0 past a series' last frame.

        Raises:
            ValueError: another shape or dtype, no series, NaN or infinite samples, or a series shorter than a frame.
        """
        sound = self.check(sound)
        n_series, n_samples = sound.shape
        if lengths is None:
            lengths = torch.full((n_series,), n_samples, device=sound.device)
        else:
            check_lengths(lengths, n_series, n_samples)
            lengths = lengths.to(sound.device)
            sound = torch.where(torch.arange(n_samples, device=sound.device) < lengths[:, None], sound, 0)
        check_finite("sound", sound)
        if not n_series:
            raise ValueError(f"`sound` must hold at least one series, got shape {tuple(sound.shape)}; leave it out")
        short = (lengths < self.frame).nonzero()
        if len(short):
            i = int(short[0])
            raise ValueError(
                f"`sound` must hold series of at least one frame, {self.frame} samples, got {int(lengths[i])} in "
                f"series {i}; pad it with zeros, or leave it out"
            )
        n_frames = self.output_lengths(lengths)
        frames = sound[:, : int(lengths.max())].unfold(1, self.frame, self.hop)
        inside = torch.arange(frames.shape[1], device=sound.device) < n_frames[:, None]
        out = sound.new_zeros(*inside.shape, self.n_coefficients)
        return out.masked_scatter(inside[..., None], self.coefficients(frames[inside]))

    def initial_state(self, batch_size: int = 1) -> FrontEndState:
        """State before the first sample of `batch_size` streams."""
        check_positive_int("batch_size", batch_size)
        waiting = torch.full((batch_size,), self.frame, device=self.mean.device)
        return FrontEndState(self.mean.new_zeros(batch_size, self.frame), waiting)

    def scan(self, sound: Tensor, state: FrontEndState) -> tuple[Tensor, FrontEndState]:
        """Takes a block of samples, of any length, that continues from `state`.

        Args:
            sound: Samples, (B, L) or (B, L, 1).
            state: What `initial_state` or the previous call returned.

        Returns:
            Coefficients of the frames that this block completes, (B, F, n_coefficients), F often 0, and the new state.

        Raises:
            ValueError: another shape or dtype, NaN or infinite samples, or streams that wait for different numbers of
                samples.
        """
        sound = self.check(sound)
        check_shape("state.samples", state.samples, (len(sound), self.frame))
        check_finite("sound", sound)
        waiting = int(state.waiting[0])
        if bool((state.waiting != waiting).any()):
            raise ValueError(
                f"`state.waiting` must be the same for all streams, got {sorted(set(state.waiting.tolist()))}; take "
                "streams together that began together"
            )
        known, n_new = torch.cat([state.samples, sound], 1), sound.shape[1]
        n_frames = max(0, (n_new - waiting) // self.hop + 1)
        left = FrontEndState(known[:, n_new:], state.waiting + (n_frames * self.hop - n_new))
        if not n_frames:
            return sound.new_zeros(len(sound), 0, self.n_coefficients), left
        return self.coefficients(known[:, waiting:].unfold(1, self.frame, self.hop)), left

    @torch.no_grad()
    def calibrate(self, sound: Tensor, lengths: Tensor | None = None) -> None:
        """Sets `mean` and `std` so that the coefficients of these series have mean 0 and deviation 1 over their frames.

        Args:
            sound: Samples that stand for what will come, (B, L) or (B, L, 1).
            lengths: Samples of each series, (B,).

        Raises:
            ValueError: as `forward`.
        """
        self.mean.zero_()
        self.std.fill_(1)
        out = self(sound, lengths)
        if lengths is not None:
            n_frames = self.output_lengths(lengths.to(out.device))
            out = out[torch.arange(out.shape[1], device=out.device) < n_frames[:, None]]
        std, mean = torch.std_mean(out.flatten(0, -2), 0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6 * (mean.abs() + 1), std, 1))

    def coefficients(self, frames: Tensor) -> Tensor:
        """Maps frames (..., frame) to coefficients (..., n_coefficients)."""
        first = self.spectrum if self.real else torch.view_as_complex(self.spectrum)
        n = 2 * self.filters.shape[3]
        z = multiply(frames.reshape(-1, self.frame).to(first.dtype), first, n)
        power = z.square() if self.real else torch.view_as_real(z).square().sum(-1)
        logs = (multiply(power, self.filters, n)[:, self.rows].abs() + self.floor).log()
        found = logs if self.cosines is None else logs @ self.cosines.mT
        return ((found - self.mean) / self.std).reshape(*frames.shape[:-1], self.n_coefficients)

    def dense(self) -> tuple[Tensor, Tensor]:
        """Returns K_1, (n, frame), and the rows of K_2 that are energies, (n_filters, n), multiplied out.

        The columns of the second are in the order of the rows of the first, which is bit-reversed in the mel pipeline.
        """
        first = self.spectrum if self.real else torch.view_as_complex(self.spectrum)
        n, device = 2 * self.filters.shape[3], first.device
        spectrum = multiply(torch.eye(self.frame, dtype=first.dtype, device=device), first, n).mT
        filters = multiply(torch.eye(n, dtype=self.filters.dtype, device=device), self.filters, n).mT
        return spectrum, filters[self.rows]

    def check(self, sound: Tensor) -> Tensor:
        """Refuses what is no batch of sounds, and takes a last dimension of 1 away."""
        if sound.dim() == 3 and sound.shape[2] == 1:
            sound = sound[..., 0]
        check_shape("sound", sound, ("B", "L"), "or (B, L, 1)")
        if self.mean.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the front end must be in float32 or float64, got {self.mean.dtype}; take .float()")
        if sound.dtype != self.mean.dtype:
            raise ValueError(f"`sound` must have the dtype {self.mean.dtype}, got {sound.dtype}; convert it with .to")
        return sound

    def extra_repr(self) -> str:
        """Sizes, as `print` shows them."""
        return f"{self.frame}, {self.hop}, {self.n_coefficients}, n_filters={self.n_filters}, start={self.start!r}"
