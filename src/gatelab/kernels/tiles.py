"""Blocks of a matrix that the machine's registers hold whole: one multiplied, one transposed.

``multiply(rows)`` makes the innermost loop of a matrix product, and ``transpose`` packs weights that lie the other way
round; ``gatelab.kernels.product`` builds on both.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils

from gatelab.kernels.simd import BYTES, PANEL, call, emits, mask_of, place, splat, suffix_of, vector

AHEAD = 32
"""How many rows of packed weights ahead the next ones are asked for: the machine does so by itself up to the end of a
page of memory, which 32 rows fill. Weights beyond the second cache come in time, others lose nothing (docs/log.md)."""


def multiply(rows: int, transposed: bool = False):
    """``multiply(rows)(a, at_a, step_a, b, at_b, K, c, at_c, step_c, left, add)``: ``c (+)= a @ b`` for one block.

    ``a (rows, K)`` and ``c (rows, PANEL vectors)`` are rows in larger matrices, ``step`` elements apart; ``b (K, PANEL
    vectors)`` lies packed. ``transposed``, a is ``(K, rows)`` instead. Of c only ``left`` columns are there. The whole
    of c stays in registers over the loop; each element of a meets a row of b. With few rows, several steps of K run
    side by side, for one addition has to wait for the one before it.
    """
    side_by_side = max(1, 8 // (rows * PANEL))

    @emits
    def block(typingctx, a, at_a, step_a, b, at_b, K, c, at_c, step_c, left, add):
        def generate(context, builder, sig, args):
            a, at_a, step_a, b, at_b, K, c, at_c, step_c, left, add = args
            lanes = BYTES * 8 // sig.args[0].dtype.bitwidth
            kind = vector(context.get_value_type(sig.args[0].dtype), lanes)
            constant = ir.IntType(64)
            zero = ir.Constant(kind, [0.0] * lanes)
            suffix = suffix_of(kind)
            align = ir.IntType(32)(BYTES // lanes)

            def vector_at(base, offset):
                return place(builder, base, offset, kind)

            def element(k, r):
                if transposed:
                    return builder.gep(a, [builder.add(builder.add(at_a, builder.mul(step_a, k)), constant(r))])
                return builder.gep(rows_a[r], [k])

            def steps_of_k(k, sums, count):
                """``count`` steps from ``k`` on, each into sums of its own."""
                for u in range(count):
                    here = builder.add(k, constant(u))
                    at = builder.add(at_b, builder.mul(here, constant(PANEL * lanes)))
                    columns = [builder.load(vector_at(b, builder.add(at, constant(v * lanes)))) for v in range(PANEL)]
                    for column in columns:
                        column.align = BYTES // lanes
                    if rows >= 4:  # fewer wait for memory anyway
                        prefetch(builder, builder.gep(b, [builder.add(at, constant(AHEAD * PANEL * lanes))]))
                    for r in range(rows):
                        factor = splat(builder, builder.load(element(here, r)), lanes)
                        for v in range(PANEL):
                            where = sums[u][r * PANEL + v]
                            value = call(builder, f"llvm.fma.{suffix}", kind, factor, columns[v], builder.load(where))
                            builder.store(value, where)

            rows_a = [builder.gep(a, [builder.add(at_a, builder.mul(step_a, constant(r)))]) for r in range(rows)]
            rows_c = [builder.gep(c, [builder.add(at_c, builder.mul(step_c, constant(r)))]) for r in range(rows)]
            blocks = [vector_at(row, constant(v * lanes)) for row in rows_c for v in range(PANEL)]
            masks = [mask_of(builder, builder.sub(left, constant(v * lanes)), lanes) for v in range(PANEL)] * rows
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in blocks] for _ in range(side_by_side)]
            with builder.if_then(add):
                for where, block, mask in zip(sums[0], blocks, masks, strict=True):
                    there = call(builder, f"llvm.masked.load.{suffix}.p0", kind, block, align, mask, zero)
                    builder.store(there, where)
            whole = builder.sub(K, builder.srem(K, constant(side_by_side)))
            with cgutils.for_range_slice(builder, constant(0), whole, constant(side_by_side)) as (k, _):
                steps_of_k(k, sums, side_by_side)
            if side_by_side > 1:
                with cgutils.for_range_slice(builder, whole, K, constant(1)) as (k, _):
                    steps_of_k(k, sums, 1)
            for index, (block, mask) in enumerate(zip(blocks, masks, strict=True)):
                value = builder.load(sums[0][index])
                for u in range(1, side_by_side):
                    value = builder.fadd(value, builder.load(sums[u][index]))
                call(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), value, block, align, mask)
            return context.get_dummy_value()

        size = types.intp
        return types.void(a, size, size, b, size, size, c, size, size, size, types.boolean), generate

    return block


def prefetch(builder: ir.IRBuilder, where) -> None:
    """Asks for the memory at an address, which need not exist, to be brought into the first cache."""
    read, soon, data = (ir.IntType(32)(flag) for flag in (0, 3, 1))
    address = builder.bitcast(where, ir.IntType(8).as_pointer())
    call(builder, "llvm.prefetch.p0", ir.VoidType(), address, read, soon, data)


@emits
def transpose(typingctx, source, at, step, rows, left, target, to, apart):
    """A square as wide as a vector: its rows lie ``step`` apart, its columns become rows that lie ``apart`` apart.

    Of the square only ``rows`` rows and ``left`` columns are there. For rows that are not, zeros are written; for
    columns that are not, nothing. Rows and columns change places in log₂ steps: in each, two rows exchange the halves,
    quarters, … that belong in each other.
    """

    def generate(context, builder, sig, args):
        source, at, step, rows, left, target, to, apart = args
        lanes = BYTES * 8 // sig.args[0].dtype.bitwidth
        kind, size = vector(context.get_value_type(sig.args[0].dtype), lanes), ir.IntType(64)
        suffix, align, zero = suffix_of(kind), ir.IntType(32)(BYTES // lanes), ir.Constant(kind, [0.0] * lanes)

        def line(base, start, step, r):
            return place(builder, base, builder.add(start, builder.mul(step, size(r))), kind)

        def masked(count, r, then):
            return mask_of(builder, builder.select(builder.icmp_signed("<", size(r), count), then, size(0)), lanes)

        lines = []
        for r in range(lanes):
            where, mask = line(source, at, step, r), masked(rows, r, left)
            lines.append(call(builder, f"llvm.masked.load.{suffix}.p0", kind, where, align, mask, zero))
        distance = lanes // 2
        while distance:
            for r in range(lanes):
                if not r & distance:
                    lines[r], lines[r + distance] = _exchanged(builder, lines[r], lines[r + distance], distance)
            distance //= 2
        for r, value in enumerate(lines):
            where, mask = line(target, to, apart, r), masked(left, r, size(lanes))
            call(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), value, where, align, mask)
        return context.get_dummy_value()

    size = types.intp
    return types.void(source, size, size, size, size, source, size, size), generate


def _exchanged(builder: ir.IRBuilder, x, y, distance: int):
    """Two rows after every other group of ``distance`` lanes of x has changed places with the group before it in y."""
    lanes = x.type.count
    whole = vector(ir.IntType(32), lanes)
    first = [j if not j & distance else lanes + j - distance for j in range(lanes)]
    second = [j + distance if not j & distance else lanes + j for j in range(lanes)]
    return tuple(builder.shuffle_vector(x, y, ir.Constant(whole, places)) for places in (first, second))
