"""What a learned operation is: its distance from where it started, and from operations that have a name."""

from __future__ import annotations

import importlib
import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from seqkit.structured.butterflies.transforms import hadamard
from seqkit.structured.xd.layer import XDConv
from seqkit.structured.xd.operation import ROLES

__all__ = ["AxisDescription", "OperationDescription", "axis_operators", "describe_operation"]

NEAR = 0.05
"""Relative distance below which an operation is called by the name of a member."""


class AxisDescription(NamedTuple):
    """One axis of an operation.

    Args:
        moved: Relative distance of K, L and M from the Fourier transforms that they started as.
        members: Relative distance of the operation from the nearest member of each named class, the smaller classes
            first.
        permutation: The order of samples of the nearest convolution of permuted samples.
        name: The first class that is within 5 %, or None.

    Example:
        >>> AxisDescription({"K": 0.1}, {"convolution": 0.02}, [0, 1], "convolution").name
        'convolution'
    """

    moved: dict[str, float]
    members: dict[str, float]
    permutation: list[int]
    name: str | None


class OperationDescription(NamedTuple):
    """What an operation is along each of its axes.

    Args:
        axes: One for each axis.

    Example:
        >>> print(OperationDescription([AxisDescription({"K": 0.1}, {"convolution": 0.02}, [0, 1], "convolution")]))
        convolution (0.02 from it); moved from the Fourier transform by K 0.1
    """

    axes: list[AxisDescription]

    def __str__(self) -> str:
        """A line for each axis."""
        lines = []
        for number, axis in enumerate(self.axes):
            moved = ", ".join(f"{role} {distance:.2g}" for role, distance in axis.moved.items())
            name, distance = min(axis.members.items(), key=lambda one: one[1])
            if axis.name is not None:
                said = f"{axis.name} ({axis.members[axis.name]:.2g} from it)"
            else:
                said = f"none of the known ones; the nearest is {name}, {distance:.2g} from it"
            where = f"axis {number}: " if len(self.axes) > 1 else ""
            lines.append(f"{where}{said}; moved from the Fourier transform by {moved}")
        return "\n".join(lines)


def axis_operators(layer: XDConv, axis: int = 0) -> Tensor:
    """The matrix that each tap of the kernel stands for, K diag(L e_j) M between outputs and samples.

    Args:
        layer: The operation.
        axis: Which of its axes.

    Returns:
        (taps, outputs, samples); real parts in one dimension, where the output is a real part, else complex.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> axis_operators(XDConv1d(1, 1, 3, length=4, padding=1)).round().abs()[0]
        tensor([[0., 0., 0., 0.],
                [1., 0., 0., 0.],
                [0., 1., 0., 0.],
                [0., 0., 1., 0.]])
    """
    with torch.no_grad():
        k, latent, m = (getattr(layer, role)[axis].dense() for role in ROLES)
        where = layer.axes[axis]
        k, m, columns = k[where.reads()], m[:, : where.size], latent[:, where.taps()]
        found = (k * columns.mT.unsqueeze(1)) @ m
        return cast("Tensor", found.real if layer.n_axes == 1 else found)


def describe_operation(layer: XDConv) -> OperationDescription:
    """Names an operation where it is a known one, and measures how far it is from those that have a name.

    Distances are relative, in the Frobenius norm, between the matrices that the taps stand for and the nearest ones of
    a class. What the weights can undo does not count: a class is closed under mixing taps.

    - "convolution": the one that it started as.
    - "convolution of permuted samples", "permuted convolution": with the best permutation of the input or the output.
    - "filter in the Fourier basis" (with as many samples as outputs): a circular convolution, as a Fourier neural
      operator has; "cosine" and "Hadamard basis" likewise.
    - "one weighted sum at every place": each output is the same sum of all samples, as a mean over them is.
    - "longer convolution": anything that commutes with shifts, within the window.

    Args:
        layer: An operation, learned or not. What it computes where no sample lies is not looked at.

    Returns:
        For each axis the distances and, where one is below 5 %, a name.

    Source: the classes of Roberts et al. 2021 (arXiv:2103.15798), section 3.

    Cost: O(taps n^2), and an assignment problem of n samples.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> print(describe_operation(XDConv1d(1, 1, 3, length=8, padding=1, dtype=torch.float64)).axes[0].name)
        convolution
    """
    return OperationDescription([describe_axis(layer, axis) for axis in range(layer.n_axes)])


def describe_axis(layer: XDConv, axis: int) -> AxisDescription:
    """One axis of an operation."""
    where = layer.axes[axis]
    found = axis_operators(layer, axis).to(torch.complex128)
    start = shifts(layer, axis).to(found)
    before, order = best_permutation(start.mT.conj() @ found)  # S^T T: what stands before the convolution
    after, _ = best_permutation(found @ start.mT.conj())
    members = {
        "convolution": outside(found, start),
        "convolution of permuted samples": outside(found, start @ before),
        "permuted convolution": outside(found, after @ start),
    }
    if found.shape[1] == found.shape[2]:
        for name, basis in bases(where.size).items():
            rotated = basis @ found @ basis.mH
            rest = rotated - torch.diag_embed(rotated.diagonal(dim1=1, dim2=2))
            members[f"filter in the {name} basis"] = float(rest.norm() / found.norm())
    members["one weighted sum at every place"] = float((found - found.mean(1, keepdim=True)).norm() / found.norm())
    members["longer convolution"] = float((found - toeplitz_part(found)).norm() / found.norm())
    called = next((name for name, distance in members.items() if distance < NEAR), None)
    moved = {role: getattr(layer, role)[axis].distance for role in ROLES}
    return AxisDescription(moved, members, order, called)


def shifts(layer: XDConv, axis: int) -> Tensor:
    """What the taps stand for in the convolution: (taps, outputs, samples) of zeros and ones."""
    where = layer.axes[axis]
    found = torch.zeros(where.kernel, len(where.reads()), where.n, dtype=torch.float64)
    for j in range(where.kernel):
        for output, place in enumerate(where.reads()):
            found[j, output, (place + (j - where.centre) * where.dilation) % where.n] = 1
    return found[..., : where.size]


def outside(found: Tensor, members: Tensor) -> float:
    """Share of the matrices that lies outside the span of others, all flattened."""
    span, _ = torch.linalg.qr(members.flatten(1).mT)
    rows = found.flatten(1)
    return float((rows - (rows @ span.conj()) @ span.mT).norm() / rows.norm())


def best_permutation(scores: Tensor) -> tuple[Tensor, list[int]]:
    """The permutation P with the largest sum of scores over taps, as a matrix and as the order of its columns."""
    assign = importlib.import_module("scipy.optimize").linear_sum_assignment  # late: a model's import must not pay it
    _, columns = assign(scores.sum(0).real.numpy(), maximize=True)
    order = [int(column) for column in columns]
    return torch.eye(len(order), dtype=scores.dtype)[order], order


def toeplitz_part(found: Tensor) -> Tensor:
    """The mean along each diagonal: the nearest matrices that commute with shifts."""
    rows, columns = found.shape[1:]
    diagonal = torch.arange(rows)[:, None] - torch.arange(columns) + columns - 1
    count = torch.zeros(rows + columns - 1, dtype=torch.float64)
    count.index_add_(0, diagonal.flatten(), torch.ones(rows * columns, dtype=torch.float64))
    sums = found.new_zeros(len(found), rows + columns - 1).index_add(1, diagonal.flatten(), found.flatten(1))
    return (sums / count)[:, diagonal]


def bases(n: int) -> dict[str, Tensor]:
    """Orthonormal bases with fast transforms, (n, n), complex128."""
    eye, k = torch.eye(n, dtype=torch.complex128), torch.arange(n, dtype=torch.float64)
    cosine = (math.pi / n * k[:, None] * (k + 0.5)).cos() * (2 / n) ** 0.5
    cosine[0] /= 2**0.5
    found = {"Fourier": torch.fft.fft(eye, norm="ortho"), "cosine": cosine.to(eye)}
    if n > 1 and n & (n - 1) == 0:
        found["Hadamard"] = hadamard(n, dtype=torch.float64).dense().detach().to(eye) / n**0.5
    return found
