"""What a benchmark is made of: a case, the sizes it is measured at, and the forms that compute the same thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqkit.checks import check_choice

__all__ = ["LEVELS", "Case", "Form", "Grid", "Inputs", "Setting", "Task", "Work"]

LEVELS = ("tiny", "quick", "full")

Inputs = dict[str, Tensor]
"""Tensors by the name the operator knows them under."""


class Work(NamedTuple):
    """What a computation cannot do without, in the way of counting that docs/benchmarks.md names for each case.

    Args:
        products: Floating-point operations of matrix products and loops.
        fft: Floating-point operations of real Fourier transforms, 2.5 n log2 n each.
        traffic: Bytes read and written.
    """

    products: float = 0.0
    fft: float = 0.0
    traffic: float = 0.0

    def times(self, products: float, traffic: float) -> Work:
        """The same with its operations and its traffic multiplied, each by its own factor."""
        return Work(self.products * products, self.fft * products, self.traffic * traffic)


@dataclass(frozen=True)
class Setting:
    """Sizes and a kind of number.

    Args:
        sizes: Size by letter, "L" among them.
        dtype: "float32", "float64" or "bfloat16".
    """

    sizes: Mapping[str, int]
    dtype: str = "float32"

    def __getitem__(self, letter: str) -> int:
        """The size with this letter."""
        return self.sizes[letter]

    @property
    def label(self) -> str:
        """Sizes in words, "H=128 N=64 L=1024"."""
        return " ".join(f"{letter}={size}" for letter, size in self.sizes.items())

    @property
    def itemsize(self) -> int:
        """Bytes of a real number."""
        return int(getattr(torch, self.dtype).itemsize)


class Task(NamedTuple):
    """A form made ready for one measurement.

    Args:
        call: Computes the output, or a tuple that starts with it.
        leaves: Tensors that the backward pass differentiates by.
    """

    call: Callable[[], Any]
    leaves: tuple[Tensor, ...]


def never(inputs: Inputs, setting: Setting, backward: bool) -> str | None:
    """Refuses nothing."""
    return None


def not_chosen(inputs: Inputs, setting: Setting) -> bool:
    """What a peer answers when asked whether the operator takes it by itself."""
    return False


@dataclass(frozen=True)
class Form:
    """One way to compute what a case computes.

    Args:
        name: A backend of the operator, or a peer's name.
        source: Where this form comes from.
        prepare: Takes inputs, which ask for gradients where a backward pass follows, and setting; makes the task. Its
            time is not counted.
        refuse: Says why this form is left out for given inputs, setting and pass, or None.
        own: Whether it is this toolkit's.
        chosen: Whether it is the backend that the operator takes by itself for given inputs.
        same: Whether it computes the same numbers; a layer is also compared with others of its shape.
    """

    name: str
    source: str
    prepare: Callable[[Inputs, Setting], Task]
    refuse: Callable[[Inputs, Setting, bool], str | None] = never
    own: bool = False
    chosen: Callable[[Inputs, Setting], bool] = not_chosen
    same: bool = True


@dataclass(frozen=True)
class Grid:
    """Settings by level for the CPU, and for CUDA devices where they differ."""

    tiny: tuple[Setting, ...]
    quick: tuple[Setting, ...]
    full: tuple[Setting, ...]
    cuda_quick: tuple[Setting, ...] = ()
    cuda_full: tuple[Setting, ...] = ()

    def at(self, level: str, device: str) -> tuple[Setting, ...]:
        """The settings of a level.

        Raises:
            ValueError: there is no such level.
        """
        check_choice("sizes", level, LEVELS)
        own: tuple[Setting, ...] = getattr(self, f"cuda_{level}", ()) if device == "cuda" else ()
        common: tuple[Setting, ...] = getattr(self, level)
        return own or common


@dataclass(frozen=True)
class Case:
    """One computation with its sizes, its peers and its floor.

    Args:
        name: Name on the command line.
        operator: The operator it measures, or the layer.
        title: What it is, in a few words.
        against: The peer whose time the ratios are of.
        grid: Settings by level.
        make: Takes a setting and a generator; returns inputs in float64 and complex128.
        forms: Backends first, then peers.
        exact: The part of the output in float64, from the few inputs in float64; None where that would take too long.
        work: Takes a setting and whether the backward pass is included.
        few: The inputs that `exact` needs: series and channels are independent, so a few show the error.
        part: Index of the output that comes from those.
        passes: Whether the backward pass is included, one for each measurement.
        unit: What `count` counts, such as "steps".
        count: How many of them one call does; a rate is shown where there is one.
        memory: Settings of the memory curve, in growing L.
        axis: Letter of the size that pictures are drawn over.
    """

    name: str
    operator: str
    title: str
    against: str
    grid: Grid
    make: Callable[[Setting, torch.Generator], Inputs]
    forms: tuple[Form, ...]
    exact: Callable[[Inputs, Setting], Tensor | None]
    work: Callable[[Setting, bool], Work]
    few: Callable[[Inputs], Inputs] = dict
    part: tuple[slice, ...] = ()
    passes: tuple[bool, ...] = (False, True)
    unit: str = ""
    count: Callable[[Setting], int] | None = None
    memory: tuple[Setting, ...] = ()
    axis: str = "L"

    def form(self, name: str) -> Form:
        """The form with this name.

        Raises:
            ValueError: there is none.
        """
        check_choice("form", name, [form.name for form in self.forms])
        return next(form for form in self.forms if form.name == name)
