"""The HiPPO memory as a module: whole series or a stream to coefficients, and coefficients back to the signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqkit.checks import check_choice, check_positive, check_positive_int, check_shape
from seqkit.hippo.blocks import block_rows, check_counts, prepare
from seqkit.hippo.exact_memory import exact_memory
from seqkit.hippo.legs_memory import step_memory
from seqkit.hippo.lti import System, invariant_memory
from seqkit.hippo.measures import Fourier, LegT, Measure, as_measure, transition
from seqkit.hippo.reading import read_back
from seqkit.hippo.timeline import Timeline
from seqkit.kernels.backend import check_dtypes, full_precision

__all__ = ["HiPPOMemory", "MemoryState"]

RULES = ("midpoint", "reciprocal", "exact")
DISCRETIZATIONS = ("zero_order_hold", "bilinear", "backward_euler")


class MemoryState(NamedTuple):
    """What a memory hands from block to block; a tuple of tensors, to be stored or moved as one likes.

    Args:
        coefficients: (B, D, N).
        elapsed: Time that they cover, up to the last sample that counted, (B,), float64.
        clock: Time now, (B,), float64; later than `elapsed` where samples have been missing since.
    """

    coefficients: Tensor
    elapsed: Tensor
    clock: Tensor


class HiPPOMemory(nn.Module):
    """Remembers series as the coefficients of their past on N orthogonal functions, online or all at once.

        legs:          c' = (A c + B u) / t    the whole past evenly, whatever its length
        legt, fourier: c' = (A c + B u)        a sliding window; A and B carry 1 / window
        lagt:          c' = (A c + B u) / window    a past that fades over about `window`

    Each sample is held for the stretch of time that it ends: evenly spaced samples last `rate` each, with timestamps
    sample k lasts from the one before to its own time, and the first from 0. A sample that is missing is as one that
    never arrived: the next one holds over the whole gap. There are no trained parameters; gradients reach the samples.

    Args:
        order: Number of coefficients N.
        measure: "legs", "legt", "lagt" or "fourier", or a measure: `LegT(window, "lmu")` remembers in the scaling of
            the Legendre memory unit.
        window: Length of the memory in units of time, which is samples where `rate` is 1. Needed for legt and fourier
            by name; 1 for lagt if left out; not for legs.
        rule: For legs: "midpoint", of second order in the step; "reciprocal", of first order, as published runs
            have it, 1/k, or (t1 - t0)/t1 where times are given or samples missing; or "exact", the projection of the
            held series to rounding.
        discretization: For the others: "zero_order_hold" (the default; exact for held samples), "bilinear" or
            "backward_euler". None of them lets a memory grow.

    Attributes:
        measure: The measure.
        A: Transition matrix, (N, N), float64, not part of the state dict.
        B: Input vector, (N,), likewise.

    Source:
        Gu, Dao, Ermon, Rudra, Ré 2020, HiPPO: recurrent memory with optimal polynomial projections (arXiv:2008.07669),
        theorems 1 and 2. Differs: the midpoint and the exact rule for legs; missing samples; a state with its own time.

    Cost: a sample takes 4 N operations for legs; with "exact" N for the final coefficients, and N² a row where there
        are several. For the others N, and N² a row, where steps are equal; else N² a sample and N³ a different step.

    Example:
        >>> memory = HiPPOMemory(8, rule="exact")
        >>> u = torch.linspace(0, 1, 101)[:100, None].expand(2, -1, 3)
        >>> coefficients, state = memory.scan(u, memory.initial_state(2, 3))
        >>> past = memory.reconstruct(coefficients, torch.tensor([20.5, 80.5]), elapsed=state.elapsed)
        >>> past[0, :, 0]
        tensor([0.2000, 0.8000])
    """

    A: Tensor
    B: Tensor
    A_bar: Tensor
    B_bar: Tensor

    def __init__(
        self,
        order: int,
        measure: str | Measure = "legs",
        *,
        window: float | None = None,
        rule: str = "midpoint",
        discretization: str | None = None,
    ) -> None:
        super().__init__()
        self.order = check_positive_int("order", order)
        self.measure, self.scale = _with_window(measure, window)
        legs = self.measure.time_varying
        self.rule = check_choice("rule", rule, RULES)
        if rule != "midpoint" and not legs:
            raise ValueError(
                f"`rule` is for legs, got {rule!r} with {self.measure.name}; give `discretization` instead"
            )
        if discretization is not None and legs:
            raise ValueError(f"`discretization` is not for legs, got {discretization!r}; give `rule` instead")
        self.discretization = check_choice("discretization", discretization or "zero_order_hold", DISCRETIZATIONS)
        for name, value in self._matrices().items():
            self.register_buffer(name, value, persistent=False)

    def _matrices(self) -> dict[str, Tensor]:
        """The system and what it is over one sample, float64."""
        A, B = (value / self.scale for value in transition(self.measure, self.order))
        system = System(A, B, self.discretization, A, B)
        legs = self.measure.time_varying
        A_bar, B_bar = (A, B) if legs else system.over(torch.ones((), dtype=torch.float64))
        return {"A": A, "B": B, "A_bar": A_bar, "B_bar": B_bar}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> HiPPOMemory:
        """Fills the matrices where `to_empty` made room for those of a memory on the device meta: no file has them."""
        before = self.A.device
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if before.type == "meta" and self.A.device != before:
            for name, value in self._matrices().items():
                getattr(self, name).copy_(value)
        return self

    def project(
        self,
        u: Tensor,
        timestamps: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        observed: Tensor | None = None,
        rate: float | Tensor = 1.0,
        every: int | None = None,
        at: Sequence[int] | None = None,
    ) -> Tensor:
        """Coefficients of whole series, at the end or at several times.

        Args:
            u: Series, (B, L, D), float32 or float64; what is past the end or missing may be anything, NaN included.
            timestamps: End of each sample's stretch, (L,) or (B, L), rising from above 0, the start of the series.
            lengths: Samples of each series, (B,); at later rows its coefficients stay as they were at its end.
            observed: True where a sample is there, (B, L), bool.
            rate: Length of each stretch without timestamps, one number or (B,).
            every: Return the coefficients after samples m, 2m, ...
            at: Return the coefficients after these numbers of samples, rising, 1 for after the first.

        Returns:
            Coefficients, (B, D, N), or (B, K, D, N) with `every` or `at`.

        Raises:
            TypeError: u is neither float32 nor float64.
            ValueError: shapes do not fit, values are not finite or beyond 1e30 (1e300 in float64), times do not
                rise, or `every` and `at` are both given.
        """
        check_shape("u", u, ("B", "L", "D"), "a single series of one channel is u[None, :, None]")
        counts = None if at is None else check_counts(at, every, u.shape[1])
        zero = torch.zeros(1, dtype=torch.float64, device=u.device)
        u, line = prepare(u, zero, zero, rate=rate, timestamps=timestamps, lengths=lengths, observed=observed)
        state = u.new_zeros(u.shape[0], u.shape[2], self.order)
        if counts is None:
            rows, _ = block_rows(self._advance, u, line, state, every)
            return rows[:, :, 0] if every is None else rows.transpose(1, 2)
        found, before = [], 0
        for count in counts:
            _, state = block_rows(self._advance, u[:, before:count], line.part(before, count), state, None)
            found.append(state)
            before = count
        return torch.stack(found, dim=1)

    forward = project

    def initial_state(
        self, batch_size: int = 1, n_channels: int = 1, *, dtype: torch.dtype | None = None
    ) -> MemoryState:
        """A memory of nothing, (B, D, N), at time 0."""
        zero = torch.zeros(batch_size, dtype=torch.float64, device=self.A.device)
        coefficients = torch.zeros(batch_size, n_channels, self.order, dtype=dtype, device=self.A.device)
        return MemoryState(coefficients, zero, zero.clone())

    def scan(
        self,
        u: Tensor,
        state: MemoryState,
        timestamps: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        observed: Tensor | None = None,
        rate: float | Tensor = 1.0,
        every: int | None = None,
    ) -> tuple[Tensor, MemoryState]:
        """Takes in a block that continues from `state`; blocks one after the other are as one.

        Args:
            u: Samples, (B, L, D).
            state: State before.
            timestamps: As in `project`, on the same clock as those before.
            lengths: Samples of each series in this block.
            observed: As in `project`.
            rate: As in `project`.
            every: As in `project`, counted from the start of the block.

        Returns:
            Coefficients, as from `project`, and the state after.

        Raises:
            TypeError: the dtypes are neither float32 nor float64, or differ.
            ValueError: as in `project`, or the state does not fit.
        """
        check_shape("u", u, ("B", "L", "D"))
        batch, _, width = u.shape
        check_shape("state.coefficients", state.coefficients, (batch, width, self.order), "as `initial_state` makes it")
        check_shape("state.elapsed", state.elapsed, (batch,))
        check_shape("state.clock", state.clock, (batch,))
        check_dtypes({"u": full_precision(u), "state.coefficients": state.coefficients}, {})
        before = state.elapsed, state.clock
        u, line = prepare(u, *before, rate=rate, timestamps=timestamps, lengths=lengths, observed=observed)
        rows, last = block_rows(self._advance, u, line, state.coefficients, every)
        elapsed = (line.edges[:, -1:] * line.unit).squeeze(-1)
        # Views would keep whole blocks alive from state to state.
        times = (time.expand(batch).clone(memory_format=torch.contiguous_format) for time in (elapsed, line.clock))
        after = MemoryState(last.contiguous() if every is None else last.clone(), *times)
        return after.coefficients if every is None else rows.transpose(1, 2), after

    def step(
        self,
        u_t: Tensor,
        state: MemoryState,
        *,
        rate: float | Tensor = 1.0,
        time: float | Tensor | None = None,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, MemoryState]:
        """Takes in one sample of each series.

        Args:
            u_t: Samples, (B, D).
            state: State before.
            rate: Time since the sample before, one number or (B,).
            time: Instead of that the time of this sample, one number or (B,).
            observed: True where the sample is there, (B,).

        Returns:
            Coefficients, (B, D, N), and the state after.
        """
        check_shape("u_t", u_t, ("B", "D"))
        times = None
        if time is not None:
            times = torch.as_tensor(time, dtype=torch.float64, device=u_t.device).reshape(-1, 1)
        seen = None if observed is None else observed.unsqueeze(-1)
        return self.scan(u_t.unsqueeze(1), state, times, observed=seen, rate=rate)

    def reconstruct(self, coefficients: Tensor, times: Tensor, *, elapsed: float | Tensor) -> Tensor:
        """Reads the signal back that coefficients remember.

            u(x) ≈ Σ_n c_n g_n(t - x)

        Held samples compare at the middle of their stretches, not at its ends.

        Args:
            coefficients: (B, D, N).
            times: Times x, (K,) or (B, K), between 0 (the window's start) and `elapsed`.
            elapsed: Time t that the coefficients cover, one number or (B,); `MemoryState` has it.

        Returns:
            Values, (B, K, D), of the dtype of `coefficients`.

        Raises:
            ValueError: shapes do not fit, or a time is outside the memory.
        """
        check_shape("coefficients", coefficients, ("B", "D", self.order), "one row of `project` at a time")
        return read_back(self.measure, self.scale, coefficients, times, elapsed)

    def _advance(self, u: Tensor, line: Timeline, state: Tensor, every: int | None) -> Tensor:
        """Runs one block by the memory's rule, (B, D, K, N)."""
        if not self.measure.time_varying:
            system = System(self.A, self.B, self.discretization, self.A_bar, self.B_bar)
            return invariant_memory(u, line, state, every, system)
        if self.rule != "exact":
            return step_memory(u, line, state, every, self.rule)
        return exact_memory(u, line, state, every)

    def extra_repr(self) -> str:
        """Sizes, measure and rule."""
        rule = f"rule={self.rule!r}" if self.measure.time_varying else f"discretization={self.discretization!r}"
        fade = "" if self.scale == 1 else f", window={self.scale:g}"
        return f"order={self.order}, measure={self.measure}{fade}, {rule}"


def _with_window(measure: str | Measure, window: float | None) -> tuple[Measure, float]:
    """The measure, and how many units of time its own unit is."""
    chosen = as_measure(measure)
    if window is not None:
        check_positive("window", window)
    if chosen.time_varying:
        if window is not None:
            raise ValueError(
                f"`window` is not for {chosen.name}, which remembers everything, got {window!r}; leave it out"
            )
        return chosen, 1.0
    if not isinstance(chosen, (LegT, Fourier)):
        return chosen, 1.0 if window is None else window
    if window is not None:
        return replace(chosen, window=window), 1.0
    if isinstance(measure, str):
        raise ValueError(
            f"`window` must be given for {measure}, got None; it is the length of the past to keep, in samples"
        )
    return chosen, 1.0
