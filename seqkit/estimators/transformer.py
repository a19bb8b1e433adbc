"""The transformer from series to the coefficients of a HiPPO memory."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sktime.transformations.base import BaseTransformer

from seqkit.checks import check_choice, check_positive, check_positive_int
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.estimators.base import SklearnBridge
from seqkit.estimators.engines import check_engine
from seqkit.estimators.memory_rows import read_rows, take_in
from seqkit.estimators.panel import PANEL_MTYPES, panel_to_series
from seqkit.estimators.plain import plain
from seqkit.estimators.shapes import as_given, channels_of, frames_of, indices_of, is_single, keys_of
from seqkit.estimators.sizes import AUTO
from seqkit.estimators.times import times_of
from seqkit.hippo import HiPPOMemory, Measure, MemoryState
from seqkit.streaming import MemoryEngine, Stream
from seqkit.streaming.snapshot import Progress, pack

__all__ = ["HiPPOTransformer"]

OUTPUTS = ("final", "course")


class HiPPOTransformer(SklearnBridge, BaseTransformer):  # type: ignore[misc] # sktime has no types
    """Turns series into the coefficients of a HiPPO memory: their past on N orthogonal functions.

    `output="final"` gives one row a series, the coefficients at its end, for any classifier or regressor of tables;
    `output="course"` gives a series of coefficients. Columns are named channel__n. The coefficients of "legs" for a
    series and for the same series played at another pace agree, so that they need no sampling rate.

    - Series of unequal length and missing values (NaN) are served; what is missing is as what never arrived.
    - Times from the index count: at another rate than in training, or uneven, samples are held as long as they last.
    - `update` takes in further samples of a single series; `coefficients_` are those of all so far, as from `transform`
      on the whole. `transform` itself looks at nothing but its own series.
    - `inverse_transform` (for "course") reads the series back at its rows, as held samples. Smooth series of 200
      samples come back from 32 coefficients of "legs" to within 1 % of their deviation; what is faster than the
      functions is lost.

    Args:
        order: Number of coefficients N.
        measure: "legs", "legt", "lagt", "fourier", or a measure of `seqkit.hippo`.
        window: Length of the memory in samples of the training series; "auto" for their median length, where the
            measure has a window. Not for "legs".
        rule: For "legs": "midpoint", "reciprocal" or "exact"; see `HiPPOMemory`.
        discretization: For the others: "zero_order_hold", "bilinear" or "backward_euler"; None for the first.
        output: "final" or "course".
        every: Samples between rows of the course.
        sample_rate: Samples per second of series whose index does not say it (Hz).

    Attributes:
        memory_: The memory, a `HiPPOMemory`, in units of one sample of the training series.
        coefficients_: After `fit` on a single series: coefficients of all so far, (C, N).

    Raises:
        ValueError: at `fit`, an option that the memory refuses, or series that cannot be used; at `transform`, series
            of other channels, or shorter than `every`.

    Source:
        Gu, Dao, Ermon, Rudra, Ré 2020, HiPPO: recurrent memory with optimal polynomial projections (arXiv:2008.07669).

    Example:
        >>> import numpy as np
        >>> from seqkit.estimators import HiPPOTransformer
        >>> X = np.stack([np.sin(np.arange(50) / pace)[None] for pace in (3.0, 5.0, 9.0)])
        >>> table = HiPPOTransformer(order=4).fit_transform(X)
        >>> table.shape, list(table.columns[:2])
        ((3, 4), ['var_0__0', 'var_0__1'])
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "seqkit",
        "maintainers": "seqkit",
        "python_dependencies": ["torch"],
        "X_inner_mtype": ["pd.DataFrame", *PANEL_MTYPES],
        "y_inner_mtype": "None",
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Primitives",
        "scitype:instancewise": True,
        "fit_is_empty": False,
        "capability:multivariate": True,
        "capability:missing_values": True,
        "capability:missing_values:removes": True,
        "capability:unequal_length": True,
        "capability:unequal_length:removes": True,
        "capability:inverse_transform": True,
        "capability:inverse_transform:exact": False,
        "capability:categorical_in_X": False,
        "property:randomness": "deterministic",
    }

    def __init__(
        self,
        order: int = 32,
        measure: str | Measure = "legs",
        *,
        window: float | str = AUTO,
        rule: str = "midpoint",
        discretization: str | None = None,
        output: str = "final",
        every: int = 1,
        sample_rate: float | None = None,
    ) -> None:
        self.order = order
        self.measure = measure
        self.window = window
        self.rule = rule
        self.discretization = discretization
        self.output = output
        self.every = every
        self.sample_rate = sample_rate
        super().__init__()

    def __dynamic_tags__(self) -> None:
        """A course is a series, and can be read back; the final coefficients are a row of a table."""
        course = self.output == "course"
        self.set_tags(
            **{
                "scitype:transform-output": "Series" if course else "Primitives",
                "transform-returns-same-time-index": course and self.every == 1,
                "capability:unequal_length:removes": not course,
                "capability:inverse_transform": course,
            }
        )

    def _fit(self, X: Any, y: Any = None) -> HiPPOTransformer:
        check_choice("output", self.output, OUTPUTS)
        check_positive_int("every", plain(self.every))
        if self.sample_rate is not None:
            check_positive("sample_rate", self.sample_rate)
        series = self._series(X)
        self._unit = series.sample_rate or 1.0
        self._channels = channels_of(X)
        self.memory_ = self._memory(series)
        self._state: MemoryState | None = None
        if is_single(X):
            self._take(X, series, offset=1.0)
        return self

    def _update(self, X: Any, y: Any = None) -> HiPPOTransformer:
        if not is_single(X) or self._state is None:
            raise ValueError("`update` goes on with the single series that `fit` began; transform panels as a whole")
        series = self._series(X)
        since = times_of(self._last.append(X.index)) if _comes_after(self._last, X.index) else None
        offset = 1.0
        series.sample_rate, series.timestamps = self.sample_rate, None
        if since is not None and since.seconds is not None:  # the gap to the last sample counts
            series.timestamps, offset = [since.seconds[1:]], float(since.seconds[1]) * self._unit
        elif since is not None and since.rate is not None:
            series.sample_rate = since.rate
        self._take(X, series, offset)
        return self

    def _transform(self, X: Any, y: Any = None) -> Any:
        import pandas as pd  # noqa: PLC0415

        course = self.output == "course"
        series = self._series(X, self.every if course else 1)
        taken = take_in(self.memory_, series, self._unit, plain(self.every) if course else None)
        names = channels_of(X)
        if set(names) == set(self._channels):  # then they were found by name
            names = self._channels
        columns = [f"{name}__{n}" for name in names for n in range(self.order)]
        tables = [one.rows.reshape(len(one.rows), -1) for one in taken]
        if not course:
            return pd.DataFrame(np.concatenate(tables), index=keys_of(X), columns=columns)
        stamps = [index[self.every - 1 :: self.every] for index in indices_of(X)]
        frames = [pd.DataFrame(table, index=at, columns=columns) for table, at in zip(tables, stamps, strict=True)]
        return as_given(frames, X)

    def _inverse_transform(self, X: Any, y: Any = None) -> Any:
        import pandas as pd  # noqa: PLC0415

        frames, indices = frames_of(X), indices_of(X)
        width = len(self._channels) * self.order
        out = []
        for frame, index in zip(frames, indices, strict=True):
            if frame.shape[1] != width:
                raise ValueError(
                    f"`X` must have {width} columns, {self.order} for each of {len(self._channels)} channels, got "
                    f"{frame.shape[1]}; give what `transform` returned"
                )
            rows = frame.reshape(len(frame), len(self._channels), self.order)
            values = read_rows(self.memory_, rows, self._ends(index, len(frame)))
            out.append(pd.DataFrame(values, index=index, columns=self._channels))
        return as_given(out, X)

    def stream(self, sample_rate: float | None = None, resume: bool = False) -> Stream:
        """The memory for one series as it comes in; `StreamPool(transformer)` takes many. Outputs are (C, N).

        Args:
            sample_rate: Samples per second where samples come without a time (Hz); None for that of the training data.
            resume: Whether to go on after the series of `fit` and `update` instead of with an empty memory.

        Raises:
            NotFittedError: `fit` was not called yet.
            ValueError: nothing to go on from.
        """
        stream = Stream(self, sample_rate=sample_rate)
        if resume:
            if self._state is None:
                raise ValueError("only a memory that was fitted to a single series can go on; use resume=False")
            coefficients, elapsed, clock = (part.clone() for part in self._state)
            state = {"coefficients": coefficients[:, 0], "elapsed": elapsed, "clock": clock}
            stream.load_state_dict(pack(stream.engine, state, Progress()))
        return stream

    def streaming_engine(self, backend: str = "auto", dtype: str | None = None, device: str = "cpu") -> MemoryEngine:
        """What `Stream` and `StreamPool` run; there is one, in float64 on the CPU."""
        self.check_is_fitted()
        check_engine(type(self).__name__, backend, dtype, device, "float64")
        return MemoryEngine(self.memory_, len(self._channels), sample_rate=self._unit)

    def _take(self, X: Any, series: SeriesSet, offset: float) -> None:
        taken = take_in(self.memory_, series, self._unit, None, self._state, offset)[0]
        self._state, self._last = taken.state, X.index[-1:]
        self.coefficients_: Array = taken.rows[0]

    def _series(self, X: Any, min_length: int = 1) -> SeriesSet:
        series = panel_to_series(
            [X] if is_single(X) else X,
            sample_rate=self.sample_rate,
            origin="`X`",
            min_length=min_length,
            channels=self._channels if hasattr(self, "memory_") else None,
        )
        if hasattr(self, "memory_") and series.n_channels != len(self._channels):
            raise ValueError(
                f"`X` has {series.n_channels} channels and the transformer was fitted to {len(self._channels)}; give "
                "the same channels, or fit anew"
            )
        return series

    def _memory(self, series: SeriesSet) -> HiPPOMemory:
        window: Any = plain(self.window)
        if isinstance(window, str):
            check_choice("window", window, (AUTO,))
            typical = float(np.median(series.lengths))
            # A fading memory reaches back over about five of its windows.
            window = {"legt": typical, "fourier": typical, "lagt": typical / 5}.get(str(self.measure))
        return HiPPOMemory(
            plain(self.order), self.measure, window=window, rule=self.rule, discretization=self.discretization
        )

    def _ends(self, index: Any, n_rows: int) -> Array:
        """Time of each row in training samples, the series' start at 0."""
        times = times_of(index, None if self.sample_rate is None else self.sample_rate / self.every)
        if times.seconds is not None:
            if self.every > 1:
                raise ValueError("rows at uneven times can only be read back where there is one a sample; use every=1")
            return np.asarray(times.seconds * self._unit + 1.0)
        step = float(self.every) if times.rate is None else self._unit / times.rate
        return np.arange(1, n_rows + 1) * step

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small memories for sktime's suite."""
        return [
            {"order": 3},
            {"order": 4, "output": "course"},
            {"order": 3, "measure": "legt", "discretization": "bilinear", "output": "course", "every": 2},
            {"order": 2, "measure": "lagt", "window": 4.0},
        ]


def _comes_after(last: Any, index: Any) -> bool:
    """Whether times go on after the last one; a count that begins at 0 anew says nothing of time."""
    if isinstance(index[0], (int, np.integer)) and index[0] == 0:
        return False
    if not index[0] > last[0]:
        raise ValueError(f"`X` must come after the samples so far, up to {last[0]!r}, but begins at {index[0]!r}")
    return True
