"""Vectors as wide as the machine, for Numba: a type that adds and multiplies, loads, stores, and one matrix product.

Numba hands loops to LLVM and hopes that they come out as vector code; with a handful of arrays in one loop they often
do not. Here the vectors are written down: a ``Vector`` is 64 bytes of float32 or float64, an LLVM vector, which the
machine's registers hold whole (AVX-512), in halves (AVX2) or in quarters (NEON, SSE). Arithmetic on it looks like
arithmetic on numbers:

    c = load(f_row, j, left) * load(c_row, j, left) + i * g
    store(c_row, j, left, c)

``left`` is how many elements remain in the row: what lies beyond them is neither read nor written. Where LLVM can see
that at least a whole vector is left, the mask costs nothing.

``multiply(rows)`` makes the innermost loop of a matrix product; ``gatelab.kernels.product`` builds on it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

BYTES = 64
PANEL = 2  # vectors side by side in one column block of a product

_MANY_REGISTERS = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
ROWS = (12, 8, 4) if _MANY_REGISTERS else (3, 2, 1)
"""How many rows a block of a product may have: as many as leave room for the columns in the registers."""
GRAIN = 4 if _MANY_REGISTERS else 3
"""Rows may be divided between threads at multiples of this, and every sum is still made in the same order."""


def emits(define: Callable[..., Any]) -> Callable[..., Any]:
    """A function for compiled code: ``define`` gives its types and the LLVM instructions that it becomes."""
    return intrinsic(define)


class Vector(types.Type):
    """``BYTES`` of ``dtype`` side by side."""

    def __init__(self, dtype: types.Float):
        self.dtype, self.lanes = dtype, BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, _vector(manager[fe_type.dtype].get_value_type(), fe_type.lanes))


def _vector(element: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def _splat(builder: ir.IRBuilder, value, lanes: int):
    """The vector whose every lane is ``value``."""
    undefined = ir.Constant(_vector(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_vector(ir.IntType(32), lanes), [0] * lanes))


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, *args, fastmath: tuple[str, ...] = ()):
    """A call of the LLVM intrinsic ``name`` (its types' suffix included)."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [argument.type for argument in args]), name
    )
    return builder.call(function, args, fastmath=fastmath)


def _suffix(kind: ir.VectorType) -> str:
    return f"v{kind.count}f{32 if isinstance(kind.element, ir.FloatType) else 64}"


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def _mixed(args) -> Vector | None:
    """The vector type of an operation on vectors of one type and numbers; None where there is no vector."""
    kinds = {argument for argument in args if isinstance(argument, Vector)}
    plain = all(isinstance(argument, Vector | types.Number) for argument in args)
    return kinds.pop() if len(kinds) == 1 and plain else None


def _operator(function, instruction: str) -> None:
    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            kind = _mixed(args)
            return None if kind is None else signature(kind, *args)

    def lower(context, builder, sig, args):
        kind = sig.return_type
        values = [_as_vector(context, builder, a, t, kind) for a, t in zip(args, sig.args, strict=True)]
        # `contract` lets a product and a sum become one instruction, as a compiler of C does by default.
        return getattr(builder, instruction)(*values, flags=("contract",))

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, *kinds)(lower)


def _as_vector(context, builder, value, given, kind: Vector):
    if isinstance(given, Vector):
        return value
    return _splat(builder, context.cast(builder, value, given, kind.dtype), kind.lanes)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _instruction)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, args, kws):
        return signature(args[0], args[0]) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _negate(context, builder, sig, args):
    return builder.fneg(args[0])


def _bound(comparison: str):
    """The first vector, or a bound (vector or number) in the lanes where the comparison holds; NaN stays NaN."""

    @emits
    def function(typingctx, x, bound):
        def generate(context, builder, sig, args):
            limit = _as_vector(context, builder, args[1], sig.args[1], sig.return_type)
            return builder.select(builder.fcmp_ordered(comparison, args[0], limit), limit, args[0])

        return (x(x, bound), generate) if isinstance(x, Vector) else None

    return function


at_most = _bound(">")
at_least = _bound("<")


@emits
def positive(typingctx, x):
    """1 in the lanes above 0, else 0."""

    def generate(context, builder, sig, args):
        kind = args[0].type
        zero, one = (ir.Constant(kind, [value] * x.lanes) for value in (0.0, 1.0))
        return builder.select(builder.fcmp_ordered(">", args[0], zero), one, zero)

    return x(x), generate


ROUNDER = 1.5 * 2.0**23
"""Added to a float32 below 2^22, it leaves the nearest whole number in the sum's lowest bits."""


@emits
def power_of_two(typingctx, shifted):
    """2^n in float32, for ``shifted = n + ROUNDER``, n from −126 to 127: n's bits become the exponent's."""

    def generate(context, builder, sig, args):
        whole = _vector(ir.IntType(32), shifted.lanes)
        fraction, one = ir.Constant(whole, [23] * shifted.lanes), ir.Constant(whole, [127 << 23] * shifted.lanes)
        exponent = builder.add(builder.shl(builder.bitcast(args[0], whole), fraction), one)
        return builder.bitcast(exponent, args[0].type)

    return shifted(shifted), generate


def _lane_by_lane(name: str):
    """A float64 function of the C library, lane by lane: exact, and not fast."""

    @emits
    def function(typingctx, x):
        def generate(context, builder, sig, args):
            result = args[0]
            for lane in range(x.lanes):
                index = ir.IntType(32)(lane)
                value = _call(builder, name, ir.DoubleType(), builder.extract_element(args[0], index))
                result = builder.insert_element(result, value, index)
            return result

        return x(x), generate

    return function


exact_exp = _lane_by_lane("exp")
exact_tanh = _lane_by_lane("tanh")


@emits
def only(typingctx, x, left):
    """The first ``left`` lanes of a vector, and zeros."""

    def generate(context, builder, sig, args):
        kind = args[0].type
        return builder.select(_mask(builder, args[1], x.lanes), args[0], ir.Constant(kind, [0.0] * x.lanes))

    return x(x, types.intp), generate


@emits
def total(typingctx, x):
    """The sum of a vector's lanes, a number."""

    def generate(context, builder, sig, args):
        zero = args[0].type.element(-0.0)
        name = f"llvm.vector.reduce.fadd.{_suffix(args[0].type)}"
        return _call(builder, name, args[0].type.element, zero, args[0], fastmath=("reassoc",))

    return x.dtype(x), generate


# ---- memory --------------------------------------------------------------------------------------------------------


@emits
def pointer(typingctx, array):
    """The address of a C-contiguous array's first element. The array must outlive its use: pass arrays in."""

    def generate(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


@emits
def shifted(typingctx, base, offset):
    """The address ``offset`` elements further."""

    def generate(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return base(base, types.intp), generate


def _mask(builder: ir.IRBuilder, left, lanes: int):
    """Which of ``lanes`` lanes lie within the ``left`` remaining elements."""
    index = ir.Constant(_vector(left.type, lanes), list(range(lanes)))
    return builder.icmp_signed("<", index, _splat(builder, left, lanes))


def _at(builder: ir.IRBuilder, base, offset, kind: ir.Type):
    return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())


@emits
def load(typingctx, base, offset, left):
    """The vector at element ``offset`` of the array at ``base``; zeros beyond the ``left`` remaining elements."""
    result = Vector(base.dtype)

    def generate(context, builder, sig, args):
        kind = context.get_value_type(result)
        where = _at(builder, args[0], args[1], kind)
        mask = _mask(builder, args[2], result.lanes)
        zero = ir.Constant(kind, [0.0] * result.lanes)
        align = ir.IntType(32)(base.dtype.bitwidth // 8)
        return _call(builder, f"llvm.masked.load.{_suffix(kind)}.p0", kind, where, align, mask, zero)

    return result(base, types.intp, types.intp), generate


@emits
def load_bytes(typingctx, base, offset, left, like):
    """As ``load``, from an array of uint8: each byte a number, in the lanes of ``like``'s type."""

    def generate(context, builder, sig, args):
        kind = _vector(ir.IntType(8), like.lanes)
        where = _at(builder, args[0], args[1], kind)
        mask = _mask(builder, args[2], like.lanes)
        zero, align = ir.Constant(kind, [0] * like.lanes), ir.IntType(32)(1)
        loaded = _call(builder, f"llvm.masked.load.v{like.lanes}i8.p0", kind, where, align, mask, zero)
        return builder.uitofp(loaded, args[3].type)

    return like(base, types.intp, types.intp, like), generate


@emits
def store(typingctx, base, offset, left, value):
    """Writes a vector at element ``offset`` of the array at ``base``; nothing beyond the ``left`` elements."""

    def generate(context, builder, sig, args):
        kind = args[3].type
        where = _at(builder, args[0], args[1], kind)
        mask = _mask(builder, args[2], value.lanes)
        align = ir.IntType(32)(value.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{_suffix(kind)}.p0"
        _call(builder, name, ir.VoidType(), args[3], where, align, mask)
        return context.get_dummy_value()

    return types.void(base, types.intp, types.intp, value), generate


@emits
def peek(typingctx, base, offset):
    """The number at element ``offset`` of the array at ``base``."""

    def generate(context, builder, sig, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return base.dtype(base, types.intp), generate


@emits
def poke(typingctx, base, offset, value):
    """Writes a number at element ``offset`` of the array at ``base``."""

    def generate(context, builder, sig, args):
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(base, types.intp, base.dtype), generate


@emits
def zeros(typingctx, base):
    """A vector of zeros, of the array at ``base``'s type."""
    result = Vector(base.dtype)

    def generate(context, builder, sig, args):
        return ir.Constant(context.get_value_type(result), [0.0] * result.lanes)

    return result(base), generate


@emits
def filled(typingctx, like, value):
    """A vector of ``like``'s type with ``value`` in every lane."""

    def generate(context, builder, sig, args):
        return _as_vector(context, builder, args[1], value, like)

    return like(like, value), generate


@emits
def lanes(typingctx, base):
    """How many elements of the array at ``base`` make a vector: a constant."""
    count = BYTES * 8 // base.dtype.bitwidth
    return types.intp(base), lambda context, builder, sig, args: ir.IntType(64)(count)


# ---- the innermost loop of a matrix product ------------------------------------------------------------------------


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
            kind = _vector(context.get_value_type(sig.args[0].dtype), lanes)
            constant = ir.IntType(64)
            zero = ir.Constant(kind, [0.0] * lanes)
            suffix = _suffix(kind)
            align = ir.IntType(32)(BYTES // lanes)

            def vector_at(base, offset):
                return _at(builder, base, offset, kind)

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
                    for r in range(rows):
                        factor = _splat(builder, builder.load(element(here, r)), lanes)
                        for v in range(PANEL):
                            where = sums[u][r * PANEL + v]
                            value = _call(builder, f"llvm.fma.{suffix}", kind, factor, columns[v], builder.load(where))
                            builder.store(value, where)

            rows_a = [builder.gep(a, [builder.add(at_a, builder.mul(step_a, constant(r)))]) for r in range(rows)]
            rows_c = [builder.gep(c, [builder.add(at_c, builder.mul(step_c, constant(r)))]) for r in range(rows)]
            blocks = [vector_at(row, constant(v * lanes)) for row in rows_c for v in range(PANEL)]
            masks = [_mask(builder, builder.sub(left, constant(v * lanes)), lanes) for v in range(PANEL)] * rows
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in blocks] for _ in range(side_by_side)]
            with builder.if_then(add):
                for where, block, mask in zip(sums[0], blocks, masks, strict=True):
                    there = _call(builder, f"llvm.masked.load.{suffix}.p0", kind, block, align, mask, zero)
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
                _call(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), value, block, align, mask)
            return context.get_dummy_value()

        size = types.intp
        return types.void(a, size, size, b, size, size, c, size, size, size, types.boolean), generate

    return block
