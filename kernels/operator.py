"""How an operator enters torch's dispatcher: one forward and one backward op, each with a path for every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["Path", "define_operator"]


class Path(NamedTuple):
    """One backend of an operator.

    Args:
        forward: Takes the operator's arguments, returns its output or a tuple of them.
        backward: Takes the gradients of all outputs, then the operator's arguments; returns one new contiguous tensor
            for each differentiable argument, in order. Where the operator keeps its outputs, they come last.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]


def define_operator(
    name: str,
    inputs: str,
    *,
    paths: Mapping[str, Callable[[], Path]],
    outputs: Callable[..., Tensor | tuple[Tensor, ...]],
    reference: Callable[..., Any],
    n_outputs: int = 1,
    constant: Sequence[str] = (),
    keep_outputs: bool = False,
) -> Callable[..., Any]:
    """Registers `seqkit::NAME` and `seqkit::NAME_backward` and returns a function of the arguments and a backend.

    The ops know their output shapes without data, so they compile, export and trace; autograd is built of the backward
    op, which has a derivative of its own by differentiating `reference` twice, at the reference's cost.

    Args:
        name: Name of the operator.
        inputs: Arguments as in a torch schema, such as "Tensor a, Tensor weight, int length".
        paths: Backend to a function that loads it, so that Triton and numba are imported on first use.
        outputs: Takes the arguments, returns empty tensors like the outputs.
        reference: The plain definition, taking the same arguments.
        n_outputs: Number of outputs.
        constant: Names of tensors that no gradient is given for.
        keep_outputs: Whether the backward reads the outputs, which would cost much to compute again.

    Returns:
        The forward op: a callable of the arguments followed by the backend's name.

    Example:
        >>> twice = Path(lambda x: 2 * x, lambda grad, x: 2 * grad)
        >>> op = define_operator(
        ...     "doctest_twice",
        ...     "Tensor x",
        ...     paths={"cpu": lambda: twice},
        ...     outputs=torch.empty_like,
        ...     reference=lambda x: x + x,
        ... )
        >>> op(torch.ones(2), "cpu")
        tensor([2., 2.])
    """
    declared = [item.split() for item in inputs.split(", ")]
    is_tensor = [kind == "Tensor" for kind, _ in declared]
    wanted = [index for index, (kind, label) in enumerate(declared) if kind == "Tensor" and label not in constant]
    several = n_outputs > 1
    n_kept = n_outputs if keep_outputs else 0
    kept = "".join(f", Tensor output_{index}" for index in range(n_kept))
    saved = [*is_tensor, *[True] * n_kept, False]
    grads = ", ".join(f"Tensor grad_{index}" for index in range(n_outputs))

    def forward(*args: Any) -> Any:
        *values, backend = args
        return paths[backend]().forward(*values)

    def backward(*args: Any) -> Any:
        *values, backend = args
        found = paths[backend]().backward(*values)
        return found if len(wanted) > 1 else (found[0] if isinstance(found, tuple) else found)

    op = torch.library.custom_op(
        f"seqkit::{name}",
        without_autocast(forward),
        mutates_args=(),
        schema=f"({inputs}, str backend) -> {tensors(n_outputs)}",
    )
    backward_op = torch.library.custom_op(
        f"seqkit::{name}_backward",
        without_autocast(backward),
        mutates_args=(),
        schema=f"({grads}, {inputs}{kept}, str backend) -> {tensors(len(wanted))}",
    )

    @op.register_fake
    def _(*args: Any) -> Any:
        return outputs(*args[:-1])

    @backward_op.register_fake
    def _(*args: Any) -> Any:
        values = args[n_outputs:]
        found = tuple(values[index].new_empty(values[index].shape) for index in wanted)
        return found if len(found) > 1 else found[0]

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keeps the arguments, and outputs where asked for; paths compute again what else they need."""
        found = output if several else (output,)
        values = [*inputs[:-1], *found[:n_kept], inputs[-1]]
        ctx.save_for_backward(*(value for value, keep in zip(values, saved, strict=True) if keep))
        ctx.others = [value for value, keep in zip(values, saved, strict=True) if not keep]

    def differentiate(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Computes every gradient at once: they share their tables, and autograd drops what nobody asked for."""
        values = join(ctx.saved_tensors, ctx.others, saved)
        found = backward_op(*(grad.contiguous() for grad in grads), *values)
        found = found if len(wanted) > 1 else (found,)
        by_index = dict(zip(wanted, found, strict=True))
        return tuple(by_index.get(index) for index in range(len(declared) + 1))

    def differentiate_again(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Second derivatives, by differentiating the reference twice."""
        values = join(ctx.saved_tensors, ctx.others, [*[True] * n_outputs, *saved])
        places = [*range(n_outputs), *(n_outputs + index for index in wanted)]
        with torch.enable_grad():
            leaves = {place: values[place].detach().requires_grad_() for place in places}
            all_values = [leaves.get(place, value) for place, value in enumerate(values)]
            output = reference(*all_values[n_outputs : n_outputs + len(declared)])
            first = torch.autograd.grad(
                output if several else [output],
                [leaves[n_outputs + index] for index in wanted],
                [leaves[index] for index in range(n_outputs)],
                create_graph=True,
                materialize_grads=True,
            )
            second = torch.autograd.grad(first, list(leaves.values()), grads, materialize_grads=True)
        by_place = dict(zip(leaves, second, strict=True))
        return tuple(by_place.get(place) for place in range(len(values)))

    def save_again(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        keeps = [*[True] * n_outputs, *saved]
        ctx.save_for_backward(*(value for value, keep in zip(inputs, keeps, strict=True) if keep))
        ctx.others = [value for value, keep in zip(inputs, keeps, strict=True) if not keep]

    op.register_autograd(differentiate, setup_context=save)
    backward_op.register_autograd(differentiate_again, setup_context=save_again)
    return op


def tensors(count: int) -> str:
    """The schema of `count` results."""
    return "Tensor" if count == 1 else f"({', '.join(['Tensor'] * count)})"


def join(first: Sequence[Any], second: Sequence[Any], from_first: Sequence[bool]) -> list[Any]:
    """Merges two sequences again that were parted by `from_first`.

    Example:
        >>> join([1, 3], [2], [True, False, True])
        [1, 2, 3]
    """
    one, two = iter(first), iter(second)
    return [next(one) if here else next(two) for here in from_first]
