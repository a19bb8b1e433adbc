"""The three sums of a step, written as vectors: systems of 16 heads side by side, and products of 32 outputs at a time.

A loop that the compiler is left to vectorise would begin with a test whether its arrays overlap, which takes as long as
a tile of this size; and the sums of a step over 32 modes would go one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import extending
from numba.core import cgutils, types

from seqkit.kernels.stack_step.layout import COEFFICIENTS, LANES, WIDE

__all__ = [
    "add_tile",
    "advance_tile",
    "advance_tile_and_fetch",
    "dot_tile",
    "product",
    "product_of_four_rows",
    "product_of_two_tiles",
]

intrinsic: Callable[[Any], Any] = extending.intrinsic
tools: Any = cgutils
ir: Any = tools.ir  # LLVM's instructions, as numba writes them
FLAGS = ("contract", "nsz", "reassoc")
SMALLEST = {4: 2.0**-100, 8: 2.0**-960}  # by bytes: a state below this becomes 0 before slow denormal numbers appear
LINE = 64  # bytes of memory that come together
WORD, LONG = ir.IntType(32), ir.IntType(64)


class Vectors:
    """Reads and writes vectors of `count` numbers of the type of `like`, at addresses."""

    def __init__(self, builder: Any, like: Any, count: int) -> None:
        self.builder, self.real = builder, like.type
        self.size = 4 if isinstance(like.type, ir.FloatType) else 8
        self.type = ir.VectorType(like.type, count)
        self.count = count

    def pointer(self, address: Any, place: Any) -> Any:
        """Pointer to the vector that begins `place` numbers after `address`."""
        start = self.builder.inttoptr(address, self.real.as_pointer())
        return self.builder.bitcast(self.builder.gep(start, [place]), self.type.as_pointer())

    def read(self, address: Any, place: Any) -> Any:
        """A vector."""
        return self.builder.load(self.pointer(address, place), align=self.size)

    def write(self, value: Any, address: Any, place: Any) -> None:
        """Puts a vector."""
        self.builder.store(value, self.pointer(address, place), align=self.size)

    def filled(self, number: float) -> Any:
        """A vector of one constant."""
        return ir.Constant(self.type, [number] * self.count)

    def spread(self, address: Any, place: Any) -> Any:
        """A vector of the one number that lies there."""
        start = self.builder.inttoptr(address, self.real.as_pointer())
        value = self.builder.load(self.builder.gep(start, [place]), align=self.size)
        first = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), value, WORD(0))
        return self.builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(WORD, self.count), [0] * self.count))

    def fetch(self, address: Any, place: Any) -> None:
        """Asks for the memory of a vector, to write to it soon."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, WORD, WORD, WORD])
        call = tools.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        for line in range(0, self.count * self.size, LINE):
            at = self.builder.add(place, LONG(line // self.size))
            pointer = self.builder.bitcast(self.pointer(address, at), byte)
            self.builder.call(call, [pointer, WORD(1), WORD(3), WORD(1)])

    def joined(self, a: Any, b: Any, c: Any) -> Any:
        """Product of a and b, plus c."""
        return self.builder.fadd(self.builder.fmul(a, b, FLAGS), c, FLAGS)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """The same by two operations that are joined wherever they stand, or nowhere."""
        return self.builder.fadd(self.builder.fmul(a, b, ("contract",)), c, ("contract",))

    def less(self, a: Any, b: Any, c: Any) -> Any:
        """Product of a and b, taken from c."""
        return self.builder.fsub(c, self.builder.fmul(a, b, FLAGS), FLAGS)

    def flushed(self, value: Any) -> Any:
        """The same with small values set to 0; NaN stays NaN."""
        builder, limit = self.builder, SMALLEST[self.size]
        above = builder.fcmp_ordered("<", value, self.filled(limit))
        below = builder.fcmp_ordered(">", value, self.filled(-limit))
        return builder.select(builder.and_(above, below), self.filled(0.0), value)

    def sums(self, count: int) -> list[Any]:
        """Places for running sums, which become registers."""
        return [tools.alloca_once_value(self.builder, self.filled(0.0)) for _ in range(count)]


def times(builder: Any, index: Any, number: int) -> Any:
    """Place of the vectors of a mode."""
    return builder.mul(index, LONG(number))


def advance_of(fetching: bool) -> Any:
    """Builds the step of 16 heads, with or without a look ahead.

    It writes x' = a x + b u over x, and y = Re sum c x', for `count` modes; it takes addresses. Rows of many streams
    lie far from the processor: meanwhile it may ask for the state that comes `after`.
    """

    @intrinsic
    def tile(typing: Any, coefficients: Any, state: Any, after: Any, u: Any, y: Any, count: Any, like: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            coefficients, state, after, u, y, count, like = args
            vectors = Vectors(builder, like, LANES)
            drive = vectors.read(u, LONG(0))
            sums = vectors.sums(2)
            with tools.for_range_slice(builder, LONG(0), count, LONG(1), LONG) as (index, _):
                place, own = times(builder, index, COEFFICIENTS * LANES), times(builder, index, 2 * LANES)
                a_re, a_im, b_re, b_im, c_re, c_im = (
                    vectors.read(coefficients, builder.add(place, LONG(k * LANES))) for k in range(COEFFICIENTS)
                )
                beside = builder.add(own, LONG(LANES))
                if fetching:
                    vectors.fetch(after, own)
                    vectors.fetch(after, beside)
                re, im = vectors.read(state, own), vectors.read(state, beside)
                new_re = vectors.joined(a_re, re, vectors.less(a_im, im, builder.fmul(b_re, drive, FLAGS)))
                new_im = vectors.joined(a_re, im, vectors.joined(a_im, re, builder.fmul(b_im, drive, FLAGS)))
                new_re, new_im = vectors.flushed(new_re), vectors.flushed(new_im)
                vectors.write(new_re, state, own)
                vectors.write(new_im, state, beside)
                builder.store(vectors.joined(c_re, new_re, builder.load(sums[0])), sums[0])
                builder.store(vectors.joined(c_im, new_im, builder.load(sums[1])), sums[1])
            vectors.write(builder.fsub(builder.load(sums[0]), builder.load(sums[1]), FLAGS), y, LONG(0))
            return context.get_dummy_value()

        return types.void(coefficients, state, after, u, y, count, like), build

    return tile


advance_tile, advance_tile_and_fetch = advance_of(False), advance_of(True)


@intrinsic
def dot_tile(typing: Any, weights: Any, state: Any, y: Any, count: Any, like: Any) -> Any:
    """Writes y = Re sum w x for `count` modes of 16 heads."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, state, y, count, like = args
        vectors = Vectors(builder, like, LANES)
        sums = vectors.sums(2)
        with tools.for_range_slice(builder, LONG(0), count, LONG(1), LONG) as (index, _):
            place = times(builder, index, 2 * LANES)
            for part in range(2):
                here = builder.add(place, LONG(part * LANES))
                total = vectors.joined(vectors.read(weights, here), vectors.read(state, here), builder.load(sums[part]))
                builder.store(total, sums[part])
        vectors.write(builder.fsub(builder.load(sums[0]), builder.load(sums[1]), FLAGS), y, LONG(0))
        return context.get_dummy_value()

    return types.void(weights, state, y, count, like), build


@intrinsic
def add_tile(typing: Any, weights: Any, drive: Any, state: Any, count: Any, like: Any) -> Any:
    """Adds w s to the state, for `count` modes of 16 heads with a real s each."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, drive, state, count, like = args
        vectors = Vectors(builder, like, LANES)
        value = vectors.read(drive, LONG(0))
        with tools.for_range_slice(builder, LONG(0), count, LONG(1), LONG) as (index, _):
            place = times(builder, index, 2 * LANES)
            for part in range(2):
                here = builder.add(place, LONG(part * LANES))
                new = vectors.joined(vectors.read(weights, here), value, vectors.read(state, here))
                vectors.write(vectors.flushed(new), state, here)
        return context.get_dummy_value()

    return types.void(weights, drive, state, count, like), build


def product_of(n_rows: int, n_tiles: int, lanes: int) -> Any:
    """Builds y = start + W x for some rows and tiles at a time, the first `lanes` outputs of each tile.

    The inputs are added one after the other, in every form alike: a stream's answer is the same to the last bit
    whatever other streams are stepped with it. There are several forms because one sum alone waits for itself.
    """

    @intrinsic
    def tile(typing: Any, w: Any, x: Any, ahead: Any, start: Any, y: Any, after: Any, count: Any, like: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            w, x, ahead, start, y, after, count, like = args
            vectors = Vectors(builder, like, lanes)
            apart = [builder.mul(count, LONG(WIDE * t)) for t in range(n_tiles)]
            sums = [vectors.sums(n_tiles) for _ in range(n_rows)]
            for row in sums:
                for t, total in enumerate(row):
                    builder.store(vectors.read(start, LONG(WIDE * t)), total)
            with tools.for_range_slice(builder, LONG(0), count, LONG(1), LONG) as (index, _):
                here = times(builder, index, WIDE)
                weights = [vectors.read(w, builder.add(here, distance)) for distance in apart]
                for r, row in enumerate(sums):
                    value = vectors.spread(x, builder.add(index, builder.mul(ahead, LONG(r))))
                    for weight, total in zip(weights, row, strict=True):
                        builder.store(vectors.fused(weight, value, builder.load(total)), total)
            for r, row in enumerate(sums):
                for t, total in enumerate(row):
                    vectors.write(builder.load(total), y, builder.add(builder.mul(after, LONG(r)), LONG(WIDE * t)))
            return context.get_dummy_value()

        return types.void(w, x, ahead, start, y, after, count, like), build

    return tile


product = product_of(1, 1, WIDE)
product_of_two_tiles = product_of(1, 2, WIDE)
product_of_four_rows = product_of(4, 1, WIDE // 2)
