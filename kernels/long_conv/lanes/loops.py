"""Eight numbers in a vector register as a type of numba's, with its loads, stores and arithmetic.

numba's loop vectoriser gives up on the passes of an FFT, as it cannot see that the places they read and write differ.
On this type every operation is one instruction, whatever lies around it.
"""

from __future__ import annotations

import hashlib
import operator
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

__all__ = ["LANES", "compiled", "load", "splat", "store", "turn"]

LANES = 8
STAMP = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("loops.py")))
).hexdigest()
instruction: Any = intrinsic
ir: Any = cgutils.ir  # type: ignore[attr-defined]  # LLVM's instructions, as numba itself writes them


class Lanes(types.Type):
    """Eight numbers in a vector register."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


def vector(dtype: types.Type) -> ir.VectorType:
    """The vector in LLVM's words."""
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), LANES)


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """Passed as it is."""

    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, vector(kind.dtype))


def place(context: Any, builder: Any, signature: Any, args: Any, kind: ir.Type) -> Any:
    """Pointer to the element of the first argument, an array, that the second one counts to."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), kind.as_pointer())


@instruction
def load(typing: Any, array: Any, index: Any) -> Any:
    """Reads eight numbers from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dtype = signature.args[0].dtype
        return builder.load(place(context, builder, signature, args, vector(dtype)), align=dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), generate


@instruction
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Writes eight numbers from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dtype = signature.args[0].dtype
        pointer = place(context, builder, signature, args, vector(dtype))
        builder.store(args[2], pointer, align=dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@instruction
def splat(typing: Any, array: Any, index: Any) -> Any:
    """Reads one number into all lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = vector(signature.args[0].dtype)
        number = builder.load(place(context, builder, signature, args, kind.element))
        nothing, zero = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        first = builder.insert_element(nothing, number, zero)
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return Lanes(array.dtype)(array, types.intp), generate


def zipper(start: int) -> Any:
    """Makes an instruction that takes four lanes of each of two vectors, from `start` on, in turns."""
    lanes = [lane + offset for lane in range(start, start + LANES // 2) for offset in (0, LANES)]

    @instruction
    def zipped(typing: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes)
            return builder.shuffle_vector(args[0], args[1], order)

        return left(left, right), generate

    return zipped


def define(symbol: Any, name: str) -> None:
    """Lets an operator of Python stand for an instruction on vectors."""

    @instruction
    def combine(typing: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, name)(*args, flags=("contract",))  # a product and a sum may be one

        return left(left, right), generate

    @overload(symbol, strict=False)  # strictly, the function below would need the annotations, too
    def _(left: Any, right: Any) -> Any:
        if isinstance(left, Lanes) and left == right:
            return lambda left, right: combine(left, right)
        return None


define(operator.add, "fadd")
define(operator.sub, "fsub")
define(operator.mul, "fmul")
low, high = zipper(0), zipper(LANES // 2)


def compiled(function: Any) -> Any:
    """Compiles a function on its first call and keeps it on disk until one of the operator's loops changes.

    numba looks at the file of the outermost function alone, and machine code of vectors that are laid out otherwise
    crashes.
    """
    dispatcher = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    index: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is not None and hasattr(index, "_source_stamp"):
        index._source_stamp = (index._source_stamp, STAMP)
    return dispatcher


@compiled
def turn(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Transposes eight vectors: three perfect shuffles."""
    a, b, c, d, e, f, g, h = low(a, e), high(a, e), low(b, f), high(b, f), low(c, g), high(c, g), low(d, h), high(d, h)
    a, b, c, d, e, f, g, h = low(a, e), high(a, e), low(b, f), high(b, f), low(c, g), high(c, g), low(d, h), high(d, h)
    return low(a, e), high(a, e), low(b, f), high(b, f), low(c, g), high(c, g), low(d, h), high(d, h)
